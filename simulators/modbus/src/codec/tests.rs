//! Vectors from the specifications, and properties of every input.

use proptest::prelude::*;

use super::rtu::{self, Scan};
use super::{Exception, MAX_PDU, Request, mbap};
use crate::Table;

/// Serial line specification, appendix B, and application protocol, section 4.3's frames.
#[test]
fn frames_are_those_of_the_specification() {
    assert_eq!(rtu::crc(&[0x02, 0x07]).to_le_bytes(), [0x41, 0x12]);
    let mut frame = Vec::new();
    rtu::encode(0x11, &[0x03, 0x00, 0x6B, 0x00, 0x03], &mut frame);
    assert_eq!(frame, [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87]);

    // TCP implementation guide, section 3.1.3: transaction, protocol 0, length, unit.
    let mut frame = Vec::new();
    mbap::encode(0x1501, 0xFF, &[0x04, 0x00, 0x00, 0x00, 0x01], &mut frame);
    assert_eq!(frame, [0x15, 0x01, 0, 0, 0, 6, 0xFF, 0x04, 0, 0, 0, 1]);
}

#[test]
fn a_length_that_no_frame_has_is_not_modbus() {
    assert_eq!(mbap::decode(&[0, 1, 0, 0, 0, 1, 9]), Err(mbap::NotModbus));
    assert_eq!(mbap::decode(&[0, 1, 0, 0, 0, 255, 9]), Err(mbap::NotModbus));
    assert_eq!(mbap::decode(&[0, 1, 0, 1, 0, 6]), Err(mbap::NotModbus));
    assert_eq!(mbap::decode(&[0, 1, 0, 0, 0]), Ok(None));
    let longest = mbap::header(1, 9, MAX_PDU);
    assert_eq!(mbap::decode(&longest), Ok(None));
}

#[test]
fn an_empty_pdu_has_no_function() {
    assert_eq!(Request::decode(&[]), Err(Exception::IllegalFunction));
}

/// Any request that a client may send, with the bytes that it borrows.
fn requests() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let words = |most: u8| {
        (1..=most).prop_flat_map(|count| {
            (Just(count), prop::collection::vec(any::<u8>(), usize::from(count) * 2))
        })
    };
    let pdu = |function: u8, head: Vec<u16>, tail: Vec<u8>| {
        let mut pdu = vec![function];
        pdu.extend(head.iter().flat_map(|word| word.to_be_bytes()));
        if !tail.is_empty() {
            pdu.push(u8::try_from(tail.len()).unwrap());
            pdu.extend(tail);
        }
        pdu
    };
    let at = any::<u16>();
    prop_oneof![
        (1..=2u8, at, 1..=2000u16).prop_map(move |(f, a, n)| pdu(f, vec![a, n], vec![])),
        (3..=4u8, at, 1..=125u16).prop_map(move |(f, a, n)| pdu(f, vec![a, n], vec![])),
        (at, any::<bool>()).prop_map(move |(a, on)| pdu(
            5,
            vec![a, u16::from(on) * 0xFF00],
            vec![]
        )),
        (at, any::<u16>()).prop_map(move |(a, word)| pdu(6, vec![a, word], vec![])),
        (at, 1..=1968u16).prop_flat_map(move |(a, n)| {
            prop::collection::vec(any::<u8>(), usize::from(n).div_ceil(8))
                .prop_map(move |bits| pdu(15, vec![a, n], bits))
        }),
        (at, words(123)).prop_map(move |(a, (n, w))| pdu(16, vec![a, n.into()], w)),
        (at, any::<u16>(), any::<u16>()).prop_map(move |(a, x, y)| pdu(22, vec![a, x, y], vec![])),
        (at, 1..=125u16, at, words(121)).prop_map(move |(r, m, a, (n, w))| pdu(
            23,
            vec![r, m, a, n.into()],
            w
        )),
    ]
    .prop_flat_map(|pdu| (any::<u8>(), Just(pdu)))
}

proptest! {
    #[test]
    fn requests_survive_decode_and_encode((_, pdu) in requests()) {
        let request = Request::decode(&pdu).unwrap();
        let mut again = Vec::new();
        request.encode(&mut again);
        prop_assert_eq!(again, pdu);
    }

    #[test]
    fn rtu_finds_the_end_of_each_request((unit, pdu) in requests(), rest in any::<Vec<u8>>()) {
        let mut line = Vec::new();
        rtu::encode(unit, &pdu, &mut line);
        let size = line.len();
        for cut in 0..size {
            prop_assert_eq!(rtu::scan(&line[..cut]), Scan::Incomplete);
        }
        line.extend(rest);
        prop_assert_eq!(rtu::scan(&line), Scan::Frame { unit, pdu: &pdu, size });
    }

    #[test]
    fn one_wrong_bit_is_never_taken_for_a_request((unit, pdu) in requests(), bit in any::<prop::sample::Index>()) {
        let mut line = Vec::new();
        rtu::encode(unit, &pdu, &mut line);
        let bit = bit.index(line.len() * 8);
        line[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(rtu::check(&line), None);
        let whole = matches!(rtu::scan(&line), Scan::Frame { size, .. } if size == line.len());
        prop_assert!(!whole);
    }

    #[test]
    fn mbap_finds_the_end_of_each_request((unit, pdu) in requests(), transaction in any::<u16>(), rest in any::<Vec<u8>>()) {
        let mut line = Vec::new();
        mbap::encode(transaction, unit, &pdu, &mut line);
        let size = line.len();
        for cut in 0..size {
            prop_assert_eq!(mbap::decode(&line[..cut]), Ok(None));
        }
        line.extend(rest);
        prop_assert_eq!(mbap::decode(&line), Ok(Some(mbap::Frame { transaction, unit, pdu: &pdu, size })));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert!(request.addresses() <= 2000);
        }
        if let Scan::Frame { size, pdu, .. } = rtu::scan(&bytes) {
            prop_assert!(size <= bytes.len() && pdu.len() <= MAX_PDU);
        }
        if let Ok(Some(frame)) = mbap::decode(&bytes) {
            prop_assert!(frame.size <= bytes.len() && frame.pdu.len() <= MAX_PDU);
        }
        rtu::check(&bytes);
    }

    #[test]
    fn any_function_with_any_body_is_a_request_or_an_exception(
        function in prop::sample::select(vec![1u8, 2, 3, 4, 5, 6, 15, 16, 22, 23]),
        body in prop::collection::vec(any::<u8>(), 0..260),
    ) {
        let pdu = [vec![function], body].concat();
        match Request::decode(&pdu) {
            Ok(request) => prop_assert_eq!(request.function(), function),
            Err(exception) => prop_assert_eq!(exception, Exception::IllegalDataValue),
        }
    }
}

#[test]
fn the_table_of_a_read_follows_its_function() {
    let table = |function| match Request::decode(&[function, 0, 0, 0, 1]) {
        Ok(Request::ReadBits { table, .. } | Request::ReadWords { table, .. }) => Some(table),
        _ => None,
    };
    let tables = [Table::Coils, Table::Discrete, Table::Holding, Table::Input];
    assert_eq!([1, 2, 3, 4].map(table), tables.map(Some));
}
