//! What happens to the devices of one gateway beneath a cloud, chosen at random.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use edge_agent::api::view::{DesiredAnswer, DeviceView, PropertyView};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::mapper::Mapper;
use super::objects::{LEVELS, Objects, WRITABLE, shown};
use super::viewer::Viewer;
use super::witness::Life;
use crate::cloud::Cloud;
use crate::gate::{Gate, Outage};
use crate::gateway::Gateway;
use crate::http;
use crate::wait::eventually;

const DEVICES: [&str; 2] = ["a", "b"];
/// The one replica.
const BRIDGE: &str = "first";
/// How long it may take until all is quiet.
const QUIET: Duration = Duration::from_secs(120);
/// The longest rest between two steps, in milliseconds: some things are over by then, and some are under way.
const REST: u64 = 400;

/// One thing that happens, to the device of that number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The cloud desires a value.
    Cloud(usize),
    /// Somebody at the gateway does.
    Local(usize),
    /// Both at once.
    Both(usize),
    /// The mapper reports a number of the property.
    Report(usize, usize),
    /// The Device is deleted.
    Delete(usize),
    /// It is made, after it was deleted where it is there still.
    Create(usize),
    /// The link breaks.
    Cut(Outage),
    /// It may be made again.
    Mend,
    /// The agent is killed while the device is reported, and started again.
    KillAgent(usize),
    /// The bridge is killed and started again.
    KillBridge,
    /// The API server is killed, and started again after a report.
    KillApi,
    /// The agent is killed, and its store is gone.
    LoseStore,
    /// The agent is killed, and its store is what it was at an earlier kill.
    OldStore,
}

pub(super) struct History<'a> {
    random: StdRng,
    cloud: &'a mut Cloud,
    objects: Objects,
    gate: Gate,
    gateway: Gateway,
    mapper: Mapper,
    viewer: Viewer,
    lives: [Option<Life>; DEVICES.len()],
    /// The last number that anybody used: each is used once.
    number: u64,
    cut: bool,
    old: Option<PathBuf>,
}

/// Starts again what a broken history left dead.
pub(super) async fn revive(cloud: &mut Cloud) -> Result<()> {
    if cloud.cluster.usage().is_err() {
        cloud.cluster.start_api_server().await?;
    }
    if cloud.usage(BRIDGE).is_err() {
        cloud.start_bridge(BRIDGE).await?;
    }
    Ok(())
}

impl<'a> History<'a> {
    pub(super) async fn begin(seed: u64, cloud: &'a mut Cloud) -> Result<Self> {
        let (node, namespace) = (format!("edge-{seed}"), format!("history-{seed}"));
        cloud.cluster.kubectl(&["create", "namespace", &namespace]).await?;
        let objects = Objects::new(cloud.cluster.client().await?, &namespace, &node).await?;
        let gate = Gate::open()?;
        let addresses = cloud.addresses(BRIDGE)?;
        gate.lead_to(addresses.hub).await?;
        let token = cloud.token(&node).await?;
        let mut gateway = Gateway::joined(&node, gate.address(), addresses.join, &token)?;
        gateway.start(None).await?;
        let mapper = Mapper::start(&gateway.dmi(), &namespace).await?;
        let viewer = Viewer::start(objects.api("DeviceStatus"));
        let random = StdRng::seed_from_u64(seed);
        let (lives, number, cut, old) = ([const { None }; DEVICES.len()], 0, false, None);
        let mut history =
            Self { random, cloud, objects, gate, gateway, mapper, viewer, lives, number, cut, old };
        for device in 0..DEVICES.len() {
            history.live(Step::Create(device)).await?;
        }
        // Most begins at rest; a history that breaks earlier would say little.
        history.quiet().await?;
        Ok(history)
    }

    pub(super) fn choose(&mut self) -> Step {
        let device = self.random.random_range(0..DEVICES.len());
        match self.random.random_range(0..50) {
            0..=7 => Step::Report(device, self.random.random_range(0..LEVELS.len())),
            8..=13 => Step::Cloud(device),
            14..=18 => Step::Local(device),
            19..=21 => Step::Both(device),
            22..=24 => Step::Delete(device),
            25..=28 => Step::Create(device),
            29..=34 if self.cut => Step::Mend,
            29..=34 => Step::Cut(match self.random.random_range(0..8) {
                0 => Outage::HalfOpen,
                1..=3 => Outage::Close,
                _ => Outage::Reset,
            }),
            35..=39 => Step::KillAgent(device),
            40..=42 => Step::KillBridge,
            43 => Step::KillApi,
            44..=45 => Step::LoseStore,
            _ => Step::OldStore,
        }
    }

