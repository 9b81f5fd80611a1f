//! Device twins: what is desired of each property of a device, and what the device reported.
//!
//! [`Twin`] holds the rules as pure code: no runtime, no clock ([`Now`] is an argument), no I/O. [`Twins`] holds all
//! twins of a node over a [`Store`], and [`Twins::apply`] turns a batch of [`Command`]s into one transaction. The
//! rules, each with its test, are listed in `docs/twin.md`.
//!
//! Invariants:
//! - a report never changes what is desired;
//! - each change of a twin raises its revision by exactly one, and is answered only when it is committed;
//! - a commit that fails changes nothing in memory.

mod batch;
mod command;
mod condition;
mod counters;
mod desire;
mod draft;
mod load;
mod now;
mod outcome;
mod places;
mod property;
mod repeats;
mod report;
mod rows;
mod settings;
pub mod store;
mod twin;
mod twins;
mod update;
mod writer;

pub use command::{
    AckSource, Command, Desire, DesireProperty, EventKey, Given, GivenReading, PropertyReport,
    Report, Update,
};
pub use condition::Condition;
pub use counters::Counters;
pub use now::Now;
pub use outcome::{
    Answer, Change, ChangeKind, Current, Outcome, PropertyChange, Refused, Rejected,
};
pub use property::{Acknowledged, Desired, Reported, TwinProperty};
pub use settings::{Limits, Owner, Settings};
pub use store::{Durability, MemoryStore, SqliteStore, Store, StoreError};
pub use twin::{Delta, Twin};
pub use twins::Twins;
pub use writer::{Uid, Writer};
