use proptest::prelude::*;

use super::*;

fn at(table: Table, address: u16) -> Place {
    Place { table, address }
}

fn read(table: Table, address: u16, count: u16) -> Ask<'static> {
    Ask::Read(Span { start: at(table, address), count })
}

/// PDU of a request: its TCP frame without header.
fn pdu(ask: &Ask<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    ask.frame(ModbusProto::TcpUdp, 0x0102, 0x11, &mut frame).unwrap();
    assert_eq!(frame[..4], [1, 2, 0, 0]);
    assert_eq!(usize::from(frame[5]), frame.len() - 6);
    assert_eq!(frame[6], 0x11);
    frame[7..].to_vec()
}

/// Requests and answers of the Modbus Application Protocol specification 1.1b3, section 6.
#[test]
fn the_specifications_examples() {
    let coils = read(Table::Coils, 0x13, 0x13);
    assert_eq!(pdu(&coils), [1, 0, 0x13, 0, 0x13]);
    assert_eq!(coils.judge(&[1, 3, 0xCD, 0x6B, 5]), Verdict::Data(&[0xCD, 0x6B, 5]));
    let inputs = read(Table::DiscreteInputs, 0xC4, 0x16);
    assert_eq!(pdu(&inputs), [2, 0, 0xC4, 0, 0x16]);
    assert_eq!(inputs.judge(&[2, 3, 0xAC, 0xDB, 0x35]), Verdict::Data(&[0xAC, 0xDB, 0x35]));
    let holding = read(Table::HoldingRegisters, 0x6B, 3);
    assert_eq!(pdu(&holding), [3, 0, 0x6B, 0, 3]);
    let answer = [3, 6, 2, 0x2B, 0, 0, 0, 0x64];
    assert_eq!(holding.judge(&answer), Verdict::Data(&answer[2..]));
    assert_eq!(holding.judge(&[0x83, 2]), Verdict::Exception(2));
    let input = read(Table::InputRegisters, 8, 1);
    assert_eq!(pdu(&input), [4, 0, 8, 0, 1]);
    let coil = Ask::WriteOne { place: at(Table::Coils, 0xAC), word: 1 };
    assert_eq!(pdu(&coil), [5, 0, 0xAC, 0xFF, 0]);
    assert_eq!(coil.judge(&[5, 0, 0xAC, 0xFF, 0]), Verdict::Done);
    let register = Ask::WriteOne { place: at(Table::HoldingRegisters, 1), word: 3 };
    assert_eq!(pdu(&register), [6, 0, 1, 0, 3]);
    assert_eq!(register.judge(&[6, 0, 1, 0, 3]), Verdict::Done);
    let bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0];
    let coils = Ask::WriteMany { place: at(Table::Coils, 0x13), words: &bits };
    assert_eq!(pdu(&coils), [15, 0, 0x13, 0, 0x0A, 2, 0xCD, 1]);
    assert_eq!(coils.judge(&[15, 0, 0x13, 0, 0x0A]), Verdict::Done);
    let registers = Ask::WriteMany { place: at(Table::HoldingRegisters, 1), words: &[10, 0x102] };
    assert_eq!(pdu(&registers), [16, 0, 1, 0, 2, 4, 0, 10, 1, 2]);
    assert_eq!(registers.judge(&[16, 0, 1, 0, 2]), Verdict::Done);
}

#[test]
fn an_answer_to_another_request_is_foreign() {
    let ask = read(Table::HoldingRegisters, 0, 2);
    for answer in [
        &[][..],
        &[3],
        &[3, 4, 0, 0, 0],
        &[3, 2, 0, 0],
        &[3, 4, 0, 0, 0, 0, 0],
        &[4, 4, 0, 0, 0, 0],
        &[0x84, 2],
        &[0x83],
        &[0x83, 2, 2],
    ] {
        assert_eq!(ask.judge(answer), Verdict::Foreign, "{answer:?}");
    }
    let write = Ask::WriteOne { place: at(Table::HoldingRegisters, 1), word: 3 };
    assert_eq!(write.judge(&[6, 0, 1, 0, 4]), Verdict::Foreign);
    assert_eq!(write.judge(&[6, 0, 2, 0, 3]), Verdict::Foreign);
}

#[test]
fn the_largest_frames_fit() {
    let mut frame = Vec::new();
    let words = [0x1234; 123];
    let write = Ask::WriteMany { place: at(Table::HoldingRegisters, 0), words: &words };
    for (proto, length) in [(ModbusProto::TcpUdp, 259), (ModbusProto::Rtu, 255)] {
        write.frame(proto, 1, 1, &mut frame).unwrap();
        assert_eq!(frame.len(), length);
    }
    let bits = [1; 1968];
    let write = Ask::WriteMany { place: at(Table::Coils, 0), words: &bits };
    write.frame(ModbusProto::Rtu, 1, 1, &mut frame).unwrap();
    assert_eq!(frame.len(), 255);
    // 125 registers make the longest answer: 259 bytes on TCP, 255 on RTU.
    assert_eq!(tcp_length(&[0, 1, 0, 0, 0, 253, 1, 3, 250]), Ok(Some(259)));
    assert_eq!(rtu_length(&[1, 3, 250]), Ok(Some(255)));
}

#[test]
fn frames_of_a_line() {
    // A well-known frame: unit 1 answers registers 6 and 5.
    let frame = [0x01, 0x03, 0x04, 0x00, 0x06, 0x00, 0x05, 0xDA, 0x31];
    assert_eq!(rtu_length(&frame), Ok(Some(9)));
    assert!(checksum_is_right(&frame));
    let mut wrong = frame;
    wrong[4] = 7;
    assert!(!checksum_is_right(&wrong));
    assert_eq!(rtu_length(&[1]), Ok(None));
    assert_eq!(rtu_length(&[1, 0x83]), Ok(Some(5)));
    assert_eq!(rtu_length(&[0x55, 0x55, 0x55]), Err(Garbage));
    assert_eq!(tcp_length(&[0, 1, 0, 0, 0]), Ok(None));
    assert_eq!(tcp_length(&[0, 1, 0, 1, 0, 6]), Err(Garbage));
    assert_eq!(tcp_length(&[0, 1, 0, 0, 1, 6]), Err(Garbage));
    assert_eq!(tcp_length(b"HTTP/1.1"), Err(Garbage));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), address: u16, count in 1u16..=125) {
        let _ = (tcp_length(&bytes), rtu_length(&bytes), checksum_is_right(&bytes));
        for table in Table::ALL {
            let ask = read(table, address, count);
            if let Verdict::Data(data) = ask.judge(&bytes) {
                let mut words = Vec::new();
                let span = Span { start: at(table, address), count };
                unpack(&span, data, &mut words);
                prop_assert_eq!(words.len(), usize::from(count));
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed(bit in 0usize..9 * 8) {
        let mut frame = [0x01, 0x03, 0x04, 0x00, 0x06, 0x00, 0x05, 0xDA, 0x31];
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!checksum_is_right(&frame));
    }
}
