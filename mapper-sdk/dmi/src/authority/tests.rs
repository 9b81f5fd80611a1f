use std::ops::ControlFlow;

use loona_hpack::{Decoder, Encoder};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const REFUSED: &str = "%2Ftmp%2Fdmi.sock";
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn request(authority: &str) -> Fields {
    let pairs = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1beta1.DeviceManagerService/MapperRegister"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "1S"),
    ];
    pairs.map(|(name, value)| (name.into(), value.into())).to_vec()
}

/// A client with a table of its own.
#[derive(Default)]
struct Client {
    encoder: Encoder<'static>,
    sent: Vec<u8>,
}

impl Client {
    fn new() -> Self {
        let mut client = Self::default();
        client.sent.extend(PREFACE);
        client.sent.extend(frame(4, 0, 0, &[]));
        client
    }

    fn block(&mut self, fields: &Fields) -> Vec<u8> {
        self.encoder.encode(fields.iter().map(|(name, value)| (&name[..], &value[..])))
    }

    fn headers(&mut self, stream: u32, fields: &Fields) {
        let block = self.block(fields);
        self.sent.extend(frame(1, 0x4, stream, &block));
    }

    fn data(&mut self, stream: u32, octets: &[u8]) {
        self.sent.extend(frame(0, 0x1, stream, octets));
    }
}

/// Feeds `input` in pieces of these lengths, the last again and again.
fn feed(input: &[u8], pieces: &[usize]) -> (Vec<u8>, Result<(), Refused>) {
    let mut rewriter = Rewriter::new();
    let mut out = Vec::new();
    let mut rest = input;
    let mut pieces = pieces.iter().copied();
    let mut length = pieces.next().unwrap_or(input.len()).max(1);
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(length.min(rest.len()));
        // As the shim does it: what may pass is not copied.
        let passed = rewriter.pass(piece);
        out.extend_from_slice(&piece[..passed]);
        if passed < piece.len()
            && let Err(refused) = rewriter.feed(&piece[passed..], &mut out)
        {
            return (out, Err(refused));
        }
        rest = tail;
        length = pieces.next().unwrap_or(length).max(1);
    }
    (out, Ok(()))
}

/// The header blocks and the data of an output, as a server without a table reads them.
fn read(out: &[u8]) -> (Vec<(u8, Fields)>, Vec<u8>) {
    let mut rest = out.strip_prefix(PREFACE).unwrap();
    let mut decoder = Decoder::new();
    decoder.set_max_allowed_table_size(0);
    decoder.set_max_table_size(0);
    let (mut blocks, mut data) = (Vec::new(), Vec::new());
    let (mut block, mut flags) = (Vec::new(), 0);
    while let Some((head, tail)) = rest.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (payload, tail) = tail.split_at(length);
        match head[3] {
            0 => data.extend_from_slice(payload),
            1 | 9 => {
                assert!(length <= 16_384, "frame of {length} octets");
                assert_eq!(head[4] & 0x8, 0, "padded");
                if head[3] == 1 {
                    flags = head[4];
                }
                let priority = if head[3] == 1 && head[4] & 0x20 != 0 { 5 } else { 0 };
                block.extend_from_slice(&payload[priority..]);
                if head[4] & 0x4 != 0 {
                    blocks.push((flags, decoder.decode(&block).unwrap()));
                    block.clear();
                }
            }
            _ => {}
        }
        rest = tail;
    }
    (blocks, data)
}

#[test]
fn the_octets_of_a_client_with_a_good_authority_pass() {
    for authority in ["localhost", "dmi.sock", "[::1]:80"] {
        let mut client = Client::new();
        client.headers(1, &request(authority));
        client.data(1, b"first");
        client.headers(3, &request(authority));
        assert_eq!(feed(&client.sent, &[]), (client.sent.clone(), Ok(())));
    }
}

