//! What users of comparable systems ask for, one test a demand; the numbers are those of `docs/compatibility.md`.
//! Real sockets and serial lines. The mapper and the agent are the libraries that the programs are made of, run in this
//! process; where it matters how a program ends or what it uses, the programs themselves. Sizes are small here and full
//! in `./test long`.

mod bus;
#[cfg(feature = "peers")]
mod clock;
mod life;
#[cfg(feature = "peers")]
mod link;
mod observe;
mod observe_frames;
mod observe_wire;
mod reports;
mod store;
mod tools;
mod twins;
mod writes;
