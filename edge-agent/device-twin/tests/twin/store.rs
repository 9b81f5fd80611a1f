//! What every store owes, over each of them.

mod carried;
mod contract;
mod crash;
mod edgecore;
mod formats;
mod journal;
