//! `edgetwin mapper`: the Modbus mapper, with an agent or without.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use device_model::{Device, Quality, QualityCode, Timestamp};
use mapper_modbus::ModbusDriver;
use mapper_sdk::{Driver, Mapper, MapperConfig, OnceReading, once, signal};
use serde::Serialize;

use crate::logging::{self, Target};
use crate::manifests;
use crate::outcome::{Outcome, complain};
use crate::output::{OutputArgs, add, faint, print, quality_cell, table, text, with_unit};

/// Run the Modbus mapper
#[derive(Debug, Subcommand)]
pub(crate) enum MapperCommand {
    Run(RunArgs),
}

/// Run the Modbus mapper for an agent, or read devices once without any agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin mapper run --once --device dev.yaml --model model.yaml
  edgetwin mapper run --config config.yaml

Exit codes with --once: 0 everything was read, 1 nothing was, 3 something was not")]
pub(crate) struct RunArgs {
    /// Read every property once, print the values and stop; nothing is written
    #[arg(long, requires = "device")]
    once: bool,
    /// Manifests of the devices to read; a folder stands for its files
    #[arg(long, value_name = "FILE", requires = "once")]
    device: Vec<PathBuf>,
    /// Manifests of their models, where they stand in files of their own
    #[arg(long, value_name = "FILE", requires = "once")]
    model: Vec<PathBuf>,
    /// Configuration of the mapper, in the form of KubeEdge's mappers
    #[arg(long, value_name = "FILE", conflicts_with = "once", required_unless_present = "once")]
    config: Option<PathBuf>,
    /// What goes to the log: error, warn, info, debug, trace, or a filter
    #[arg(long, value_name = "LEVEL", default_value = "info", conflicts_with = "once")]
    log_level: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Reads once, or runs until it is asked to stop.
///
/// # Errors
/// A file cannot be read or is wrong, or the mapper's socket cannot be bound.
pub(crate) async fn run(command: MapperCommand) -> anyhow::Result<Outcome> {
    let MapperCommand::Run(args) = command;
    match &args.config {
        None => read_once(&args).await,
        Some(config) => {
            logging::start(&args.log_level, Target::Stderr { json: false })?;
            serve(MapperConfig::load(config)?).await
        }
    }
}

async fn serve(config: MapperConfig) -> anyhow::Result<Outcome> {
    let requested = signal::stop_requested()?;
    let mapper = Mapper::bind(config, ModbusDriver::default()).await?;
    signal::run_until(requested, |stop| mapper.run(stop)).await?;
    Ok(Outcome::Done)
}

/// One property, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    device: String,
    property: String,
    value: Option<String>,
    unit: String,
    quality: Quality,
    code: QualityCode,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

async fn read_once(args: &RunArgs) -> anyhow::Result<Outcome> {
    logging::start("warn", Target::Stderr { json: false })?;
    let files: Vec<PathBuf> = args.model.iter().chain(&args.device).cloned().collect();
    let loaded = manifests::load(&files)?;
    for problem in &loaded.problems {
        complain(&format!("error: {problem}"));
    }
    let devices: Vec<Device> = loaded.devices;
    if let Some(other) = devices.iter().find(|device| device.protocol != ModbusDriver::PROTOCOL) {
        bail!(
            "{} speaks {}; this mapper reads devices with protocolName: {}",
            other.id,
            other.protocol,
            ModbusDriver::PROTOCOL
        );
    }
    let readings = once(&ModbusDriver::default(), devices.clone()).await;
    let rows = rows(&devices, &readings);
    print(args.output.output, &rows, |rows| rows_table(rows))?;
    let bad = rows.iter().filter(|row| row.quality == Quality::Bad).count();
    Ok(match bad + loaded.problems.len() {
        0 => Outcome::Done,
        _ if bad == rows.len() => Outcome::Refused,
        _ => Outcome::Degraded,
    })
}

/// One row for each reading, in the order of the manifests.
fn rows(devices: &[Device], readings: &[OnceReading]) -> Vec<Row> {
    let mut rows = Vec::new();
    for device in devices {
        for property in &device.properties {
            let here =
                |once: &&OnceReading| once.device == device.id && once.property == property.name;
            rows.extend(readings.iter().filter(here).map(|once| Row {
                device: device.id.to_string(),
                property: property.name.to_string(),
                value: once.reading.value.as_ref().map(ToString::to_string),
                unit: property.unit.clone(),
                quality: once.reading.quality,
                code: once.reading.code,
                time: once.reading.sample_time,
                problem: once.problem.clone(),
            }));
        }
    }
    rows
}

fn rows_table(rows: &[Row]) -> String {
    let mut lines = table(&["DEVICE", "PROPERTY", "VALUE", "QUALITY", "PROBLEM"]);
    for row in rows {
        let value = match &row.value {
            Some(value) => with_unit(value, &row.unit).into(),
            None => faint("-"),
        };
        add(
            &mut lines,
            vec![
                (&row.device).into(),
                (&row.property).into(),
                value,
                quality_cell(row.quality, row.code),
                row.problem.as_deref().unwrap_or("").into(),
            ],
        );
    }
    text(&lines)
}
