//! The whole Modbus mapper, as a process of its own between a simulator and the agent, beside a bare tokio-modbus loop.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::sleep_until;
use tokio_modbus::client::{Context as Client, Reader, tcp};
use tokio_modbus::slave::{Slave, SlaveContext};

use super::{megabytes, per};
use crate::gateway::{Gateway, free_port};
use crate::http;
use crate::process::{Process, program};
use crate::wait::eventually;

/// Registers of one request: as many as the protocol allows.
const BLOCK: u16 = 125;
/// Units on the wire of the throughput, each read once a millisecond: together far more than the wire can carry, so
/// that it is never idle.
const BUSY_UNITS: u8 = 40;
/// Properties that share a block.
const WIDE: u16 = 5;
const PATIENCE: Duration = Duration::from_secs(30);
/// Readings of everything after which the start is over: each device was told, and each stream of the store is open.
pub(super) const SETTLED: u64 = 3;

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Modbus {
    /// Blocks of 125 registers, as fast as they go.
    pub throughput: Throughput,
    /// 100 units of 20 registers at one second.
    pub fleet: Fleet,
}

/// Blocks of 125 registers over one connection, one request after the other, to the same simulator.
#[derive(Debug, Serialize)]
pub struct Throughput {
    /// Of the mapper, which decodes and reports them.
    pub mapper_registers_per_s: f64,
    /// Of a loop that throws them away; before and after the mapper's turn, the better one.
    pub bare_registers_per_s: f64,
    /// The one by the other.
    pub ratio: f64,
    /// At least so much is wanted.
    pub wanted_ratio: f64,
}

/// What a steady load costs.
#[derive(Debug, Serialize)]
pub struct Fleet {
    /// Values that the mapper read each second; 2,000 are wanted.
    pub values_per_s: f64,
    /// Processor time of the mapper, in milliseconds.
    pub mapper_cpu_ms_per_10k: f64,
    /// Of the agent, which commits the values and serves its broker.
    pub agent_cpu_ms_per_10k: f64,
    /// Resident memory of the mapper, in MB.
    pub mapper_mb: f64,
    /// Of the agent.
    pub agent_mb: f64,
    /// At most so much is wanted of the mapper: 0.4 of what Telegraf takes.
    pub wanted_cpu_ms_per_10k: f64,
    /// At most so much is wanted of the mapper.
    pub wanted_mb: f64,
}

/// Measures both, `seconds` each.
///
/// # Errors
/// A program does not start, or does not get going.
pub async fn run(seconds: u64) -> Result<Modbus> {
    let time = Duration::from_secs(seconds);
    Ok(Modbus {
        throughput: throughput(time).await?,
        fleet: Fleet::measure(&mut hundred().await?, time).await?,
    })
}

/// Simulator, agent and mapper.
pub(super) struct Line {
    gateway: Gateway,
    /// The simulator's address.
    pub(super) wire: SocketAddr,
    mapper: Option<Process>,
    _simulator: Process,
}

impl Line {
    async fn new(manifests: impl FnOnce(SocketAddr) -> String) -> Result<Self> {
        let gateway = Gateway::new(true)?;
        let wire = free_port()?;
        gateway.manifest("devices.yaml", &manifests(wire))?;
        let mut simulator = Command::new(program("sim-modbus")?);
        simulator.arg(gateway.folder().join("manifests/devices.yaml"));
        simulator.arg("--tcp").arg(wire.to_string()).stdout(Stdio::null());
        let simulator = Process::start(&mut simulator, &gateway.folder().join("simulator.log"))?;
        let connect = async || Ok(TcpStream::connect(wire).await?);
        eventually(PATIENCE, "the simulator", connect).await?;
        Ok(Self { gateway, wire, mapper: None, _simulator: simulator })
    }

