//! Whatever comes over a wire: no bytes make the judgement of frames panic, and what passes it fits the request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapper_modbus::frame::{Ask, Verdict, rtu_length, tcp_length};
use mapper_modbus::plan::Span;
use mapper_modbus::{Place, Table};

fuzz_target!(|input: &[u8]| {
    let Some((&[table, high, low, count], bytes)) = input.split_first_chunk() else { return };
    if let Ok(Some(length)) = tcp_length(bytes) {
        assert!((8..=260).contains(&length));
    }
    if let Ok(Some(length)) = rtu_length(bytes) {
        assert!((5..=256).contains(&length));
    }
    let table = Table::ALL[usize::from(table % 4)];
    let start = Place { table, address: u16::from_be_bytes([high, low]) };
    let count = u16::from(count % 125) + 1;
    let read = Ask::Read(Span { start, count });
    if let Verdict::Data(data) = read.judge(bytes) {
        let wanted = if table.is_bits() { count.div_ceil(8) } else { count * 2 };
        assert_eq!(data.len(), usize::from(wanted));
    }
    let words = [u16::from_be_bytes([high, low]); 3];
    let _ = Ask::WriteOne { place: start, word: words[0] }.judge(bytes);
    let _ = Ask::WriteMany { place: start, words: &words }.judge(bytes);
});
