//! Why a wish was not taken, as the API says it: field, value, remedy, and how things stand.

use device_model::{Access, Generation};
use device_twin::{Rejected, Twin};

use super::view::{CurrentProperty, CurrentView, ErrorView};
use crate::refuse;

/// A property that was to be written.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    /// Whether it came with an `ifVersion` of its own.
    pub(super) versioned: bool,
}

/// Why `twin` does not take what is `wanted`.
pub(super) fn refused(rejected: &Rejected, twin: &Twin, wanted: &[Wanted]) -> ErrorView {
    let mut error = why(rejected, twin, wanted);
    error.current = (error.code == 409).then(|| Box::new(current(twin, wanted)));
    error
}

fn why(rejected: &Rejected, twin: &Twin, wanted: &[Wanted]) -> ErrorView {
    let value = |name: &str| format!("properties.{name}.value");
    let named = refuse::property(rejected).map_or_else(|| "properties".into(), |name| value(&name));
    let code = refuse::http_status(rejected);
    let (field, message, remedy) = match rejected {
        Rejected::Unknown { .. } => {
            let unknown = wanted.iter().find(|one| twin.property(&one.name).is_none());
            let field = unknown.map_or_else(|| named, |one| format!("properties.{}", one.name));
            let names = writable(twin);
            (
                field,
                rejected.to_string(),
                format!("write one of those that can be written: {names}"),
            )
        }
        Rejected::ReadOnly { .. } => {
            let remedy = format!("write one of those that can be written: {}", writable(twin));
            (named, rejected.to_string(), remedy)
        }
        Rejected::Conflict { expected, current } => {
            let versions = current.properties.iter().map(|(name, state)| {
                let version = state.desired.as_ref().map_or(0, |desired| desired.generation.0);
                format!("{name} is at version {version}, not {expected}")
            });
            let message = versions.collect::<Vec<_>>().join("; ");
            let field = match current.properties.as_slice() {
                [(name, _)]
                    if wanted.iter().any(|one| one.versioned && one.name == name.as_str()) =>
                {
                    format!("properties.{name}.ifVersion")
                }
                _ => "ifVersion".into(),
            };
            (field, message, "read the device again, then decide again".into())
        }
        Rejected::Several(parts) => match parts.first() {
            // Where the first is, what all of them are.
            Some(first) => {
                let of_it = |one: &&Wanted| one.name == first.property;
                let wanted: Vec<_> = wanted.iter().filter(of_it).cloned().collect();
                let ErrorView { field, remedy, .. } = why(&first.reason, twin, &wanted);
                (field, rejected.to_string(), remedy)
            }
            None => (named, rejected.to_string(), "correct the values".into()),
        },
        Rejected::Invalid { .. } => (named, rejected.to_string(), "correct the value".into()),
        Rejected::TooLarge { .. } => {
            let field = match wanted {
                [one] => value(&one.name),
                _ => named,
            };
            (field, rejected.to_string(), "send a shorter value".into())
        }
        Rejected::NotOwner { .. } => (named, rejected.to_string(), "write it there".into()),
        Rejected::Stale { .. } | Rejected::FormerLife { .. } | Rejected::Exhausted(_) => {
            (named, rejected.to_string(), "read the device again, then decide again".into())
        }
    };
    ErrorView::new(code, field, message, remedy)
}

/// How what is `wanted` of `twin` stands, for whoever decides again.
fn current(twin: &Twin, wanted: &[Wanted]) -> CurrentView {
    let property = |Wanted { name, .. }: &Wanted| {
        let (_, state) = twin.property(name)?;
        let desired = state.desired.as_ref();
        let value = desired.map(|desired| desired.value.to_string());
        let version = desired.map_or(Generation(0), |desired| desired.generation);
        Some((name.clone(), CurrentProperty { value, version }))
    };
    CurrentView { rev: twin.rev(), properties: wanted.iter().filter_map(property).collect() }
}

/// The properties that take wishes, by name.
fn writable(twin: &Twin) -> String {
    let names = twin.properties().filter(|(property, _)| property.access == Access::ReadWrite);
    names.map(|(property, _)| property.name.to_string()).collect::<Vec<_>>().join(", ")
}
