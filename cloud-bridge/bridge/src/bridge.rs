//! The whole bridge: bind, then run.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use device_model::DeviceModel;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::BridgeConfig;
use crate::error::Error;
use crate::hub::HubSettings;
use crate::identity::{Authority, Served, hub_config};
use crate::join::{self, Counts, Join, KnownNodes};
use crate::objects::Objects;
use crate::observe::{self, Seen};
use crate::plane::Plane;
use crate::status::DeskSettings;
use crate::webhook::{self, Definitions};

/// How long the server's own certificate lives; it is renewed at two thirds of that.
const SERVER_LIFE: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

/// Where a bound bridge listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Links of nodes.
    pub hub: SocketAddr,
    /// Machines that become nodes; none where that is off.
    pub join: Option<SocketAddr>,
    /// The API server's questions; none where that is off.
    pub webhook: Option<SocketAddr>,
    /// Metrics and readiness; none where that is off.
    pub metrics: Option<SocketAddr>,
}

/// A bridge with its identity read and its ports bound.
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    client: Client,
    authority: Arc<Authority>,
    served: Arc<Served>,
    hub: TcpListener,
    join: Option<TcpListener>,
    webhook: Option<TcpListener>,
    metrics: Option<TcpListener>,
    addresses: Addresses,
}

/// The API server's client, which says nothing of itself.
struct Client(kube::Client);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Bridge {
    /// Reads or makes the identity and binds every port. Serves nothing.
    ///
    /// # Errors
    /// The API server is not named, the identity cannot be read, or a port cannot be bound; the error names it.
    pub async fn bind(config: BridgeConfig) -> Result<Self, Error> {
        let client = client(&config).await?;
        let place = config.place(&client);
        let authority = Arc::new(Authority::open(&place).await?);
        let names = config.server_names();
        let served = Served::open(authority.clone(), place, names, SERVER_LIFE).await?;
        let hub = bind("hub.listen", config.hub.listen).await?;
        let join = bind_if("join.listen", config.join.listen).await?;
        let webhook = bind_if("webhook.listen", config.webhook.listen).await?;
        let metrics = bind_if("metrics.listen", config.metrics.listen).await?;
        let local = |listener: &TcpListener| listener.local_addr().ok();
        let addresses = Addresses {
            hub: local(&hub).unwrap_or(config.hub.listen),
            join: join.as_ref().and_then(local),
            webhook: webhook.as_ref().and_then(local),
            metrics: metrics.as_ref().and_then(local),
        };
        let client = Client(client);
        Ok(Self { config, client, authority, served, hub, join, webhook, metrics, addresses })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Works until `stop` is cancelled: nodes are told goodbye, and come to another replica or again.
    ///
    /// # Errors
    /// TLS cannot be set up, or a part ended by itself.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self { config, client: Client(client), authority, served, hub, addresses, .. } = self;
        let token = stop.child_token();
        let mut parts = JoinSet::new();
        let plane = Plane {
            client: client.clone(),
            namespace: config.namespace.clone(),
            replica: config.replica.clone(),
            hub: HubSettings {
                nodes: config.hub.nodes,
                most: config.hub.max_message.0,
                keepalive: *config.hub.keepalive,
                write_timeout: *config.hub.write_timeout,
            },
            desk: DeskSettings {
                per_device: *config.status.per_device,
                rate: config.status.rate.into(),
                burst: config.status.burst.into(),
            },
        };
        let view = plane.start(hub, hub_config(&authority, &served)?, &mut parts, &token);
        let counts = Arc::new(Counts::default());
        if let Some(listener) = self.join {
            let join = Join {
                authority: authority.clone(),
                served: served.clone(),
                tokens: config.tokens(&client),
                nodes: Arc::new(KnownNodes::new(client.clone())),
                life: *config.join.certificate_life,
                kubeedge: config.join.tokens_of_kubeedge(),
                counts: counts.clone(),
            };
            let token = token.clone();
            parts.spawn(
                async move { said("join server", join::serve(listener, join, token).await) },
            );
        }
        if let Some(listener) = self.webhook {
            let definitions = view.objects.clone();
            let (served, stop) = (served.clone(), token.clone());
            parts.spawn(async move {
                said("webhook", webhook::serve(listener, &served, definitions, stop).await);
            });
            parts.spawn(webhook::trust(client.clone(), authority.clone(), token.clone()));
        }
        if let Some(listener) = self.metrics {
            let seen = Seen { view, counts };
            parts.spawn(observe::serve(listener, seen, token.clone()));
        }
        parts.spawn(served.run(token.clone()));
        let Addresses { hub, join, webhook, metrics } = addresses;
        let shown = |address: Option<SocketAddr>| address.map(tracing::field::display);
        info!(
            %hub, join = shown(join), webhook = shown(webhook), metrics = shown(metrics),
            replica = config.replica, "bridge ready"
        );
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            Some(ended) = parts.join_next() => Err(match ended {
                Ok(()) => Error::Part("a part ended by itself".into()),
                Err(error) => Error::Part(error.to_string()),
            }),
        };
        token.cancel();
        while parts.join_next().await.is_some() {}
        info!("bridge stopped");
        ended
    }
}

fn said<E: std::fmt::Display>(part: &str, ended: Result<(), E>) {
    if let Err(error) = ended {
        error!(part, %error, "cannot serve");
    }
}

/// The client that the configuration asks for.
///
/// # Errors
/// Nobody says where the API server is.
pub async fn client(config: &BridgeConfig) -> Result<kube::Client, Error> {
    let kubernetes = |error: &dyn std::fmt::Display| Error::Kubernetes(error.to_string());
    let mut found = match &config.kubeconfig {
        Some(path) => of_file(path).await?,
        None => kube::Config::infer().await.map_err(|error| kubernetes(&error))?,
    };
    if let Some(url) = &config.api_server {
        found.cluster_url = url.parse().map_err(|error| {
            Error::Kubernetes(format!("apiServer = \"{url}\": {error}; write https://host:port"))
        })?;
    }
    kube::Client::try_from(found).map_err(|error| kubernetes(&error))
}

async fn of_file(path: &Path) -> Result<kube::Config, Error> {
    let wrong = |error: kube::config::KubeconfigError| {
        Error::Kubernetes(format!("kubeconfig = \"{}\": {error}", path.display()))
    };
    let file = Kubeconfig::read_from(path).map_err(wrong)?;
    kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(wrong)
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { key, address, source })
}

async fn bind_if(
    key: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, Error> {
    match address {
        Some(address) => bind(key, address).await.map(Some),
        None => Ok(None),
    }
}

impl Definitions for Objects {
    fn model(&self, namespace: &str, name: &str) -> Option<Arc<DeviceModel>> {
        let model = Objects::model(self, &(namespace.into(), name.into()))?;
        serde_json::from_str(model.json()).ok().map(Arc::new)
    }

    fn devices_using(&self, namespace: &str, model: &str) -> Vec<String> {
        let users = self.users(&(namespace.into(), model.into()));
        users.iter().map(|device| device.name().to_owned()).collect()
    }
}
