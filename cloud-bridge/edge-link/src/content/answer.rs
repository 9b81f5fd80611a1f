//! Answers of a cloud to what a node asks or wants done.
//!
//! There are three forms: the object itself, `{"Object":…,"Err":…}`, and a text. In the first, an error is
//! `{"ErrStatus":…}`; taken for an object it would be stored as an empty one, so it is told apart here, once.

use std::fmt;

use serde_json::{Value, json};

use crate::message::Message;
use crate::object::Look;
use crate::words::operation;

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The object as it is now.
    Object(Value),
    /// It is done, and there is nothing to show: the text `OK`.
    Done,
    /// Another text: a certificate, or whatever an old cloud says.
    Text(String),
}

/// A request was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Kubernetes' word: `NotFound`, `AlreadyExists`, `Conflict`. `InternalError` where nothing was said.
    pub reason: String,
    /// The status code of the API server; 500 where nothing was said.
    pub code: u16,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal with a word of Kubernetes.
    pub fn new(reason: &str, code: u16, message: &str) -> Self {
        Self { reason: reason.into(), code, message: message.into() }
    }

    /// Whether it was refused because nothing of that name exists.
    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound"
    }

    /// Whether it was refused because there is one already.
    pub fn is_already_there(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// As an answer to a query.
    pub fn to_content(&self) -> Value {
        json!({"ErrStatus": {
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }})
    }

    fn internal(message: String) -> Self {
        Self { reason: "InternalError".into(), code: 500, message }
    }

    fn read(error: &Value) -> Self {
        let status = &error["ErrStatus"];
        let text = |key: &str| status[key].as_str().filter(|text| !text.is_empty());
        // An error that was none of the API server's loses all it had to say on the way.
        let Some(reason) = text("reason").or(text("status")) else {
            return Self::internal(format!("the cloud gave no reason: {error}"));
        };
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        Self::new(reason, code, text("message").unwrap_or_default())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.reason, self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Answer {
    /// The content `{"Object":…,"Err":…}` of an answer; both members are always there.
    pub fn to_content(answer: &Result<Value, Refusal>) -> Value {
        match answer {
            Ok(object) => json!({"Object": object, "Err": null}),
            Err(refusal) => json!({"Object": null, "Err": refusal.to_content()}),
        }
    }
}

/// What `message`, which answers a request, says of it.
///
/// # Errors
/// The request was refused; or the answer holds no object with a UID, which cannot be told from a lost error.
pub fn answer(message: &Message) -> Result<Answer, Refusal> {
    if message.is(operation::ERROR) {
        let reason = String::from_utf8_lossy(&message.octets()).into_owned();
        return Err(Refusal::internal(reason));
    }
    match &message.content {
        Value::String(text) if text == "OK" => Ok(Answer::Done),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Object(members)) => object(&Value::Object(members)),
            _ => Ok(Answer::Text(text.clone())),
        },
        other => object(other),
    }
}

fn object(content: &Value) -> Result<Answer, Refusal> {
    if content.get("ErrStatus").is_some() {
        return Err(Refusal::read(content));
    }
    match content.get("Err") {
        Some(Value::Null) | None => {}
        Some(error) => return Err(Refusal::read(error)),
    }
    let object = content.get("Object").unwrap_or(content);
    // A token has no UID; it is known by its kind of request.
    let whole = Look::at(object).uid.is_some() || object["status"]["token"].is_string();
    if whole {
        Ok(Answer::Object(object.clone()))
    } else {
        Err(Refusal::internal("the answer holds no object with metadata.uid".into()))
    }
}
