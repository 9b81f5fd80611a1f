//! The whole agent: bind, then run.

mod opened;
mod parts;
mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use device_twin::{Limits, Settings};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api::view::Part;
use crate::api::{self, Context, Tcp};
use crate::broker::{Embedded, Prepared};
use crate::catalogue::Catalogue;
use crate::clock::now;
use crate::dmi_server::DmiServer;
use crate::eventbus::{Outbox, Receiver};
use crate::health::{Health, tell_clock};
use crate::history::History;
use crate::manifests::Faults;
use crate::mappers::Mappers;
use crate::metrics::Metrics;
use crate::reload::{Fixed, Secrets};
use crate::socket::Socket;
use crate::subscriptions::Subscriptions;
use crate::twins::{Owner, Twins};
use crate::{AgentConfig, Error, Reloader};
use opened::Opened;
use parts::Parts;
use source::{Begun, Source};

/// How often time passes for the twins: expiry, staleness, syncing.
const TICK: Duration = Duration::from_millis(500);
/// How long the whole end may take.
const END: Duration = Duration::from_millis(1900);

/// The thread that owns the twins.
const TWINS: &str = "twins";

/// Where a bound agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The embedded broker; none when it is off.
    pub mqtt: Option<SocketAddr>,
    /// The DMI socket for mappers.
    pub dmi: PathBuf,
    /// The local API's socket.
    pub api: PathBuf,
    /// The local API over TCP, where that is on.
    pub api_tcp: Option<SocketAddr>,
}

