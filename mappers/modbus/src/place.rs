//! Where a property is: a table and an address as it goes over the wire.
//!
//! The wire counts from 0. Data sheets often count from 1, or write 40001: `addressBase: 1` and `address` say so.

use std::fmt;

use device_model::{Access, Config, Problem};

use crate::table::Table;

/// A register or bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which table.
    pub table: Table,
    /// Address on the wire, from 0.
    pub address: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table.word(), self.address)
    }
}

/// Where a property is read, from `register` and `offset`, or from `address`.
pub(crate) fn read(device: &Config, visitor: &Config) -> Result<Place, Problem> {
    let base = base(device)?;
    let register = visitor.text("register").map(|_| table(visitor, "register")).transpose()?;
    let place = match visitor.text("address") {
        Some(text) => {
            if visitor.get("offset").is_some() {
                return Err(visitor.problem(
                    "address",
                    "stands beside offset",
                    "keep one of the two",
                ));
            }
            typed(visitor, &text, base)?
        }
        None => Place {
            table: register.ok_or_else(|| {
                visitor.problem(
                    "register",
                    "missing",
                    "write CoilRegister, DiscreteInputRegister, InputRegister or HoldingRegister",
                )
            })?,
            address: offset(visitor, "offset", base)?.ok_or_else(|| {
                visitor.problem("offset", "missing", "write the address of the first register")
            })?,
        },
    };
    match register {
        Some(register) if register != place.table => Err(visitor.problem(
            "register",
            format!("address names the table {}", place.table),
            "leave register out",
        )),
        _ => allowed(device, visitor, place.table).map(|()| place),
    }
}

/// Where it is written, if it is: at `writeRegister` and `writeOffset`, each as a default where it is read.
pub(crate) fn write(
    device: &Config,
    visitor: &Config,
    read: Place,
    access: Access,
    width: u16,
) -> Result<Option<Place>, Problem> {
    let table = match visitor.text("writeRegister") {
        Some(_) => table(visitor, "writeRegister")?,
        None => read.table,
    };
    let address = offset(visitor, "writeOffset", base(device)?)?.unwrap_or(read.address);
    if access != Access::ReadWrite {
        return Ok(None);
    }
    if !table.is_writable() {
        return Err(visitor.problem(
            if visitor.get("writeRegister").is_some() { "writeRegister" } else { "register" },
            "this table cannot be written, but the model says ReadWrite",
            "set accessMode: ReadOnly, or name a writeRegister",
        ));
    }
    if table.is_bits() != read.table.is_bits() {
        return Err(visitor.problem(
            "writeRegister",
            format!("{table} and {} do not hold the same", read.table),
            "write to bits what is read from bits, and to registers what is read from registers",
        ));
    }
    if u32::from(address) + u32::from(width) > 65_536 {
        let remedy = "write a smaller writeOffset";
        return Err(visitor.problem("writeOffset", "goes past the last address 65535", remedy));
    }
    let longest = if table.is_bits() { 1968 } else { 123 };
    if width > longest {
        return Err(visitor.problem(
            "limit",
            "more than one request can write",
            format!("write at most {longest}, or set accessMode: ReadOnly"),
        ));
    }
    allowed(device, visitor, table)?;
    Ok(Some(Place { table, address }))
}

/// `holding:100`, counted from the device's base, or a data sheet's `40101`, always counted from 1.
fn typed(visitor: &Config, text: &str, base: i64) -> Result<Place, Problem> {
    let wrong = || {
        visitor.problem(
            "address",
            "not an address",
            "write a table and a number such as holding:100, or a data sheet's address such as 40101",
        )
    };
    if let Some((table, address)) = Table::from_data_sheet(text.trim()) {
        return Ok(Place { table, address });
    }
    let (word, number) = text.split_once(':').ok_or_else(wrong)?;
    let table = Table::from_name(word.trim()).ok_or_else(wrong)?;
    let number = number.trim();
    let number = match number.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => number.parse(),
    };
    let address = number.ok().and_then(|number: i64| u16::try_from(number - base).ok());
    Ok(Place { table, address: address.ok_or_else(wrong)? })
}

/// Number at which the device's addresses start: 0 as on the wire, or 1.
fn base(device: &Config) -> Result<i64, Problem> {
    Ok(device.integer("addressBase", 0..=1)?.unwrap_or(0))
}

fn offset(visitor: &Config, key: &str, base: i64) -> Result<Option<u16>, Problem> {
    let number = visitor.integer(key, base..=65_535 + base).map_err(|mut problem| {
        if base == 1 && problem.value.trim() == "0" {
            problem.reason = "addressBase is 1, so there is no address 0".into();
        }
        problem
    })?;
    Ok(number.and_then(|number| u16::try_from(number - base).ok()))
}

fn table(visitor: &Config, key: &str) -> Result<Table, Problem> {
    let text = visitor.text(key).unwrap_or_default();
    Table::from_name(&text).ok_or_else(|| {
        visitor.problem(
            key,
            "unknown table",
            "write CoilRegister, DiscreteInputRegister, InputRegister or HoldingRegister",
        )
    })
}

/// Checks the device's list of `tables`, for devices that misbehave when another one is touched.
fn allowed(device: &Config, visitor: &Config, table: Table) -> Result<(), Problem> {
    let Some(list) = device.text("tables") else { return Ok(()) };
    for word in list.split([',', ' ']).filter(|word| !word.is_empty()) {
        match Table::from_name(word) {
            Some(one) if one == table => return Ok(()),
            Some(_) => {}
            None => {
                let remedy = "write coil, discrete, input or holding with commas between them";
                return Err(device.problem("tables", format!("\"{word}\" is no table"), remedy));
            }
        }
    }
    Err(visitor.problem(
        "register",
        format!("the device allows only {list}"),
        format!("use one of these, or add {} to tables", table.word()),
    ))
}
