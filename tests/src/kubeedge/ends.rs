//! The two ends of the channel, each ours or KubeEdge's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cloud_bridge::identity::{Entry, Files, Pair, Place, Secrets};
use serde_json::json;

use super::cell::Side;
use super::cloudcore::CloudCore;
use super::edgecore::EdgeCore;
use super::objects::NODE;
use crate::cloud::Cloud;
use crate::cluster::Cluster;
use crate::gateway::Gateway;
use crate::process::Usage;
use crate::wait::{PATIENCE, eventually};

/// The only replica of our bridge.
const BRIDGE: &str = "first";

/// Who serves nodes.
#[derive(Debug)]
pub enum CloudEnd {
    /// KubeEdge's program.
    CloudCore(Cluster, CloudCore),
    /// Ours.
    Bridge(Cloud),
}

impl CloudEnd {
    /// CloudCore before a control plane with the custom resources of `crds`, a file or a folder; else with ours.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn cloudcore(program: &Path, crds: Option<&Path>) -> Result<Self> {
        let cluster = Cluster::start().await?.with_controllers().await?;
        match crds {
            Some(crds) => cluster.apply(crds).await?,
            None => crate::cloud::define(&cluster).await?,
        }
        let core = CloudCore::start(program, &cluster).await?;
        Ok(Self::CloudCore(cluster, core))
    }

    /// Our bridge before a control plane of its own.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn bridge() -> Result<Self> {
        let cluster = Cluster::start().await?.with_controllers().await?;
        Ok(Self::Bridge(Cloud::with(cluster, json!({})).await?))
    }

    /// The control plane.
    pub fn cluster(&self) -> &Cluster {
        match self {
            Self::CloudCore(cluster, _) => cluster,
            Self::Bridge(cloud) => &cloud.cluster,
        }
    }

    /// Where nodes connect, where they get certificates, and a token for one.
    ///
    /// # Errors
    /// There is no token.
    pub async fn invitation(&self) -> Result<(SocketAddr, SocketAddr, String)> {
        Ok(match self {
            Self::CloudCore(cluster, core) => (core.hub(), core.join(), core.token(cluster).await?),
            Self::Bridge(cloud) => {
                let at = cloud.addresses(BRIDGE)?;
                (at.hub, at.join, cloud.token(NODE).await?)
            }
        })
    }

    /// Where nodes connect.
    ///
    /// # Errors
    /// It was never started.
    pub fn hub(&self) -> Result<SocketAddr> {
        match self {
            Self::CloudCore(_, core) => Ok(core.hub()),
            Self::Bridge(cloud) => Ok(cloud.addresses(BRIDGE)?.hub),
        }
    }

    /// Its certificate authority.
    ///
    /// # Errors
    /// It has none yet.
    pub async fn authority(&self) -> Result<Pair> {
        let place = match self {
            Self::CloudCore(cluster, _) => {
                Place::Secrets(Secrets::new(cluster.client().await?, "kubeedge"))
            }
            Self::Bridge(cloud) => Place::Files(Files::within(&cloud.identity())),
        };
        let placed = eventually(PATIENCE, "the authority", async || {
            place.load(Entry::Authority).await?.context("none is there")
        });
        Ok(placed.await?.pair)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It does not run.
    pub fn usage(&self) -> Result<Usage> {
        match self {
            Self::CloudCore(_, core) => core.usage(),
            Self::Bridge(cloud) => cloud.usage(BRIDGE),
        }
    }

    /// Kills it without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash(&mut self) -> Result<()> {
        match self {
            Self::CloudCore(_, core) => core.crash(),
            Self::Bridge(cloud) => cloud.crash_bridge(BRIDGE).map(drop),
        }
    }

    /// Stops CloudCore, or what runs in its place, and starts the program of that side on the same files.
    ///
    /// # Errors
    /// There is no CloudCore, or something does not stop or start.
    pub async fn replace(&mut self, side: Side) -> Result<()> {
        let Self::CloudCore(_, core) = self else { bail!("there is no CloudCore") };
        core.stop().await?;
        match side {
            Side::KubeEdge => core.restart().await,
            Side::Ours => core.restart_as_bridge().await,
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        match self {
            Self::CloudCore(_, core) => core.restart().await,
            Self::Bridge(cloud) => cloud.start_bridge(BRIDGE).await.map(drop),
        }
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        match self {
            Self::CloudCore(_, core) => core.log(),
            Self::Bridge(cloud) => cloud.log(BRIDGE),
        }
    }
}

/// Who is the node.
#[derive(Debug)]
pub enum EdgeEnd {
    /// KubeEdge's program.
    EdgeCore(EdgeCore),
    /// Ours.
    Agent(Gateway),
}

impl EdgeEnd {
    /// EdgeCore, which joins `cloud`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn edgecore(program: &Path, cloud: &CloudEnd) -> Result<Self> {
        let (hub, join, token) = cloud.invitation().await?;
        Ok(Self::EdgeCore(EdgeCore::start(program, NODE, hub, join, &token).await?))
    }

    /// Our agent, which joins `cloud`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn agent(cloud: &CloudEnd) -> Result<Self> {
        let (hub, join, token) = cloud.invitation().await?;
        let mut gateway = Gateway::joined(NODE, hub, join, &token)?;
        gateway.start(None).await?;
        Ok(Self::Agent(gateway))
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It does not run.
    pub fn usage(&self) -> Result<Usage> {
        match self {
            Self::EdgeCore(core) => core.usage(),
            Self::Agent(gateway) => gateway.usage(),
        }
    }

    /// The socket that mappers register at.
    pub fn dmi(&self) -> PathBuf {
        match self {
            Self::EdgeCore(core) => core.dmi(),
            Self::Agent(gateway) => gateway.dmi(),
        }
    }

    /// Its certificate, once it has joined.
    pub fn certificate(&self) -> PathBuf {
        match self {
            Self::EdgeCore(core) => core.certificate(),
            Self::Agent(gateway) => gateway.folder().join("node.crt"),
        }
    }

    /// Kills it without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash(&mut self) -> Result<()> {
        match self {
            Self::EdgeCore(core) => core.crash(),
            Self::Agent(gateway) => gateway.crash(),
        }
    }

    /// Stops EdgeCore, or what runs in its place, and starts the program of that side on the same files.
    ///
    /// # Errors
    /// There is no EdgeCore, or something does not stop or start.
    pub async fn replace(&mut self, side: Side) -> Result<()> {
        let Self::EdgeCore(core) = self else { bail!("there is no EdgeCore") };
        core.stop().await?;
        match side {
            Side::KubeEdge => core.restart().await,
            Side::Ours => core.restart_as_agent().await,
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        match self {
            Self::EdgeCore(core) => core.restart().await,
            Self::Agent(gateway) => gateway.start(None).await.map(drop),
        }
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        match self {
            Self::EdgeCore(core) => core.log(),
            Self::Agent(gateway) => gateway.log().unwrap_or_default(),
        }
    }
}
