use device_model::DataType;
use proptest::prelude::*;

use super::*;
use crate::order::Order;
use crate::place::Place;
use crate::scale::Scale;
use crate::table::Table;

fn holding(raw: Raw, width: u16, data_type: DataType) -> Visitor {
    let place = Place { table: Table::HoldingRegisters, address: 0 };
    Visitor {
        read: place,
        write: Some(place),
        width,
        raw,
        scale: Scale::Identity,
        data_type,
        invalid: Vec::new(),
        multiple: false,
    }
}

fn of(number: Number, order: &str, data_type: DataType) -> Visitor {
    let order = Order::parse(order, number.bytes()).unwrap();
    holding(Raw::Number { number, order }, u16::from(number.bytes() / 2), data_type)
}

fn decoded(visitor: &Visitor, words: &[u16]) -> Value {
    decode(visitor, words).unwrap().value
}

fn words(visitor: &Visitor, value: &Value) -> Vec<u16> {
    encode(visitor, value).unwrap().over(0)
}

#[track_caller]
fn both_ways(visitor: &Visitor, wire: &[u16], value: &Value) {
    assert_eq!(decoded(visitor, wire), *value);
    assert_eq!(words(visitor, value), wire);
}

/// The specification's own example (Modbus Application Protocol 1.1b3, 6.3): register 108 holds 0x022B, 555.
#[test]
fn the_example_of_the_specification() {
    both_ways(&of(Number::U16, "AB", DataType::Int), &[0x022B], &Value::Int(555));
}

/// Energy meters of the SDM family: 32-bit floats, high register first; 230.2 V is 0x43663333.
#[test]
fn a_meter_with_floats_high_register_first() {
    let volts = of(Number::F32, "ABCD", DataType::Float);
    both_ways(&volts, &[0x4366, 0x3333], &Value::Float(230.2));
    // What a person wrote, and not 230.1999969482422, which is what the 32 bits are.
    let volts = Visitor { data_type: DataType::Double, ..volts };
    both_ways(&volts, &[0x4366, 0x3333], &Value::Double(230.2));
    let volts = Visitor { data_type: DataType::String, ..volts };
    both_ways(&volts, &[0x4366, 0x3333], &Value::String("230.2".into()));
}

#[test]
fn signed_numbers_and_every_width() {
    both_ways(&of(Number::I16, "AB", DataType::Int), &[0xFFD8], &Value::Int(-40));
    both_ways(&of(Number::I16, "BA", DataType::Int), &[0xD8FF], &Value::Int(-40));
    both_ways(&of(Number::I32, "CDAB", DataType::Int), &[0xFFFE, 0xFFFF], &Value::Int(-2));
    both_ways(&of(Number::U32, "ABCD", DataType::Int), &[0xFFFF, 0xFFFE], &Value::Int(0xFFFF_FFFE));
    let energy = of(Number::I64, "CDAB", DataType::Int);
    both_ways(&energy, &[4, 3, 2, 1], &Value::Int(0x0001_0002_0003_0004));
    let wide = of(Number::F64, "ABCD", DataType::Double);
    both_ways(&wide, &[0x3FF8, 0, 0, 0], &Value::Double(1.5));
}

#[test]
fn kubeedges_swaps_keep_their_meaning() {
    // Registers 1, 2 with both swaps: registers reversed first (2, 1), then the bytes of each.
    let both = Raw::Number { number: Number::U32, order: Order::swapped(4, true, true) };
    both_ways(&holding(both, 2, DataType::Int), &[0x0100, 0x0200], &Value::Int(0x0002_0001));
}

#[test]
fn a_scaled_register_shows_no_float_noise_and_rounds_when_written() {
    let mut speed = of(Number::U16, "AB", DataType::Double);
    speed.scale = Scale::new(0.1, 0.0);
    both_ways(&speed, &[219], &Value::Double(21.9));
    assert_eq!(words(&speed, &Value::Double(21.94)), [219]);
    assert_eq!(words(&speed, &Value::Double(21.95)), [220]);
    speed.data_type = DataType::Float;
    both_ways(&speed, &[219], &Value::Float(21.9));
    let mut celsius = of(Number::U16, "AB", DataType::Float);
    celsius.scale = Scale::new(0.1, -40.0);
    both_ways(&celsius, &[0], &Value::Float(-40.0));
}

