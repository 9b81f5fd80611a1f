//! The registers of one unit, and what a request does to them.

mod advance;
mod blocks;

use blocks::Blocks;

use crate::codec::{Exception, Request};
use crate::encoding::Encoding;
use crate::layout::Layout;
use crate::live::Live;
use crate::table::Table;

/// An address, or one of several, that the unit does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {table} {start} to {}: the unit's manifest or register file has no such address",
    u32::from(*start) + u32::from(*count) - u32::from(*count > 0))]
pub struct NoSuchRegister {
    /// In which table.
    pub table: Table,
    /// First address asked for.
    pub start: u16,
    /// How many.
    pub count: u16,
}

/// Four tables with the values that move in them.
///
/// Moving values are computed when they are read, so a bank that nobody asks costs nothing. A write to
/// a moving value stops it: what was written stands from then on.
#[derive(Debug)]
pub(crate) struct Bank {
    coils: Blocks<bool>,
    discrete: Blocks<bool>,
    input: Blocks<u16>,
    holding: Blocks<u16>,
    live: Vec<Live>,
    seed: u64,
}

impl Bank {
    pub(crate) fn new(layout: Layout, seed: u64) -> Self {
        let mut live = layout.live;
        live.sort_by_key(|live| (live.table, live.address));
        Self {
            coils: Blocks::new(layout.coils),
            discrete: Blocks::new(layout.discrete),
            input: Blocks::new(layout.input),
            holding: Blocks::new(layout.holding),
            live,
            seed,
        }
    }

    /// Carries out `request`, `now` seconds after the start, and appends the PDU of the answer to `out`. On an error
    /// nothing was appended and nothing written.
    pub(crate) fn answer(
        &mut self,
        request: &Request<'_>,
        now: f64,
        out: &mut Vec<u8>,
    ) -> Result<(), Exception> {
        let function = request.function();
        match *request {
            Request::ReadBits { table, start, count } => {
                self.refresh(table, start, count, now);
                let bits = self.bits(table, start, count).map_err(illegal)?;
                out.extend([function, byte(bits.len().div_ceil(8))]);
                out.extend(bits.chunks(8).map(pack));
            }
            Request::ReadWords { table, start, count } => {
                self.read_words(function, table, start, count, now, out)?;
            }
            Request::WriteCoil { address, on } => {
                self.write_bits(Table::Coils, address, 1, std::iter::once(on), now)
                    .map_err(illegal)?;
                let word = if on { 0xFF00 } else { 0 };
                echo(out, function, &[address, word]);
            }
            Request::WriteWord { address, word } => {
                self.write_words(Table::Holding, address, 1, std::iter::once(word), now)
                    .map_err(illegal)?;
                echo(out, function, &[address, word]);
            }
            Request::WriteCoils { start, count, bits } => {
                self.write_bits(Table::Coils, start, count, unpack(bits), now).map_err(illegal)?;
                echo(out, function, &[start, count]);
            }
            Request::WriteWords { start, words } => {
                let count = half(words);
                self.write_words(Table::Holding, start, count, split(words), now)
                    .map_err(illegal)?;
                echo(out, function, &[start, count]);
            }
            Request::MaskWord { address, and, or } => {
                self.refresh(Table::Holding, address, 1, now);
                let old = self.words(Table::Holding, address, 1).map_err(illegal)?;
                let word = old.first().copied().unwrap_or_default() & and | or & !and;
                self.write_words(Table::Holding, address, 1, std::iter::once(word), now)
                    .map_err(illegal)?;
                echo(out, function, &[address, and, or]);
            }
            Request::ReadWriteWords { read_start, read_count, write_start, words } => {
                self.words(Table::Holding, read_start, read_count).map_err(illegal)?;
                self.write_words(Table::Holding, write_start, half(words), split(words), now)
                    .map_err(illegal)?;
                self.read_words(function, Table::Holding, read_start, read_count, now, out)?;
            }
        }
        Ok(())
    }

    /// What stands at these addresses now; bits as 0 and 1.
    pub(crate) fn read(
        &mut self,
        table: Table,
        start: u16,
        count: u16,
        now: f64,
    ) -> Result<Vec<u16>, NoSuchRegister> {
        self.refresh(table, start, count, now);
        if table.is_bits() {
            Ok(self.bits(table, start, count)?.iter().map(|&bit| bit.into()).collect())
        } else {
            Ok(self.words(table, start, count)?.to_vec())
        }
    }

