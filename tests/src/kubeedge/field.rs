//! What is behind the edge: simulated machines and our Modbus mapper, or a Go mapper that says what it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use sim_modbus::{Blueprint, Fault, FaultKind, Handle, Simulation, Table};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::objects::Machine;
use crate::foreign_mapper::{ForeignMapper, Stack, report, twin};
use crate::process::{Process, program};

const PATIENCE: Duration = Duration::from_secs(20);
/// Readings of a neighbour after which a machine that was not read is not read any more.
const TURNS: u64 = 10;

/// Machines and their mapper.
#[derive(Debug)]
pub enum Field {
    /// Real registers.
    Modbus(Box<Modbus>),
    /// None: what is told to the mapper is all there is.
    Go(Box<Go>),
}

/// Our Modbus mapper, while it runs, and its machines.
#[derive(Debug)]
pub struct Modbus {
    _simulation: Simulation,
    machines: Handle,
    wire: SocketAddr,
    folder: TempDir,
    mapper: Option<Process>,
}

/// A mapper on grpc-go.
#[derive(Debug)]
pub struct Go {
    folder: TempDir,
    mapper: Option<ForeignMapper>,
    /// What it was told of each device, by name.
    devices: BTreeMap<String, Json>,
}

impl Field {
    /// Machines on a TCP port; the mapper does not run yet.
    ///
    /// # Errors
    /// No port is free.
    pub async fn modbus() -> Result<Self> {
        let units: Vec<_> = Machine::ALL.iter().map(|machine| registers(*machine)).collect();
        let mut simulation = Simulation::new(Blueprint::from_manifests(&units.join("---\n"))?);
        let wire = simulation.serve_tcp(TcpListener::bind("127.0.0.1:0").await?)?;
        let (machines, folder) = (simulation.handle(), tempfile::tempdir()?);
        let field = Modbus { _simulation: simulation, machines, wire, folder, mapper: None };
        Ok(Self::Modbus(Box::new(field)))
    }

    /// No machines; the mapper does not run yet.
    ///
    /// # Errors
    /// There is no temporary folder.
    pub fn go() -> Result<Self> {
        Ok(Self::Go(Box::new(Go {
            folder: tempfile::tempdir()?,
            mapper: None,
            devices: BTreeMap::new(),
        })))
    }

