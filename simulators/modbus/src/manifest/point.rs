//! One property: where it stands in the registers, what it is at the start and how it moves.

use serde_json::Value as Json;

use super::objects::ModelProperty;
use crate::encoding::{Encoding, Order, RawType};
use crate::layout::{Initial, Place};
use crate::settings::Settings;
use crate::signal::{Signal, Wave};
use crate::table::Table;

/// One property of a device.
#[derive(Clone, Debug)]
pub(crate) struct PointSpec {
    pub(crate) property: String,
    pub(crate) place: Place,
    /// Where it is written, if that is elsewhere.
    pub(crate) written: Option<Place>,
    pub(crate) start: Start,
    /// Smallest value that the model allows, where it names one.
    pub(crate) least: f64,
    pub(crate) hints: Hints,
}

/// What a property is at the start.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// 0, or the model's minimum if that is more.
    Zero,
    /// What `simValue` says.
    At(Initial),
}

/// How a property moves.
#[derive(Clone, Debug)]
pub(crate) enum Hints {
    None,
    Wave(Signal),
    Follow { property: String, time_constant: f64 },
}

/// Reads a property's visitor; `None` when it has problems, which `settings` then holds.
pub(super) fn read(
    kind: &ModelProperty,
    unit: u16,
    base: u16,
    settings: &mut Settings,
) -> Option<PointSpec> {
    let Some(table) = settings.parse(&["register"]) else {
        if !settings.has(&["register"]) {
            settings.refuse(&["register"], crate::table::UnknownTable.to_string());
        }
        return None;
    };
    let encoding = read_encoding(kind, table, settings)?;
    let unit = u8::try_from(unit).unwrap_or(1);
    let address = read_address(&["offset"], base, &encoding, settings)?;
    let place = Place { unit, table, address, encoding };
    let written = if settings.has(&["writeRegister", "writeOffset"]) {
        let table = settings.parse(&["writeRegister"]).unwrap_or(table);
        let keys = if settings.has(&["writeOffset"]) { ["writeOffset"] } else { ["offset"] };
        let address = read_address(&keys, base, &encoding, settings)?;
        Some(Place { unit, table, address, encoding })
    } else {
        None
    };
    let start = read_start(&encoding, settings);
    let hints = read_hints(kind, table, &encoding, &start, settings);
    let least = limit(&kind.minimum).unwrap_or(0.0);
    Some(PointSpec { property: kind.name.clone(), place, written, start, least, hints })
}

/// Reads one value of a register file, which has the same keys but for register and offset.
pub(crate) fn read_register(
    table: Table,
    address: u16,
    settings: &mut Settings,
) -> Option<PointSpec> {
    let kind = ModelProperty::default();
    let encoding = read_encoding(&kind, table, settings)?;
    if u32::from(address) + u32::from(encoding.raw.words()) > 0x1_0000 {
        settings.refuse(&["rawType"], "the value ends behind address 65535: place it lower");
        return None;
    }
    let place = Place { unit: 0, table, address, encoding };
    let start = read_start(&encoding, settings);
    let hints = read_hints(&kind, table, &encoding, &start, settings);
    Some(PointSpec { property: String::new(), place, written: None, start, least: 0.0, hints })
}

fn read_address(
    keys: &[&str],
    base: u16,
    encoding: &Encoding,
    settings: &mut Settings,
) -> Option<u16> {
    if !settings.has(keys) && base == 0 {
        return Some(0);
    }
    let offset = settings.integer(keys, u16::MAX).or_else(|| {
        if !settings.has(keys) {
            settings.refuse(keys, "write the address: with addressBase 1 there is no default");
        }
        None
    })?;
    let Some(address) = offset.checked_sub(base) else {
        settings.refuse(keys, "write a number from 1: addresses count from 1 with addressBase 1");
        return None;
    };
    let last = u32::from(address) + u32::from(encoding.raw.words()).max(1) - 1;
    if last > u32::from(u16::MAX) {
        settings.refuse(keys, "the value ends behind address 65535: write a smaller number");
        return None;
    }
    Some(address)
}

fn read_encoding(kind: &ModelProperty, table: Table, settings: &mut Settings) -> Option<Encoding> {
    let limit = settings.integer(&["limit"], 2000).filter(|limit| *limit > 0);
    let count = settings.integer(&["count"], 125).filter(|count| *count > 0);
    let raw = if table.is_bits() {
        RawType::Bits { first: 0, count: 1 }
    } else {
        read_raw_type(kind, limit, count, settings)?
    };
    let order = settings.parse(&["order", "byteOrder"]);
    let legacy = Order {
        swap_bytes: settings.flag(&["isSwap"]).unwrap_or(false),
        swap_words: settings.flag(&["isRegisterSwap"]).unwrap_or(false),
        permutation: None,
    };
    // KubeEdge writes 0 for "no scale".
    let scale = settings.number(&["scale"]).filter(|scale| *scale != 0.0).unwrap_or(1.0);
    let offset = settings.number(&["valueOffset"]).unwrap_or(0.0);
    Some(Encoding { raw, order: order.unwrap_or(legacy), scale, offset })
}