    /// Starts agent and mapper, and waits until each of `devices` has reported.
    async fn start(&mut self, devices: usize) -> Result<()> {
        self.gateway.start(None).await?;
        self.gateway.loaded(devices).await?;
        let dir = self.gateway.folder().display();
        let config = self.gateway.folder().join("mapper.yaml");
        std::fs::write(
            &config,
            format!(
                "grpc_server: {{socket_path: {dir}/mapper.sock}}\n\
                 common: {{name: bench, protocol: modbus, edgecore_sock: {dir}/dmi.sock}}\n"
            ),
        )?;
        let mut mapper = Command::new(program("mapper-modbus")?);
        mapper.arg("--config-file").arg(config).arg("--metrics-file").arg(self.counters());
        mapper.stdout(Stdio::null());
        let log = self.gateway.folder().join("mapper.log");
        self.mapper = Some(Process::start(&mut mapper, &log)?);
        let reported = async || {
            for device in self.gateway.devices().await? {
                let all = device.properties.iter().all(|property| property.reported.is_some());
                ensure!(all, "nothing of {}", device.name);
            }
            Ok(())
        };
        eventually(PATIENCE, "a report of each device", reported)
            .await
            .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())
    }

    fn mapper(&self) -> Result<&Process> {
        self.mapper.as_ref().context("the mapper does not run")
    }

    /// Values that the agent has taken so far.
    async fn taken(&self) -> Result<u64> {
        let (_, text) = http::get(&self.gateway.api(), "/metrics").await?;
        counter(&String::from_utf8(text.to_vec())?, "edgetwin_dmi_values_total")
    }

    /// Waits until the agent has taken so many values more.
    async fn takes(&self, values: u64) -> Result<()> {
        let wanted = self.taken().await? + values;
        eventually(PATIENCE, "values for the agent", async || {
            let taken = self.taken().await?;
            ensure!(taken >= wanted, "{taken} of {wanted}");
            Ok(())
        })
        .await
    }

    /// Transactions of the mapper a second, over at least `time`: by the counters that it writes now and then.
    async fn reads_per_second(&self, time: Duration) -> Result<f64> {
        let written = async || self.written();
        let (before, since) = eventually(PATIENCE, "counters of the mapper", written).await?;
        let later = async || {
            let (reads, at) = self.written()?;
            let passed = at.duration_since(since)?;
            ensure!(passed >= time, "the last ones are {passed:?} newer than the first");
            Ok(per(reads - before, passed.as_secs_f64()))
        };
        eventually(time + PATIENCE, "newer counters of the mapper", later).await
    }

    /// Transactions that the mapper counted, and when it wrote that down.
    fn written(&self) -> Result<(u64, SystemTime)> {
        // One open file: the mapper puts another one in its place.
        let mut file = std::fs::File::open(self.counters())?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((counter(&text, "edgetwin_mapper_reads_total")?, file.metadata()?.modified()?))
    }

    fn counters(&self) -> PathBuf {
        self.gateway.folder().join("mapper.prom")
    }

    /// Registers a second of a loop that does nothing else.
    async fn bare(&self, time: Duration) -> Result<f64> {
        let mut client: Client = tcp::connect(self.wire).await?;
        let (mut unit, mut blocks) = (0, 0_u64);
        let start = Instant::now();
        while start.elapsed() < time {
            unit = unit % BUSY_UNITS + 1;
            client.set_slave(Slave(unit));
            let words = client.read_holding_registers(0, BLOCK).await??;
            ensure!(words.len() == usize::from(BLOCK), "{} words", words.len());
            blocks += 1;
        }
        Ok(per(blocks * u64::from(BLOCK), start.elapsed().as_secs_f64()))
    }
}

fn counter(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no counter {name}"))?.trim().parse()?)
}

async fn throughput(time: Duration) -> Result<Throughput> {
    let mut line = Line::new(|wire| {
        let words = BLOCK / WIDE;
        let properties: Vec<_> = (0..WIDE)
            .map(|index| Property {
                kind: "BYTES",
                visitor: format!("offset: {}, limit: {words}, rawType: bytes", index * words),
            })
            .collect();
        manifests(wire, BUSY_UNITS, 1, &properties)
    })
    .await?;
    let before = line.bare(time / 2).await?;
    line.start(usize::from(BUSY_UNITS)).await?;
    let mapper = line.reads_per_second(time).await? * f64::from(BLOCK);
    line.mapper = None;
    line.gateway.crash()?;
    let bare = line.bare(time / 2).await?.max(before);
    Ok(Throughput {
        mapper_registers_per_s: mapper,
        bare_registers_per_s: bare,
        ratio: mapper / bare,
        wanted_ratio: 0.9,
    })
}

