//! Up from one node: what it reports of its devices, until it is written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use device_model::{DeviceId, PropertyName};
use edge_link::content::{
    self, AgentState, Confirmation, ContentError, Progress, StateReport, TwinProperty, TwinReport,
};
use edge_link::{Message, MessageId, Uid};
use serde_json::Value;
use tokio::time::Instant;

use crate::objects::DeviceEntry;
use crate::records::Records;
use crate::status::{Answers, Intake, NotWritten, Part, Said, document::Change};

/// The reports of a node's devices over one link.
#[derive(Debug, Default)]
pub(super) struct Reports(HashMap<DeviceId, Kept>);

#[derive(Debug)]
struct Kept {
    uid: Uid,
    intake: Intake,
    /// Since when something waits to be written.
    since: Option<Instant>,
    /// Tries in a row that the API server did not take.
    failures: u32,
    /// Refusals that people were told of: the number of the desired value, by property.
    told: BTreeMap<PropertyName, String>,
}

/// A desired value that was finally refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) property: PropertyName,
    pub(super) value: String,
    /// What the mapper said.
    pub(super) code: String,
    pub(super) detail: String,
}

/// A report, read.
#[derive(Debug)]
pub(super) struct Read {
    progress: Option<Progress>,
    at: device_model::Timestamp,
    changed: BTreeMap<Part, Said>,
}

/// What becomes of a report.
#[derive(Debug)]
pub(super) enum Taken {
    /// It waits for a turn.
    Waits,
    /// Answer this, and nothing else.
    Answer(Confirmation),
}

impl Read {
    /// A report of values.
    pub(super) fn twin(message: &Message) -> Result<Self, ContentError> {
        let report: TwinReport = content::read(&message.content)?;
        let state = match report.edgetwin {
            Some(_) => AgentState::read(&message.content)?,
            None => None,
        };
        let property = |(name, twin)| (Part::Property(name), Said::Property(Box::new(twin)));
        let mut changed: BTreeMap<_, _> = report.twin.into_iter().map(property).collect();
        if let Some(AgentState { said, reason }) = state {
            changed.insert(Part::State, Said::State(said, reason));
        }
        Ok(Self { progress: report.edgetwin, at: report.timestamp, changed })
    }

    /// A report of a state, as EdgeCore makes them.
    pub(super) fn state(message: &Message) -> Result<Self, ContentError> {
        let report: StateReport = content::read(&message.content)?;
        let changed = BTreeMap::from([(Part::State, Said::State(report.device, None))]);
        Ok(Self { progress: report.edgetwin, at: report.timestamp, changed })
    }

    /// Which life of the device it is of, where that is said.
    pub(super) fn uid(&self) -> Option<&Uid> {
        self.progress.as_ref().map(|progress| &progress.uid)
    }
}

impl Reports {
    /// Takes a report of `device`.
    pub(super) fn take(
        &mut self,
        device: &DeviceEntry,
        ours: bool,
        records: &Records,
        id: MessageId,
        read: Read,
    ) -> Taken {
        let kept = self.0.get(&device.id).is_some_and(|kept| kept.uid == device.uid);
        if !kept {
            let intake = match ours {
                true => {
                    let written = records.point(&device.id, &device.uid);
                    Intake::of_ours(device.uid.clone(), written.as_ref())
                }
                false => Intake::of_edgecore(),
            };
            let fresh = Kept {
                uid: device.uid.clone(),
                intake,
                since: None,
                failures: 0,
                told: BTreeMap::new(),
            };
            self.0.insert(device.id.clone(), fresh);
        }
        let Some(kept) = self.0.get_mut(&device.id) else { return Taken::Waits };
        let Read { progress, at, changed } = read;
        match kept.intake.take(id, progress, at, changed) {
            Some(answer) => Taken::Answer(answer),
            None => {
                kept.since.get_or_insert_with(Instant::now);
                Taken::Waits
            }
        }
    }

    /// What of `change` people were not told of yet: desired values that are refused, or that failed.
    pub(super) fn refusals(&mut self, device: &DeviceId, change: &Change) -> Vec<Refused> {
        let Some(kept) = self.0.get_mut(device) else { return Vec::new() };
        let mut refusals = Vec::new();
        for (part, said) in &change.said {
            let (Part::Property(property), Said::Property(twin)) = (part, said) else { continue };
            let Some(Refusal { version, refused }) = refusal(property, twin) else {
                continue;
            };
            if kept.told.get(property) != Some(&version) {
                kept.told.insert(property.clone(), version);
                refusals.push(refused);
            }
        }
        refusals
    }

    /// It is the device's turn: what to write, and how far it is believed to be written.
    pub(super) fn turn(
        &mut self,
        device: &DeviceEntry,
    ) -> Option<(Change, Option<content::Point>)> {
        let kept = self.0.get_mut(&device.id).filter(|kept| kept.uid == device.uid)?;
        Some((kept.intake.write()?, kept.intake.written()))
    }

    /// What came of the write of that life of a device: answers, how long it took, and whether and when to ask for another
    /// turn.
    pub(super) fn written(
        &mut self,
        device: &Arc<DeviceEntry>,
        result: &Result<(), NotWritten>,
    ) -> Written {
        let Some(kept) = self.0.get_mut(&device.id).filter(|kept| kept.uid == device.uid) else {
            return Written::default();
        };
        let answers = match result {
            Ok(()) => kept.intake.done(),
            Err(NotWritten::Elsewhere(recorded)) => kept.intake.refused(recorded.as_ref()),
            Err(NotWritten::Failed(_)) => {
                let written = kept.intake.written();
                kept.intake.refused(written.as_ref())
            }
        };
        let waits = kept.intake.is_waiting();
        let lag = match result {
            Ok(()) => kept.since.take().map(|since| since.elapsed()),
            Err(_) => None,
        };
        if waits {
            kept.since.get_or_insert_with(Instant::now);
        }
        kept.failures = if result.is_ok() { 0 } else { kept.failures.saturating_add(1) };
        let again = waits.then(|| match (result, kept.failures) {
            (Ok(()), _) | (Err(NotWritten::Elsewhere(_)), 1) => Duration::ZERO,
            (_, failures) => Duration::from_secs(1 << failures.min(5)).min(LONGEST_REST),
        });
        Written { answers, lag, again }
    }
}

struct Refusal {
    version: String,
    refused: Refused,
}

/// Acknowledgements 4xx and 5xx are refusals and failures, but for 424, "unreachable": that is tried again.
fn refusal(property: &PropertyName, twin: &TwinProperty) -> Option<Refusal> {
    let expected = twin.expected.as_ref()?;
    let metadata = expected.metadata.as_ref()?;
    let text = |key: &str| match metadata.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    let code = text("ackCode")?;
    if !matches!(code.as_bytes().first(), Some(b'4' | b'5')) || code == "424" {
        return None;
    }
    let refused = Refused {
        property: property.clone(),
        value: expected.value.clone().unwrap_or_default(),
        detail: text("ackDetail").unwrap_or_default(),
        code,
    };
    Some(Refusal { version: text("ackVersion").or_else(|| text("version"))?, refused })
}

/// The longest rest after writes that the API server did not take.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What comes of a write.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// What to answer to reports.
    pub(super) answers: Answers,
    /// From the first report in it until now.
    pub(super) lag: Option<Duration>,
    /// After how long to ask for another turn; none: nothing waits.
    pub(super) again: Option<Duration>,
}
