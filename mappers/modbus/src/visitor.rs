//! How one property is reached: which registers, and what their bits mean.

use device_model::{Config, DataType, Device, Problem, Property};

use crate::order::{Order, OrderError};
use crate::place::{self, Place};
use crate::raw::{Number, Raw};
use crate::scale::Scale;

/// Everything needed to read and write one property; checked when the device is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Visitor {
    /// First register or bit that is read.
    pub read: Place,
    /// First register or bit that is written; often the same. `None` for a property that is only read.
    pub write: Option<Place>,
    /// How many registers or bits, at least 1.
    pub width: u16,
    /// What they hold.
    pub raw: Raw,
    /// From the number in the registers to the value.
    pub scale: Scale,
    /// Type of the value.
    pub data_type: DataType,
    /// Bit patterns that mean "no value".
    pub invalid: Vec<u64>,
    /// Whether one register or coil is written with function 16 or 15, for devices without 6 or 5.
    pub multiple: bool,
}

/// Every key of a visitor that is read here; `max`, `min` and `value` occur in KubeEdge's samples and mean nothing.
pub(crate) const KEYS: &[&str] = &[
    "register",
    "offset",
    "address",
    "limit",
    "dataType",
    "rawType",
    "order",
    "isSwap",
    "isRegisterSwap",
    "scale",
    "valueOffset",
    "bit",
    "bitCount",
    "invalidValues",
    "writeRegister",
    "writeOffset",
    "forceFc15",
    "forceFc16",
    "max",
    "min",
    "value",
];

impl Visitor {
    /// Reads the visitor of `property`; `order` and `addressBase` may also stand with the device.
    ///
    /// # Errors
    /// The first thing that is wrong, with its field, its value and what to write instead.
    pub fn read(device: &Device, property: &Property) -> Result<Self, Problem> {
        let config = property.driver_config();
        let read = place::read(&device.config, &config)?;
        let limit = config.integer("limit", 1..=2000)?.and_then(|limit| u16::try_from(limit).ok());
        let (raw, width) = raw(device, property, &config, read, limit)?;
        let (cap, most) = if read.table.is_bits() { ("maxBits", 2000) } else { ("maxWords", 125) };
        let most = device.config.integer(cap, 1..=most)?.unwrap_or(most);
        if i64::from(width) > most {
            let remedy = format!("write at most {most}, which is the device's {cap}");
            return Err(config.problem("limit", "more than one request can read", remedy));
        }
        if u32::from(read.address) + u32::from(width) > 65_536 {
            return Err(config.problem(
                "offset",
                format!("{width} from {} on go past the last address 65535", read.address),
                "write a smaller offset or limit",
            ));
        }
        let scale = Scale::new(
            config.number("scale")?.unwrap_or(1.0),
            config.number("valueOffset")?.unwrap_or(0.0),
        );
        let visitor = Self {
            read,
            write: place::write(&device.config, &config, read, property.access, width)?,
            width,
            invalid: invalid_values(&config, raw, width)?,
            raw,
            scale,
            data_type: property.data_type,
            multiple: match read.table.is_bits() {
                true => config.truth("forceFc15")?.unwrap_or(false),
                false => config.truth("forceFc16")?.unwrap_or(false),
            },
        };
        visitor.check_type(&config)?;
        Ok(visitor)
    }

    /// Whether the raw content can become a value of the property's type.
    fn check_type(&self, config: &Config) -> Result<(), Problem> {
        let fits = match (self.raw, self.data_type) {
            (Raw::Row, DataType::Boolean) => self.width == 1,
            (Raw::Row, DataType::Bytes) => true,
            (Raw::Row, _) => self.width <= 64,
            (Raw::Octets { text, .. }, data_type) => {
                data_type == if text { DataType::String } else { DataType::Bytes }
            }
            (_, data_type) => data_type != DataType::Bytes,
        };
        if fits {
            return Ok(());
        }
        let key = if config.get("rawType").is_some() { "rawType" } else { "limit" };
        Err(config.problem(
            key,
            format!("{} of {} makes no {}", self.width, self.raw.name(), self.data_type),
            "change the model's type, rawType or limit so that they agree",
        ))
    }