#[test]
fn a_value_out_of_range_is_refused_as_invalid_and_names_the_range() {
    let mut level = of(Number::U16, "AB", DataType::Float);
    level.scale = Scale::new(0.1, 0.0);
    let fault = encode(&level, &Value::Float(6553.6)).unwrap_err();
    assert_eq!(fault.ack_code(), AckCode::Invalid);
    assert_eq!(
        fault.to_string(),
        "refused by the device: 6553.6 is outside of 0 to 6553.5, which is what the u16 can hold"
    );
    for value in [Value::Float(-0.1), Value::Float(f32::NAN), Value::Float(f32::INFINITY)] {
        assert_eq!(encode(&level, &value).unwrap_err().ack_code(), AckCode::Invalid, "{value}");
    }
    let narrow = of(Number::F32, "ABCD", DataType::Double);
    assert!(encode(&narrow, &Value::Double(1e39)).is_err());
    assert!(encode(&of(Number::I16, "AB", DataType::Int), &Value::Int(32_768)).is_err());
}

#[test]
fn a_marker_for_no_value_and_a_nan_are_no_data() {
    let mut temperature = of(Number::I16, "AB", DataType::Float);
    temperature.invalid = vec![0x8000];
    let fault = decode(&temperature, &[0x8000]).unwrap_err();
    assert_eq!(fault.quality_code(), QualityCode::NoData);
    let volts = of(Number::F32, "ABCD", DataType::Float);
    assert_eq!(decode(&volts, &[0x7FC0, 0]).unwrap_err().quality_code(), QualityCode::NoData);
}

#[test]
fn a_large_counter_that_fits_no_int_is_undecodable() {
    let counter = of(Number::U64, "ABCD", DataType::Int);
    let fault = decode(&counter, &[0xFFFF; 4]).unwrap_err();
    assert!(matches!(fault, PropertyFault::Undecodable { .. }), "{fault}");
    let counter = Visitor { data_type: DataType::Double, ..counter };
    assert_eq!(decoded(&counter, &[0xFFFF; 4]), Value::Double(18_446_744_073_709_551_615.0));
}

#[test]
fn parts_of_a_register_leave_the_rest_alone() {
    let order = Order::big_endian(2);
    let alarm = Raw::Field { first: 3, bits: 1, signed: false, order };
    let alarm = holding(alarm, 1, DataType::Boolean);
    assert_eq!(decoded(&alarm, &[0x0008]), Value::Boolean(true));
    assert_eq!(decoded(&alarm, &[0xFFF7]), Value::Boolean(false));
    assert_eq!(encode(&alarm, &Value::Boolean(true)).unwrap().over(0x8001), [0x8009]);
    assert_eq!(encode(&alarm, &Value::Boolean(false)).unwrap().over(0xFFFF), [0xFFF7]);

    let high = Raw::Field { first: 8, bits: 8, signed: true, order };
    let high = holding(high, 1, DataType::Int);
    assert_eq!(decoded(&high, &[0xFE07]), Value::Int(-2));
    assert_eq!(encode(&high, &Value::Int(-1)).unwrap().over(0x1234), [0xFF34]);
    assert!(encode(&high, &Value::Int(128)).is_err());

    let swapped =
        Raw::Field { first: 0, bits: 4, signed: false, order: Order::swapped(2, true, false) };
    let swapped = holding(swapped, 1, DataType::Int);
    assert_eq!(decoded(&swapped, &[0x0A00]), Value::Int(10));
    assert_eq!(encode(&swapped, &Value::Int(5)).unwrap().over(0xF0F0), [0xF5F0]);
}

#[test]
fn text_ends_at_the_first_nul_and_loses_its_padding() {
    let raw = Raw::Octets { text: true, swap_bytes: false, swap_registers: false };
    let name = holding(raw, 4, DataType::String);
    assert_eq!(decoded(&name, &[0x5032, 0x3030, 0, 0x4141]), Value::String("P200".into()));
    assert_eq!(decoded(&name, &[0x4142, 0x2020, 0x2020, 0x2020]), Value::String("AB".into()));
    assert_eq!(words(&name, &Value::String("abc".into())), [0x6162, 0x6300, 0, 0]);
    assert!(encode(&name, &Value::String("nine long".into())).is_err());
    assert!(decode(&name, &[0xFFFF; 4]).is_err());
    let raw = Raw::Octets { text: true, swap_bytes: true, swap_registers: false };
    let name = holding(raw, 2, DataType::String);
    both_ways(&name, &[0x3250, 0x3030], &Value::String("P200".into()));
}

