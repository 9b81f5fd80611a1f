//! Any octets of a client: the authority shim neither panics nor depends on how they are cut, and gives out no more
//! than it took plus what a rewritten header block may take.
#![no_main]

use dmi::authority::{Refused, Rewriter};
use libfuzzer_sys::fuzz_target;

fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Result<(), Refused>) {
    let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());
    for piece in pieces {
        let passed = rewriter.pass(piece);
        out.extend_from_slice(&piece[..passed]);
        if let Err(refused) = rewriter.feed(&piece[passed..], &mut out) {
            return (out, Err(refused));
        }
    }
    (out, Ok(()))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (length, octets) = input;
    let whole = feed(std::iter::once(octets));
    let pieces = feed(octets.chunks(usize::from(length).max(1)));
    assert_eq!(whole, pieces);
    let blocks = octets.len() / 9 + 1;
    assert!(whole.0.len() <= octets.len() + blocks * (64 * 1024 + 64));
});
