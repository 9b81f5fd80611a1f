//! Configuration as a tree of keys, reached by paths such as `mqtt.listen`.

use serde::Serialize;
use serde_json::{Map, Value as Json};

/// `config` as a tree.
pub fn of(config: &impl Serialize) -> Json {
    serde_json::to_value(config).unwrap_or_default()
}

/// Whether it says something: null and what is empty do not.
pub fn filled(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(members) => !members.is_empty(),
        Json::Bool(_) | Json::Number(_) => true,
    }
}

/// What stands at `path`. Letter case counts only where two keys differ in nothing else, as with Go's decoder.
pub fn find<'a>(tree: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(tree, |tree, key| {
        let members = tree.as_object()?;
        let near = || members.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        members.get(key).or_else(|| Some(near()?.1))
    })
}

/// Whether `path` begins with `start`, in any letter case.
pub fn begins(path: &str, start: &str) -> bool {
    path.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Puts `value` at `path`, making the sections above it.
pub fn set(tree: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            tree.insert(path.into(), value);
        }
        Some((section, rest)) => {
            let section = tree.entry(section).or_insert_with(|| Json::Object(Map::new()));
            if !section.is_object() {
                *section = Json::Object(Map::new());
            }
            if let Json::Object(members) = section {
                set(members, rest, value);
            }
        }
    }
}

/// Takes away what stands at `path`.
pub fn take(tree: &mut Map<String, Json>, path: &str) -> Option<Json> {
    match path.split_once('.') {
        None => tree.remove(path),
        Some((section, rest)) => take(tree.get_mut(section)?.as_object_mut()?, rest),
    }
}

/// Lays `above` over `tree`, key by key.
pub fn overlay(tree: &mut Map<String, Json>, above: &Map<String, Json>) {
    for (key, value) in above {
        match (tree.get_mut(key), value) {
            (Some(Json::Object(beneath)), Json::Object(value)) => overlay(beneath, value),
            _ => {
                tree.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The keys of `config` that are not as in `usual`.
pub fn difference<T: Serialize>(config: &T, usual: &T) -> Map<String, Json> {
    let mut tree = of(config);
    let members = tree.as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut members = members;
    subtract(&mut members, &of(usual));
    members
}

fn subtract(tree: &mut Map<String, Json>, usual: &Json) {
    tree.retain(|key, value| {
        let Some(usual) = usual.get(key) else { return filled(value) };
        if let Json::Object(members) = value {
            subtract(members, usual);
            return !members.is_empty();
        }
        value != usual
    });
}

/// Takes away empty sections.
pub fn prune(tree: &mut Map<String, Json>) {
    tree.retain(|_, value| {
        if let Json::Object(members) = value {
            prune(members);
        }
        filled(value)
    });
}

/// Every key with its value, by path.
pub fn leaves(tree: &Json) -> Vec<(String, &Json)> {
    let mut leaves = Vec::new();
    flatten("", tree, &mut leaves);
    leaves
}

fn flatten<'a>(path: &str, value: &'a Json, leaves: &mut Vec<(String, &'a Json)>) {
    let Json::Object(members) = value else {
        leaves.push((path.into(), value));
        return;
    };
    for (key, value) in members {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        flatten(&path, value, leaves);
    }
}
