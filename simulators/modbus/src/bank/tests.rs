//! What moves in a bank, and how writes stop it.

use super::*;
use crate::encoding::RawType;
use crate::layout::{Initial, Place};
use crate::signal::{Signal, Wave};

fn place(table: Table, address: u16, raw: RawType) -> Place {
    Place { unit: 1, table, address, encoding: raw.into() }
}

fn ramp() -> Signal {
    Signal { wave: Wave::Ramp, minimum: 0.0, maximum: 100.0, period: 100.0, step: 1.0 }
}

fn word(bank: &mut Bank, table: Table, address: u16, now: f64) -> u16 {
    bank.read(table, address, 1, now).unwrap()[0]
}

#[test]
fn holes_do_not_exist() {
    let mut layout = Layout::default();
    layout.put(Table::Holding, 10, &[1, 2, 3]);
    layout.put(Table::Holding, 13, &[4]);
    layout.put(Table::Holding, 20, &[5]);
    let mut bank = Bank::new(layout, 0);
    assert_eq!(bank.read(Table::Holding, 10, 4, 0.0).unwrap(), [1, 2, 3, 4]);
    for (start, count) in [(9, 1), (13, 2), (10, 11), (20, 2), (65535, 2)] {
        assert!(bank.read(Table::Holding, start, count, 0.0).is_err(), "{start}+{count}");
    }
    assert!(bank.read(Table::Input, 10, 1, 0.0).is_err());
}

#[test]
fn a_wave_is_computed_when_it_is_read_whatever_part_of_it() {
    let mut layout = Layout::default();
    let wave = place(Table::Input, 5, RawType::F64);
    layout.put(Table::Input, 0, &[0; 20]);
    layout.wave(&wave, ramp());
    let mut bank = Bank::new(layout, 0);
    let whole = bank.read(Table::Input, 0, 20, 25.0).unwrap();
    assert_eq!(whole[5..9], [0x4039, 0, 0, 0], "25.0");
    assert_eq!(word(&mut bank, Table::Input, 8, 0.1), 0x999A, "the last register of 0.1");
}

#[test]
fn what_is_written_to_a_wave_stands() {
    let mut layout = Layout::default();
    layout.put(Table::Holding, 0, &[0; 4]);
    layout.wave(&place(Table::Holding, 0, RawType::U16), ramp());
    layout.wave(&place(Table::Holding, 1, RawType::U16), ramp());
    let mut bank = Bank::new(layout, 0);
    bank.write(Table::Holding, 0, &[7], 10.0).unwrap();
    assert_eq!(bank.read(Table::Holding, 0, 2, 50.0).unwrap(), [7, 50]);
}

#[test]
fn a_follower_goes_where_the_setpoint_went_at_the_time_it_went() {
    let (goal, shown) =
        (place(Table::Holding, 0, RawType::U16), place(Table::Input, 0, RawType::U16));
    let mut layout = Layout::default();
    layout.place(&goal, &Initial::Number(0.0));
    layout.place(&shown, &Initial::Number(0.0));
    layout.follow(&shown, &goal, 2.0);
    let mut bank = Bank::new(layout, 0);
    assert_eq!(word(&mut bank, Table::Input, 0, 0.0), 0);
    bank.write(Table::Holding, 0, &[1000], 10.0).unwrap();
    assert_eq!(word(&mut bank, Table::Input, 0, 12.0), 632, "one time constant after the write");
    assert_eq!(word(&mut bank, Table::Input, 0, 40.0), 1000);
}

#[test]
fn a_follower_beside_its_goal_does_not_turn_in_circles() {
    let mut layout = Layout::default();
    let (shown, goal) =
        (place(Table::Holding, 0, RawType::U16), place(Table::Holding, 1, RawType::U16));
    layout.put(Table::Holding, 0, &[0, 9]);
    layout.follow(&shown, &goal, 0.0);
    let mut bank = Bank::new(layout, 0);
    assert_eq!(bank.read(Table::Holding, 0, 2, 1.0).unwrap(), [9, 9]);
}

#[test]
fn bits_of_one_register_move_each_by_itself() {
    let mut layout = Layout::default();
    let square = |period| Signal { wave: Wave::Square, maximum: 1.0, period, ..ramp() };
    let bit = |first| place(Table::Input, 0, RawType::Bits { first, count: 1 });
    layout.put(Table::Input, 0, &[0x8000]);
    layout.wave(&bit(0), square(2.0));
    layout.wave(&bit(3), square(4.0));
    let mut bank = Bank::new(layout, 0);
    let at = |bank: &mut Bank, now| word(bank, Table::Input, 0, now);
    assert_eq!(
        [0.5, 1.5, 2.5, 3.5].map(|now| at(&mut bank, now)),
        [0x8000, 0x8001, 0x8008, 0x8009]
    );
}
