//! `configData` maps.
//!
//! Here any key will do. Under a real EdgeCore the key `data`, in any letter case, makes the whole device
//! undeliverable: its conversion takes that key for the message's own member.

use device_model::{Config, Problem, Scalar};
use serde_json::{Map, Number, Value as Json};

use super::{Peer, scalar_from_any, scalar_to_any};
use crate::proto::CustomizedValue;

/// A map of scalars, each wrapped so that `peer` reads it.
pub fn config_to_proto(config: &Config, peer: Peer) -> CustomizedValue {
    let wrap = |(key, scalar): (&str, &Scalar)| (key.to_owned(), scalar_to_any(scalar, peer));
    CustomizedValue { data: config.iter().map(wrap).collect() }
}

/// The JSON object that a manifest would hold. Nulls are left out. No message, no keys.
///
/// # Errors
/// A value that is no scalar in a wrapper, named by `path` and key.
pub fn config_from_proto(
    path: &str,
    config: Option<&CustomizedValue>,
) -> Result<Map<String, Json>, Problem> {
    let mut object = Map::new();
    for (key, any) in config.iter().flat_map(|config| &config.data) {
        let scalar = scalar_from_any(any).map_err(|(found, wanted)| {
            Problem::new(format!("{path}.{key}"), found, "cannot be read", format!("send {wanted}"))
        })?;
        if let Some(scalar) = scalar {
            object.insert(key.clone(), json(scalar));
        }
    }
    Ok(object)
}

fn json(scalar: Scalar) -> Json {
    match scalar {
        Scalar::Boolean(truth) => Json::Bool(truth),
        Scalar::Int(number) => number.into(),
        // Decoded numbers are finite.
        Scalar::Float(number) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        Scalar::String(text) => Json::String(text),
    }
}
