//! Undoes the Huffman code of a header block, and nothing else (RFC 7541, sections 5 and 6).
//!
//! loona-hpack builds its Huffman tables anew for every text, which takes some 50 µs, fifty times as long as all the
//! rest of a request. So it only ever gets plain text.

use httlib_huffman::{DecoderSpeed, decode};

use super::refused::Refused;

/// The same fields in the same representations, with every text as it is. At most 8/5 as long.
pub(super) fn plain(block: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::with_capacity(block.len() * 8 / 5 + 1);
    let mut rest = block;
    while let Some(first) = rest.first() {
        let (prefix, is_literal) = match first {
            // Both from the table.
            0x80.. => (7, false),
            // To be put into the table.
            0x40.. => (6, true),
            // New size of the table.
            0x20.. => (5, false),
            // Not to be put into the table.
            _ => (4, true),
        };
        let (index, length) = integer(rest, prefix)?;
        let (representation, tail) = rest.split_at(length);
        out.extend_from_slice(representation);
        rest = tail;
        if is_literal {
            if index == 0 {
                rest = text(rest, &mut out)?;
            }
            rest = text(rest, &mut out)?;
        }
    }
    Ok(out)
}

/// Copies one text, decoded, and returns what follows it.
fn text<'a>(input: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Refused> {
    let (length, head) = integer(input, 7)?;
    let is_coded = input.first().is_some_and(|first| first & 0x80 != 0);
    let (text, rest) = input[head..].split_at_checked(length).ok_or_else(truncated)?;
    if is_coded {
        let mut decoded = Vec::with_capacity(length * 8 / 5 + 1);
        decode(text, &mut decoded, DecoderSpeed::FiveBits)
            .map_err(|_| Refused::Compression("no Huffman code".into()))?;
        write_text(&decoded, out);
    } else {
        out.extend_from_slice(&input[..head + length]);
    }
    Ok(rest)
}

/// An integer whose first octet gives `prefix` bits to it, and how many octets it takes: at most five, as in
/// loona-hpack.
fn integer(input: &[u8], prefix: u8) -> Result<(usize, usize), Refused> {
    let (first, rest) = input.split_first().ok_or_else(truncated)?;
    let mask = 0xff >> (8 - prefix);
    let mut value = usize::from(first & mask);
    if value < usize::from(mask) {
        return Ok((value, 1));
    }
    for (index, octet) in rest.iter().take(4).enumerate() {
        value += usize::from(octet & 0x7f) << (7 * index);
        if octet & 0x80 == 0 {
            return Ok((value, index + 2));
        }
    }
    Err(truncated())
}

fn truncated() -> Refused {
    Refused::Compression("ends within a field".into())
}

/// Length in a prefix of 7 bits, then the octets as they are.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    const PREFIX: usize = 0x7f;
    let low = |bits: usize| u8::try_from(bits & PREFIX).unwrap_or(0);
    match text.len().checked_sub(PREFIX) {
        None => out.push(low(text.len())),
        Some(mut rest) => {
            out.push(low(PREFIX));
            while rest > PREFIX {
                out.push(0x80 | low(rest));
                rest >>= 7;
            }
            out.push(low(rest));
        }
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use httlib_huffman::encode;
    use loona_hpack::Decoder;
    use loona_hpack::huffman::HuffmanDecoder;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_implementations_agree_on_the_code(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut coded = Vec::new();
            encode(&text, &mut coded).unwrap();
            prop_assert_eq!(HuffmanDecoder::new().decode(&coded).unwrap(), text.clone());
            let mut decoded = Vec::new();
            decode(&coded, &mut decoded, DecoderSpeed::FiveBits).unwrap();
            prop_assert_eq!(decoded, text);
        }

        #[test]
        fn what_is_decoded_of_a_block_stays_the_same(block in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(expected) = Decoder::new().decode(&block) {
                prop_assert_eq!(Decoder::new().decode(&plain(&block).unwrap()), Ok(expected));
            }
        }

        #[test]
        fn lengths_of_any_size_are_read_back(length in 0usize..70_000) {
            let mut out = Vec::new();
            write_text(&vec![b'a'; length], &mut out);
            let (read, head) = integer(&out, 7).unwrap();
            prop_assert_eq!((read, head + length), (length, out.len()));
        }
    }
}
