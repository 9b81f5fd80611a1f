//! Where a device is: the wire it hangs on, and its place on that wire.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use device_model::{Config, Device, Problem};

use crate::plan::{Hole, Limits};
use crate::serial_line::SerialLine;
use crate::table::Table;

/// One wire. Two endpoints are equal when they are the same socket address or the same serial port: then their
/// devices share one connection, and the settings of the first device count.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What is opened.
    pub wire: Wire,
    /// How long opening it may take.
    pub connect_timeout: Duration,
    /// Silence before a request; `None`: nothing on TCP, 3.5 characters on a serial line.
    pub request_gap: Option<Duration>,
}

/// What is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Modbus TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// RTU frames in a TCP stream, as serial device servers pass them on.
    RtuOverTcp {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// RTU frames on a serial line.
    Rtu(SerialLine),
}

impl Wire {
    /// What tells one wire from another.
    fn identity(&self) -> (u8, &str, u16) {
        match self {
            Self::Tcp { host, port } => (0, host, *port),
            Self::RtuOverTcp { host, port } => (1, host, *port),
            Self::Rtu(line) => (2, &line.path, 0),
        }
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.wire.identity() == other.wire.identity()
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wire.identity().hash(state);
    }
}

impl Endpoint {
    /// Whether all settings are the same, too.
    pub fn has_settings_of(&self, other: &Self) -> bool {
        self.wire == other.wire
            && self.connect_timeout == other.connect_timeout
            && self.request_gap == other.request_gap
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wire {
            Wire::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Wire::RtuOverTcp { host, port } => write!(f, "rtu-over-tcp://{host}:{port}"),
            Wire::Rtu(line) => write!(f, "rtu:{line}"),
        }
    }
}

/// Which device on the wire, and how it wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Unit id (KubeEdge: slave id).
    pub id: u8,
    /// How long it may think; the time that the bytes need on a serial line is added.
    pub timeout: Duration,
    /// What one request may read.
    pub limits: Limits,
    /// How long a register that spoilt a shared request is left alone.
    pub quarantine: Duration,
}

/// Every key of `protocol.configData` that is read here; `protocolID` occurs in KubeEdge's tests.
pub(crate) const KEYS: &[&str] = &[
    "communicateMode",
    "mode",
    "slaveID",
    "unitId",
    "deviceID",
    "ip",
    "host",
    "port",
    "serialName",
    "serialPort",
    "baudRate",
    "dataBits",
    "parity",
    "stopBits",
    "rs485Enabled",
    "serialType",
    "timeout",
    "requestTimeout",
    "connectTimeout",
    "requestGap",
    "maxWords",
    "maxBits",
    "maxFill",
    "forbidden",
    "quarantine",
    "addressBase",
    "tables",
    "order",
    "protocolID",
];

/// Splits a device's configuration into its wire and its place on it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn address(device: &Device) -> Result<(Endpoint, Unit), Vec<Problem>> {
    let config = &device.config;
    let mut problems = Vec::new();
    let mut keep = |problem| problems.push(problem);
    let wire = wire(config).map_err(&mut keep).ok();
    let unit = unit(config, wire.as_ref()).map_err(&mut keep).ok();
    let connect_timeout = span(config, "connectTimeout", Duration::from_secs(3));
    let connect_timeout = connect_timeout.map_err(&mut keep).ok();
    let request_gap = config.duration("requestGap").map_err(&mut keep).ok();
    match (wire, connect_timeout, request_gap, unit) {
        (Some(wire), Some(connect_timeout), Some(request_gap), Some(unit)) => {
            Ok((Endpoint { wire, connect_timeout, request_gap }, unit))
        }
        _ => Err(problems),
    }
}

/// The first of `keys` that says something; aliases of one setting.
fn said<'a>(config: &Config, keys: &[&'a str]) -> Option<&'a str> {
    keys.iter().copied().find(|key| config.text(key).is_some_and(|text| !text.trim().is_empty()))
}

fn wire(config: &Config) -> Result<Wire, Problem> {
    let serial = said(config, &["serialName", "serialPort"]);
    let mode_key = said(config, &["communicateMode", "mode"]);
    let plain = mode_key.and_then(|key| config.text(key)).unwrap_or_default();
    let plain: String = plain.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().trim_start_matches("modbus") {
        // Without a mode a serial port decides, as in KubeEdge's first mapper.
        "" if serial.is_some() => SerialLine::read(config, serial).map(Wire::Rtu),
        "rtu" | "serial" | "com" => SerialLine::read(config, serial).map(Wire::Rtu),
        "" | "tcp" => {
            let (host, port) = socket(config)?;
            Ok(Wire::Tcp { host, port })
        }
        "rtuovertcp" | "rtutcp" | "tcprtu" | "rtuoverethernet" => {
            let (host, port) = socket(config)?;
            Ok(Wire::RtuOverTcp { host, port })
        }
        _ => Err(config.problem(
            mode_key.unwrap_or("communicateMode"),
            "unknown mode",
            "write TCP, RTU or RTU-over-TCP",
        )),
    }
}

