//! What every cell goes through, in this order.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::cell::{Cell, Side};
use super::objects::{Machine, NODE, model, other_register, wish};
use super::scene::Scene;
use crate::wait::eventually;

/// How long what is alive may take.
const SOON: Duration = Duration::from_secs(20);
/// How long an end may take to find the other one again: an EdgeCore waits half a minute before it dials anew.
pub(super) const AGAIN: Duration = Duration::from_secs(100);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The node gets a certificate for a token.
    Join,
    /// The Node is Ready.
    Ready,
    /// Devices are applied, and the mapper takes them up.
    Add,
    /// What a machine says is in its DeviceStatus.
    Report,
    /// So is whether it answers.
    State,
    /// A desired value comes to the machine.
    Desire,
    /// A visitor changes.
    Visitor,
    /// A model changes, and the next desired value is judged by it.
    Model,
    /// A device is deleted.
    Delete,
    /// The mapper is killed, and comes back.
    MapperKilled,
    /// The cloud's end is killed, and comes back.
    CloudKilled,
    /// What changed at a machine meanwhile is in its DeviceStatus.
    ReportWithoutCloud,
    /// What was desired meanwhile comes to the machine.
    DesireWithoutCloud,
    /// The edge's end is killed, and comes back.
    EdgeKilled,
    /// What changed at a machine meanwhile is in its DeviceStatus.
    ReportWithoutEdge,
    /// What was desired meanwhile comes to the machine.
    DesireWithoutEdge,
    /// A device that was added meanwhile is taken up and reported.
    AddWithoutEdge,
    /// A device that was deleted meanwhile is let go.
    DeleteWithoutEdge,
    /// A device that was deleted and made again meanwhile goes on.
    RecreateWithoutEdge,
    /// Our agent takes the place of EdgeCore, on its files.
    AgentForEdgeCore,
    /// CloudCore forgets what it sent to the node, and starts anew.
    SentAgain,
    /// And EdgeCore that of our agent.
    EdgeCoreAgain,
    /// Our bridge takes the place of CloudCore, on its files.
    BridgeForCloudCore,
    /// And CloudCore that of our bridge.
    CloudCoreAgain,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Join,
        Self::Ready,
        Self::Add,
        Self::Report,
        Self::State,
        Self::Desire,
        Self::Visitor,
        Self::Model,
        Self::Delete,
        Self::MapperKilled,
        Self::CloudKilled,
        Self::ReportWithoutCloud,
        Self::DesireWithoutCloud,
        Self::EdgeKilled,
        Self::ReportWithoutEdge,
        Self::DesireWithoutEdge,
        Self::AddWithoutEdge,
        Self::DeleteWithoutEdge,
        Self::RecreateWithoutEdge,
        Self::AgentForEdgeCore,
        Self::SentAgain,
        Self::EdgeCoreAgain,
        Self::BridgeForCloudCore,
        Self::CloudCoreAgain,
    ];

    /// What it is, in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Join => "join with a token",
            Self::Ready => "node Ready",
            Self::Add => "device added",
            Self::Report => "report",
            Self::State => "state online, offline, online",
            Self::Desire => "desired changed",
            Self::Visitor => "visitor changed",
            Self::Model => "model changed",
            Self::Delete => "device deleted",
            Self::MapperKilled => "mapper killed and back",
            Self::CloudKilled => "cloud killed and back",
            Self::ReportWithoutCloud => "reported without cloud",
            Self::DesireWithoutCloud => "desired without cloud",
            Self::EdgeKilled => "edge killed and back",
            Self::ReportWithoutEdge => "reported without edge",
            Self::DesireWithoutEdge => "desired without edge",
            Self::AddWithoutEdge => "added without edge",
            Self::DeleteWithoutEdge => "deleted without edge",
            Self::RecreateWithoutEdge => "recreated without edge",
            Self::AgentForEdgeCore => "our agent for EdgeCore",
            Self::SentAgain => "and its ObjectSyncs deleted",
            Self::EdgeCoreAgain => "EdgeCore again",
            Self::BridgeForCloudCore => "our bridge for CloudCore",
            Self::CloudCoreAgain => "CloudCore again",
        }
    }

    /// Why a cell does not have it, if so.
    pub(super) fn lacks(self, cell: Cell) -> Option<&'static str> {
        match self {
            Self::ReportWithoutEdge if cell.mapper() == Side::KubeEdge => {
                Some("this mapper says nothing while the edge is away")
            }
            Self::AgentForEdgeCore | Self::EdgeCoreAgain if cell.edge() == Side::Ours => {
                Some("the edge is ours already")
            }
            Self::SentAgain if cell.edge() == Side::Ours || cell.cloud() == Side::Ours => {
                Some("nothing has to be sent again")
            }
            Self::BridgeForCloudCore | Self::CloudCoreAgain if cell.cloud() == Side::Ours => {
                Some("the cloud is ours already")
            }
            _ => None,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// What was to come about did not.
    pub(super) async fn perform(self, scene: &mut Scene) -> Result<()> {
        use Machine::{Fan, Gate, Lamp, Pump, Tank, Valve};
        match self {
            Self::Join => {
                let certificate = scene.edge.certificate();
                let read = async || Ok(std::fs::read_to_string(&certificate)?);
                let text = eventually(SOON, "the node's certificate", read).await?;
                ensure!(text.contains("BEGIN CERTIFICATE"), "{} is none", certificate.display());
                Ok(())
            }
            Self::Ready => {
                let (node, cluster) = (format!("node/{NODE}"), scene.cloud.cluster());
                cluster.kubectl(&["wait", &node, "--for=create", "--timeout=30s"]).await?;
                // An EdgeCore that is not quick enough for an answer waits a minute before it asks again.
                let ready = ["wait", &node, "--for=condition=Ready", "--timeout=80s"];
                cluster.kubectl(&ready).await.map(drop)
            }
            Self::Add => {
                scene.cloud.cluster().apply_objects(&[model(100)]).await?;
                let machines = [Pump, Tank, Valve, Lamp, Gate];
                scene.add(&machines).await?;
                for machine in machines {
                    scene.field.has(machine).await.with_context(|| machine.name())?;
                }
                Ok(())
            }
            Self::Report => {
                for level in [7, 8] {
                    scene.field.set(Pump, 0, level).await?;
                    scene.reported(Pump, "level", level, SOON).await?;
                }
                Ok(())
            }
            Self::State => {
                for (silent, state) in [(false, "online"), (true, "offline"), (false, "online")] {
                    scene.field.silence(Pump, silent).await?;
                    scene.status(Pump, "{.status.state}", state, SOON).await?;
                }
                Ok(())
            }
            Self::Desire => {
                scene.patch(Pump, &wish(42)).await?;
                scene.field.wished(Pump, 42).await?;
                if scene.field.remembers() {
                    scene.reported(Pump, "speed", 42, SOON).await?;
                }
                Ok(())
            }
            Self::Visitor => {
                scene.field.set(Pump, 1, 77).await?;
                scene.patch(Pump, &other_register()).await?;
                scene.field.moved(Pump).await?;
                scene.reported(Pump, "level", 77, SOON).await
            }
            Self::Model => {
                scene.patch(Pump, &wish(150)).await?;
                scene.patch(Pump, &wish(60)).await?;
                scene.field.wished(Pump, 60).await?;
                scene.field.never_wished(Pump, 150)?;
                scene.cloud.cluster().apply_objects(&[model(200)]).await?;
                scene.patch(Pump, &wish(150)).await?;
                scene.field.wished(Pump, 150).await
            }
            Self::Delete => {
                scene.delete(Valve).await?;
                scene.field.has_not(Valve).await
            }
            Self::MapperKilled => {
                scene.field.crash()?;
                scene.field.start(&scene.edge.dmi()).await?;
                scene.field.has(Pump).await?;
                scene.comes_back(AGAIN).await
            }
            Self::CloudKilled => {
                scene.cloud.crash()?;
                scene.field.set(Tank, 0, 21).await?;
                scene.field.has(Tank).await?;
                scene.patch(Pump, &wish(43)).await?;
                scene.cloud.restart().await?;
                scene.comes_back(AGAIN).await
            }
            Self::ReportWithoutCloud => scene.reported(Tank, "level", 21, SOON).await,
            Self::DesireWithoutCloud => scene.field.wished(Pump, 43).await,
            Self::EdgeKilled => {
                scene.edge.crash()?;
                if scene.field.remembers() {
                    scene.field.set(Tank, 0, 31).await?;
                }
                scene.patch(Pump, &wish(44)).await?;
                scene.add(&[Fan]).await?;
                scene.delete(Lamp).await?;
                scene.delete(Gate).await?;
                scene.add(&[Gate]).await?;
                scene.edge.restart().await?;
                scene.comes_back(AGAIN).await
            }
            Self::ReportWithoutEdge => scene.reported(Tank, "level", 31, SOON).await,
            Self::DesireWithoutEdge => scene.field.wished(Pump, 44).await,
            Self::AddWithoutEdge => {
                scene.field.has(Fan).await?;
                scene.field.set(Fan, 0, 51).await?;
                scene.reported(Fan, "level", 51, SOON).await
            }
            Self::DeleteWithoutEdge => scene.field.has_not(Lamp).await,
            Self::RecreateWithoutEdge => {
                scene.field.has(Gate).await?;
                scene.field.set(Gate, 0, 61).await?;
                scene.reported(Gate, "level", 61, SOON).await
            }
            Self::AgentForEdgeCore => {
                scene.edge.replace(Side::Ours).await?;
                scene.goes_on(45).await
            }
            Self::SentAgain => {
                scene.cloud.crash()?;
                scene.cloud.cluster().kubectl(&["delete", "objectsync", "--all"]).await?;
                scene.cloud.restart().await?;
                scene.goes_on(46).await
            }
            Self::EdgeCoreAgain => {
                scene.edge.replace(Side::KubeEdge).await?;
                scene.goes_on(47).await
            }
            Self::BridgeForCloudCore => {
                scene.cloud.replace(Side::Ours).await?;
                scene.goes_on(48).await
            }
            Self::CloudCoreAgain => {
                scene.cloud.replace(Side::KubeEdge).await?;
                scene.goes_on(49).await
            }
        }
    }
}
