//! One cell while it runs: a cloud's end, an edge's end, and a mapper with its machines.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use super::Programs;
use super::cell::{Cell, Side};
use super::ends::{CloudEnd, EdgeEnd};
use super::field::Field;
use super::objects::{Machine, wish};
use super::step::AGAIN;

/// All that runs. Dropping it kills everything.
#[derive(Debug)]
pub struct Scene {
    /// The mapper and its machines.
    pub field: Field,
    /// The node.
    pub edge: EdgeEnd,
    /// Who serves it.
    pub cloud: CloudEnd,
    /// The last level that was set while waiting for a node to come back.
    nudge: u16,
}

impl Scene {
    /// Starts everything; the node joins with a token.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(cell: Cell, programs: &Programs) -> Result<Self> {
        let cloud = match cell.cloud() {
            Side::KubeEdge => {
                let program = programs.cloudcore.as_deref().context("no CloudCore")?;
                CloudEnd::cloudcore(program, programs.crds.as_deref()).await?
            }
            Side::Ours => CloudEnd::bridge().await?,
        };
        let edge = match cell.edge() {
            Side::KubeEdge => {
                let program = programs.edgecore.as_deref().context("no EdgeCore")?;
                EdgeEnd::edgecore(program, &cloud).await?
            }
            Side::Ours => EdgeEnd::agent(&cloud).await?,
        };
        let mut field = match cell.mapper() {
            Side::KubeEdge => Field::go()?,
            Side::Ours => Field::modbus().await?,
        };
        field.start(&edge.dmi()).await?;
        Ok(Self { field, edge, cloud, nudge: 1000 })
    }

    /// Applies a Device.
    ///
    /// # Errors
    /// It is refused.
    pub async fn add(&self, machines: &[Machine]) -> Result<()> {
        let devices: Vec<_> = machines.iter().map(|one| one.device(self.field.port())).collect();
        self.cloud.cluster().apply_objects(&devices).await
    }

    /// Deletes a Device.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub async fn delete(&self, machine: Machine) -> Result<()> {
        self.cloud.cluster().kubectl(&["delete", "device", machine.name()]).await.map(drop)
    }

    /// Changes a Device.
    ///
    /// # Errors
    /// It is refused.
    pub async fn patch(&self, machine: Machine, patch: &Json) -> Result<()> {
        let patch = patch.to_string();
        let patch = ["patch", "device", machine.name(), "--type", "json", "--patch", &patch];
        self.cloud.cluster().kubectl(&patch).await.map(drop)
    }

    /// Waits until the DeviceStatus has that value of a property.
    ///
    /// # Errors
    /// It has another one.
    pub async fn reported(
        &self,
        machine: Machine,
        property: &str,
        value: u16,
        patience: Duration,
    ) -> Result<()> {
        let twin = format!("{{.status.twins[?(@.propertyName==\"{property}\")].reported.value}}");
        self.status(machine, &twin, &value.to_string(), patience).await
    }

    /// Waits until what `path` leads to in the DeviceStatus is `value`.
    ///
    /// # Errors
    /// It is not; the error says what it is.
    pub async fn status(
        &self,
        machine: Machine,
        path: &str,
        value: &str,
        patience: Duration,
    ) -> Result<()> {
        let cluster = self.cloud.cluster();
        let (object, limit) = (
            format!("devicestatus/{}", machine.name()),
            format!("--timeout={}s", patience.as_secs()),
        );
        let wait = async |condition: &str| {
            cluster.kubectl(&["wait", &object, &format!("--for={condition}"), &limit]).await
        };
        let waiting = async {
            wait("create").await?;
            wait(&format!("jsonpath={path}={value}")).await
        };
        if waiting.await.is_ok() {
            return Ok(());
        }
        let output = format!("jsonpath={path}");
        match cluster.kubectl(&["get", &object, "--output", &output]).await {
            Ok(has) if has.is_empty() => bail!("{object} has nothing at {path}, not {value}"),
            Ok(has) => bail!("{object}: {path} is {has}, not {value}"),
            Err(error) => Err(error),
        }
    }

    /// After one end was replaced: values come up, and a wish goes down.
    ///
    /// # Errors
    /// One of them does not.
    pub async fn goes_on(&mut self, speed: u16) -> Result<()> {
        self.comes_back(AGAIN).await?;
        self.patch(Machine::Pump, &wish(speed)).await?;
        self.field.wished(Machine::Pump, speed).await
    }

    /// Changes the pump's level again and again until one of its new values is in the DeviceStatus.
    ///
    /// # Errors
    /// None comes.
    pub async fn comes_back(&mut self, patience: Duration) -> Result<()> {
        let short = Duration::from_secs(2);
        let back = async {
            loop {
                self.nudge += 1;
                // The Go mapper's edge may not be there yet.
                let set = self.field.set(Machine::Pump, 1, self.nudge).await;
                if set.is_ok()
                    && self.reported(Machine::Pump, "level", self.nudge, short).await.is_ok()
                {
                    return;
                }
            }
        };
        let back = tokio::time::timeout(patience, back).await;
        back.with_context(|| format!("no new value is reported within {patience:?}"))
    }
}
