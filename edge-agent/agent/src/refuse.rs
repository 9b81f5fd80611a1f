//! One refusal, said in the language of each border; and what peers say, as it is shown.

use std::fmt::Display;
use std::sync::Arc;

use device_model::Problem;
use device_twin::{Refused, Rejected};
use tonic::{Code, Status};

/// Longest text of a peer that is kept, in characters.
const SHORT: usize = 500;

/// What a peer gives as a reason, on one line and not too long; `None`: nothing.
pub(crate) fn in_short(text: &str) -> Option<Arc<str>> {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let short = match line.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    };
    (!short.is_empty()).then(|| short.into())
}

/// What an app on the event bus is told of a device that is not here.
pub(crate) fn unknown_device(id: impl Display) -> String {
    format!("device {id} is not known here; see `edgetwin get` for what is")
}

/// The number that HTTP and the event bus have for it.
pub(crate) fn http_status(rejected: &Rejected) -> u16 {
    match rejected {
        Rejected::Unknown { .. } => 404,
        Rejected::ReadOnly { .. } | Rejected::NotOwner { .. } => 403,
        Rejected::Invalid { .. } => 400,
        Rejected::Several(refused) => refused.first().map_or(400, |one| http_status(&one.reason)),
        Rejected::Conflict { .. } | Rejected::Stale { .. } => 409,
        Rejected::FormerLife { .. } => 410,
        Rejected::TooLarge { .. } => 413,
        Rejected::Exhausted(_) => 500,
    }
}

/// The property at fault, if it is one.
pub(crate) fn property(rejected: &Rejected) -> Option<String> {
    match rejected {
        Rejected::ReadOnly { property } => Some(property.to_string()),
        Rejected::Invalid { property, .. } | Rejected::NotOwner { property, .. } => {
            Some(property.clone())
        }
        Rejected::Several(refused) => refused.first().map(|one| one.property.clone()),
        _ => None,
    }
}

/// What a mapper is told when a whole call is refused.
pub(crate) fn status(rejected: &Rejected) -> Status {
    let code = match http_status(rejected) {
        404 => Code::NotFound,
        403 => Code::PermissionDenied,
        409 | 410 => Code::FailedPrecondition,
        500 => Code::Internal,
        _ => Code::InvalidArgument,
    };
    Status::new(code, rejected.to_string())
}

/// What a mapper is told when parts of its report were refused; the others were applied. `unread` could not be read,
/// `refused` were refused by the twin. Those that were read stand at `places` in the report.
pub(crate) fn parts(unread: &[Problem], refused: &[Refused], places: &[usize]) -> Status {
    let unread = unread.iter().map(ToString::to_string);
    let refused = refused.iter().map(|one| {
        let part = match one.reason {
            Rejected::Unknown { .. } => "propertyName",
            _ => "reported.value",
        };
        let place = places.get(one.index).unwrap_or(&one.index);
        format!("reportedDevice.twins[{place}].{part}: {}", one.reason)
    });
    let lines: Vec<_> = unread.chain(refused).collect();
    dmi::refusal::invalid(lines.iter())
}

/// What a mapper is told when some of the devices in its call were refused; the others were applied.
pub(crate) fn several(refusals: &[(String, Status)]) -> Status {
    let of = |(device, status): &(String, Status)| format!("{device}: {}", status.message());
    dmi::refusal::invalid(refusals.iter().map(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_kept_on_one_line_and_short() {
        assert_eq!(in_short(" \n\u{1b}"), None);
        assert_eq!(in_short("no\tanswer\n  - at all ").as_deref(), Some("no answer - at all"));
        let long = in_short(&"é".repeat(SHORT * 2)).unwrap();
        assert_eq!(long.chars().count(), SHORT + 1);
        assert!(long.ends_with('…'));
    }
}
