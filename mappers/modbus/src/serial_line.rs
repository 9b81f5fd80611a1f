//! The settings of a serial line.

use std::fmt;
use std::time::Duration;

use device_model::{Config, Problem};

/// A serial port and how characters go over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialLine {
    /// Device file, such as `/dev/ttyUSB0`.
    pub path: String,
    /// Bits per second.
    pub baud_rate: u32,
    /// 7 or 8. RTU frames need 8; 7 occurs with gateways that strip.
    pub data_bits: u8,
    /// Parity bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// Whether the kernel drives the RS-485 transceiver's direction.
    pub rs485: bool,
}

/// The parity bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// There is none.
    None,
    /// Even number of ones.
    Even,
    /// Odd number of ones.
    Odd,
}

impl SerialLine {
    /// Reads the settings; `path_key` is the key that names the port, if one does.
    pub(crate) fn read(config: &Config, path_key: Option<&str>) -> Result<Self, Problem> {
        let path = path_key.and_then(|key| config.text(key)).ok_or_else(|| {
            config.problem("serialPort", "missing", "write the port, such as /dev/ttyUSB0")
        })?;
        let bits = |key, range, default: u8| -> Result<u8, Problem> {
            let number = config.integer(key, range)?;
            Ok(number.and_then(|number| u8::try_from(number).ok()).unwrap_or(default))
        };
        let baud_rate = config.integer("baudRate", 50..=4_000_000)?.unwrap_or(9600);
        Ok(Self {
            path: path.trim().to_owned(),
            baud_rate: u32::try_from(baud_rate).unwrap_or(9600),
            data_bits: bits("dataBits", 7..=8, 8)?,
            parity: parity(config)?,
            stop_bits: bits("stopBits", 1..=2, 1)?,
            rs485: rs485(config)?,
        })
    }

    /// Bits of one character on the line: start, data, parity, stop.
    fn character_bits(&self) -> u32 {
        let parity = u32::from(self.parity != Parity::None);
        1 + u32::from(self.data_bits) + parity + u32::from(self.stop_bits)
    }

    /// How long `characters` take.
    pub fn time_of(&self, characters: u32) -> Duration {
        let bits = u64::from(characters) * u64::from(self.character_bits());
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud_rate.max(1)))
    }

    /// The silence that ends a frame: 3.5 characters, but 1.75 ms above 19200 baud (Modbus over Serial Line
    /// 1.02, 2.5.1.1).
    pub fn silence(&self) -> Duration {
        if self.baud_rate > 19_200 { Duration::from_micros(1750) } else { self.time_of(7) / 2 }
    }
}

impl fmt::Display for SerialLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        let Self { path, baud_rate, data_bits, stop_bits, .. } = self;
        write!(f, "{path} {baud_rate} {data_bits}{parity}{stop_bits}")
    }
}

fn parity(config: &Config) -> Result<Parity, Problem> {
    let word = config.text("parity").unwrap_or_default();
    Ok(match word.trim().to_ascii_lowercase().as_str() {
        "" | "none" | "n" | "no" => Parity::None,
        "even" | "e" => Parity::Even,
        "odd" | "o" => Parity::Odd,
        _ => return Err(config.problem("parity", "unknown parity", "write none, even or odd")),
    })
}

fn rs485(config: &Config) -> Result<bool, Problem> {
    if let Some(enabled) = config.truth("rs485Enabled")? {
        return Ok(enabled);
    }
    let word = config.text("serialType").unwrap_or_default();
    match word.trim().to_ascii_uppercase().replace('-', "").as_str() {
        "" | "RS232" => Ok(false),
        "RS485" => Ok(true),
        _ => Err(config.problem("serialType", "unknown type", "write RS485 or RS232")),
    }
}
