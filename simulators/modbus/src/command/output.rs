//! What the program prints.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use super::Output;
use crate::counters::Counters;

/// One simulation and how it is reached.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Place {
    /// What the manifests call the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wire: Option<String>,
    pub(super) devices: Vec<String>,
    pub(super) units: Vec<u8>,
    pub(super) listening: Vec<Listening>,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Listening {
    kind: &'static str,
    address: String,
}

impl Listening {
    pub(super) fn new(kind: &'static str, address: impl fmt::Display) -> Self {
        Self { kind, address: address.to_string() }
    }
}

#[derive(Serialize)]
struct Ended<'a> {
    #[serde(flatten)]
    place: &'a Place,
    counters: &'a Counters,
}

pub(super) fn listening(output: Output, places: &[Place], out: &mut impl Write) -> io::Result<()> {
    if output == Output::Json {
        writeln!(out, "{}", serde_json::json!({ "simulations": places }))?;
        return out.flush();
    }
    for place in places {
        for Listening { kind, address } in &place.listening {
            write!(out, "{kind:<12} {address:<22} {}", units(&place.units))?;
            if !place.devices.is_empty() {
                write!(out, "  {}", place.devices.join(", "))?;
            }
            match &place.wire {
                Some(wire) if *wire != format!("{kind} {address}") => {
                    writeln!(out, "  (in the manifest: {wire})")?;
                }
                _ => writeln!(out)?,
            }
        }
    }
    out.flush()
}

pub(super) fn ended(
    output: Output,
    ended: &[(Place, Counters)],
    out: &mut impl Write,
) -> io::Result<()> {
    if output == Output::Json {
        let ended: Vec<_> =
            ended.iter().map(|(place, counters)| Ended { place, counters }).collect();
        writeln!(out, "{}", serde_json::json!({ "simulations": ended }))?;
        return out.flush();
    }
    for (place, counters) in ended {
        let name = match place.listening.first() {
            Some(Listening { kind, address }) => format!("{kind} {address}"),
            None => String::new(),
        };
        write!(
            out,
            "{name}: {} requests, {} exceptions, {} writes, {} bad frames, {} hit by faults, {} connections",
            counters.requests,
            counters.exceptions,
            counters.write_requests,
            counters.bad_frames,
            counters.faults,
            counters.connections.accepted,
        )?;
        if let Some(gap) = counters.smallest_gap {
            let overlapping = counters.overlapping_frames;
            write!(out, ", {overlapping} overlapping frames, shortest gap {gap:.2?}")?;
        }
        writeln!(out)?;
    }
    out.flush()
}

fn units(units: &[u8]) -> String {
    let word = if units.len() == 1 { "unit" } else { "units" };
    let numbers: Vec<_> = units.iter().map(u8::to_string).collect();
    format!("{word} {}", numbers.join(", "))
}