/// Units of the steady load.
pub(super) const UNITS: u8 = 100;
/// Registers of each, one property each.
pub(super) const REGISTERS: u16 = 20;
/// Values in one reading of everything.
pub(super) const CYCLE: u64 = UNITS as u64 * REGISTERS as u64;

/// 100 units of 20 registers at one second, past their start.
pub(super) async fn hundred() -> Result<Line> {
    let mut line = Line::new(|wire| {
        let properties: Vec<_> = (0..REGISTERS)
            .map(|offset| Property {
                kind: "INT",
                // A fifth of the values changes each time.
                visitor: match offset % 5 {
                    0 => format!("offset: {offset}, limit: 1, simWave: sine, simMin: 0, simMax: 1000, simPeriod: 7s"),
                    _ => format!("offset: {offset}, limit: 1"),
                },
            })
            .collect();
        manifests(wire, UNITS, 1000, &properties)
    })
    .await?;
    line.start(UNITS.into()).await?;
    Ok(line)
}

impl Fleet {
    /// What the steady load on `line` costs for `time`, after a start that is not counted.
    pub(super) async fn measure(line: &mut Line, time: Duration) -> Result<Self> {
        line.takes(SETTLED * CYCLE).await?;
        let start = Instant::now();
        let (taken, mapper) = (line.taken().await?, line.mapper()?.busy()?);
        let agent = line.gateway.agent()?.busy()?;
        // Nobody asks for counters meanwhile: that would cost the agent as much as what is measured.
        sleep_until((start + time).into()).await;
        let seconds = start.elapsed().as_secs_f64();
        let values = line.taken().await? - taken;
        ensure!(values > 0, "no value was taken");
        let mapper = line.mapper()?.busy()?.saturating_sub(mapper);
        let agent = line.gateway.agent()?.busy()?.saturating_sub(agent);
        Ok(Self {
            values_per_s: per(values, seconds),
            mapper_cpu_ms_per_10k: cost(mapper, values),
            agent_cpu_ms_per_10k: cost(agent, values),
            mapper_mb: megabytes(line.mapper()?.usage()?.resident),
            agent_mb: megabytes(line.gateway.agent()?.usage()?.resident),
            wanted_cpu_ms_per_10k: 27.0,
            wanted_mb: 12.0,
        })
    }
}

/// Milliseconds of processor time for 10,000 values.
pub(super) fn cost(cpu: Duration, values: u64) -> f64 {
    cpu.as_secs_f64() * 1000.0 / per(values, 10_000.0)
}

struct Property {
    kind: &'static str,
    visitor: String,
}

/// One model, and `units` devices of it behind one TCP server.
fn manifests(wire: SocketAddr, units: u8, cycle: u32, properties: &[Property]) -> String {
    let head = "apiVersion: devices.kubeedge.io/v1beta1";
    let mut text = format!(
        "{head}\nkind: DeviceModel\nmetadata: {{name: m, namespace: bench}}\nspec:\n  properties:\n"
    );
    for (index, Property { kind, visitor }) in properties.iter().enumerate() {
        text += &format!(
            "  - name: p{index}\n    type: {kind}\n    accessMode: ReadOnly\n    visitors:\n      \
             protocolName: modbus\n      configData: {{register: HoldingRegister, {visitor}}}\n"
        );
    }
    for unit in 1..=units {
        text += &format!(
            "---\n{head}\nkind: Device\nmetadata: {{name: d{unit}, namespace: bench}}\nspec:\n  \
             deviceModelRef: {{name: m}}\n  protocol:\n    protocolName: modbus\n    configData: \
             {{communicateMode: TCP, ip: {}, port: {}, slaveID: {unit}}}\n  properties:\n",
            wire.ip(),
            wire.port()
        );
        for index in 0..properties.len() {
            text += &format!("  - {{name: p{index}, collectCycle: {cycle}}}\n");
        }
    }
    text
}
