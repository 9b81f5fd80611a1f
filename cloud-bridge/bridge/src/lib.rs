//! The cloud's end: keeps Devices, their models and the states that nodes report true to each other, between a
//! Kubernetes API server and the edge nodes that are connected.
//!
//! Who is who: [`identity`] holds the certificate authority and the tokens, [`join`] gives nodes their certificates.

pub mod config;
pub mod crds;
mod https;
pub mod identity;
pub mod join;
pub mod webhook;
