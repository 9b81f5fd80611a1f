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
    if output != Output::Text {
        return print(output, &serde_json::json!({ "simulations": places }), out);
    }
    for place in places {
        for Listening { kind, address } in &place.listening {
            write!(out, "{kind:<12} {address:<22} {}", units(&place.units))?;
            if !place.devices.is_empty() {
                write!(out, "  {}", devices(&place.devices))?;
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
    if output != Output::Text {
        let ended: Vec<_> =
            ended.iter().map(|(place, counters)| Ended { place, counters }).collect();
        return print(output, &serde_json::json!({ "simulations": ended }), out);
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

fn print(output: Output, data: &serde_json::Value, out: &mut impl Write) -> io::Result<()> {
    match output {
        Output::Yaml => {
            let text = serde_saphyr::to_string(data).map_err(io::Error::other)?;
            write!(out, "---\n{text}")?;
        }
        _ => writeln!(out, "{data}")?,
    }
    out.flush()
}

/// Ascending numbers, runs of them as ranges.
fn units(units: &[u8]) -> String {
    let word = if units.len() == 1 { "unit" } else { "units" };
    let runs = units.chunk_by(|before, after| after - before == 1).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        other => other.iter().map(u8::to_string).collect(),
    });
    format!("{word} {}", runs.collect::<Vec<_>>().join(", "))
}

/// The first names; a line for people has no room for hundreds.
fn devices(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names.get(SHOWN..) {
        Some(more @ [_, _, ..]) => {
            let shown = names.get(..SHOWN).unwrap_or_default();
            format!("{} and {} more", shown.join(", "), more.len())
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_of_units_fit_on_a_line() {
        assert_eq!(units(&[1]), "unit 1");
        assert_eq!(units(&[1, 2, 3, 7, 9, 10]), "units 1-3, 7, 9-10");
        let names: Vec<_> = (0..200).map(|n| format!("d{n}")).collect();
        assert_eq!(devices(&names), "d0, d1, d2, d3 and 196 more");
        assert_eq!(devices(&names[..5]), "d0, d1, d2, d3, d4");
    }

    #[test]
    fn programs_get_one_document_at_the_start_and_one_at_the_end() {
        let place = Place {
            wire: None,
            devices: vec!["demo/pump".into()],
            units: vec![1],
            listening: vec![Listening::new("tcp", "127.0.0.1:1502")],
        };
        for form in [Output::Json, Output::Yaml] {
            let mut out = Vec::new();
            listening(form, std::slice::from_ref(&place), &mut out).unwrap();
            ended(form, &[(place.clone(), Counters::default())], &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            let documents: Vec<serde_json::Value> = match form {
                Output::Yaml => serde_saphyr::from_multiple(&text).unwrap(),
                _ => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            };
            assert_eq!(documents.len(), 2, "{text}");
            assert_eq!(documents[0]["simulations"][0]["listening"][0]["address"], "127.0.0.1:1502");
            assert_eq!(documents[1]["simulations"][0]["counters"]["requests"], 0);
        }
    }
}
