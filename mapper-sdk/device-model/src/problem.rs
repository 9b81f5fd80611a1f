//! What is wrong with a manifest, said so that the reader can mend it.

use std::fmt;

/// One fault: where, what was given, why it does not do, what would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, for example `spec.properties[speed].desired.value`.
    pub field: String,
    /// What was given there; empty if nothing was.
    pub value: String,
    /// Why it does not do.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl Problem {
    /// All four parts.
    pub fn new(
        field: impl Into<String>,
        value: impl fmt::Display,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, reason, remedy } = self;
        if value.is_empty() {
            write!(f, "{field}: {reason}; {remedy}")
        } else {
            write!(f, "{field} = \"{value}\": {reason}; {remedy}")
        }
    }
}

impl std::error::Error for Problem {}

/// Every fault found in one object; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// Which object: `Device demo/pump`.
    pub object: String,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.object)?;
        match self.problems.as_slice() {
            [only] => write!(f, " {only}"),
            many => many.iter().try_for_each(|problem| write!(f, "\n  - {problem}")),
        }
    }
}

impl std::error::Error for Problems {}
