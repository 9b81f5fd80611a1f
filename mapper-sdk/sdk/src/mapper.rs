//! A mapper, from its configuration to its end.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dmi::proto::MapperInfo;
use dmi::serve::Listener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::{Agent, Link};
use crate::config::MapperConfig;
use crate::driver::Driver;
use crate::endpoint::Limits;
use crate::exporter::Exporter;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::register::Registrar;
use crate::reporter::{INBOX, Reporter};
use crate::server::{FrameService, Service};

/// Orders of the agent that may wait for the fleet.
const ORDERS: usize = 64;
/// After the wires came to rest: how long the rest may take.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// A mapper whose socket is in place. The agent may call; it is answered once [`Mapper::run`] runs.
#[derive(Debug)]
pub struct Mapper<D: Driver> {
    config: MapperConfig,
    driver: Arc<D>,
    listener: Listener,
    exporter: Option<Exporter>,
    metrics: Arc<Metrics>,
}

impl<D: Driver> Mapper<D> {
    /// Binds the mapper's socket, and the one for its counters if there is one. Spawns nothing.
    ///
    /// # Errors
    /// A socket cannot be bound; the message names it and says what to do.
    #[expect(
        clippy::unused_async,
        reason = "binds sockets, so it needs the runtime; callers await it"
    )]
    pub async fn bind(mut config: MapperConfig, driver: D) -> anyhow::Result<Self> {
        if !config.ignored.is_empty() {
            warn!(
                keys = config.ignored.join(", "),
                "keys of the configuration that mean nothing here"
            );
        }
        // The agent dials it from its own working directory.
        config.socket = std::path::absolute(&config.socket)
            .with_context(|| format!("socket path {}", config.socket.display()))?;
        let listener = Listener::bind(&config.socket)?;
        let exporter = config.metrics.as_ref().map(Exporter::bind).transpose()?;
        Ok(Self { config, driver: Arc::new(driver), listener, exporter, metrics: Arc::default() })
    }

    /// What the mapper counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Where the counters are told over TCP, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.exporter.as_ref().and_then(Exporter::address)
    }

    /// Serves devices until `cancel`: registers with the agent, however long that takes, and answers it.
    ///
    /// On `cancel` it finishes the transactions in flight, writes the safe values, closes the sessions, tells the
    /// agent what is left to tell, and ends within [`MapperConfig::stop`] twice and half a second.
    ///
    /// # Errors
    /// A part of the mapper ended by itself; then the others were stopped as above.
    pub async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let Self { config, driver, listener, exporter, metrics } = self;
        let info = MapperInfo {
            name: config.name.clone(),
            version: config.version.clone(),
            api_version: config.api_version.clone(),
            protocol: config.protocol.clone().unwrap_or_else(|| D::PROTOCOL.into()),
            address: config.socket.to_string_lossy().into_owned().into_bytes(),
            state: "ok".into(),
        };
        let limits = Limits { reconnect: config.reconnect, rest: config.rest, stop: config.stop };
        info!(name = info.name, protocol = info.protocol, socket = %config.socket.display(), "mapper");

        let agent = Agent::new(&config.agent_socket);
        let (orders, inbox_of_fleet) = mpsc::channel(ORDERS);
        let (reports, inbox_of_reporter) = mpsc::channel(INBOX);
        let (link, linked) = watch::channel(Link::Away);
        let (again, asked_again) = watch::channel(0);
        let wanting = Arc::new(Notify::new());

        // Wires and agent stop one after the other, so that the last readings are told.
        let (wires, rest) = (CancellationToken::new(), CancellationToken::new());
        let fleet =
            Fleet::new(driver, (reports, wanting.clone()), limits, metrics.clone(), wires.clone());
        let reporter =
            Reporter::new(agent.clone(), linked, again, metrics.clone(), config.state_window);
        let registrar = Registrar::new(
            agent,
            info,
            config.agent_socket,
            (link, asked_again),
            (orders.clone(), wanting.clone()),
            metrics.clone(),
        );

        let mut tasks = JoinSet::new();
        let fleet = fleet.run(inbox_of_fleet, wires.clone());
        tasks.spawn(async move {
            fleet.await;
            Ok(Part::Fleet)
        });
        tasks.spawn(async move {
            reporter.run(inbox_of_reporter).await;
            Ok(Part::Reporter)
        });
        let stop = rest.clone();
        tasks.spawn(async move {
            registrar.run(stop).await;
            Ok(Part::Registrar)
        });
        let (frames, stop) = (FrameService::new(orders.clone()), rest.clone());
        let service = Service::new(orders, wanting);
        tasks.spawn(async move {
            let served = if D::FRAMES {
                listener.serve_mapper_with_frames(service, frames, stop).await
            } else {
                listener.serve_mapper(service, stop).await
            };
            served.map(|()| Part::Server).map_err(anyhow::Error::from)
        });

        if let Some(exporter) = exporter {
            let stop = rest.clone();
            tasks.spawn(async move {
                exporter.run(metrics, stop).await;
                Ok(Part::Exporter)
            });
        }

        let early = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            ended = tasks.join_next() => Err(ended_early(ended)),
        };
        info!("mapper stops");
        wires.cancel();
        let grace = config.stop * 2 + LAST_WORDS;
        let silent = tokio::time::timeout(grace, async {
            // The fleet's end closes the reporter's inbox, which ends the reporter.
            while let Some(ended) = tasks.join_next().await {
                if matches!(ended, Ok(Ok(Part::Reporter)) | Err(_)) {
                    return;
                }
            }
        });
        if silent.await.is_err() {
            warn!(?grace, "not everything came to rest in time");
        }
        rest.cancel();
        tasks.shutdown().await;
        early
    }
}

/// The tasks of a mapper.
#[derive(Debug)]
enum Part {
    Fleet,
    Reporter,
    Registrar,
    Server,
    Exporter,
}

fn ended_early(
    ended: Option<Result<anyhow::Result<Part>, tokio::task::JoinError>>,
) -> anyhow::Error {
    match ended {
        Some(Ok(Ok(part))) => anyhow::anyhow!("the mapper's {part:?} ended by itself"),
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => anyhow::Error::from(error).context("a part of the mapper panicked"),
        None => anyhow::anyhow!("nothing was running"),
    }
}
