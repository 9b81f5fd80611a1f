//! Header blocks: decoded with the client's table, written without one (RFC 7541).

use std::fmt;

use loona_hpack::Decoder;
use tonic::codegen::http::uri::Authority;

use super::plain::{plain, write_text};
use super::refused::{BLOCK_LIMIT, Refused};

/// h2's and everybody's default, which tonic does not change.
const TABLE_SIZE: usize = 4096;

const NAME: &[u8] = b":authority";
const SUBSTITUTE: &[u8] = b"localhost";

/// The client's end of header compression, and what became of its authority.
pub(super) struct Blocks {
    decoder: Decoder<'static>,
}

/// A decoded block, written anew.
pub(super) struct Rewritten {
    pub(super) block: Vec<u8>,
    /// Whether an authority was replaced.
    pub(super) replaced: bool,
}

impl Blocks {
    pub(super) fn new() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(TABLE_SIZE);
        Self { decoder }
    }

    /// Writes the fields of `block` in their order, with a good authority.
    pub(super) fn rewrite(&mut self, block: &[u8]) -> Result<Rewritten, Refused> {
        let mut replaced = false;
        let mut rewritten = Vec::with_capacity(block.len() * 2);
        let mut too_large = false;
        self.decoder
            .decode_with_cb(&plain(block)?, |name, value| {
                // A few octets can name a large entry of the table again and again.
                too_large |= rewritten.len() + name.len() + value.len() > BLOCK_LIMIT;
                if too_large {
                    return;
                }
                if *name == *NAME && !is_acceptable(&value) {
                    replaced = true;
                    write_field(&name, SUBSTITUTE, &mut rewritten);
                } else {
                    write_field(&name, &value, &mut rewritten);
                }
            })
            .map_err(|error| Refused::Compression(error.to_string()))?;
        if too_large {
            return Err(Refused::TooLarge);
        }
        Ok(Rewritten { block: rewritten, replaced })
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").finish_non_exhaustive()
    }
}

/// By the very parser that h2 asks.
fn is_acceptable(authority: &[u8]) -> bool {
    Authority::try_from(authority).is_ok()
}

/// A literal field, new name, without indexing.
fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    write_text(name, out);
    write_text(value, out);
}
