//! Byte orders by hand, and that what is stored is what is loaded.

use proptest::prelude::*;

use super::*;

fn stored(raw: RawType, order: &str, value: f64) -> Vec<u16> {
    let encoding = Encoding { order: order.parse().unwrap(), ..raw.into() };
    let mut registers = vec![0; raw.words().into()];
    encoding.store(value, &mut registers);
    registers
}

#[test]
fn each_order_puts_the_bytes_where_its_letters_stand() {
    // 0x0A0B0C0D, of which A is the first letter.
    let value = f64::from(0x0A0B_0C0D);
    assert_eq!(stored(RawType::U32, "ABCD", value), [0x0A0B, 0x0C0D]);
    assert_eq!(stored(RawType::U32, "BADC", value), [0x0B0A, 0x0D0C]);
    assert_eq!(stored(RawType::U32, "CDAB", value), [0x0C0D, 0x0A0B]);
    assert_eq!(stored(RawType::U32, "DCBA", value), [0x0D0C, 0x0B0A]);
    assert_eq!(stored(RawType::U16, "BA", 258.0), [0x0201]);
}

#[test]
fn eight_letters_order_sixty_four_bits() {
    let raw = |order: &str| {
        let encoding = Encoding { order: order.parse().unwrap(), ..RawType::U64.into() };
        let mut registers = [0; 4];
        encoding.store_raw(0x0A0B_0C0D_0E0F_1011, &mut registers);
        registers
    };
    assert_eq!(raw("ABCD"), [0x0A0B, 0x0C0D, 0x0E0F, 0x1011]);
    assert_eq!(raw("CDAB"), [0x1011, 0x0E0F, 0x0C0D, 0x0A0B]);
    assert_eq!(raw("CDABGHEF"), [0x0C0D, 0x0A0B, 0x1011, 0x0E0F]);
    assert_eq!(raw("BCDEFGHA"), [0x0B0C, 0x0D0E, 0x0F10, 0x110A]);
}

#[test]
fn what_is_no_order_says_what_is() {
    for text in ["", "ABC", "ABCC", "AABCDEFG", "ÄBCD"] {
        let error = text.parse::<Order>().unwrap_err().to_string();
        assert!(error.contains("CDAB"), "{error}");
    }
}

#[test]
fn floats_are_ieee_754() {
    assert_eq!(stored(RawType::F32, "ABCD", 123.456), [0x42F6, 0xE979]);
    assert_eq!(stored(RawType::F64, "ABCD", 1.0), [0x3FF0, 0, 0, 0]);
}

#[test]
fn scale_and_offset_turn_values_into_counts() {
    let encoding = Encoding { scale: 0.1, offset: -40.0, ..RawType::I16.into() };
    let mut registers = [0];
    encoding.store(21.5, &mut registers);
    assert_eq!(registers, [615]);
    assert!((encoding.load(&registers) - 21.5).abs() < 1e-9);
}

#[test]
fn numbers_beyond_the_range_become_the_nearest() {
    assert_eq!(stored(RawType::U16, "ABCD", 70_000.0), [0xFFFF]);
    assert_eq!(stored(RawType::I16, "ABCD", -40_000.0), [0x8000]);
    assert_eq!(stored(RawType::U16, "ABCD", -5.0), [0xFFFB], "two's complement, as devices do");
    assert_eq!(stored(RawType::I32, "ABCD", f64::NAN), [0, 0]);
}

#[test]
fn bits_leave_their_neighbours_alone() {
    let encoding = Encoding::from(RawType::Bits { first: 4, count: 3 });
    let mut registers = [0xFFFF];
    encoding.store(2.0, &mut registers);
    assert_eq!(registers, [0xFFAF]);
    assert_eq!(encoding.load(&registers), 2.0);
}

#[test]
fn text_is_cut_and_filled() {
    let encoding = Encoding::from(RawType::Bytes { words: 2 });
    let mut registers = [0xFFFF; 2];
    encoding.store_bytes(b"abc", &mut registers);
    assert_eq!(registers, [0x6162, 0x6300]);
    encoding.store_bytes(b"abcdef", &mut registers);
    assert_eq!(registers, [0x6162, 0x6364]);
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![
        prop::sample::select(vec!["ABCD", "BADC", "CDAB", "DCBA"]).prop_map(str::to_owned),
        Just("ABCDEFGH".chars().collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(|letters| letters.into_iter().collect()),
    ]
    .prop_map(|text| text.parse().unwrap())
}

proptest! {
    #[test]
    fn what_is_stored_is_loaded(
        number in any::<i32>(),
        order in orders(),
        raw in prop::sample::select(vec![RawType::I32, RawType::I64, RawType::F64]),
    ) {
        let encoding = Encoding { order, ..raw.into() };
        let mut registers = vec![0; raw.words().into()];
        encoding.store(number.into(), &mut registers);
        prop_assert_eq!(encoding.load(&registers), f64::from(number));
    }

    #[test]
    fn any_registers_and_any_number_are_taken_without_panic(
        number in any::<f64>(),
        raw in any::<i128>(),
        registers in prop::collection::vec(any::<u16>(), 0..8),
        order in orders(),
        first in any::<u8>(),
        count in any::<u8>(),
    ) {
        for kind in [RawType::U16, RawType::F32, RawType::U64, RawType::Bits { first, count }] {
            let encoding = Encoding { order, ..kind.into() };
            let mut registers = registers.clone();
            encoding.store(number, &mut registers);
            encoding.store_raw(raw, &mut registers);
            encoding.load(&registers);
        }
    }
}
