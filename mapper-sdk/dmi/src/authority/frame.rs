//! HTTP/2 frames, as far as header blocks are concerned (RFC 9113, sections 4.1, 6.2 and 6.10).

/// Octets of a frame's head.
pub(super) const HEAD: usize = 9;
/// Largest payload that a server takes that has not asked for more.
pub(super) const PAYLOAD_LIMIT: usize = 16_384;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The nine octets before a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Head {
    pub(super) fn parse(octets: [u8; HEAD]) -> Self {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = octets;
        let length = u32::from_be_bytes([0, l2, l1, l0]);
        // The first bit is reserved.
        let stream = [s3 & 0x7f, s2, s1, s0];
        // 24 bits fit on every machine that this runs on.
        Self { length: usize::try_from(length).unwrap_or(usize::MAX), kind, flags, stream }
    }

    pub(super) fn is_headers(self) -> bool {
        self.kind == HEADERS
    }

    /// Whether this goes on with the header block that `first` began.
    pub(super) fn continues(self, first: Head) -> bool {
        self.kind == CONTINUATION && self.stream == first.stream
    }

    pub(super) fn ends_block(self) -> bool {
        self.flags & END_HEADERS != 0
    }

    /// The priority and the part of the header block in the payload of a HEADERS frame; none if its padding is longer
    /// than it.
    pub(super) fn split(self, payload: &[u8]) -> Option<(&[u8], &[u8])> {
        let payload = if self.flags & PADDED != 0 {
            let (padding, rest) = payload.split_first()?;
            rest.get(..rest.len().checked_sub(usize::from(*padding))?)?
        } else {
            payload
        };
        let priority = if self.flags & PRIORITY != 0 { 5 } else { 0 };
        payload.split_at_checked(priority)
    }

    /// Writes `block` as HEADERS and as many CONTINUATIONs as it takes, for the stream and with the end of stream of
    /// `self`, which began the block, without padding.
    pub(super) fn write(self, priority: &[u8], block: &[u8], out: &mut Vec<u8>) {
        let mut flags = self.flags & (END_STREAM | PRIORITY);
        let mut kind = HEADERS;
        let mut priority = priority;
        let mut block = block;
        loop {
            let part = block.len().min(PAYLOAD_LIMIT - priority.len());
            let (part, rest) = block.split_at(part);
            if rest.is_empty() {
                flags |= END_HEADERS;
            }
            let length = u32::try_from(priority.len() + part.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes()[1..]);
            out.extend_from_slice(&[kind, flags]);
            out.extend_from_slice(&self.stream);
            out.extend_from_slice(priority);
            out.extend_from_slice(part);
            if rest.is_empty() {
                return;
            }
            (flags, kind, priority, block) = (0, CONTINUATION, &[], rest);
        }
    }
}
