use super::*;
use crate::fixture::{device, ranged};
use crate::table::Table;

const TCP: &str = "{ip: h}";

#[track_caller]
fn read_of(device: &Device) -> Result<Visitor, Problem> {
    Visitor::read(device, &device.properties[0])
}

#[track_caller]
fn read(data_type: &str, visitor: &str) -> Visitor {
    read_of(&device(TCP, data_type, "ReadOnly", visitor)).unwrap()
}

#[track_caller]
fn problem(protocol: &str, data_type: &str, access: &str, visitor: &str) -> String {
    read_of(&device(protocol, data_type, access, visitor)).unwrap_err().to_string()
}

fn number(number: Number, order: &str) -> Raw {
    Raw::Number { number, order: Order::parse(order, number.bytes()).unwrap() }
}

#[test]
fn a_kubeedge_visitor_as_it_stands() {
    let visitor = read(
        "FLOAT",
        "{register: HoldingRegister, offset: 4, limit: 1, scale: 0.1, isSwap: false, isRegisterSwap: false, dataType: float, max: 10, min: 0}",
    );
    assert_eq!(visitor.read, Place { table: Table::HoldingRegisters, address: 4 });
    assert_eq!((visitor.width, visitor.raw), (1, number(Number::U16, "AB")));
    assert_eq!(visitor.scale, Scale::new(0.1, 0.0));
    assert_eq!(visitor.write, None);
    let swapped = read(
        "INT",
        "{Register: INPUTREGISTER, Offset: \"0x10\", Limit: \"2\", isSwap: \"true\", isRegisterSwap: true}",
    );
    assert_eq!(swapped.read, Place { table: Table::InputRegisters, address: 16 });
    assert_eq!(swapped.raw, number(Number::U32, "DCBA"));
}

#[test]
fn type_and_limit_suggest_what_the_registers_hold() {
    for (data_type, visitor, raw, width) in [
        ("INT", "", Number::U16, 1),
        ("INT", "limit: 2", Number::U32, 2),
        ("INT", "limit: 4", Number::U64, 4),
        ("FLOAT", "", Number::F32, 2),
        ("FLOAT", "limit: 1", Number::U16, 1),
        ("FLOAT", "limit: 2", Number::F32, 2),
        ("FLOAT", "limit: 2, dataType: int", Number::U32, 2),
        ("DOUBLE", "", Number::F64, 4),
        ("DOUBLE", "limit: 2", Number::F32, 2),
        ("BOOLEAN", "", Number::U16, 1),
        ("INT", "dataType: double, limit: 4", Number::F64, 4),
        ("INT", "rawType: INT16", Number::I16, 1),
        ("DOUBLE", "rawType: uint32", Number::U32, 2),
    ] {
        let read = read(data_type, &format!("{{register: holding, offset: 0, {visitor}}}"));
        assert_eq!((read.raw, read.width), (number(raw, "ABCD"), width), "{data_type} {visitor}");
    }
}

#[test]
fn a_model_that_allows_negative_values_means_a_sign() {
    let device =
        ranged(TCP, "FLOAT", "ReadOnly", "{register: holding, offset: 0, limit: 1}", "-20");
    assert_eq!(read_of(&device).unwrap().raw, number(Number::I16, "AB"));
}

#[test]
fn addresses_in_every_notation() {
    let of = |protocol: &str, visitor: &str| {
        read_of(&device(protocol, "INT", "ReadOnly", visitor)).map(|visitor| visitor.read)
    };
    let hundred = Place { table: Table::HoldingRegisters, address: 100 };
    assert_eq!(of(TCP, "{register: holding, offset: 100}"), Ok(hundred));
    assert_eq!(of(TCP, "{address: \"holding:100\"}"), Ok(hundred));
    assert_eq!(of(TCP, "{address: \"Holding:0x64\"}"), Ok(hundred));
    assert_eq!(of(TCP, "{address: 40101}"), Ok(hundred));
    assert_eq!(of("{ip: h, addressBase: 1}", "{address: \"400101\"}"), Ok(hundred));
    assert_eq!(of("{ip: h, addressBase: 1}", "{address: \"holding:101\"}"), Ok(hundred));
    assert_eq!(of("{ip: h, addressBase: 1}", "{register: holding, offset: 101}"), Ok(hundred));
    let text =
        problem("{ip: h, addressBase: 1}", "INT", "ReadOnly", "{register: holding, offset: 0}");
    assert!(text.contains("addressBase is 1, so there is no address 0"), "{text}");
    for wrong in ["100", "holding", "holding:x", "hold:1", "50001", "holding:65536"] {
        let text = problem(TCP, "INT", "ReadOnly", &format!("{{address: \"{wrong}\"}}"));
        assert!(text.contains("not an address"), "{text}");
    }
    let text = problem(TCP, "INT", "ReadOnly", "{address: \"holding:1\", offset: 1}");
    assert!(text.contains("stands beside offset"), "{text}");
    let text = problem(TCP, "INT", "ReadOnly", "{address: \"30001\", register: coil}");
    assert!(text.contains("names the table InputRegister"), "{text}");
}

