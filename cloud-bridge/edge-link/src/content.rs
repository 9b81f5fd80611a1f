//! What is in a message, where it is small and both ends need it. Kubernetes objects stay JSON.
//!
//! Whatever comes may come as JSON or as a text that holds the JSON; [`read`] takes either. KubeEdge's own programs write
//! some as text and some not: [`json`] and [`text`] do the same, and each type here says which it is.

mod answer;
mod hello;
mod member;
mod report;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use answer::{Answer, Refusal, answer};
pub use hello::{Confirmation, Hello, Holding, Point, Welcome};
pub use member::{DetailRequest, Member, Membership, MembershipDetail};
pub use report::{
    AgentState, Progress, Side, StateReport, StateSaid, TwinProperty, TwinReport, TwinVersion,
};

/// A content is not what its message says it is. Refuse the message; the connection is well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}; the forms of contents are in docs/channel.md")]
pub struct ContentError {
    /// `content.twin.speed.actual`.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

/// Reads a content that came as JSON or as text.
///
/// # Errors
/// A member is missing or of another type; the error names it.
pub fn read<T: DeserializeOwned>(content: &Value) -> Result<T, ContentError> {
    match content {
        Value::String(text) => {
            let mut json = serde_json::Deserializer::from_str(text);
            let value = serde_path_to_error::deserialize(&mut json).map_err(wrong)?;
            json.end().map_err(|error| ContentError {
                field: "content".into(),
                reason: error.to_string(),
            })?;
            Ok(value)
        }
        other => serde_path_to_error::deserialize(other).map_err(wrong),
    }
}

/// `content` as JSON.
#[expect(clippy::expect_used, reason = "all keys are text, and nothing is written but memory")]
pub fn json(content: &impl Serialize) -> Value {
    serde_json::to_value(content).expect("contents are JSON by construction")
}

/// `content` as a text that holds its JSON, with the members in the order of the type.
#[expect(clippy::expect_used, reason = "all keys are text, and nothing is written but memory")]
pub fn text(content: &impl Serialize) -> Value {
    serde_json::to_string(content).expect("contents are JSON by construction").into()
}

fn wrong(error: serde_path_to_error::Error<serde_json::Error>) -> ContentError {
    let path = error.path().to_string();
    let field = if path == "." { "content".to_owned() } else { format!("content.{path}") };
    let reason = error.into_inner().to_string();
    // Places in a text that is itself part of a line help nobody.
    ContentError { field, reason: reason.split(" at line ").next().unwrap_or_default().to_owned() }
}
