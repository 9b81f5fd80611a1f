//! The whole agent: bind, then run.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use device_twin::{Settings, SqliteStore, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api::{self, Context};
use crate::broker::Embedded;
use crate::catalogue::Catalogue;
use crate::config::MqttMode;
use crate::dmi_server::DmiServer;
use crate::eventbus::{Outbox, Receiver};
use crate::manifests::{Faults, Manifests};
use crate::mappers::{Mappers, registration};
use crate::metrics::Metrics;
use crate::socket::Socket;
use crate::twins::{Core, Owner, Twins, now};
use crate::{AgentConfig, Error};

/// How often time passes for the twins: expiry, staleness, syncing.
const TICK: Duration = Duration::from_millis(500);
/// How long the parts may take to stop; the rest of two seconds is the store's.
const GRACE: Duration = Duration::from_millis(1500);

/// The twins, in the store's directory.
const STORE_FILE: &str = "twins.db";

/// Where a bound agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The embedded broker; none when it is off.
    pub mqtt: Option<SocketAddr>,
    /// The DMI socket for mappers.
    pub dmi: PathBuf,
    /// The local API's socket.
    pub api: PathBuf,
}

/// An agent with its store open and its sockets bound.
pub struct Agent {
    config: AgentConfig,
    addresses: Addresses,
    core: Core,
    dmi: dmi::serve::Listener,
    api: Socket,
    broker: Option<Embedded>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Agent {
    /// Opens the store and binds every socket. Starts nothing.
    ///
    /// # Errors
    /// The store or a socket cannot be opened; the error names it.
    pub async fn bind(config: AgentConfig) -> Result<Self, Error> {
        let settings = Settings { sync: *config.store.sync, ..Settings::default() };
        let store = open_store(&config.store.dir)?;
        let core = Core::open(store, settings, now())?;
        let dmi = dmi::serve::Listener::bind(&config.devices.dmi_socket)?;
        let socket = &config.api.socket;
        let api =
            Socket::bind(socket).map_err(|error| Error::place("API socket", socket, error))?;
        let broker = match config.mqtt.mode {
            MqttMode::Embedded => Some(Embedded::bind(&config.mqtt).await?),
            MqttMode::Off => None,
        };
        let addresses = Addresses {
            mqtt: broker.as_ref().map(Embedded::address),
            dmi: config.devices.dmi_socket.clone(),
            api: socket.clone(),
        };
        Ok(Self { config, addresses, core, dmi, api, broker })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Works until `stop` is cancelled, then stops in order: within two seconds everything accepted is on disk
    /// and the sockets are gone.
    ///
    /// # Errors
    /// A part failed, or panicked.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self { config, addresses, mut core, dmi, api, broker } = self;
        let epoch = core.epoch();
        let registrations = core.store().objects(registration::KIND)?;
        let known = core.parked().cloned().collect();
        let (twins, mut owner) = Twins::start(core, config.devices.queue)
            .map_err(|source| Error::Part { part: "twins", reason: source.to_string() })?;
        let catalogue = Arc::new(Catalogue::default());
        let metrics = Arc::new(Metrics::default());
        let faults = Arc::new(Faults::default());
        let dir = &config.manifests.dir;
        let mut manifests = Manifests::watch(dir, twins.clone(), catalogue.clone(), faults.clone())
            .map_err(|error| Error::place("manifests folder", dir, error))?;
        // What is defined is known before the first mapper asks.
        if manifests.reconcile().await.is_err() {
            return Err(Error::Part { part: "twins", reason: owner.fault().await });
        }
        // Nobody was there to hear of it.
        let start = twins.feed().newest();
        let (ttl, timeout) = (*config.devices.lease_ttl, *config.devices.call_timeout);
        let (mappers, mut reconciler) = Mappers::new(
            twins.clone(),
            catalogue.clone(),
            metrics.clone(),
            ttl,
            timeout,
            &registrations,
            known,
        );
        // Before anybody reports: whose the devices are is known then.
        if reconciler.resume().await.is_err() {
            return Err(Error::Part { part: "twins", reason: owner.fault().await });
        }
        let server = DmiServer {
            twins: twins.clone(),
            catalogue,
            mappers: mappers.clone(),
            metrics: metrics.clone(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            bus: broker.is_some(),
        };
        let token = stop.child_token();
        let context = Context {
            twins: twins.clone(),
            mappers,
            metrics: metrics.clone(),
            faults,
            epoch,
            stop: token.clone(),
        };

        let mut parts = Parts::new(token.clone());
        parts.spawn("DMI server", {
            let serving = dmi.serve_manager(server, token.clone());
            async move { serving.await.map_err(|error| error.to_string()) }
        });
        parts.spawn("mappers", reconciler.run(start, token.clone()));
        parts.spawn("manifests", {
            let running = manifests.run(token.clone());
            async move {
                running.await;
                Ok(())
            }
        });
        parts.spawn("API", async move {
            api::serve(api, context).await.map_err(|error| error.to_string())
        });
        if let Some(broker) = broker {
            let inbox = Arc::new(Receiver { twins: twins.clone(), metrics: metrics.clone() });
            let outbox =
                Outbox::new(broker.publisher(), twins.clone(), config.node.name.clone(), metrics);
            parts.spawn("MQTT broker", broker.run(inbox, token.clone()));
            let running = outbox.run(start, token.clone());
            parts.spawn("event bus", async move {
                running.await;
                Ok(())
            });
        }
        parts.spawn("clock", tick(twins, token));
        let mqtt = addresses.mqtt.map_or_else(|| "off".into(), |address| address.to_string());
        info!(
            dmi = %addresses.dmi.display(), api = %addresses.api.display(), mqtt,
            manifests = %dir.display(), "agent ready"
        );
        // In this order: told to stop, the parts end, too.
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            fault = parts.fault() => Err(fault),
            reason = owner.fault() => Err(Error::Part { part: "twins", reason }),
        };
        if let Err(error) = &result {
            error!(%error, "stopping");
        }
        finish(parts, owner, result).await
    }
}

/// Borders first, so that nothing more comes in; then what is queued; then the disk.
async fn finish(parts: Parts, owner: Owner, result: Result<(), Error>) -> Result<(), Error> {
    let stopped = parts.stop().await;
    let twins_failed = matches!(&result, Err(Error::Part { part: "twins", .. }));
    let synced = if twins_failed {
        Ok(())
    } else {
        owner.stop().await.map_err(|reason| Error::Part { part: "twins", reason })
    };
    info!("agent stopped");
    result.and(stopped).and(synced)
}

async fn tick(twins: Twins, stop: CancellationToken) -> Result<(), String> {
    let mut interval = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = interval.tick() => twins.tick(),
        }
    }
}