#[test]
fn a_path_in_the_place_of_the_authority_is_replaced_in_every_request() {
    for authority in [REFUSED, "/tmp/dmi.sock", "", "a b", "\u{e9}"] {
        let mut client = Client::new();
        for stream in [1, 3, 5] {
            client.headers(stream, &request(authority));
            client.data(stream, b"body");
        }
        let (out, end) = feed(&client.sent, &[]);
        assert_eq!(end, Ok(()));
        let (blocks, data) = read(&out);
        assert_eq!(blocks.len(), 3);
        for (flags, fields) in blocks {
            assert_eq!((flags, fields), (0x4, request("localhost")), "{authority}");
        }
        assert_eq!(data, b"bodybodybody");
    }
}

/// Recorded from the real ones, each with another idea of the authority of a socket.
#[test]
fn grpc_go_and_grpcio_are_let_in() {
    let recorded = [
        include_bytes!("../../fuzz/corpus/dmi_authority/grpc-go").as_slice(),
        include_bytes!("../../fuzz/corpus/dmi_authority/grpc-python").as_slice(),
    ];
    for recorded in recorded {
        // The first octet tells the fuzz target how to cut.
        let (out, end) = feed(&recorded[1..], &[]);
        assert_eq!(end, Ok(()));
        let (blocks, data) = read(&out);
        let [(_, fields)] = blocks.as_slice() else { panic!("{blocks:?}") };
        let field = |name: &[u8]| &fields.iter().find(|field| field.0 == name).unwrap().1;
        assert_eq!(field(b":authority"), b"localhost");
        assert_eq!(field(b":path"), b"/v1beta1.DeviceManagerService/MapperRegister");
        assert!(data.ends_with(b"2\x02ok"), "the state ends the message");
    }
}

#[test]
fn later_blocks_stay_readable_when_the_authority_becomes_a_good_one() {
    let mut client = Client::new();
    client.headers(1, &request(REFUSED));
    client.headers(3, &request("dmi.sock"));
    let trailers: Fields = vec![(b"grpc-status".to_vec(), b"0".to_vec())];
    client.headers(3, &trailers);
    let (blocks, _) = read(&feed(&client.sent, &[]).0);
    let fields: Vec<_> = blocks.into_iter().map(|(_, fields)| fields).collect();
    assert_eq!(fields, [request("localhost"), request("dmi.sock"), trailers]);
}

#[test]
fn padding_and_priority_and_continuations_are_understood() {
    let mut client = Client::new();
    let block = client.block(&request(REFUSED));
    let (first, rest) = block.split_at(7);
    let (second, third) = rest.split_at(11);
    let mut payload = vec![3];
    payload.extend([0x80, 0, 0, 9, 42]);
    payload.extend(first);
    payload.extend([0; 3]);
    // END_STREAM, PADDED and PRIORITY.
    client.sent.extend(frame(1, 0x29, 1, &payload));
    client.sent.extend(frame(9, 0, 1, second));
    client.sent.extend(frame(9, 0, 1, &[]));
    client.sent.extend(frame(9, 0x4, 1, third));
    let (out, end) = feed(&client.sent, &[]);
    assert_eq!(end, Ok(()));
    let (blocks, _) = read(&out);
    assert_eq!(blocks, [(0x1 | 0x4 | 0x20, request("localhost"))]);
    let priority = out.windows(5).any(|octets| octets == [0x80, 0, 0, 9, 42]);
    assert!(priority, "the priority is kept");
}

#[test]
fn a_block_that_outgrows_a_frame_is_continued() {
    let mut client = Client::new();
    let mut fields = request(REFUSED);
    fields.push((b"large".to_vec(), vec![b'a'; 40_000]));
    let block = client.block(&fields);
    for (index, part) in block.chunks(16_000).enumerate() {
        let kind = if index == 0 { 1 } else { 9 };
        let last = (index + 1) * 16_000 >= block.len();
        client.sent.extend(frame(kind, if last { 0x4 } else { 0 }, 1, part));
    }
    let (blocks, _) = read(&feed(&client.sent, &[]).0);
    assert_eq!(blocks[0].1[6].1.len(), 40_000);
    assert_eq!(blocks[0].1[3].1, b"localhost");
}

