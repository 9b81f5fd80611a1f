//! The four tables of the Modbus data model, and the ways people write an address.

use std::fmt;

/// One of the four address spaces of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Bits that can be read and written.
    Coils,
    /// Bits that can be read.
    DiscreteInputs,
    /// 16-bit registers that can be read.
    InputRegisters,
    /// 16-bit registers that can be read and written.
    HoldingRegisters,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 4] =
        [Self::Coils, Self::DiscreteInputs, Self::InputRegisters, Self::HoldingRegisters];

    /// The table of that name: KubeEdge's (`HoldingRegister`), the plural, or the short word (`holding`), in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let plain: String =
            name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect::<String>();
        Some(match plain.to_ascii_lowercase().trim_end_matches('s') {
            "coil" | "coilregister" => Self::Coils,
            "discrete" | "discreteinput" | "discreteinputregister" => Self::DiscreteInputs,
            "input" | "inputregister" => Self::InputRegisters,
            "holding" | "holdingregister" => Self::HoldingRegisters,
            _ => return None,
        })
    }

    /// The short word: `coil`, `discrete`, `input`, `holding`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Coils => "coil",
            Self::DiscreteInputs => "discrete",
            Self::InputRegisters => "input",
            Self::HoldingRegisters => "holding",
        }
    }

    /// Whether it holds single bits.
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }

    /// Whether the protocol has a way to write it.
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Coils | Self::HoldingRegisters)
    }

    /// Function code that reads it.
    pub const fn read_function(self) -> u8 {
        match self {
            Self::Coils => 1,
            Self::DiscreteInputs => 2,
            Self::HoldingRegisters => 3,
            Self::InputRegisters => 4,
        }
    }

    /// The digit that data sheets put in front of a 1-based address (4 in 40001).
    pub const fn data_sheet_digit(self) -> u8 {
        match self {
            Self::Coils => 0,
            Self::DiscreteInputs => 1,
            Self::InputRegisters => 3,
            Self::HoldingRegisters => 4,
        }
    }

    /// Address as data sheets write it: five digits where they suffice (`40001`), else six (`410001`).
    pub fn data_sheet_address(self, wire: u16) -> String {
        let (digit, number) = (self.data_sheet_digit(), u32::from(wire) + 1);
        if number <= 9999 { format!("{digit}{number:04}") } else { format!("{digit}{number:05}") }
    }

    /// Table and wire address of a data sheet's address: five or six digits, 1-based, the first names the table.
    pub fn from_data_sheet(text: &str) -> Option<(Self, u16)> {
        if !matches!(text.len(), 5 | 6) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (digit, number) = text.split_at(1);
        let table = Self::ALL.into_iter().find(|t| t.data_sheet_digit().to_string() == digit)?;
        let number: u32 = number.parse().ok()?;
        Some((table, u16::try_from(number.checked_sub(1)?).ok()?))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coils => "CoilRegister",
            Self::DiscreteInputs => "DiscreteInputRegister",
            Self::InputRegisters => "InputRegister",
            Self::HoldingRegisters => "HoldingRegister",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_names_its_table() {
        for table in Table::ALL {
            for name in [table.to_string(), table.word().to_uppercase(), format!("{table}s")] {
                assert_eq!(Table::from_name(&name), Some(table), "{name}");
            }
        }
        assert_eq!(Table::from_name("discrete_input"), Some(Table::DiscreteInputs));
        assert_eq!(Table::from_name("register"), None);
    }

    #[test]
    fn a_data_sheet_address_reads_back() {
        for table in Table::ALL {
            for wire in [0, 1, 99, 9998, 9999, 65535] {
                let text = table.data_sheet_address(wire);
                assert_eq!(Table::from_data_sheet(&text), Some((table, wire)), "{text}");
            }
        }
        assert_eq!(Table::from_data_sheet("40001"), Some((Table::HoldingRegisters, 0)));
        assert_eq!(Table::from_data_sheet("465536"), Some((Table::HoldingRegisters, 65535)));
        for wrong in ["40000", "465537", "20001", "100", "4000a"] {
            assert_eq!(Table::from_data_sheet(wrong), None, "{wrong}");
        }
    }
}
