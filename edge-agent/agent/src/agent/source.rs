//! Where devices are defined: in the manifests folder, or by the cloud.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::AgentConfig;
use crate::catalogue::Catalogue;
use crate::error::Error;
use crate::health::Health;
use crate::manifests::{Faults, Manifests};
use crate::twins::{Twins, Unavailable};
use crate::uplink::{Handle, Left, Uplink};

/// Whoever says which devices there are.
pub(super) enum Source {
    Folder(Box<Manifests>),
    Cloud(Box<Uplink>),
}

/// Why nobody says it.
pub(super) enum Begun {
    /// The agent does not start.
    Refused(Error),
    /// The twins stopped.
    Stopped,
}

impl From<Unavailable> for Begun {
    fn from(_: Unavailable) -> Self {
        Self::Stopped
    }
}

impl Source {
    /// Tells the twins of the devices that there are now; and the uplink for others, if there is one.
    ///
    /// # Errors
    /// See [`Begun`].
    pub(super) async fn begin(
        config: &AgentConfig,
        left: Left,
        twins: Twins,
        catalogue: Arc<Catalogue>,
        faults: Arc<Faults>,
        health: Arc<Health>,
    ) -> Result<(Self, Option<Handle>), Begun> {
        let dir = &config.manifests.dir;
        if config.cloud.is_joined() {
            if std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) {
                warn!(manifests = %dir.display(), "this folder is not read: the cloud says which devices there are");
            }
            let (uplink, handle) =
                Uplink::begin(config, left, twins, catalogue, faults, health).await?;
            return Ok((Self::Cloud(Box::new(uplink)), Some(handle)));
        }
        let mut manifests = Manifests::watch(dir, twins, catalogue, faults, health)
            .map_err(|error| Begun::Refused(Error::place("manifests folder", dir, error)))?;
        manifests.reconcile().await?;
        Ok((Self::Folder(Box::new(manifests)), None))
    }

    /// What it is called where it fails.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Folder(_) => "manifests",
            Self::Cloud(_) => "uplink",
        }
    }

    /// Follows what changes until `stop`.
    ///
    /// # Errors
    /// See [`Uplink::run`].
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), String> {
        match self {
            Self::Folder(manifests) => {
                manifests.run(stop).await;
                Ok(())
            }
            Self::Cloud(uplink) => uplink.run(stop).await,
        }
    }
}