#[test]
fn what_is_malformed_or_too_large_ends_the_connection() {
    let begun = || {
        let mut client = Client::new();
        client.headers(1, &request(REFUSED));
        client
    };
    let end = |rest: &[u8]| {
        let mut client = begun();
        client.sent.extend(rest);
        feed(&client.sent, &[]).1.unwrap_err()
    };
    assert_eq!(end(&frame(1, 0xc, 3, &[9, 0x82])), Refused::Padding);
    assert!(matches!(end(&frame(1, 0x4, 3, &[0xff])), Refused::Compression(_)));
    assert_eq!(end(&frame(1, 0x4, 3, &[0; 70_000])), Refused::TooLarge);
    let broken_off = [frame(1, 0, 3, &[0x82]), frame(0, 0, 3, b"data")].concat();
    assert_eq!(end(&broken_off), Refused::BrokenOff);
    let other_stream = [frame(1, 0, 3, &[0x82]), frame(9, 0x4, 5, &[0x84])].concat();
    assert_eq!(end(&other_stream), Refused::BrokenOff);
    let endless = [frame(1, 0, 3, &[0x82; 60_000]), frame(9, 0, 3, &[0x82; 60_000])].concat();
    assert_eq!(end(&endless), Refused::TooLarge);
    // One entry of the table, named over and over.
    let mut client = begun();
    let large: Fields = vec![(b"large".to_vec(), vec![b'a'; 3_000])];
    client.headers(3, &large);
    client.sent.extend(frame(1, 0x4, 5, &[0x80 | 62; 1_000]));
    assert_eq!(feed(&client.sent, &[]).1, Err(Refused::TooLarge));
}

/// A client that sends all kinds of frames.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let authority = prop::sample::select(vec![REFUSED, "localhost", "/a", "b"]);
    let value = "[a-z%/]{0,40}";
    let step = prop_oneof![
        (authority, value).prop_map(|(authority, value)| {
            let mut fields = request(authority);
            fields.push((b"x".to_vec(), value.into()));
            ControlFlow::Continue(fields)
        }),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(kind, payload)| ControlFlow::Break((kind, payload))),
    ];
    prop::collection::vec(step, 1..8).prop_map(|steps| {
        let mut client = Client::new();
        for step in steps {
            match step {
                ControlFlow::Continue(fields) => client.headers(1, &fields),
                ControlFlow::Break((kind, payload)) => {
                    client.sent.extend(frame(kind, 0, 1, &payload))
                }
            }
        }
        client.sent
    })
}

proptest! {
    #[test]
    fn the_cuts_do_not_matter(
        input in conversation(), pieces in prop::collection::vec(1usize..40, 1..20),
    ) {
        let whole = feed(&input, &[]);
        prop_assert_eq!(&feed(&input, &pieces), &whole);
        prop_assert_eq!(&feed(&input, &[1]), &whole);
    }

    #[test]
    fn no_octets_make_it_panic(
        after_preface in any::<bool>(), octets in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let begin: &[u8] = if after_preface { PREFACE } else { &[] };
        let input = [begin, &octets].concat();
        prop_assert_eq!(feed(&input, &[1]), feed(&input, &[]));
    }
}

#[tokio::test]
async fn a_reader_with_a_small_buffer_gets_everything() {
    let mut client = Client::new();
    for stream in [1, 3] {
        client.headers(stream, &request(REFUSED));
        client.data(stream, &[7; 500]);
    }
    let (expected, _) = feed(&client.sent, &[]);
    let (mut near, far) = tokio::io::duplex(64);
    let mut shim = Shim::new(far);
    let write = async {
        near.write_all(&client.sent).await.unwrap();
        near.shutdown().await.unwrap();
    };
    let read = async {
        let (mut all, mut some) = (Vec::new(), [0; 5]);
        loop {
            match shim.read(&mut some).await.unwrap() {
                0 => return all,
                count => all.extend_from_slice(&some[..count]),
            }
        }
    };
    assert_eq!(tokio::join!(write, read).1, expected);
}

#[tokio::test]
async fn a_malformed_block_is_an_error_of_the_connection() {
    let mut client = Client::new();
    client.sent.extend(frame(1, 0x4, 1, &[0xff]));
    let mut shim = Shim::new(client.sent.as_slice().chain(tokio::io::empty()));
    let error = shim.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}
