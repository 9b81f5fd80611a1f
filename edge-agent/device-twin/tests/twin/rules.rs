//! One test for each rule, named after it; `docs/twin.md` lists them.

mod acks;
mod clock;
mod desired;
mod life;
mod reported;
mod versions;