    /// Starts the mapper, which registers at `dmi`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(&mut self, dmi: &Path) -> Result<()> {
        match self {
            Self::Modbus(field) => field.start(dmi),
            Self::Go(field) => {
                let own = field.folder.path().join("mapper.sock");
                field.mapper = Some(ForeignMapper::start(Stack::GoFresh, dmi, &own).await?);
                field.devices.clear();
                Ok(())
            }
        }
    }

    /// Kills the mapper without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash(&mut self) -> Result<()> {
        match self {
            Self::Modbus(field) => field.mapper.take().context("no mapper runs")?.crash(),
            Self::Go(field) => field.mapper.take().context("no mapper runs").map(drop),
        }
    }

    /// The TCP port of the machines.
    pub fn port(&self) -> u16 {
        match self {
            Self::Modbus(field) => field.wire.port(),
            Self::Go(_) => 502,
        }
    }

    /// Whether a mapper that finds the edge again says what changed meanwhile.
    pub fn remembers(&self) -> bool {
        matches!(self, Self::Modbus(_))
    }

    /// Lets the level of `machine` be `level`, at the first of its registers or the other one.
    ///
    /// # Errors
    /// The Go mapper's report is refused.
    pub async fn set(&mut self, machine: Machine, register: u16, level: u16) -> Result<()> {
        match self {
            Self::Modbus(field) => {
                let unit = machine.unit();
                Ok(field.machines.write(unit, Table::Input, register, &[level])?)
            }
            Self::Go(field) => {
                let said = report("default", machine.name(), &[twin("level", &level.to_string())]);
                field.call("ReportDeviceStatus", &said).await
            }
        }
    }

    /// Waits until the mapper has taken up `machine`.
    ///
    /// # Errors
    /// It does not.
    pub async fn has(&mut self, machine: Machine) -> Result<()> {
        match self {
            Self::Modbus(field) => {
                let unit = machine.unit();
                let before = field.machines.counters().unit(unit).requests;
                let read = field.machines.until(|all| all.unit(unit).requests > before);
                timeout(PATIENCE, read).await.context("it is not read")?;
                Ok(())
            }
            Self::Go(field) => {
                field.knows("it was not told of it", |all| all.contains_key(machine.name())).await
            }
        }
    }

    /// Waits until the mapper has let go of `machine`.
    ///
    /// # Errors
    /// It does not.
    pub async fn has_not(&mut self, machine: Machine) -> Result<()> {
        match self {
            Self::Modbus(field) => {
                timeout(PATIENCE, field.unread(machine)).await.context("it is still read")
            }
            Self::Go(field) => {
                field
                    .knows("it was not told that it is gone", |all| {
                        !all.contains_key(machine.name())
                    })
                    .await
            }
        }
    }

    /// Waits until the wish for that speed of `machine` has come.
    ///
    /// # Errors
    /// It does not.
    pub async fn wished(&mut self, machine: Machine, speed: u16) -> Result<()> {
        match self {
            Self::Modbus(field) => {
                let (machines, unit) = (field.machines.clone(), machine.unit());
                let set = |_: &_| machines.holding(unit, 0).is_ok_and(|word| word == speed);
                let set = timeout(PATIENCE, field.machines.until(set)).await;
                let has = machines.holding(unit, 0);
                set.with_context(|| format!("the speed is {has:?}, not {speed}"))?;
                Ok(())
            }
            Self::Go(field) => {
                let wanted = speed.to_string();
                let desired = |all: &BTreeMap<String, Json>| {
                    let spec = &all.get(machine.name()).unwrap_or(&Json::Null)["spec"];
                    spec["properties"][0]["desired"]["value"] == *wanted
                };
                field.knows("it was not told this wish", desired).await
            }
        }
    }

    /// Waits until the level of `machine` is taken from the other register.
    ///
    /// # Errors
    /// It is not.
    pub async fn moved(&mut self, machine: Machine) -> Result<()> {
        match self {
            // Its value shows it.
            Self::Modbus(_) => Ok(()),
            Self::Go(field) => {
                let moved = |all: &BTreeMap<String, Json>| {
                    let spec = &all.get(machine.name()).unwrap_or(&Json::Null)["spec"];
                    let visitor = &spec["properties"][1]["visitors"]["configData"]["data"];
                    visitor["offset"]["value"].to_string().contains('1')
                };
                field.knows("it was not told this visitor", moved).await
            }
        }
    }

    /// That no wish for that speed has come so far.
    ///
    /// # Errors
    /// One has.
    pub fn never_wished(&self, machine: Machine, speed: u16) -> Result<()> {
        if let Self::Modbus(field) = self {
            let writes = field.machines.counters().writes;
            let of = |write: &&sim_modbus::Write| {
                write.unit == machine.unit() && write.values == [speed]
            };
            ensure!(!writes.iter().any(|write| of(&write)), "{speed} was written");
        }
        Ok(())
    }

    /// Lets `machine` be silent, or answer again.
    ///
    /// # Errors
    /// The Go mapper's report is refused.
    pub async fn silence(&mut self, machine: Machine, silent: bool) -> Result<()> {
        match self {
            Self::Modbus(field) if silent => {
                field.machines.inject(Fault::new(FaultKind::Silence).unit(machine.unit()));
                Ok(())
            }
            Self::Modbus(field) => {
                field.machines.clear_faults();
                Ok(())
            }
            Self::Go(field) => {
                let state = if silent { "offline" } else { "online" };
                let said = json!({
                    "deviceName": machine.name(), "deviceNamespace": "default", "state": state,
                });
                field.call("ReportDeviceStates", &said).await
            }
        }
    }

    /// The mapper's log, where it keeps one.
    pub fn log(&self) -> Option<PathBuf> {
        match self {
            Self::Modbus(field) => Some(field.folder.path().join("log")),
            Self::Go(_) => None,
        }
    }
}

