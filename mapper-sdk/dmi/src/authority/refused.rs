//! What ends a connection.

/// Largest header block, in octets, before and after it was rewritten. hyper itself takes 16 KiB.
pub(super) const BLOCK_LIMIT: usize = 64 * 1024;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The header block is not HPACK.
    #[error("HTTP/2 header block: {0}")]
    Compression(String),
    /// The header block takes more than 64 KiB.
    #[error("HTTP/2 header block of more than {BLOCK_LIMIT} octets")]
    TooLarge,
    /// The padding is longer than the frame.
    #[error("HTTP/2 HEADERS frame with more padding than payload")]
    Padding,
    /// Another frame stands within a header block.
    #[error("HTTP/2 header block broken off by another frame")]
    BrokenOff,
}