#[test]
fn rows_of_bits() {
    let row = |width, data_type| Visitor {
        read: Place { table: Table::Coils, address: 0 },
        ..holding(Raw::Row, width, data_type)
    };
    both_ways(&row(1, DataType::Boolean), &[1], &Value::Boolean(true));
    both_ways(&row(1, DataType::Int), &[0], &Value::Int(0));
    both_ways(&row(4, DataType::Int), &[1, 0, 1, 1], &Value::Int(0b1101));
    let bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0];
    both_ways(&row(10, DataType::Bytes), &bits, &Value::Bytes(vec![0xCD, 0x01]));
    assert!(encode(&row(1, DataType::Int), &Value::Int(2)).is_err());
    assert!(encode(&row(10, DataType::Bytes), &Value::Bytes(vec![1])).is_err());
}

#[test]
fn the_wrong_number_of_words_is_undecodable() {
    let volts = of(Number::F32, "ABCD", DataType::Float);
    assert!(decode(&volts, &[1]).is_err());
    assert!(decode(&volts, &[1, 2, 3]).is_err());
}

fn any_number() -> impl Strategy<Value = (Number, Order)> {
    let numbers = vec![
        Number::U16,
        Number::I16,
        Number::U32,
        Number::I32,
        Number::U64,
        Number::I64,
        Number::F32,
        Number::F64,
    ];
    (prop::sample::select(numbers), prop::sample::select(vec!["ABCD", "BADC", "CDAB", "DCBA"]))
        .prop_map(|(number, order)| (number, Order::parse(order, number.bytes()).unwrap()))
}

fn any_visitor() -> impl Strategy<Value = Visitor> {
    let raw = prop_oneof![
        (1u16..40).prop_map(|width| (Raw::Row, width)),
        any_number().prop_map(|(number, order)| {
            (Raw::Number { number, order }, u16::from(number.bytes() / 2))
        }),
        (0u8..16, 1u8..=16, any::<bool>(), any::<bool>()).prop_map(
            |(first, bits, signed, swap)| {
                let bits = bits.min(16 - first);
                (Raw::Field { first, bits, signed, order: Order::swapped(2, swap, false) }, 1)
            }
        ),
        (1u16..20, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(width, text, swap_bytes, swap_registers)| {
                (Raw::Octets { text, swap_bytes, swap_registers }, width)
            }
        ),
    ];
    let types = vec![
        DataType::Int,
        DataType::Float,
        DataType::Double,
        DataType::String,
        DataType::Boolean,
        DataType::Bytes,
    ];
    let scale = prop_oneof![
        Just(Scale::Identity),
        prop::sample::select(vec![0.1, 0.01, -0.5, 10.0, 1.0 / 3.0])
            .prop_flat_map(|factor| (-100.0f64..100.0).prop_map(move |o| Scale::new(factor, o))),
    ];
    (raw, prop::sample::select(types), scale)
        .prop_map(|((raw, width), data_type, scale)| Visitor {
            scale,
            ..holding(raw, width, data_type)
        })
        .boxed()
}