fn socket(config: &Config) -> Result<(String, u16), Problem> {
    let remedy = "write the device's address, such as 192.0.2.10";
    let key =
        said(config, &["ip", "host"]).ok_or_else(|| config.problem("ip", "missing", remedy))?;
    let host = config.text(key).unwrap_or_default().trim().to_owned();
    if host.contains(['/', ' ']) {
        return Err(config.problem(key, "not a host", remedy));
    }
    let port = config.integer("port", 1..=65_535)?.unwrap_or(502);
    // An IPv6 address may stand in brackets, as in a URL.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, u16::try_from(port).unwrap_or(502)))
}

fn unit(config: &Config, wire: Option<&Wire>) -> Result<Unit, Problem> {
    const REMEDY: &str = "write the unit's number on the line, 1 to 247";
    let key = said(config, &["slaveID", "unitId", "deviceID"]);
    let id = match key {
        Some(key) => config.integer(key, 0..=255)?.unwrap_or(1),
        None if matches!(wire, Some(Wire::Rtu(_))) => {
            return Err(config.problem("slaveID", "missing", REMEDY));
        }
        None => 1,
    };
    // Behind RTU over TCP there is a line, too; a broadcast is answered by nobody.
    if id == 0 && matches!(wire, Some(Wire::Rtu(_) | Wire::RtuOverTcp { .. })) {
        return Err(config.problem(key.unwrap_or("slaveID"), "0 means all units", REMEDY));
    }
    let cap = |key, most: i64| -> Result<u16, Problem> {
        let cap = config.integer(key, 1..=most)?.unwrap_or(most);
        Ok(u16::try_from(cap).unwrap_or(1))
    };
    let timeout = said(config, &["requestTimeout", "timeout"]).unwrap_or("timeout");
    Ok(Unit {
        id: u8::try_from(id).unwrap_or(1),
        timeout: span(config, timeout, Duration::from_secs(1))?,
        limits: Limits {
            max_words: cap("maxWords", 125)?,
            max_bits: cap("maxBits", 2000)?,
            max_fill: u16::try_from(config.integer("maxFill", 0..=124)?.unwrap_or(0)).unwrap_or(0),
            forbidden: forbidden(config)?,
        },
        quarantine: config.duration("quarantine")?.unwrap_or(Duration::from_secs(600)),
    })
}

/// A time-out: 10 ms to 30 s. KubeEdge's manifests write 0 for the default.
fn span(config: &Config, key: &str, default: Duration) -> Result<Duration, Problem> {
    let allowed = Duration::from_millis(10)..=Duration::from_secs(30);
    match config.duration(key)? {
        None => Ok(default),
        Some(span) if span.is_zero() => Ok(default),
        Some(span) if allowed.contains(&span) => Ok(span),
        Some(_) => Err(config.problem(
            key,
            "outside of 10ms to 30s",
            "write a time with a unit, such as \"500ms\"; a bare number is milliseconds",
        )),
    }
}

/// `holding:100-110, input:7`: wire addresses, ends included, counted from the device's base.
fn forbidden(config: &Config) -> Result<Vec<Hole>, Problem> {
    let Some(text) = config.text("forbidden") else { return Ok(Vec::new()) };
    let base = config.integer("addressBase", 0..=1)?.unwrap_or(0);
    text.split([',', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| {
            hole(part, base).ok_or_else(|| {
                let remedy = "write ranges such as holding:100-110,input:7";
                config.problem("forbidden", format!("\"{part}\" is no range"), remedy)
            })
        })
        .collect()
}

fn hole(text: &str, base: i64) -> Option<Hole> {
    let (table, range) = text.split_once(':')?;
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let wire = |number: &str| {
        let number: i64 = number.trim().parse().ok()?;
        u16::try_from(number - base).ok().map(u32::from)
    };
    let (start, last) = (wire(first)?, wire(last)?);
    (start <= last).then_some(Hole { table: Table::from_name(table.trim())?, start, end: last + 1 })
}

#[cfg(test)]
mod tests;
