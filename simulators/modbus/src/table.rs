//! The four tables of a Modbus unit.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// One of the four tables of a unit, each with addresses 0 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Single bits that can be written.
    Coils,
    /// Single bits that can only be read.
    Discrete,
    /// 16-bit words that can only be read.
    Input,
    /// 16-bit words that can be written.
    Holding,
}

impl Table {
    /// Whether an address of this table holds one bit instead of a 16-bit word.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::Discrete)
    }

    /// The word that register files, counters and messages use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no table.
#[derive(Debug, thiserror::Error)]
#[error(
    "write CoilRegister, DiscreteInputRegister, InputRegister or HoldingRegister (or coils, discrete, input, holding)"
)]
pub struct UnknownTable;

impl FromStr for Table {
    type Err = UnknownTable;

    /// Takes KubeEdge's names and the short ones, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownTable> {
        let word = text.to_ascii_lowercase();
        match word.strip_suffix("register").or(word.strip_suffix("registers")).unwrap_or(&word) {
            "coil" | "coils" => Ok(Self::Coils),
            "discrete" | "discreteinput" | "discreteinputs" => Ok(Self::Discrete),
            "input" => Ok(Self::Input),
            "holding" => Ok(Self::Holding),
            _ => Err(UnknownTable),
        }
    }
}