fn open_store(dir: &Path) -> Result<SqliteStore, Error> {
    std::fs::create_dir_all(dir).map_err(|error| Error::place("store directory", dir, error))?;
    Ok(SqliteStore::open(&dir.join(STORE_FILE))?)
}

/// The tasks of the agent. One that ends before it is told to is a fault.
struct Parts {
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    stop: CancellationToken,
}

impl Parts {
    fn new(stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), stop }
    }

    fn spawn(
        &mut self,
        part: &'static str,
        running: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (part, running.await) });
    }

    /// Waits for a part to end by itself.
    async fn fault(&mut self) -> Error {
        match self.tasks.join_next().await {
            Some(Ok((part, Ok(())))) => Error::Part { part, reason: "ended".into() },
            Some(Ok((part, Err(reason)))) => Error::Part { part, reason },
            Some(Err(error)) => Error::Part { part: "a task", reason: error.to_string() },
            None => std::future::pending().await,
        }
    }

    /// Tells every part to stop and waits for them, but not for ever.
    async fn stop(mut self) -> Result<(), Error> {
        self.stop.cancel();
        let all = async {
            let mut first = Ok(());
            while let Some(ended) = self.tasks.join_next().await {
                let fault = match ended {
                    Ok((_, Ok(()))) => continue,
                    Ok((part, Err(reason))) => Error::Part { part, reason },
                    Err(error) => Error::Part { part: "a task", reason: error.to_string() },
                };
                first = first.and(Err(fault));
            }
            first
        };
        match tokio::time::timeout(GRACE, all).await {
            Ok(result) => result,
            // Whoever still talks is left; nothing that was answered depends on it.
            Err(_) => Ok(()),
        }
    }
}
