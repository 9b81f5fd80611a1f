//! Plain register files: units, tables, addresses.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::layout::{Initial, Layout};
use crate::manifest::{Hints, Start, read_register};
use crate::problem::{Problem, SpecError};
use crate::settings::Settings;
use crate::table::Table;

/// Whether `text` is a register file: it has `units` at its top.
pub(crate) fn is_one(text: &str) -> bool {
    serde_saphyr::from_str::<Json>(text).is_ok_and(|document| document.get("units").is_some())
}

/// The units in `text`.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<u8, Layout>, SpecError> {
    let document: Json = serde_saphyr::from_str(text)
        .map_err(|error| SpecError::one(Problem::new("YAML", error, "correct the text there")))?;
    let mut problems = Vec::new();
    let mut layouts = BTreeMap::new();
    let units = object(document.get("units"), "units", &mut problems);
    for (number, tables) in units {
        let field = format!("units.{number}");
        let Ok(unit @ 0..=247) = number.parse::<u8>() else {
            problems.push(Problem::new(&field, number, "write a unit from 1 to 247"));
            continue;
        };
        let mut layout = Layout::default();
        for (name, cells) in object(Some(tables), &field, &mut problems) {
            let field = format!("{field}.{name}");
            match name.parse() {
                Ok(table) => {
                    for (address, value) in object(Some(cells), &field, &mut problems) {
                        let field = format!("{field}.{address}");
                        read_cell(&mut layout, table, &field, address, value, &mut problems);
                    }
                }
                Err(error) => problems.push(Problem::new(field, name, error.to_string())),
            }
        }
        layouts.insert(unit, layout);
    }
    if layouts.is_empty() && problems.is_empty() {
        problems.push(Problem::new("units", "", "write at least one unit, as in units: {1: {…}}"));
    }
    SpecError::unless_empty(problems).map(|()| layouts)
}

fn object<'a>(
    value: Option<&'a Json>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> impl Iterator<Item = (&'a String, &'a Json)> + use<'a> {
    let found = value.and_then(Json::as_object);
    if found.is_none() {
        let text = value.map(Json::to_string).unwrap_or_default();
        problems.push(Problem::new(field, text, "write a mapping, as in {0: 42}"));
    }
    found.into_iter().flatten()
}

fn read_cell(
    layout: &mut Layout,
    table: Table,
    field: &str,
    key: &str,
    value: &Json,
    problems: &mut Vec<Problem>,
) {
    let Some((first, last)) = addresses(key) else {
        let remedy = "write an address from 0 to 65535, or a range such as 10-19";
        return problems.push(Problem::new(field, key, remedy));
    };
    let count = usize::from(last - first) + 1;
    match value {
        Json::Object(keys) if count == 1 => read_point(layout, table, field, first, keys, problems),
        Json::Array(cells) if count == 1 || cells.len() == count => {
            let room = usize::from(u16::MAX - first) + 1;
            let words: Option<Vec<u16>> = cells.iter().map(|cell| word(table, cell)).collect();
            match words {
                Some(words) if words.len() <= room => layout.put(table, first, &words),
                Some(_) => problems.push(Problem::new(field, key, "end at address 65535")),
                None => problems.push(Problem::new(field, value, cell_remedy(table))),
            }
        }
        Json::Array(cells) => {
            let remedy =
                format!("write {count} values, not {}, or the first address alone", cells.len());
            problems.push(Problem::new(field, value, remedy));
        }
        _ => match word(table, value) {
            Some(word) => layout.put(table, first, &vec![word; count]),
            None => problems.push(Problem::new(field, value, cell_remedy(table))),
        },
    }
}

fn addresses(key: &str) -> Option<(u16, u16)> {
    let (first, last) = key.split_once('-').unwrap_or((key, key));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last))
}

/// One cell as it stands: a word, signed or not, or a bit.
fn word(table: Table, value: &Json) -> Option<u16> {
    if table.is_bits() {
        return match value {
            Json::Bool(bit) => Some((*bit).into()),
            _ => value.as_u64().filter(|bit| *bit <= 1).and_then(|bit| u16::try_from(bit).ok()),
        };
    }
    let number = value.as_i64()?;
    let signed = i16::try_from(number).map(i16::cast_unsigned);
    u16::try_from(number).or(signed).ok()
}

fn cell_remedy(table: Table) -> &'static str {
    if table.is_bits() {
        "write true or false"
    } else {
        "write a number from -32768 to 65535, a list of them, or a mapping with a rawType"
    }
}

/// A value with a type, in the keys that manifests use in `visitors.configData`.
fn read_point(
    layout: &mut Layout,
    table: Table,
    field: &str,
    address: u16,
    keys: &Map<String, Json>,
    problems: &mut Vec<Problem>,
) {
    let mut settings = Settings::new(field, &[keys]);
    if settings.has(&["simFollow"]) {
        settings.refuse(&["simFollow"], "there are no properties to follow here: take it away");
    } else if !table.is_bits() && !settings.has(&["rawType", "bit"]) {
        settings.refuse(&["rawType"], "name the type, as in rawType: u16");
    } else if let Some(point) = read_register(table, address, &mut settings) {
        let initial = match point.start {
            Start::At(initial) => initial,
            Start::Zero => Initial::Number(0.0),
        };
        layout.place(&point.place, &initial);
        if let Hints::Wave(signal) = point.hints {
            layout.wave(&point.place, signal);
        }
    }
    problems.append(&mut settings.problems);
}

#[cfg(test)]
mod tests;