    /// Function code of a write: 5, 6, 15 or 16.
    pub fn write_function(&self) -> u8 {
        match (self.read.table.is_bits(), self.width > 1 || self.multiple) {
            (true, false) => 5,
            (true, true) => 15,
            (false, false) => 6,
            (false, true) => 16,
        }
    }

    /// Address after the last register or bit that is read.
    pub fn end(&self) -> u32 {
        u32::from(self.read.address) + u32::from(self.width)
    }
}

/// What the registers hold and how many they are.
fn raw(
    device: &Device,
    property: &Property,
    config: &Config,
    read: Place,
    limit: Option<u16>,
) -> Result<(Raw, u16), Problem> {
    if read.table.is_bits() {
        if let Some(word) = config.text("rawType")
            && !["bool", "boolean", "bit", "bits"].iter().any(|w| w.eq_ignore_ascii_case(&word))
        {
            return Err(config.problem("rawType", "coils and inputs hold bits", "leave it out"));
        }
        return Ok((Raw::Row, limit.unwrap_or(1)));
    }
    let kind = kind(property, config, limit)?;
    let field = |signed, first, bits| -> Result<(Raw, u16), Problem> {
        let order = order(device, config, 2)?;
        Ok((Raw::Field { first, bits, signed, order }, 1))
    };
    let (raw, width) = match kind {
        Kind::Number(number) => {
            let bytes = number.bytes();
            let order = order(device, config, bytes)?;
            (Raw::Number { number, order }, u16::from(bytes / 2))
        }
        Kind::Half { high, signed } => field(signed, if high { 8 } else { 0 }, 8)?,
        Kind::Bits => {
            let Some(first) = config.integer("bit", 0..=15)? else {
                let remedy = "write 0 (the lowest) to 15";
                return Err(config.problem("bit", "missing beside rawType bits", remedy));
            };
            let count = config.integer("bitCount", 1..=16)?.unwrap_or(1);
            if first + count > 16 {
                let remedy = "keep bit + bitCount within 16";
                return Err(config.problem("bitCount", "goes past the register", remedy));
            }
            field(false, u8::try_from(first).unwrap_or(0), u8::try_from(count).unwrap_or(1))?
        }
        Kind::Octets { text } => {
            let Some(limit) = limit else {
                let remedy = "write how many registers it fills (two characters each)";
                return Err(config.problem("limit", "missing for text and octets", remedy));
            };
            let (swap_bytes, swap_registers) = swaps(config)?;
            let byte_order = order(device, config, 2)?;
            let swap_bytes = swap_bytes || byte_order != Order::big_endian(2);
            (Raw::Octets { text, swap_bytes, swap_registers }, limit)
        }
    };
    match limit {
        Some(limit) if limit != width => Err(config.problem(
            "limit",
            format!("{} fills {width} register(s)", raw.name()),
            format!("write {width}, or leave it out"),
        )),
        _ => Ok((raw, width)),
    }
}

/// A raw type before its byte order is known.
#[derive(Clone, Copy)]
enum Kind {
    Number(Number),
    Half { high: bool, signed: bool },
    Bits,
    Octets { text: bool },
}

