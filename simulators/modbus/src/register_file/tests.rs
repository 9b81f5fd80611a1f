//! What a register file may say, and what it is told otherwise.

use crate::Blueprint;
use crate::table::Table;
use crate::units::Units;

fn read(text: &str, unit: u8, table: Table, start: u16, count: u16) -> Vec<u16> {
    let Blueprint { layouts, places, seed } = Blueprint::parse(text).unwrap();
    let units = Units::new(layouts, places, seed);
    units.bank(unit).unwrap().read(table, start, count, 0.0).unwrap()
}

#[test]
fn cells_ranges_lists_and_typed_values_are_taken() {
    let text = "
units:
  1:
    holding:
      0: 42
      1: -2
      10-12: 5
      20: [1, 2, 3]
      30-31: [8, 9]
      40: {rawType: f32, order: CDAB, simValue: 21.5}
      42: {rawType: string, count: 2, simValue: ab}
    coils: {0: true, 1: 0, 8-9: false}
    InputRegister: {0: {rawType: i16, scale: 0.1, simWave: square, simMin: -5, simPeriod: 10s}}
";
    let holding = |start, count| read(text, 1, Table::Holding, start, count);
    assert_eq!(holding(0, 2), [42, 0xFFFE]);
    assert_eq!(holding(10, 3), [5, 5, 5]);
    assert_eq!(holding(20, 3), [1, 2, 3]);
    assert_eq!(holding(30, 2), [8, 9]);
    assert_eq!(holding(40, 2), [0x0000, 0x41AC]);
    assert_eq!(holding(42, 2), [0x6162, 0]);
    assert_eq!(read(text, 1, Table::Coils, 0, 2), [1, 0]);
    assert_eq!(read(text, 1, Table::Input, 0, 1), [0xFFCE], "-5.0 in tenths");
}

#[test]
fn problems_name_field_value_and_remedy_all_at_once() {
    let text = "
units:
  300: {}
  1:
    holding: {70000: 1, 5-3: 1, 6: 70000, 7: yes, 8-9: [1, 2, 3], 65535: [1, 2], 10: {scale: 2}, 11: {rawType: u8}}
    coils: {0: 2}
    outputs: {0: 1}
    discrete: 5
";
    let error = Blueprint::parse(text).unwrap_err().to_string();
    for line in [
        "units.300: 300: write a unit from 1 to 247",
        "units.1.holding.70000: 70000: write an address from 0 to 65535",
        "units.1.holding.5-3: 5-3: write an address",
        "units.1.holding.6: 70000: write a number from -32768 to 65535",
        "units.1.holding.8-9: [1,2,3]: write 2 values, not 3",
        "units.1.holding.65535: 65535: end at address 65535",
        "units.1.holding.10.rawType: nothing: name the type",
        "units.1.holding.11.rawType: \"u8\": write i16",
        "units.1.coils.0: 2: write true or false",
        "units.1.outputs: outputs: write CoilRegister",
        "units.1.discrete: 5: write a mapping",
    ] {
        assert!(error.contains(line), "{line}\n--\n{error}");
    }
}

#[test]
fn an_empty_file_says_what_to_write() {
    let error = Blueprint::from_register_file("units: {}").unwrap_err().to_string();
    assert!(error.contains("write at least one unit"), "{error}");
}