    pub(super) async fn live(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Cloud(device) => self.cloud_wants(device).await?,
            Step::Local(device) => self.gateway_wants(device).await?,
            Step::Both(device) => {
                self.cloud_wants(device).await?;
                self.gateway_wants(device).await?;
            }
            Step::Report(device, property) => self.report(device, property).await?,
            Step::Delete(device) => self.delete(device).await?,
            Step::Create(device) => {
                self.delete(device).await?;
                self.lives[device] = Some(Life::new(self.objects.create(DEVICES[device]).await?));
            }
            Step::Cut(outage) => {
                self.gate.interrupt(outage).await?;
                // New links of a half-open one come through.
                self.cut = outage != Outage::HalfOpen;
            }
            Step::Mend => self.mend().await?,
            Step::KillAgent(device) => self.kill_agent(device).await?,
            Step::KillBridge => {
                self.cloud.crash_bridge(BRIDGE)?;
                self.report(0, 0).await?;
                self.cloud.start_bridge(BRIDGE).await?;
            }
            Step::KillApi => {
                self.cloud.cluster.crash_api_server()?;
                self.report(0, 0).await?;
                self.cloud.cluster.start_api_server().await?;
            }
            Step::LoseStore => {
                self.gateway.crash()?;
                fs::remove_dir_all(self.store())?;
                self.start_anew().await?;
            }
            Step::OldStore => {
                self.gateway.crash()?;
                if let Some(old) = self.old.take() {
                    fs::remove_dir_all(self.store())?;
                    fs::rename(old, self.store())?;
                }
                self.start_anew().await?;
            }
        }
        // The random number gives the pace, too.
        sleep(Duration::from_millis(self.random.random_range(0..REST))).await;
        self.viewer.verdict().map(drop)
    }

    /// Waits until all is quiet, compares, and says how many values somebody saw in the cloud.
    pub(super) async fn end(mut self) -> Result<u64> {
        self.mend().await?;
        let quiet = self.quiet().await;
        quiet.with_context(|| {
            let lines = |text: String| {
                let lines: Vec<_> = text.lines().map(str::to_owned).collect();
                lines[lines.len().saturating_sub(25)..].join("\n")
            };
            let agent = lines(self.gateway.log().unwrap_or_default());
            format!("agent:\n{agent}\nbridge:\n{}", lines(self.cloud.log(BRIDGE)))
        })?;
        let seen = self.viewer.verdict()?;
        self.gateway.stop(QUIET).await?;
        Ok(seen)
    }

    fn value(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    async fn mend(&mut self) -> Result<()> {
        self.cut = false;
        self.gate.mend().await
    }

    async fn cloud_wants(&mut self, device: usize) -> Result<()> {
        let value = self.value();
        let Some(life) = &mut self.lives[device] else { return Ok(()) };
        self.objects.desire(DEVICES[device], value).await?;
        life.wanted_by_cloud(value);
        Ok(())
    }

    /// Counts where the agent takes it for the life that there is.
    async fn gateway_wants(&mut self, device: usize) -> Result<()> {
        let (value, name) = (self.value(), DEVICES[device]);
        let before = self.view(name).await?;
        let path = format!("/v1/devices/{}/{name}/desired", self.objects.namespace());
        let body = json!({ "properties": { WRITABLE: { "value": value } } });
        let (status, answer) = http::patch(&self.gateway.api(), &path, &body).await?;
        let after = self.view(name).await?;
        let Some(life) = &mut self.lives[device] else { return Ok(()) };
        let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
        if [&before, &after].iter().any(|view| view.incarnation != life.uid) {
            return Ok(());
        }
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice::<DesiredAnswer>(&answer)?;
        life.wanted_here(value, desired(&before));
        Ok(())
    }

    async fn report(&mut self, device: usize, property: usize) -> Result<()> {
        let (value, name) = (self.value(), DEVICES[device]);
        let before = self.view(name).await?;
        let taken = self.mapper.report(name, property, value).await?;
        let after = self.view(name).await?;
        let Some(life) = &mut self.lives[device] else { return Ok(()) };
        let same = |view: &Option<DeviceView>| {
            view.as_ref().is_some_and(|view| view.incarnation == life.uid)
        };
        if taken && same(&before) && same(&after) {
            life.reported(LEVELS[property], value);
        }
        Ok(())
    }

    async fn delete(&mut self, device: usize) -> Result<()> {
        if self.lives[device].take().is_some() {
            self.objects.delete(DEVICES[device]).await?;
        }
        Ok(())
    }

    /// Kills it while a value is desired and one is reported; nobody hears whether they were taken.
    async fn kill_agent(&mut self, device: usize) -> Result<()> {
        let (wish, reading, name) = (self.value(), self.value(), DEVICES[device]);
        let path = format!("/v1/devices/{}/{name}/desired", self.objects.namespace());
        let body = json!({ "properties": { WRITABLE: { "value": wish } } });
        let (api, turns) = (self.gateway.api(), self.random.random_range(0..400));
        let gateway = &mut self.gateway;
        let killing = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            gateway.crash()
        };
        let (_, _, killed) = tokio::join!(
            http::patch(&api, &path, &body),
            self.mapper.report(name, 0, reading),
            killing
        );
        killed?;
        if let Some(life) = &mut self.lives[device] {
            life.perhaps_wanted_here(wish);
        }
        if self.old.is_none() {
            let old = self.gateway.folder().join("old");
            copy(&self.store(), &old)?;
            self.old = Some(old);
        }
        self.gateway.start(None).await.map(drop)
    }

    /// The agent begins with a store that is not its last one.
    async fn start_anew(&mut self) -> Result<()> {
        self.lives.iter_mut().flatten().for_each(Life::forgets);
        self.gateway.start(None).await?;
        self.mapper.register().await
    }

    fn store(&self) -> PathBuf {
        self.gateway.folder().join("store")
    }

    async fn view(&self, name: &str) -> Result<Option<DeviceView>> {
        Ok(self.gateway.devices().await?.into_iter().find(|view| view.name == name))
    }

    /// Cloud, gateway and mapper agree, and all of it is what was acknowledged.
    async fn quiet(&self) -> Result<()> {
        eventually(QUIET, "quiet", async || {
            let (_, outbox) = http::get(&self.gateway.api(), "/v1/outbox").await?;
            let outbox: Json = serde_json::from_slice(&outbox)?;
            ensure!(outbox["linked"] == true && outbox["devices"] == json!([]), "{outbox}");
            for (name, life) in DEVICES.iter().zip(&self.lives) {
                self.agree(name, life.as_ref()).await.with_context(|| (*name).to_owned())?;
            }
            Ok(())
        })
        .await
    }

    async fn agree(&self, name: &str, life: Option<&Life>) -> Result<()> {
        let view = self.view(name).await?;
        let held = self.mapper.held(name);
        let Some(life) = life else {
            ensure!(view.is_none(), "it lives on at the gateway: {view:?}");
            ensure!(held.is_none(), "it lives on at the mapper: {held:?}");
            return Ok(());
        };
        let view = view.context("it is not at the gateway")?;
        ensure!(view.incarnation == life.uid, "{} is not {}", view.incarnation, life.uid);
        let wanted = desired(&view);
        life.compare_desired(wanted)?;
        ensure!(held == Some(wanted), "{wanted:?} is desired, the mapper has {held:?}");
        let status = self.objects.status(name).await?;
        let uid = &status["extensions"]["edgetwin"]["uid"];
        ensure!(*uid == *life.uid, "the cloud shows {uid}");
        let told = shown(&status, WRITABLE, "observedDesired").and_then(|told| told.parse().ok());
        ensure!(told == wanted, "{wanted:?} is desired, the cloud shows {told:?}");
        for (at, property) in LEVELS.into_iter().enumerate() {
            let found = shown(&status, property, "reported").and_then(|told| told.parse().ok());
            let here = view.property(property).and_then(reported);
            ensure!(found == here, "{property}: {here:?} here, the cloud shows {found:?}");
            life.compare_reported(property, found)?;
            ensure!(found <= self.mapper.number(name, at), "{found:?} was never reported");
            let seen = self.viewer.newest(name, property);
            ensure!(found.is_none() || seen >= found, "{found:?} is shown, {seen:?} was seen");
        }
        Ok(())
    }
}

fn desired(view: &DeviceView) -> Option<u64> {
    view.property(WRITABLE)?.desired.as_ref()?.value.parse().ok()
}

fn reported(property: &PropertyView) -> Option<u64> {
    property.reported.as_ref()?.value.as_ref()?.parse().ok()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
