//! `configData`: flat, scalar, and forgiving about letter case and quoted numbers.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Problem;

/// One value of a `configData` map. DMI can carry nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Int(i64),
    /// Any other number. DMI carries every number as a float, so a whole one becomes [`Scalar::Int`].
    Float(f64),
    /// Text.
    String(String),
}

impl Scalar {
    /// A number, as an integer where it is whole: KubeEdge sends 502 as the float 502.0.
    pub fn number(number: f64) -> Self {
        // 2^53, beyond which a float does not name one integer.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() <= EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            Self::Int(number as i64)
        } else {
            Self::Float(number)
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

/// The `configData` of a protocol or of a visitor.
///
/// Keys are found in any letter case, and a number may be written as text: both occur in manifests that
/// KubeEdge's own mappers accept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where these keys stand, for errors: `spec.protocol.configData`.
    path: String,
    values: BTreeMap<String, Scalar>,
}

impl Config {
    /// `values` found at `path`.
    pub fn new(path: impl Into<String>, values: BTreeMap<String, Scalar>) -> Self {
        Self { path: path.into(), values }
    }

    /// Path of this map in its manifest.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Keys as written, in order, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Scalar)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The values as they are.
    pub fn values(&self) -> &BTreeMap<String, Scalar> {
        &self.values
    }

    /// A copy without the keys of which `drop` says so.
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        let values = self.values.iter().filter(|(key, _)| !drop(key));
        Self {
            path: self.path.clone(),
            values: values.map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }

    /// The value of `key` in any letter case; an exact match wins.
    pub fn get(&self, key: &str) -> Option<&Scalar> {
        self.values.get(key).or_else(|| {
            self.values.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, value)| value)
        })
    }

    /// Text; a number or a truth is taken as it is written. Empty text counts as absent.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(Scalar::to_string).filter(|text| !text.is_empty())
    }

    /// A number, quoted or not. Empty text counts as absent.
    ///
    /// # Errors
    /// The value is no number.
    pub fn number(&self, key: &str) -> Result<Option<f64>, Problem> {
        let number = match self.get(key) {
            None => return Ok(None),
            #[expect(clippy::cast_precision_loss, reason = "asked for as a float")]
            Some(Scalar::Int(number)) => Some(*number as f64),
            Some(Scalar::Float(number)) => Some(*number),
            Some(Scalar::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Scalar::String(text)) => text.trim().parse().ok(),
            Some(Scalar::Boolean(_)) => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.problem(key, "not a number", "write a number such as 1.5")),
        }
    }

    /// A whole number within `range`, quoted or not; decimal, or hexadecimal as text (`"0x1F"`).
    ///
    /// # Errors
    /// The value is no whole number, or outside the range.
    pub fn integer(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, Problem> {
        let (low, high) = (range.start(), range.end());
        let remedy = format!("write a whole number from {low} to {high}");
        let number = match self.get(key) {
            None => return Ok(None),
            Some(Scalar::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Scalar::String(text)) if text.trim().starts_with("0x") => {
                i64::from_str_radix(&text.trim()[2..], 16).ok()
            }
            Some(value) => match crate::Value::parse(crate::DataType::Int, &value.to_string()) {
                Ok(crate::Value::Int(number)) => Some(number),
                _ => None,
            },
        };
        match number {
            None => Err(self.problem(key, "not a whole number", remedy)),
            Some(number) if !range.contains(&number) => {
                Err(self.problem(key, "out of range", remedy))
            }
            Some(number) => Ok(Some(number)),
        }
    }

    /// A truth: `true`, `false`, `1`, `0`, quoted or not.
    ///
    /// # Errors
    /// The value is none of these.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, Problem> {
        let text = match self.text(key) {
            None => return Ok(None),
            Some(text) => text,
        };
        match crate::Value::parse(crate::DataType::Boolean, &text) {
            Ok(crate::Value::Boolean(truth)) => Ok(Some(truth)),
            _ => Err(self.problem(key, "neither true nor false", "write true or false")),
        }
    }

    /// A length of time: text with a unit (`500ms`, `5s`, `2m`), or a bare number of milliseconds, which is
    /// what KubeEdge's own cycle fields hold.
    ///
    /// # Errors
    /// The value is neither.
    pub fn duration(&self, key: &str) -> Result<Option<std::time::Duration>, Problem> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let text = text.trim();
        let millis = text.parse::<f64>().ok().filter(|ms| *ms >= 0.0 && ms.is_finite());
        let span = match millis {
            Some(ms) => std::time::Duration::try_from_secs_f64(ms / 1000.0).ok(),
            None => text
                .parse::<jiff::SignedDuration>()
                .ok()
                .and_then(|span| std::time::Duration::try_from(span).ok()),
        };
        match span {
            Some(span) => Ok(Some(span)),
            None => Err(self.problem(
                key,
                "not a length of time",
                "write it with a unit, such as \"500ms\" or \"5s\"",
            )),
        }
    }

    /// A problem with the value of `key`.
    pub fn problem(
        &self,
        key: &str,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        let value = self.get(key).map(Scalar::to_string).unwrap_or_default();
        Problem::new(format!("{}.{key}", self.path), value, reason, remedy)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(pairs: &[(&str, Scalar)]) -> Config {
        let values = pairs.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
        Config::new("spec.protocol.configData", values)
    }

    #[test]
    fn keys_are_found_in_any_case_and_numbers_in_quotes() {
        let config = config(&[
            ("slaveId", Scalar::String("17".into())),
            ("Port", Scalar::Float(502.0)),
            ("timeout", Scalar::String("1.5s".into())),
            ("reportEvery", Scalar::Int(250)),
        ]);
        assert_eq!(config.integer("slaveID", 0..=255), Ok(Some(17)));
        assert_eq!(config.integer("port", 1..=65535), Ok(Some(502)));
        assert_eq!(config.duration("timeout"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(config.duration("reportEvery"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(config.integer("absent", 0..=1), Ok(None));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place_and_a_remedy() {
        let config = config(&[("port", Scalar::String("70000".into()))]);
        assert_eq!(
            config.integer("port", 1..=65535).unwrap_err().to_string(),
            "spec.protocol.configData.port = \"70000\": out of range; write a whole number from 1 to 65535"
        );
    }
}
