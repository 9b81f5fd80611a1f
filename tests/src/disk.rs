//! Disks that do not do what a store would like: see each module.

pub mod hostile;
pub(crate) mod nbd;
pub mod slow;
pub mod volatile;
