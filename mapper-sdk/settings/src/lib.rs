//! What configuration files of agent and bridge have in common: lengths of time, errors that name the key that was meant,
//! and trees of keys, by which a file of KubeEdge's is told in our words.

pub mod explain;
mod span;
pub mod tree;

pub use span::Span;
