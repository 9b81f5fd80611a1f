//! What a unit has when it starts: the plan that manifests and register files are read into.

use std::collections::BTreeMap;

use crate::encoding::Encoding;
use crate::live::{Live, Source};
use crate::signal::Signal;
use crate::table::Table;

/// Where a named value stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Which unit.
    pub unit: u8,
    /// Which table.
    pub table: Table,
    /// First address, counted from 0.
    pub address: u16,
    /// How it stands there; without meaning in the tables of bits.
    pub encoding: Encoding,
}

impl Place {
    /// How many addresses it takes.
    pub fn count(&self) -> u16 {
        if self.table.is_bits() { 1 } else { self.encoding.raw.words() }
    }
}

/// What a value is at the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Initial {
    /// A number in the property's unit; booleans are 0 and 1.
    Number(f64),
    /// An integer that goes into the registers as it stands.
    Raw(i128),
    /// Text or bytes.
    Bytes(Vec<u8>),
}

/// The tables of one unit before it starts.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub(crate) coils: BTreeMap<u16, bool>,
    pub(crate) discrete: BTreeMap<u16, bool>,
    pub(crate) input: BTreeMap<u16, u16>,
    pub(crate) holding: BTreeMap<u16, u16>,
    pub(crate) live: Vec<Live>,
}

impl Layout {
    /// Makes the addresses from `start` exist and puts `values` there; anything but 0 sets a bit. Addresses past 65535
    /// are left out.
    pub fn put(&mut self, table: Table, start: u16, values: &[u16]) {
        for (address, &value) in (start..=u16::MAX).zip(values) {
            match table {
                Table::Coils => drop(self.coils.insert(address, value != 0)),
                Table::Discrete => drop(self.discrete.insert(address, value != 0)),
                Table::Input => drop(self.input.insert(address, value)),
                Table::Holding => drop(self.holding.insert(address, value)),
            }
        }
    }

    /// Makes the addresses of `place` exist, with `initial` in them.
    pub fn place(&mut self, place: &Place, initial: &Initial) {
        if place.table.is_bits() {
            let on = match initial {
                Initial::Number(number) => *number >= 0.5,
                Initial::Raw(number) => *number != 0,
                Initial::Bytes(bytes) => bytes.iter().any(|&byte| byte != 0),
            };
            return self.put(place.table, place.address, &[on.into()]);
        }
        // Bits of one register are placed one after the other, so what is there already stays.
        let table = if place.table == Table::Holding { &self.holding } else { &self.input };
        let mut words: Vec<u16> = (place.address..=u16::MAX)
            .take(place.count().into())
            .map(|address| table.get(&address).copied().unwrap_or_default())
            .collect();
        match initial {
            Initial::Number(number) => place.encoding.store(*number, &mut words),
            Initial::Raw(raw) => place.encoding.store_raw(*raw, &mut words),
            Initial::Bytes(bytes) => place.encoding.store_bytes(bytes, &mut words),
        }
        self.put(place.table, place.address, &words);
    }

    /// Lets the value at `place`, which exists, move with `signal`.
    pub fn wave(&mut self, place: &Place, signal: Signal) {
        self.live.push(Live {
            table: place.table,
            address: place.address,
            encoding: place.encoding,
            source: Source::Signal(signal),
        });
    }

    /// Lets the value at `place` follow the one at `goal`, with a lag of `time_constant` seconds. `goal` must not follow
    /// anything itself.
    pub fn follow(&mut self, place: &Place, goal: &Place, time_constant: f64) {
        self.live.push(Live {
            table: place.table,
            address: place.address,
            encoding: place.encoding,
            source: Source::Follow {
                table: goal.table,
                address: goal.address,
                encoding: goal.encoding,
                time_constant,
                state: None,
            },
        });
    }
}