impl Modbus {
    fn start(&mut self, dmi: &Path) -> Result<()> {
        let folder = self.folder.path();
        let (own, dmi) = (folder.join("mapper.sock"), dmi.display());
        let config = format!(
            "grpc_server: {{socket_path: {}}}\n\
             common: {{name: modbus, protocol: modbus, edgecore_sock: {dmi}}}\n",
            own.display()
        );
        let file = folder.join("mapper.yaml");
        std::fs::write(&file, config)?;
        let mut command = Command::new(program("mapper-modbus")?);
        let command =
            command.arg("--config-file").arg(&file).env("RUST_LOG", "info,mapper_sdk=debug");
        self.mapper = Some(Process::start(command, &folder.join("log"))?);
        Ok(())
    }

    /// Until a neighbour was read some times and `machine` was not.
    async fn unread(&self, machine: Machine) {
        let (unit, neighbour) = (machine.unit(), Machine::Pump.unit());
        let start = self.machines.counters();
        let mut last = (start.unit(unit).requests, start.unit(neighbour).requests);
        let quiet = self.machines.until(|all| {
            let now = (all.unit(unit).requests, all.unit(neighbour).requests);
            if now.0 != last.0 {
                last = now;
            }
            now.1 >= last.1 + TURNS
        });
        quiet.await;
    }
}

impl Go {
    async fn call(&mut self, name: &str, request: &Json) -> Result<()> {
        let mapper = self.mapper.as_mut().context("no mapper runs")?;
        let answer = mapper.call(name, request, 1).await?;
        ensure!(answer["code"] == "OK", "{name}: {answer}");
        Ok(())
    }

    /// Waits until what it was told of all devices is as wanted.
    async fn knows(
        &mut self,
        lack: &'static str,
        wanted: impl Fn(&BTreeMap<String, Json>) -> bool,
    ) -> Result<()> {
        let mapper = self.mapper.as_mut().context("no mapper runs")?;
        let waiting = async {
            while !wanted(&self.devices) {
                let event = mapper.next().await?;
                let request = event.get("request").unwrap_or(&event);
                if let Some(device) = request.get("device") {
                    let name = device["name"].as_str().unwrap_or_default();
                    self.devices.insert(name.to_owned(), device.clone());
                } else if event["call"] == "RemoveDevice" {
                    let name = request["deviceName"].as_str().unwrap_or_default();
                    self.devices.remove(name);
                }
            }
            Ok(())
        };
        timeout(PATIENCE, waiting).await.context(lack)?
    }
}

/// What the simulator knows of a machine: one register more than its Device has.
fn registers(machine: Machine) -> String {
    let (name, unit) = (machine.name(), machine.unit());
    format!(
        "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {{name: {name}}}
spec:
  properties:
  - {{name: speed, type: INT, accessMode: ReadWrite}}
  - {{name: level, type: INT, accessMode: ReadOnly}}
  - {{name: other, type: INT, accessMode: ReadOnly}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: {name}}}
spec:
  deviceModelRef: {{name: {name}}}
  protocol: {{protocolName: modbus, configData: {{ip: 127.0.0.1, port: 1502, slaveID: {unit}}}}}
  properties:
  - {{name: speed, visitors: {{protocolName: modbus, configData: {{register: HoldingRegister, offset: 0, limit: 1, rawType: u16}}}}}}
  - {{name: level, visitors: {{protocolName: modbus, configData: {{register: InputRegister, offset: 0, limit: 1, rawType: u16}}}}}}
  - {{name: other, visitors: {{protocolName: modbus, configData: {{register: InputRegister, offset: 1, limit: 1, rawType: u16}}}}}}
"
    )
}
