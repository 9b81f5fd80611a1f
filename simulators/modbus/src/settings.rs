//! Flat keys as people write them: any case, numbers as text.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::problem::Problem;

/// The keys of one `configData`, the model's below the instance's. A value that cannot be read is noted in
/// `problems` and counts as absent.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The field that the keys stand in.
    at: String,
    /// By key in lower case, with the key as it was written.
    values: BTreeMap<String, (String, Json)>,
    pub(crate) problems: Vec<Problem>,
}

impl Settings {
    pub(crate) fn new(at: impl Into<String>, layers: &[&Map<String, Json>]) -> Self {
        let mut values = BTreeMap::new();
        for (key, value) in layers.iter().flat_map(|layer| layer.iter()) {
            if !value.is_null() {
                values.insert(key.to_ascii_lowercase(), (key.clone(), value.clone()));
            }
        }
        Self { at: at.into(), values, problems: Vec::new() }
    }

    /// Whether one of `keys` is there.
    pub(crate) fn has(&self, keys: &[&str]) -> bool {
        self.find(keys).is_some()
    }

    /// The value of the first of `keys` that is there, read by `read`, whose error is the remedy.
    pub(crate) fn get<T>(
        &mut self,
        keys: &[&str],
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, value) = self.find(keys)?;
        let text = match value {
            Json::String(text) => text.trim().to_owned(),
            Json::Number(_) | Json::Bool(_) => value.to_string(),
            _ => String::new(),
        };
        match read(&text) {
            Ok(value) => Some(value),
            Err(remedy) => {
                self.refuse(keys, remedy);
                None
            }
        }
    }

    pub(crate) fn text(&mut self, keys: &[&str]) -> Option<String> {
        let read = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.get(keys, |text| read(text).ok_or_else(|| "write a text".into()))
    }

    pub(crate) fn parse<T: FromStr<Err: ToString>>(&mut self, keys: &[&str]) -> Option<T> {
        self.get(keys, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    pub(crate) fn number(&mut self, keys: &[&str]) -> Option<f64> {
        let read = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        self.get(keys, |text| read(text).ok_or_else(|| "write a number".into()))
    }

    /// A whole number from 0 to `most`; `16.0` is one too.
    pub(crate) fn integer(&mut self, keys: &[&str], most: u16) -> Option<u16> {
        self.get(keys, |text| {
            let digits = text.strip_suffix(".0").unwrap_or(text);
            let number = digits.parse().ok().filter(|number| *number <= most);
            number.ok_or_else(|| format!("write a whole number from 0 to {most}"))
        })
    }

    pub(crate) fn flag(&mut self, keys: &[&str]) -> Option<bool> {
        self.get(keys, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("write true or false".into()),
        })
    }

    pub(crate) fn duration(&mut self, keys: &[&str]) -> Option<Duration> {
        self.get(keys, |text| {
            duration(text).ok_or_else(|| "write a time with its unit: 500ms, 10s, 5m or 1h".into())
        })
    }

    /// Notes that the value of `keys` does not go with the rest.
    pub(crate) fn refuse(&mut self, keys: &[&str], remedy: impl Into<String>) {
        let (key, value) = match self.find(keys) {
            Some((key, value)) => (key.to_owned(), value.to_string()),
            None => (keys.first().copied().unwrap_or_default().to_owned(), String::new()),
        };
        let remedy = remedy.into();
        self.problems.push(Problem { field: format!("{}.{key}", self.at), value, remedy });
    }

    fn find(&self, keys: &[&str]) -> Option<(&str, &Json)> {
        keys.iter()
            .find_map(|key| self.values.get(&key.to_ascii_lowercase()))
            .map(|(key, value)| (key.as_str(), value))
    }
}

/// A number with its unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match text.get(digits.len()..)? {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let time = Duration::try_from_secs_f64(digits.trim().parse::<f64>().ok()? * seconds).ok()?;
    (!time.is_zero()).then_some(time)
}