    /// Puts `values` there, read-only tables included; anything but 0 sets a bit.
    pub(crate) fn write(
        &mut self,
        table: Table,
        start: u16,
        values: &[u16],
        now: f64,
    ) -> Result<(), NoSuchRegister> {
        let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
        if table.is_bits() {
            self.write_bits(table, start, count, values.iter().map(|&value| value != 0), now)
        } else {
            self.write_words(table, start, count, values.iter().copied(), now)
        }
    }

    /// The number that stands at `address`, moving values as they were last computed.
    fn number(&self, table: Table, address: u16, encoding: &Encoding) -> f64 {
        if table.is_bits() {
            let bit = self.bits(table, address, 1).ok().and_then(|bits| bits.first().copied());
            return f64::from(u8::from(bit.unwrap_or_default()));
        }
        self.words(table, address, encoding.raw.words())
            .map_or(0.0, |registers| encoding.load(registers))
    }

    /// Puts the number `value` at `address` and leaves what moves there moving.
    fn put(&mut self, table: Table, address: u16, encoding: &Encoding, value: f64) {
        if table.is_bits() {
            if let Some(bits) = self.bits_of(table).slice_mut(address, 1) {
                bits.fill(value >= 0.5);
            }
        } else if let Some(words) = self.words_of(table).slice_mut(address, encoding.raw.words()) {
            encoding.store(value, words);
        }
    }

    fn read_words(
        &mut self,
        function: u8,
        table: Table,
        start: u16,
        count: u16,
        now: f64,
        out: &mut Vec<u8>,
    ) -> Result<(), Exception> {
        self.refresh(table, start, count, now);
        let words = self.words(table, start, count).map_err(illegal)?;
        out.extend([function, byte(words.len() * 2)]);
        out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        Ok(())
    }

    fn write_words(
        &mut self,
        table: Table,
        start: u16,
        count: u16,
        words: impl Iterator<Item = u16>,
        now: f64,
    ) -> Result<(), NoSuchRegister> {
        self.words(table, start, count)?;
        self.release(table, start, count, now);
        for (to, word) in
            self.words_of(table).slice_mut(start, count).into_iter().flatten().zip(words)
        {
            *to = word;
        }
        Ok(())
    }

    fn write_bits(
        &mut self,
        table: Table,
        start: u16,
        count: u16,
        bits: impl Iterator<Item = bool>,
        now: f64,
    ) -> Result<(), NoSuchRegister> {
        self.bits(table, start, count)?;
        self.release(table, start, count, now);
        for (to, bit) in self.bits_of(table).slice_mut(start, count).into_iter().flatten().zip(bits)
        {
            *to = bit;
        }
        Ok(())
    }

    fn bits(&self, table: Table, start: u16, count: u16) -> Result<&[bool], NoSuchRegister> {
        let blocks = if table == Table::Coils { &self.coils } else { &self.discrete };
        blocks.slice(start, count).ok_or(NoSuchRegister { table, start, count })
    }

    fn words(&self, table: Table, start: u16, count: u16) -> Result<&[u16], NoSuchRegister> {
        let blocks = if table == Table::Holding { &self.holding } else { &self.input };
        blocks.slice(start, count).ok_or(NoSuchRegister { table, start, count })
    }

    fn bits_of(&mut self, table: Table) -> &mut Blocks<bool> {
        if table == Table::Coils { &mut self.coils } else { &mut self.discrete }
    }

    fn words_of(&mut self, table: Table) -> &mut Blocks<u16> {
        if table == Table::Holding { &mut self.holding } else { &mut self.input }
    }
}

fn illegal(_: NoSuchRegister) -> Exception {
    Exception::IllegalDataAddress
}

fn echo(out: &mut Vec<u8>, function: u8, words: &[u16]) {
    out.push(function);
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// Eight bits or fewer, the first one lowest.
fn pack(bits: &[bool]) -> u8 {
    bits.iter().rev().fold(0, |byte, &bit| (byte << 1) | u8::from(bit))
}

/// Bits of packed bytes, the lowest first.
pub(crate) fn unpack(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|&byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
}

/// Words of bytes, the high byte first.
pub(crate) fn split(words: &[u8]) -> impl Iterator<Item = u16> {
    words.chunks_exact(2).map(|pair| match *pair {
        [high, low] => u16::from_be_bytes([high, low]),
        _ => 0,
    })
}

fn half(words: &[u8]) -> u16 {
    u16::try_from(words.len() / 2).unwrap_or(u16::MAX)
}

fn byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