/// An agent with its store open and its sockets bound.
pub struct Agent {
    config: AgentConfig,
    addresses: Addresses,
    opened: Opened,
    dmi: dmi::serve::Listener,
    api: Socket,
    api_tcp: Option<Tcp>,
    broker: Option<Embedded>,
    external: Option<Prepared>,
    live: watch::Receiver<AgentConfig>,
    reloader: Reloader,
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
        let joined = config.cloud.is_joined();
        let settings = Settings {
            owner: if joined { device_twin::Owner::Cloud } else { device_twin::Owner::Node },
            sync: *config.store.sync,
            refresh_persist: *config.store.refresh,
            ..Settings::default()
        };
        let opened = opened::open(&config.store, &settings)?;
        let dmi = dmi::serve::Listener::bind(&config.devices.dmi_socket)?;
        let socket = &config.api.socket;
        let api =
            Socket::bind(socket).map_err(|error| Error::place("API socket", socket, error))?;
        let api_tcp = Tcp::bind(&config.api).await?;
        let mqtt = &config.mqtt;
        let broker =
            if mqtt.mode.has_embedded() { Some(Embedded::bind(mqtt).await?) } else { None };
        let external = mqtt.mode.has_external().then(|| Prepared::read(mqtt, &config.node.name));
        let external = external.transpose()?;
        let addresses = Addresses {
            mqtt: broker.as_ref().map(Embedded::address),
            dmi: config.devices.dmi_socket.clone(),
            api: socket.clone(),
            api_tcp: api_tcp.as_ref().and_then(Tcp::address),
        };
        let secrets = Secrets {
            tokens: api_tcp.as_ref().map(Tcp::tokens),
            certificate: api_tcp.as_ref().and_then(Tcp::certificate),
            passwords: broker.as_ref().map(Embedded::passwords),
            credentials: external.as_ref().map(Prepared::credentials),
            fixed: mqtt.tls.as_ref().filter(|_| broker.is_some()).map(Fixed::of),
        };
        let (reloader, live) = Reloader::new(config.clone(), secrets);
        Ok(Self { config, addresses, opened, dmi, api, api_tcp, broker, external, live, reloader })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Gives it another configuration while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Works until `stop` is cancelled, then stops in order: within two seconds everything accepted is on disk
    /// and the sockets are gone.
    ///
    /// # Errors
    /// A part failed, or panicked.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self { config, addresses, opened, dmi, api, api_tcp, broker, external, live, .. } =
            self;
        let Opened { core, run, registrations, subscriptions, left, aside } = opened;
        let known = core.parked().cloned().collect();
        let health = Arc::new(Health::default());
        tell_clock(now(), &health);
        let ticking = health.clone();
        let (twins, mut owner) = Twins::start(core, run, config.devices.queue, health.clone())
            .map_err(|source| Error::Part { part: TWINS, reason: source.to_string() })?;
        if let Some(aside) = aside {
            twins.store_health().set_aside(aside);
        }
        let catalogue = Arc::new(Catalogue::default());
        let metrics = Arc::new(Metrics::default());
        let mode = config.mqtt.mode;
        let (subscriptions, keeper) =
            Subscriptions::new(&subscriptions, mode, twins.clone(), metrics.clone());
        let faults = Arc::new(Faults::default());
        // What is defined is known before the first mapper asks; what the store does not take is tried again later.
        let source = Source::begin(
            &config,
            left,
            twins.clone(),
            catalogue.clone(),
            faults.clone(),
            health.clone(),
        );
        let (source, uplink) = match source.await {
            Ok(begun) => begun,
            Err(Begun::Refused(error)) => return Err(error),
            Err(Begun::Stopped) => {
                return Err(Error::Part { part: TWINS, reason: owner.fault().await });
            }
        };
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
            return Err(Error::Part { part: TWINS, reason: owner.fault().await });
        }
        let server = DmiServer {
            twins: twins.clone(),
            catalogue: catalogue.clone(),
            mappers: mappers.clone(),
            metrics: metrics.clone(),
            bus: broker.is_some() || external.is_some(),
        };
        let token = stop.child_token();
        let history = Arc::new(History::new(config.api.history));
        let context = Context {
            twins: twins.clone(),
            mappers: mappers.clone(),
            metrics: metrics.clone(),
            faults,
            health: health.clone(),
            history: history.clone(),
            catalogue,
            subscriptions: subscriptions.clone(),
            uplink,
            // Nobody can set them yet.
            limits: Limits::default(),
            read_only: config.api.read_only,
            stop: token.clone(),
        };

        let mut parts = Parts::new(token.clone());
        parts.spawn("DMI server", {
            let serving = dmi.serve_manager(server, token.clone());
            async move { serving.await.map_err(|error| error.to_string()) }
        });
        health.ok(Part::Dmi);
        parts.spawn("mappers", reconciler.run(start, health.clone(), token.clone()));
        parts.spawn(source.name(), source.run(token.clone()));
        parts.spawn("API", async move {
            api::serve(api, api_tcp, context).await;
            Ok(())
        });
        health.ok(Part::Api);
        parts.spawn("history", {
            let (feed, token) = (twins.feed().clone(), token.clone());
            async move {
                history.run(&feed, start, token).await;
                Ok(())
            }
        });
        parts.spawn("subscriptions", keeper.run(token.clone()));
        let inbox = Receiver {
            twins: twins.clone(),
            metrics: metrics.clone(),
            subscriptions: subscriptions.clone(),
        };
        let inbox = Arc::new(inbox);
        let node = &config.node.name;
        if let Some(broker) = broker {
            let publisher = broker.publisher();
            let outbox = Outbox::new(publisher, twins.clone(), node.clone(), metrics.clone())
                .run(start, token.clone());
            health.ok(Part::Mqtt);
            parts.spawn("MQTT broker", broker.run(inbox.clone(), token.clone()));
            parts.spawn("event bus", outbox);
        }
        if let Some(external) = external {
            let external =
                external.with(twins.feed().clone(), health, metrics.clone(), subscriptions);
            let outbox = Outbox::new(external.link(), twins.clone(), node.clone(), metrics)
                .run(start, token.clone());
            parts.spawn("external broker", external.run(inbox, token.clone()));
            parts.spawn("external event bus", outbox);
        }
        parts.spawn("traces", mappers.traces.clone().follow(token.clone()));
        parts.spawn("configuration", follow(live, twins.clone(), mappers.clone(), token.clone()));
        parts.spawn("clock", tick(twins, ticking, token));
        let outside = config.mqtt.mode.has_external().then(|| config.mqtt.external.url.clone());
        let inside = addresses.mqtt.map(|address| address.to_string());
        let mqtt: Vec<_> = inside.into_iter().chain(outside).collect();
        let mqtt = if mqtt.is_empty() { "off".into() } else { mqtt.join(", ") };
        let api_tcp = addresses.api_tcp.map(tracing::field::display);
        let cloud = config.cloud.addresses.join(", ");
        let (manifests, cloud) = match config.cloud.is_joined() {
            true => (None, Some(cloud)),
            false => (Some(tracing::field::display(config.manifests.dir.display())), None),
        };
        info!(
            dmi = %addresses.dmi.display(), api = %addresses.api.display(), api_tcp, mqtt,
            manifests, cloud, "agent ready"
        );
        supervise(parts, owner, stop).await
    }
}

