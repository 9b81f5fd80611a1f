//! Twins on their way to the cloud.

mod histories;
mod intake;
mod outbox;
mod space;
mod world;
