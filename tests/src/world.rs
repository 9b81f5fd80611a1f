//! Simulated devices, the Modbus mapper and the agent in one process, over real sockets and serial lines.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use e2e::world::{Machine, World};
//!
//! let mut world = World::tcp(&[Machine::new("pump", 1)]).await?;
//! world.start().await?;
//! world.until("pump", "level", |level| level.reported.is_some()).await?;
//! world.stop().await
//! # }
//! ```

mod cloud;
mod machine;
mod page;
mod programs;
mod running;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use edge_agent::api::view::{DesiredAnswer, DeviceView, PropertyView};
use edge_agent::config::{Cloud, MqttMode, Span};
use edge_agent::{Agent, AgentConfig};
use mapper_modbus::ModbusDriver;
use mapper_sdk::{Mapper, MapperConfig, Metrics, MetricsPlace, Pace};
use sim_modbus::{Blueprint, Handle, LineOptions, Simulation};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::gateway::free_port;
use crate::http;
use crate::process::Process;
pub use crate::wait::PATIENCE;
use crate::wait::eventually;
pub use cloud::NODE;
pub use machine::{MODEL, Machine, tcp_wire};
pub use page::Page;
use running::Running;

/// Waits of the mapper before it opens a lost wire again.
pub const RECONNECT: Pace =
    Pace { min: Duration::from_millis(20), max: Duration::from_millis(200) };
/// Rests that the mapper gives to a unit that does not answer.
pub const REST: Pace = Pace { min: Duration::from_millis(500), max: Duration::from_secs(4) };

/// One gateway with everything on it.
pub struct World {
    folder: TempDir,
    wire: String,
    served: Option<SocketAddr>,
    programs: bool,
    mapper_log: &'static str,
    lease: Span,
    simulation: Option<Simulation>,
    handle: Handle,
    agent: Option<Running>,
    mapper: Option<Running>,
    metrics: Option<Arc<Metrics>>,
    mqtt: Option<SocketAddr>,
    outside: Option<SocketAddr>,
    cloud: Cloud,
}

impl World {
    /// Machines behind one Modbus TCP server. Neither agent nor mapper runs yet.
    ///
    /// # Errors
    /// A socket or the folder cannot be made.
    pub async fn tcp(machines: &[Machine]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut world = Self::new(machines, tcp_wire(address))?;
        world.simulation.as_mut().context("no simulation")?.serve_tcp(listener)?;
        world.served = Some(address);
        Ok(world)
    }

    /// Machines on one serial line over a pseudo-terminal.
    ///
    /// # Errors
    /// The pseudo-terminal or the folder cannot be made.
    pub fn line(machines: &[Machine], options: LineOptions) -> Result<Self> {
        let pty = sim_modbus::Pty::open()?;
        let wire = format!("communicateMode: RTU, serialName: {}", pty.path().display());
        let mut world = Self::new(machines, wire)?;
        world.simulation.as_mut().context("no simulation")?.serve_rtu(pty, options);
        Ok(world)
    }

