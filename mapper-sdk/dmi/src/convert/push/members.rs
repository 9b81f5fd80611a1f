//! Reading a JSON object member by member.

use std::collections::BTreeMap;

use device_model::Problem;
use serde_json::{Map, Value as Json};

/// A JSON object that knows where it stands. Members are found in any letter case; absent ones and nulls give the
/// type's empty value, as in the message.
pub(super) struct Members<'a> {
    path: String,
    members: &'a Map<String, Json>,
}

impl<'a> Members<'a> {
    pub(super) fn new(path: String, json: &'a Json) -> Result<Self, Problem> {
        match json {
            Json::Object(members) => Ok(Self { path, members }),
            other => Err(Problem::new(path, other, "not an object", "write its members")),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a String, &'a Json)> {
        self.members.iter()
    }

    fn get(&self, key: &str) -> Option<&'a Json> {
        let exact = self.members.get(key);
        let similar = || self.members.iter().find(|(k, _)| k.eq_ignore_ascii_case(key));
        exact.or_else(|| similar().map(|(_, value)| value)).filter(|value| !value.is_null())
    }

    pub(super) fn problem(&self, key: &str, reason: &str, remedy: &str) -> Problem {
        let value = self.get(key).map(Json::to_string).unwrap_or_default();
        Problem::new(format!("{}.{key}", self.path), value, reason, remedy)
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Members<'a>>, Problem> {
        self.get(key).map(|value| Members::new(format!("{}.{key}", self.path), value)).transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<String, Problem> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Json::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.problem(key, "not text", "put the value in quotes")),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<BTreeMap<String, String>, Problem> {
        let Some(object) = self.object(key)? else { return Ok(BTreeMap::new()) };
        object.members.keys().map(|key| Ok((key.clone(), object.text(key)?))).collect()
    }

    pub(super) fn integer<N: TryFrom<i64> + Default>(&self, key: &str) -> Result<N, Problem> {
        let Some(value) = self.get(key) else { return Ok(N::default()) };
        let number = value.as_i64().and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| {
            self.problem(key, "not a whole number that fits", "write one, without quotes")
        })
    }

    pub(super) fn truth(&self, key: &str) -> Result<bool, Problem> {
        match self.get(key) {
            None => Ok(false),
            Some(Json::Bool(truth)) => Ok(*truth),
            Some(_) => Err(self.problem(key, "neither true nor false", "write one of them")),
        }
    }
}
