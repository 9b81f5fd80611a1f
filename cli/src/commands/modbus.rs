//! `edgetwin modbus`: what a Modbus device will be asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use device_model::Device;
use mapper_modbus::{PropertyLine, RequestLine, describe};
use serde::Serialize;

use crate::duration::short;
use crate::manifests;
use crate::outcome::{Outcome, complain};
use crate::output::{OutputArgs, add, print, table, text};

/// Look at Modbus devices
#[derive(Debug, Subcommand)]
pub(crate) enum ModbusCommand {
    Plan(PlanArgs),
}

/// Show the requests that devices will cause, with every notation of their addresses
///
/// Nothing is sent. Addresses in a manifest count from 0, as on the wire, unless the device says
/// `addressBase: 1`. The plan shows each as it goes over the wire (also in hexadecimal), counted from 1, and as
/// data sheets write it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin modbus plan device-profiles/demo/pump-skid.yaml
  edgetwin modbus plan ./manifests -o json")]
pub(crate) struct PlanArgs {
    /// Manifest files, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints the plan of each device.
///
/// # Errors
/// A file cannot be read, or is no manifest.
pub(crate) fn run(command: &ModbusCommand) -> anyhow::Result<Outcome> {
    let ModbusCommand::Plan(args) = command;
    let loaded = manifests::load(&args.files)?;
    let mut problems = loaded.problems;
    let mut plans = Vec::new();
    for device in &loaded.devices {
        match Plan::of(device) {
            Ok(plan) => {
                let named = |problem: &String| format!("Device {}: {problem}", plan.device);
                problems.extend(plan.problems.iter().map(named));
                plans.push(plan);
            }
            Err(problem) => problems.push(problem),
        }
    }
    print(args.output.output, &plans, |plans| {
        let texts: Vec<String> = plans.iter().map(Plan::text).collect();
        texts.join("\n\n")
    })?;
    for problem in &problems {
        complain(&format!("error: {problem}"));
    }
    Ok(if problems.is_empty() { Outcome::Done } else { Outcome::Refused })
}

/// The requests of one device.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    device: String,
    endpoint: String,
    unit: u8,
    /// What the manifest's addresses count from.
    address_base: i64,
    requests: Vec<Request>,
    problems: Vec<String>,
    unknown_keys: Vec<String>,
}

/// One read request, and how often it is made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    every_ms: u128,
    #[serde(flatten)]
    request: RequestLine,
}

impl Plan {
    /// Properties with one cycle are read together, as the mapper does.
    fn of(device: &Device) -> Result<Self, String> {
        let whole = describe(device).map_err(|problems| {
            let lines: String = problems.iter().map(|problem| format!("\n  - {problem}")).collect();
            format!("Device {}:{lines}", device.id)
        })?;
        let base = device.config.integer("addressBase", 0..=1);
        let base = base.map_err(|problem| format!("Device {}: {problem}", device.id))?;
        let reported = || device.properties.iter().filter(|property| property.report);
        let mut cycles: Vec<Duration> = reported().map(|property| property.collect_cycle).collect();
        cycles.sort_unstable();
        cycles.dedup();
        let mut requests = Vec::new();
        for cycle in cycles {
            let due = reported().filter(|property| property.collect_cycle == cycle);
            let part = Device { properties: due.cloned().collect(), ..device.clone() };
            let described = describe(&part).map(|part| part.requests).unwrap_or_default();
            let every_ms = cycle.as_millis();
            requests.extend(described.into_iter().map(|request| Request { every_ms, request }));
        }
        Ok(Self {
            device: whole.device,
            endpoint: whole.endpoint,
            unit: whole.unit,
            address_base: base.unwrap_or(0),
            requests,
            problems: whole.problems,
            unknown_keys: whole.unknown_keys,
        })
    }

    fn text(&self) -> String {
        let Self { device, endpoint, unit, address_base, .. } = self;
        let mut text_of = format!(
            "{device}: {endpoint}, unit {unit}; addresses in the manifest count from {address_base}\n"
        );
        let mut rows = table(&[
            "REQUEST",
            "EVERY",
            "PROPERTY",
            "WIRE",
            "HEX",
            "FROM 1",
            "DATA SHEET",
            "HOLDS",
            "WRITTEN",
        ]);
        for Request { every_ms, request } in &self.requests {
            let every = Duration::from_millis(u64::try_from(*every_ms).unwrap_or(u64::MAX));
            for (index, property) in request.properties.iter().enumerate() {
                // A request that serves several properties is named once.
                let (name, every) =
                    if index == 0 { (name(request), short(every)) } else { Default::default() };
                let mut cells = vec![name.into(), every.into()];
                cells.extend(cells_of(property));
                add(&mut rows, cells);
            }
        }
        text_of.push_str(&text(&rows));
        for key in &self.unknown_keys {
            text_of.push_str(&format!("\nnobody reads {key}"));
        }
        text_of
    }
}

/// `4 input 0-1`: function, table and addresses.
fn name(request: &RequestLine) -> String {
    let RequestLine { function, table, address, count, .. } = request;
    let last = u32::from(*address) + u32::from(*count) - 1;
    match count {
        1 => format!("{function} {table} {address}"),
        _ => format!("{function} {table} {address}-{last}"),
    }
}

fn cells_of(property: &PropertyLine) -> Vec<comfy_table::Cell> {
    vec![
        (&property.name).into(),
        property.wire.into(),
        (&property.hex).into(),
        property.from_one.into(),
        (&property.data_sheet).into(),
        (&property.holds).into(),
        property.written.as_deref().unwrap_or("").into(),
    ]
}