/// What `rawType` says, or else what type and width suggest.
fn kind(property: &Property, config: &Config, limit: Option<u16>) -> Result<Kind, Problem> {
    if let Some(word) = config.text("rawType") {
        let kind = match word.to_ascii_lowercase().as_str() {
            "i8l" | "int8l" => Kind::Half { high: false, signed: true },
            "i8h" | "int8h" => Kind::Half { high: true, signed: true },
            "u8l" | "uint8l" => Kind::Half { high: false, signed: false },
            "u8h" | "uint8h" => Kind::Half { high: true, signed: false },
            "bits" | "bit" => Kind::Bits,
            "string" | "text" => Kind::Octets { text: true },
            "bytes" => Kind::Octets { text: false },
            name => Kind::Number(Number::from_name(name).ok_or_else(|| {
                let remedy = "write i16, u16, i32, u32, i64, u64, f32, f64, i8l, i8h, u8l, u8h, bits, string or bytes";
                config.problem("rawType", "unknown type", remedy)
            })?),
        };
        return Ok(kind);
    }
    if config.get("bit").is_some() {
        return Ok(Kind::Bits);
    }
    // KubeEdge's dataType says what is in the registers; the model's type says what comes out.
    let data_type = match config.text("dataType") {
        None => property.data_type,
        Some(word) => DataType::from_name(&word).ok_or_else(|| {
            let remedy = "write int, float, double, string, boolean or bytes";
            config.problem("dataType", "unknown type", remedy)
        })?,
    };
    // KubeEdge reads whole numbers without sign; a model that allows values below zero means a sign.
    let minimum = property.minimum.as_ref().and_then(device_model::Value::as_f64);
    let signed = minimum.is_some_and(|minimum| minimum < 0.0);
    let whole = |registers| match (registers, signed) {
        (1, false) => Some(Number::U16),
        (1, true) => Some(Number::I16),
        (2, false) => Some(Number::U32),
        (2, true) => Some(Number::I32),
        (4, false) => Some(Number::U64),
        (4, true) => Some(Number::I64),
        _ => None,
    };
    let number = match (data_type, limit) {
        (DataType::String, _) => return Ok(Kind::Octets { text: true }),
        (DataType::Bytes, _) => return Ok(Kind::Octets { text: false }),
        (DataType::Int, limit) => whole(limit.unwrap_or(1)),
        (DataType::Boolean, limit) => whole(limit.unwrap_or(1)),
        (DataType::Float | DataType::Double, Some(1)) => whole(1),
        (DataType::Float, None) | (DataType::Float | DataType::Double, Some(2)) => {
            Some(Number::F32)
        }
        (DataType::Double, None) | (DataType::Float | DataType::Double, Some(4)) => {
            Some(Number::F64)
        }
        (DataType::Float | DataType::Double, Some(_)) => None,
    };
    match number {
        Some(number) => Ok(Kind::Number(number)),
        None => Err(config.problem(
            "limit",
            format!("no {data_type} fills so many registers"),
            "write 1, 2 or 4, or give a rawType",
        )),
    }
}

/// Byte order of a number of `bytes` bytes: the property's, else the device's, else big-endian.
fn order(device: &Device, config: &Config, bytes: u8) -> Result<Order, Problem> {
    let (swap_bytes, swap_registers) = swaps(config)?;
    let place = if config.text("order").is_some() { config } else { &device.config };
    match place.text("order") {
        Some(_) if swap_bytes || swap_registers => Err(config.problem(
            if swap_bytes { "isSwap" } else { "isRegisterSwap" },
            "stands beside order, which says the same in another way",
            "keep order, or the swaps",
        )),
        Some(text) => Order::parse(&text, bytes).map_err(|error| match error {
            OrderError::Letters => place.problem(
                "order",
                "not an order of bytes",
                "write ABCD, BADC, CDAB or DCBA, or each of the letters A to H once",
            ),
            OrderError::Width(letters) => place.problem(
                "order",
                format!("the value has {letters} bytes"),
                format!("write {letters} letters, or one of ABCD, BADC, CDAB, DCBA"),
            ),
        }),
        None => Ok(Order::swapped(bytes, swap_bytes, swap_registers)),
    }
}

/// KubeEdge's `isSwap` (bytes of a register) and `isRegisterSwap` (order of the registers).
fn swaps(config: &Config) -> Result<(bool, bool), Problem> {
    Ok((config.truth("isSwap")?.unwrap_or(false), config.truth("isRegisterSwap")?.unwrap_or(false)))
}

/// Bit patterns that mean "no value".
fn invalid_values(config: &Config, raw: Raw, width: u16) -> Result<Vec<u64>, Problem> {
    let Some(text) = config.text("invalidValues") else { return Ok(Vec::new()) };
    text.split([',', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| {
            raw.pattern(part, width).ok_or_else(|| {
                config.problem(
                    "invalidValues",
                    format!("\"{part}\" is no {}", raw.name()),
                    "write raw values with commas between them, such as 0x8000,0xFFFF or -32768",
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