/// Waits for `stop`, or for the first part that ends by itself: the others are stopped then, too. A gateway without
/// one of its parts would look alive and be of no use; whoever started it starts it again.
async fn supervise(
    mut parts: Parts,
    mut owner: Owner,
    stop: CancellationToken,
) -> Result<(), Error> {
    // In this order: told to stop, the parts end, too.
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        reason = owner.fault() => Err(Error::Part { part: TWINS, reason }),
        fault = parts.fault() => Err(fault),
    };
    if let Err(error) = &result {
        error!(%error, "stopping");
    }
    finish(parts, owner, result).await
}

/// Borders first, so that nothing more comes in; then what is queued; then the disk.
async fn finish(parts: Parts, owner: Owner, result: Result<(), Error>) -> Result<(), Error> {
    let begin = Instant::now();
    let stopped = parts.stop().await;
    let twins_failed = matches!(&result, Err(Error::Part { part: TWINS, .. }));
    let synced = if twins_failed {
        Ok(())
    } else {
        let left = END.saturating_sub(begin.elapsed());
        owner.stop(left).await.map_err(|reason| Error::Unsynced { reason })
    };
    info!("agent stopped");
    result.and(stopped).and(synced)
}

/// Brings another configuration to the parts that take one while they run.
async fn follow(
    mut live: watch::Receiver<AgentConfig>,
    twins: Twins,
    mappers: Arc<Mappers>,
    stop: CancellationToken,
) -> Result<(), String> {
    // The other end is held by whoever may reload; without it nothing changes any more.
    while let Some(Ok(())) = stop.run_until_cancelled(live.changed()).await {
        let AgentConfig { store, devices, .. } = live.borrow_and_update().clone();
        mappers.set_ttl(*devices.lease_ttl);
        if twins.set_spans(*store.sync, *store.refresh).await.is_err() {
            break;
        }
    }
    stop.cancelled().await;
    Ok(())
}

async fn tick(twins: Twins, health: Arc<Health>, stop: CancellationToken) -> Result<(), String> {
    let mut interval = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = interval.tick() => {
                twins.tick();
                tell_clock(now(), &health);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use device_twin::MemoryStore;
    use device_twin::store::Run;

    use super::*;
    use crate::twins::Core;

    /// Runs an agent of one part, and of another that ends when it is told to; what came of it.
    async fn run(part: impl Future<Output = Result<(), String>> + Send + 'static) -> String {
        let core = Core::open(Box::new(MemoryStore::new()), Settings::default(), now()).unwrap();
        let (_twins, owner) = Twins::start(core, Run::first(now()), 4, Arc::default()).unwrap();
        let stop = CancellationToken::new();
        let mut parts = Parts::new(stop.child_token());
        let (told, orderly) = tokio::sync::oneshot::channel();
        let token = parts.stop.clone();
        parts.spawn("API", async move {
            token.cancelled().await;
            told.send(()).map_err(|()| "nobody waits".into())
        });
        parts.spawn("event bus", part);
        let result = supervise(parts, owner, stop).await;
        orderly.await.unwrap();
        result.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_part_that_panics_is_named_and_the_agent_stops() {
        let said = run(async { panic!("no {} left", "words") }).await;
        assert!(
            said.starts_with("event bus stopped by itself: panicked: no words left;"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn a_part_that_ends_unasked_is_named_and_the_agent_stops() {
        let said = run(async { Ok(()) }).await;
        assert!(said.starts_with("event bus stopped by itself: ended;"), "{said}");
        let said = run(async { Err("no more sockets".into()) }).await;
        assert!(said.starts_with("event bus stopped by itself: no more sockets;"), "{said}");
    }
}