fn read_raw_type(
    kind: &ModelProperty,
    limit: Option<u16>,
    count: Option<u16>,
    settings: &mut Settings,
) -> Option<RawType> {
    let bit = settings.integer(&["bit"], 15).and_then(|bit| u8::try_from(bit).ok());
    let words = limit.or(count).unwrap_or(1);
    let field = |first: u8| RawType::Bits {
        first,
        count: u8::try_from(count.unwrap_or(1)).unwrap_or(16).min(16 - first.min(15)),
    };
    if settings.has(&["rawType"]) {
        return settings.get(&["rawType"], |text| match text.to_ascii_lowercase().as_str() {
            "i16" | "int16" => Ok(bit.map_or(RawType::I16, field)),
            "u16" | "uint16" => Ok(bit.map_or(RawType::U16, field)),
            "i32" | "int32" => Ok(RawType::I32),
            "u32" | "uint32" => Ok(RawType::U32),
            "i64" | "int64" => Ok(RawType::I64),
            "u64" | "uint64" => Ok(RawType::U64),
            "f32" | "float32" => Ok(RawType::F32),
            "f64" | "float64" => Ok(RawType::F64),
            "bits" | "bit" | "bool" | "boolean" => Ok(field(bit.unwrap_or(0))),
            "string" | "bytes" => Ok(RawType::Bytes { words }),
            _ => Err("write i16, u16, i32, u32, i64, u64, f32, f64, bits, string or bytes".into()),
        });
    }
    if let Some(bit) = bit {
        return Some(field(bit));
    }
    // Without a raw type KubeEdge's mappers go by the type and the number of registers; integers are unsigned.
    let data_type = if kind.data_type.is_empty() {
        settings.text(&["dataType"]).unwrap_or_default()
    } else {
        kind.data_type.clone()
    };
    match (data_type.to_ascii_lowercase().as_str(), limit) {
        ("int" | "boolean" | "bool", None | Some(1)) => Some(RawType::U16),
        ("int", Some(2)) => Some(RawType::U32),
        ("int", Some(4)) => Some(RawType::U64),
        ("float" | "double", Some(1)) => Some(RawType::U16),
        ("float", None) | ("float" | "double", Some(2)) => Some(RawType::F32),
        ("double", None) | ("float" | "double", Some(4)) => Some(RawType::F64),
        ("string" | "bytes", _) => Some(RawType::Bytes { words }),
        ("int" | "float" | "double" | "boolean" | "bool", _) => {
            settings.refuse(&["limit"], "write 1, 2 or 4, or name the rawType");
            None
        }
        _ => {
            let remedy = "name the rawType, or give the property a type of INT, FLOAT, DOUBLE, STRING, BOOLEAN or BYTES";
            settings.refuse(&["rawType"], remedy);
            None
        }
    }
}

fn read_start(encoding: &Encoding, settings: &mut Settings) -> Start {
    let bytes = matches!(encoding.raw, RawType::Bytes { .. });
    let unscaled = encoding.scale == 1.0 && encoding.offset == 0.0;
    let whole = unscaled && !matches!(encoding.raw, RawType::F32 | RawType::F64);
    let initial = settings.get(&["simValue"], |text| {
        if bytes {
            return Ok(Initial::Bytes(text.as_bytes().to_vec()));
        }
        match (text.to_ascii_lowercase().as_str(), text.parse::<i128>()) {
            ("true", _) => Ok(Initial::Number(1.0)),
            ("false", _) => Ok(Initial::Number(0.0)),
            (_, Ok(raw)) if whole => Ok(Initial::Raw(raw)),
            _ => {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.map(Initial::Number).ok_or_else(|| "write a number, or true or false".into())
            }
        }
    });
    initial.map_or(Start::Zero, Start::At)
}

fn read_hints(
    kind: &ModelProperty,
    table: Table,
    encoding: &Encoding,
    start: &Start,
    settings: &mut Settings,
) -> Hints {
    let period = settings.duration(&["simPeriod"]).map(|period| period.as_secs_f64());
    let wave = settings.parse(&["simWave"]);
    if let Some(property) = settings.text(&["simFollow"]) {
        if wave.is_some() {
            settings.refuse(&["simFollow"], "a value has simWave or simFollow: take one away");
        }
        return Hints::Follow { property, time_constant: period.unwrap_or(2.0) };
    }
    let Some(wave) = wave else { return Hints::None };
    if matches!(encoding.raw, RawType::Bytes { .. }) {
        settings.refuse(&["simWave"], "text and bytes do not move: take simWave away");
        return Hints::None;
    }
    let start = match start {
        Start::At(Initial::Number(number)) => Some(*number),
        Start::At(Initial::Raw(raw)) => raw.to_string().parse().ok(),
        Start::At(Initial::Bytes(_)) | Start::Zero => None,
    };
    let low = settings.number(&["simMin"]);
    let high = settings.number(&["simMax"]);
    let moves = wave != Wave::Counter && wave != Wave::Constant;
    let minimum = match wave {
        Wave::Counter | Wave::Constant => start.or(low),
        _ => low.or_else(|| limit(&kind.minimum)),
    };
    let one = table.is_bits() || matches!(encoding.raw, RawType::Bits { count: 1, .. });
    let maximum = high.or_else(|| limit(&kind.maximum).filter(|_| moves));
    let maximum = maximum.unwrap_or(match wave {
        Wave::Counter => f64::INFINITY,
        _ if one => 1.0,
        _ => 100.0,
    });
    let minimum = minimum.unwrap_or(0.0);
    if minimum > maximum {
        settings.refuse(&["simMin"], format!("write a number that is not above {maximum}"));
        return Hints::None;
    }
    // One count of the register each period, unless told otherwise.
    let step = settings.number(&["simStep"]).unwrap_or(encoding.scale.abs());
    let period = period.unwrap_or(if wave == Wave::Counter { 1.0 } else { 10.0 });
    Hints::Wave(Signal { wave, minimum, maximum, period, step })
}

/// A number of the model, which KubeEdge writes as text.
fn limit(value: &Json) -> Option<f64> {
    match value {
        Json::String(text) => text.trim().parse().ok(),
        Json::Number(number) => number.as_f64(),
        _ => None,
    }
}
