//! What users of comparable systems ask for, one test a demand; the numbers are those of `docs/compatibility.md`.
//! Real sockets and serial lines, the mapper and the agent as they ship; sizes are small here and full in
//! `./test long`.

mod bus;
mod life;
mod reports;
mod tools;
mod writes;