#[test]
fn where_it_is_written() {
    let of = |visitor: &str| read_of(&device(TCP, "INT", "ReadWrite", visitor)).unwrap().write;
    let at = |table, address| Some(Place { table, address });
    assert_eq!(of("{register: holding, offset: 5}"), at(Table::HoldingRegisters, 5));
    assert_eq!(
        of("{register: holding, offset: 5, writeOffset: 9}"),
        at(Table::HoldingRegisters, 9)
    );
    assert_eq!(
        of("{register: input, offset: 5, writeRegister: holding}"),
        at(Table::HoldingRegisters, 5)
    );
    assert_eq!(
        of("{register: discrete, offset: 5, writeRegister: coil, writeOffset: 1}"),
        at(Table::Coils, 1)
    );
    let text = problem(TCP, "INT", "ReadWrite", "{register: InputRegister, offset: 0}");
    assert_eq!(
        text,
        "spec.properties[it].visitors.configData.register = \"InputRegister\": this table cannot be written, but the model says ReadWrite; set accessMode: ReadOnly, or name a writeRegister"
    );
    let text =
        problem(TCP, "INT", "ReadWrite", "{register: input, offset: 0, writeRegister: coil}");
    assert!(text.contains("do not hold the same"), "{text}");
}

#[test]
fn parts_of_a_register_text_and_octets() {
    let bit = read("BOOLEAN", "{register: holding, offset: 0, bit: 15}");
    assert!(matches!(bit.raw, Raw::Field { first: 15, bits: 1, signed: false, .. }));
    let half = read("INT", "{register: holding, offset: 0, rawType: i8h}");
    assert!(matches!(half.raw, Raw::Field { first: 8, bits: 8, signed: true, .. }));
    let name = read("STRING", "{register: holding, offset: 0, limit: 8, isSwap: true}");
    assert_eq!(name.raw, Raw::Octets { text: true, swap_bytes: true, swap_registers: false });
    assert_eq!(name.width, 8);
    let row = read("INT", "{register: coil, offset: 0, limit: 8}");
    assert_eq!((row.raw, row.width), (Raw::Row, 8));
}

#[test]
fn the_devices_order_counts_where_the_property_names_none() {
    let of = |visitor: &str| {
        let device = device("{ip: h, order: CDAB}", "INT", "ReadOnly", visitor);
        read_of(&device).unwrap().raw
    };
    assert_eq!(of("{register: holding, offset: 0, limit: 2}"), number(Number::U32, "CDAB"));
    assert_eq!(
        of("{register: holding, offset: 0, limit: 2, order: ABCD}"),
        number(Number::U32, "ABCD")
    );
    assert_eq!(of("{register: holding, offset: 0}"), number(Number::U16, "AB"));
}

#[test]
fn markers_for_no_value() {
    let of = |visitor: &str| read("FLOAT", visitor).invalid;
    assert_eq!(
        of("{register: holding, offset: 0, rawType: i16, invalidValues: \"0x8000, -1\"}"),
        [0x8000, 0xFFFF]
    );
    assert_eq!(
        of("{register: holding, offset: 0, rawType: f32, invalidValues: -9999}"),
        [u64::from((-9999f32).to_bits())]
    );
    let text = problem(
        TCP,
        "INT",
        "ReadOnly",
        "{register: holding, offset: 0, invalidValues: \"0x10000\"}",
    );
    assert!(text.contains("\"0x10000\" is no u16"), "{text}");
}

#[test]
fn what_cannot_work_is_refused_with_a_remedy() {
    for (data_type, visitor, says) in [
        ("INT", "{offset: 0}", "register: missing"),
        ("INT", "{register: holding}", "offset: missing"),
        ("INT", "{register: Holdnig, offset: 0}", "unknown table"),
        ("INT", "{register: holding, offset: 0, limit: 3}", "write 1, 2 or 4, or give a rawType"),
        (
            "INT",
            "{register: holding, offset: 0, rawType: u32, limit: 1}",
            "u32 fills 2 register(s); write 2",
        ),
        ("INT", "{register: holding, offset: 65535, limit: 2}", "past the last address"),
        ("INT", "{register: holding, offset: 0, order: XY}", "not an order of bytes"),
        (
            "INT",
            "{register: holding, offset: 0, order: ABCDEFGH}",
            "the value has 2 bytes; write 2 letters",
        ),
        ("INT", "{register: holding, offset: 0, order: AB, isSwap: true}", "stands beside order"),
        ("INT", "{register: holding, offset: 0, rawType: bits}", "missing beside rawType bits"),
        ("INT", "{register: holding, offset: 0, bit: 16}", "out of range"),
        ("INT", "{register: holding, offset: 0, bit: 15, bitCount: 2}", "goes past the register"),
        ("INT", "{register: holding, offset: 0, rawType: f16}", "unknown type"),
        ("INT", "{register: coil, offset: 0, rawType: i16}", "coils and inputs hold bits"),
        ("BOOLEAN", "{register: coil, offset: 0, limit: 2}", "2 of bit makes no BOOLEAN"),
        (
            "BYTES",
            "{register: holding, offset: 0, limit: 1, rawType: i16}",
            "1 of i16 makes no BYTES",
        ),
        ("STRING", "{register: holding, offset: 0}", "missing for text and octets"),
        ("STRING", "{register: holding, offset: 0, limit: 126}", "write at most 125"),
        ("INT", "{register: holding, offset: 0, scale: big}", "not a number"),
    ] {
        let text = problem(TCP, data_type, "ReadOnly", visitor);
        assert!(text.contains(says), "{visitor}: {text}");
    }
    let text =
        problem("{ip: h, tables: \"holding\"}", "INT", "ReadOnly", "{register: coil, offset: 0}");
    assert!(text.contains("the device allows only holding"), "{text}");
    let text =
        problem("{ip: h, maxWords: 1}", "FLOAT", "ReadOnly", "{register: holding, offset: 0}");
    assert!(text.contains("the device's maxWords"), "{text}");
}
