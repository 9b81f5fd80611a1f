//! The whole Modbus mapper beside Telegraf: the same registers of the same simulator, in the same seconds.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde::Serialize;
use tokio::time::{timeout, timeout_at};

use super::modbus::{self, CYCLE, Fleet, REGISTERS, SETTLED, UNITS, cost};
use super::{megabytes, per};
use crate::gateway::Gateway;
use crate::peers;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(30);

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Beside {
    /// Ours, with the agent that serves MQTT.
    pub ours: Fleet,
    /// Telegraf, which publishes to a broker that is not counted.
    pub telegraf: Telegraf,
    /// Processor time of our mapper by that of Telegraf, for as many values.
    pub mapper_by_telegraf: f64,
    /// At most so much is wanted.
    pub wanted_ratio: f64,
    /// Mapper and agent together by Telegraf.
    pub mapper_and_agent_by_telegraf: f64,
}

/// What Telegraf took.
#[derive(Debug, Serialize)]
pub struct Telegraf {
    /// Values that it published each second.
    pub values_per_s: f64,
    /// Processor time, in milliseconds.
    pub cpu_ms_per_10k: f64,
    /// Resident memory, in MB.
    pub mb: f64,
}

/// Measures both for `seconds`.
///
/// # Errors
/// A program is missing, does not start, or does not get going.
pub async fn run(seconds: u64) -> Result<Beside> {
    let time = Duration::from_secs(seconds);
    let program = peers::telegraf().await?;
    let mut line = modbus::hundred().await?;
    let mut sink = Gateway::new(true)?;
    sink.start(None).await?;
    let broker = sink.mqtt().context("no broker")?;
    // The connection ends with its client.
    let (_client, mut published) = subscribe(broker).await?;
    let config = sink.folder().join("telegraf.toml");
    std::fs::write(&config, settings(line.wire, broker))?;
    let mut command = Command::new(program);
    command.arg(&config).stdout(Stdio::null());
    let log = sink.folder().join("telegraf.log");
    let process = Process::start(&mut command, &log)?;
    let first = timeout(PATIENCE, values(&mut published)).await;
    first.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())??;
    let peer = Telegraf::measure(&process, &mut published, time);
    let (ours, telegraf) = tokio::try_join!(Fleet::measure(&mut line, time), peer)?;
    let mapper = ours.mapper_cpu_ms_per_10k;
    Ok(Beside {
        mapper_by_telegraf: mapper / telegraf.cpu_ms_per_10k,
        mapper_and_agent_by_telegraf: (mapper + ours.agent_cpu_ms_per_10k)
            / telegraf.cpu_ms_per_10k,
        wanted_ratio: 0.4,
        ours,
        telegraf,
    })
}

impl Telegraf {
    async fn measure(process: &Process, published: &mut EventLoop, time: Duration) -> Result<Self> {
        let mut settled = 0;
        while settled < SETTLED * CYCLE {
            settled +=
                timeout(PATIENCE, values(published)).await.context("nothing published")??;
        }
        let (start, cpu) = (Instant::now(), process.busy()?);
        let (end, mut count) = (start + time, 0);
        while let Ok(more) = timeout_at(end.into(), values(published)).await {
            count += more?;
        }
        let cpu = process.busy()?.saturating_sub(cpu);
        ensure!(count > 0, "Telegraf published nothing");
        Ok(Self {
            values_per_s: per(count, start.elapsed().as_secs_f64()),
            cpu_ms_per_10k: cost(cpu, count),
            mb: megabytes(process.usage()?.resident),
        })
    }
}

async fn subscribe(broker: SocketAddr) -> Result<(AsyncClient, EventLoop)> {
    let mut options = MqttOptions::new("bench", broker.ip().to_string(), broker.port());
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("telegraf", QoS::AtMostOnce).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    Ok((client, events))
}

/// Values in the next message.
async fn values(published: &mut EventLoop) -> Result<u64> {
    loop {
        let Event::Incoming(Packet::Publish(message)) = published.poll().await? else { continue };
        let message: serde_json::Value = serde_json::from_slice(&message.payload)?;
        let metrics = message["metrics"].as_array().context("no metrics in Telegraf's message")?;
        let fields = metrics.iter().filter_map(|metric| metric["fields"].as_object());
        return Ok(fields.map(|fields| fields.len() as u64).sum());
    }
}

/// Telegraf's best way to do the same: a request for each unit, and its values in few messages.
fn settings(wire: SocketAddr, broker: SocketAddr) -> String {
    let mut text = format!(
        "[agent]\ninterval = \"1s\"\nflush_interval = \"1s\"\nmetric_batch_size = 1000\nquiet = true\n\
         omit_hostname = true\n[[outputs.mqtt]]\nservers = [\"{broker}\"]\ntopic = \"telegraf\"\n\
         layout = \"batch\"\ndata_format = \"json\"\n[[inputs.modbus]]\nname = \"bench\"\n\
         controller = \"tcp://{wire}\"\nconfiguration_type = \"request\"\n"
    );
    for unit in 1..=UNITS {
        text += &format!(
            "[[inputs.modbus.request]]\nslave_id = {unit}\nbyte_order = \"ABCD\"\n\
             register = \"holding\"\nmeasurement = \"d{unit}\"\nfields = [\n"
        );
        for register in 0..REGISTERS {
            text +=
                &format!("{{address = {register}, name = \"p{register}\", type = \"INT16\"}},\n");
        }
        text += "]\n";
    }
    text
}