proptest! {
    #[test]
    fn whole_numbers_survive((number, order) in any_number(), words in prop::collection::vec(any::<u16>(), 4)) {
        let width = usize::from(number.bytes() / 2);
        let data_type = if number.is_float() { DataType::Double } else { DataType::Int };
        let visitor = holding(Raw::Number { number, order }, u16::from(number.bytes() / 2), data_type);
        if let Ok(sample) = decode(&visitor, &words[..width]) {
            prop_assert_eq!(encode(&visitor, &sample.value).unwrap().over(0), &words[..width]);
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        (number, order) in any_number().prop_filter("whole", |(number, _)| !number.is_float() && number.bytes() < 8),
        factor in prop::sample::select(vec![1.0, 0.1, 0.01, -0.25, 5.0]),
        raw: u32,
    ) {
        let mut visitor = holding(Raw::Number { number, order }, u16::from(number.bytes() / 2), DataType::Double);
        visitor.scale = Scale::new(factor, -40.0);
        let integer = visitor.raw.integer(visitor.width).unwrap();
        let raw = integer.value(u64::from(raw) & ((1u64 << integer.bits) - 1));
        let value = Value::Double(visitor.scale.integer_to_float(raw));
        let words = encode(&visitor, &value).unwrap().over(0);
        prop_assert_eq!(decode(&visitor, &words).unwrap().value, value);
    }

    /// IEEE 754: 32 bits keep each decimal of six digits. An offset that is far larger takes some of them.
    #[test]
    fn a_float_register_shows_what_was_desired(
        number in prop::sample::select(vec![Number::F32, Number::F64]),
        data_type in prop::sample::select(vec![DataType::Double, DataType::Float, DataType::String]),
        digits in -999_999i32..=999_999,
        exponent in -6i32..6,
        factor in prop_oneof![
            prop::sample::select(vec![1.0, 0.1, 1000.0, -0.25, 0.7, 1.8, 3.6, 1.0 / 3.0]),
            1e-3..1e3,
        ],
        offset in prop::sample::select(vec![0.0, 32.0, -273.15]),
    ) {
        let desired: f64 = format!("{digits}e{exponent}").parse().unwrap();
        let offset = if (desired - offset).abs() <= desired.abs() * 4.0 { offset } else { 0.0 };
        let desired = Value::parse(data_type, &desired.to_string()).unwrap();
        let visitor = Visitor { scale: Scale::new(factor, offset), ..of(number, "ABCD", data_type) };
        let words = encode(&visitor, &desired).unwrap().over(0);
        prop_assert_eq!(decode(&visitor, &words).unwrap().value, desired);
    }

    /// More digits than a register keeps are cut, but what is read is written as the same bits.
    #[test]
    fn what_a_float_register_shows_means_the_same_bits(
        desired in -1e9f64..1e9,
        factor in prop::sample::select(vec![1.0, 0.1, -0.25, 0.7, 1.8]),
        offset in prop::sample::select(vec![0.0, 32.0]),
    ) {
        let visitor =
            Visitor { scale: Scale::new(factor, offset), ..of(Number::F32, "CDAB", DataType::Double) };
        let words = encode(&visitor, &Value::Double(desired)).unwrap().over(0);
        let shown = decode(&visitor, &words).unwrap().value;
        prop_assert_eq!(encode(&visitor, &shown).unwrap().over(0), words);
    }

    #[test]
    fn text_and_octets_survive(text in "[a-zA-Z0-9äöü ]{0,12}", swap_bytes: bool, swap_registers: bool) {
        let raw = Raw::Octets { text: true, swap_bytes, swap_registers };
        let visitor = holding(raw, 12, DataType::String);
        let words = encode(&visitor, &Value::String(text.clone())).unwrap().over(0);
        prop_assert_eq!(decode(&visitor, &words).unwrap().value, Value::String(text.trim_end_matches(' ').into()));
        let raw = Raw::Octets { text: false, swap_bytes, swap_registers };
        let visitor = holding(raw, 12, DataType::Bytes);
        let octets = Value::Bytes(words.iter().flat_map(|word| word.to_be_bytes()).collect());
        let words = encode(&visitor, &octets).unwrap().over(0);
        prop_assert_eq!(decode(&visitor, &words).unwrap().value, octets);
    }

    #[test]
    fn no_words_and_no_value_make_it_panic(
        visitor in any_visitor(),
        words in prop::collection::vec(any::<u16>(), 0..40),
        before: u16,
        int: i64,
        double: f64,
        text in ".{0,30}",
    ) {
        let _ = decode(&visitor, &words);
        let mut right: Vec<u16> = words;
        right.resize(usize::from(visitor.width), before);
        let _ = decode(&visitor, &right);
        #[expect(clippy::cast_possible_truncation, reason = "any float will do")]
        let float = double as f32;
        for value in [
            Value::Int(int),
            Value::Double(double),
            Value::Float(float),
            Value::Boolean(true),
            Value::String(text.clone()),
            Value::Bytes(text.into_bytes()),
        ] {
            if let Ok(encoded) = encode(&visitor, &value) {
                prop_assert_eq!(encoded.over(before).len(), usize::from(visitor.width));
            }
        }
    }
}
