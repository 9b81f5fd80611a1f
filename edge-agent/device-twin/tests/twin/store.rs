//! What every store owes, over each of them.

mod contract;
mod crash;
mod formats;
mod journal;
