//! A desired value on its way down.

use std::collections::BTreeMap;

use device_model::{AckCode, DataType, Generation, Timestamp, Value};

use super::words;
use crate::proto::TwinProperty;
use crate::trace::TraceId;

/// What somebody desires of one property.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredTwin {
    /// The value.
    pub value: Value,
    /// Its number.
    pub generation: Generation,
    /// When it was accepted.
    pub set_at: Timestamp,
    /// The last acknowledgement that the agent has, of whichever generation. A mapper that starts again does not
    /// write again what was finally acknowledged.
    pub ack: Option<(Generation, AckCode)>,
    /// Which change it is, for logs.
    pub trace: Option<TraceId>,
}

impl DesiredTwin {
    /// The message for it. `extra` are words of a manifest; ours win.
    pub(super) fn to_proto(&self, extra: &BTreeMap<String, String>) -> TwinProperty {
        let mut metadata = extra.clone();
        let mut word = |key: &str, value: String| metadata.insert(key.into(), value);
        word(words::VERSION, self.generation.to_string());
        word(words::TIMESTAMP, self.set_at.as_millis().to_string());
        word(words::TYPE, self.value.data_type().lower().into());
        if let Some((generation, code)) = self.ack {
            word(words::ACK_CODE, code.number().to_string());
            word(words::ACK_VERSION, generation.to_string());
        }
        if let Some(trace) = self.trace {
            word(words::TRACEPARENT, trace.traceparent());
        }
        TwinProperty { value: self.value.to_string(), metadata, ..TwinProperty::default() }
    }
}

/// What the words beside a desired value say. Under a foreign agent they are the user's own, so one that cannot be
/// read counts as absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DesiredWords {
    /// Number of the value; our agent always gives it. Without it, a new value or a new `timestamp` text counts as
    /// the next generation.
    pub generation: Option<Generation>,
    /// When the value was desired.
    pub set_at: Option<Timestamp>,
    /// Type of the value.
    pub data_type: Option<DataType>,
    /// The last acknowledgement that the agent knows.
    pub ack: Option<(Generation, AckCode)>,
    /// Which change it is, for logs.
    pub trace: Option<TraceId>,
}

impl DesiredWords {
    /// Reads the metadata of a [`device_model::Desire`].
    pub fn read(metadata: &BTreeMap<String, String>) -> Self {
        let word = |key| metadata.get(key).map(|text| text.trim());
        let number = |key| word(key).and_then(|text| text.parse().ok());
        let code =
            word(words::ACK_CODE).and_then(|text| text.parse().ok()).and_then(AckCode::from_number);
        Self {
            generation: number(words::VERSION).map(Generation),
            set_at: word(words::TIMESTAMP)
                .and_then(|text| text.parse().ok())
                .map(Timestamp::from_millis),
            data_type: word(words::TYPE).and_then(DataType::from_name),
            ack: number(words::ACK_VERSION).map(Generation).zip(code),
            trace: word(words::TRACEPARENT).and_then(TraceId::from_traceparent),
        }
    }
}
