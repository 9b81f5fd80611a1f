//! This machine as a node: its configuration file, its service, and what can be wrong with both.

pub(crate) mod checks;
pub(crate) mod sections;
pub(crate) mod service;