    fn new(machines: &[Machine], wire: String) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("manifests"))?;
        std::fs::write(folder.path().join("manifests/model.yaml"), MODEL)?;
        let mut text = MODEL.to_owned();
        for machine in machines {
            let manifest = machine.manifest(&wire);
            std::fs::write(manifest_path(folder.path(), machine.name()), &manifest)?;
            text += &manifest;
        }
        let simulation = Simulation::new(Blueprint::from_manifests(&text)?);
        let handle = simulation.handle();
        Ok(Self {
            folder,
            wire,
            served: None,
            programs: false,
            mapper_log: "info",
            lease: Span::secs(2),
            simulation: Some(simulation),
            handle,
            agent: None,
            mapper: None,
            metrics: None,
            mqtt: None,
            outside: None,
            cloud: Cloud::default(),
        })
    }

    /// The hand inside the simulation.
    pub fn devices(&self) -> &Handle {
        &self.handle
    }

    /// Agent and mapper run as programs of their own from now on, as they ship: they can be killed, and their
    /// memory and file descriptors are theirs alone.
    #[must_use]
    pub fn as_programs(self) -> Self {
        Self { programs: true, ..self }
    }

    /// What a mapper that is a program logs, as in `RUST_LOG`; as it ships unless said otherwise.
    #[must_use]
    pub fn mapper_logs(self, filter: &'static str) -> Self {
        Self { mapper_log: filter, ..self }
    }

    /// A mapper may be silent for so long before its devices are taken from it; 2 s unless said otherwise.
    #[must_use]
    pub fn lease(self, lease: Span) -> Self {
        Self { lease, ..self }
    }

    /// Where the simulated devices listen, if on TCP.
    ///
    /// # Errors
    /// They are on a serial line.
    pub fn served(&self) -> Result<SocketAddr> {
        self.served.context("the devices are on a serial line")
    }

    /// Starts the agent, then the mapper.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn start(&mut self) -> Result<()> {
        self.start_agent().await?;
        self.start_mapper("mapper").await
    }

    /// The agent publishes at this broker from its next start on, beside its own one, and gives it up after two seconds
    /// without a word.
    pub fn publish_at(&mut self, broker: SocketAddr) {
        self.outside = Some(broker);
    }

    /// Starts the agent.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_agent(&mut self) -> Result<()> {
        let dir = self.folder.path();
        let mut config = AgentConfig::default();
        config.node.name = NODE.into();
        config.cloud = self.cloud.clone();
        config.store.dir = dir.join("store");
        config.manifests.dir = dir.join("manifests");
        config.devices.dmi_socket = self.dmi();
        config.devices.lease_ttl = self.lease;
        config.api.socket = self.api();
        if let Some(broker) = self.outside {
            config.mqtt.mode = MqttMode::Both;
            config.mqtt.external.url = format!("tcp://{broker}");
            config.mqtt.external.keep_alive = Span::secs(1);
        }
        if self.programs {
            // A program cannot tell which port it took.
            config.mqtt.listen = free_port()?;
            self.mqtt = Some(config.mqtt.listen);
            let mut agent = programs::agent(dir, config)?;
            self.agent = Some(Running::program(&mut agent, &dir.join("agent.log"))?);
            return Ok(());
        }
        config.mqtt.listen = "127.0.0.1:0".parse()?;
        let agent = Agent::bind(config).await?;
        self.mqtt = agent.addresses().mqtt;
        self.agent = Some(Running::task(|stop| async move { Ok(agent.run(stop).await?) }));
        Ok(())
    }

    /// Starts a mapper of that name; its back-off and its rests are short.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_mapper(&mut self, name: &str) -> Result<()> {
        let dir = self.folder.path();
        let socket = dir.join(format!("{name}.sock"));
        if self.programs {
            let mut mapper = programs::mapper(dir, name, [&socket, &self.dmi(), &self.counters()])?;
            mapper.env("RUST_LOG", self.mapper_log);
            self.mapper = Some(Running::program(&mut mapper, &dir.join("mapper.log"))?);
            return Ok(());
        }
        let mut config = MapperConfig::new(name, socket, self.dmi());
        config.reconnect = RECONNECT;
        config.rest = REST;
        config.metrics = Some(MetricsPlace::Unix(self.counters()));
        let mapper = Mapper::bind(config, ModbusDriver::default()).await?;
        self.metrics = Some(mapper.metrics());
        self.mapper = Some(Running::task(|stop| mapper.run(stop)));
        Ok(())
    }

    /// Stops the mapper as SIGTERM would; tells how long that took.
    ///
    /// # Errors
    /// It ended with an error, or does not run.
    pub async fn stop_mapper(&mut self) -> Result<Duration> {
        self.mapper.take().context("no mapper runs")?.stop().await
    }

    /// Takes the mapper away in the middle of whatever it does.
    pub fn kill_mapper(&mut self) {
        self.mapper = None;
    }

    /// Takes the simulated devices away likewise, with the server or the line that they are on.
    pub fn kill_devices(&mut self) {
        self.simulation = None;
    }

    /// Takes the agent away likewise.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// The agent's process.
    ///
    /// # Errors
    /// It does not run as a program.
    pub fn agent_program(&self) -> Result<&Process> {
        self.agent.as_ref().and_then(Running::process).context("the agent is no program")
    }

    /// The mapper's process.
    ///
    /// # Errors
    /// It does not run as a program.
    pub fn mapper_program(&self) -> Result<&Process> {
        self.mapper.as_ref().and_then(Running::process).context("the mapper is no program")
    }

    /// Lines that the agent has logged since it last started as a program: a JSON object each.
    ///
    /// # Errors
    /// It has no log.
    pub fn agent_log(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.folder.path().join("agent.log"))?;
        Ok(text.lines().map(Into::into).collect())
    }

    /// Lines that the mapper has logged since it last started as a program: a JSON object each.
    ///
    /// # Errors
    /// It has no log.
    pub fn mapper_log(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.folder.path().join("mapper.log"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Stops the agent as SIGTERM would.
    ///
    /// # Errors
    /// It ended with an error, or does not run.
    pub async fn stop_agent(&mut self) -> Result<Duration> {
        self.agent.take().context("no agent runs")?.stop().await
    }

    /// Stops everything.
    ///
    /// # Errors
    /// A part ended with an error.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(mapper) = self.mapper.take() {
            mapper.stop().await?;
        }
        if let Some(agent) = self.agent.take() {
            agent.stop().await?;
        }
        if let Some(simulation) = self.simulation.take() {
            simulation.stop().await;
        }
        Ok(())
    }

    /// What the running mapper counts.
    ///
    /// # Errors
    /// None was started.
    pub fn metrics(&self) -> Result<Arc<Metrics>> {
        self.metrics.clone().context("no mapper was started")
    }

    /// What the running mapper tells at its `GET /metrics`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn mapper_page(&self) -> Result<Page> {
        let (status, body) = http::get(&self.counters(), "/metrics").await?;
        ensure!(status == 200, "{status}");
        Ok(Page(String::from_utf8(body.to_vec())?))
    }

    fn counters(&self) -> PathBuf {
        self.folder.path().join("mapper-metrics.sock")
    }

    /// Where the embedded broker listens.
    ///
    /// # Errors
    /// The agent was not started.
    pub fn mqtt(&self) -> Result<SocketAddr> {
        self.mqtt.context("no agent was started")
    }

    /// The DMI socket.
    pub fn dmi(&self) -> PathBuf {
        self.folder.path().join("dmi.sock")
    }

    /// The local API's socket.
    pub fn api(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// Puts a machine's manifest into the folder, in place of the one that is there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn apply(&self, machine: &Machine) -> Result<()> {
        self.apply_text(machine.name(), &self.text(machine))
    }

    /// A machine's manifest.
    pub fn text(&self, machine: &Machine) -> String {
        machine.manifest(&self.wire)
    }

    /// Replaces a machine's manifest by any text, at once: the agent never sees half of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn apply_text(&self, name: &str, text: &str) -> Result<()> {
        let draft = self.folder.path().join(format!("device-{name}.draft"));
        std::fs::write(&draft, text)?;
        Ok(std::fs::rename(draft, manifest_path(self.folder.path(), name))?)
    }

    /// Takes a machine's manifest out of the folder.
    ///
    /// # Errors
    /// There is none.
    pub fn remove(&self, name: &str) -> Result<()> {
        Ok(std::fs::remove_file(manifest_path(self.folder.path(), name))?)
    }

    /// Every device with its twin.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn all(&self) -> Result<Vec<DeviceView>> {
        http::devices(&self.api()).await
    }

    /// One machine with its twin.
    ///
    /// # Errors
    /// There is no such machine.
    pub async fn device(&self, name: &str) -> Result<DeviceView> {
        let (status, body) = http::get(&self.api(), &device_path(name)).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// Waits until `reached` holds for a property of a machine; returns the property.
    ///
    /// # Errors
    /// It does not within [`PATIENCE`]; the error shows the property.
    pub async fn until(
        &self,
        name: &str,
        property: &str,
        reached: impl Fn(&PropertyView) -> bool,
    ) -> Result<PropertyView> {
        let found = self
            .until_device(name, |device| device.property(property).is_some_and(&reached))
            .await?;
        found.property(property).cloned().context("no such property")
    }

    /// Waits until `reached` holds for a machine; returns it.
    ///
    /// # Errors
    /// It does not within [`PATIENCE`]; the error shows the device.
    pub async fn until_device(
        &self,
        name: &str,
        reached: impl Fn(&DeviceView) -> bool,
    ) -> Result<DeviceView> {
        eventually(PATIENCE, name, async || {
            let device = self.device(name).await?;
            ensure!(reached(&device), "not reached: {device:#?}");
            Ok(device)
        })
        .await
    }

    /// Waits until there is no such machine any more.
    ///
    /// # Errors
    /// It is still there after [`PATIENCE`].
    pub async fn until_gone(&self, name: &str) -> Result<()> {
        eventually(PATIENCE, name, async || {
            let (status, _) = http::get(&self.api(), &device_path(name)).await?;
            ensure!(status == 404, "still there: {status}");
            Ok(())
        })
        .await
    }

    /// Writes a desired value and waits up to `wait` for its final acknowledgement.
    ///
    /// # Errors
    /// It was refused; the error is the API's.
    pub async fn set(
        &self,
        name: &str,
        property: &str,
        value: &str,
        wait: &str,
    ) -> Result<DesiredAnswer> {
        let body = serde_json::json!({"properties": {property: {"value": value}}});
        let path = format!("{}/desired?wait={wait}", device_path(name));
        let (status, body) = http::patch(&self.api(), &path, &body).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }
}

/// Of a machine, in the local API.
pub fn device_path(name: &str) -> String {
    format!("/v1/devices/test/{name}")
}

fn manifest_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("manifests").join(format!("device-{name}.yaml"))
}

/// The acknowledgement of `property` in an answer, as a word.
pub fn word(answer: &DesiredAnswer, property: &str) -> Option<String> {
    Some(answer.properties.get(property)?.ack.as_ref()?.word.clone())
}

/// The reported value of a property, if its quality is good.
pub fn good(property: &PropertyView) -> Option<&str> {
    let reported = property.reported.as_ref()?;
    if reported.quality != device_model::Quality::Good {
        return None;
    }
    reported.value.as_deref()
}
