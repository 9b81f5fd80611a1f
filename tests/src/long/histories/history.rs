//! What happens to one device of a running agent, chosen at random: its writers, its mapper, and its misfortunes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::crash;
use crate::gateway::{Gateway, plain_devices};
use crate::http;
use crate::wait::{PATIENCE, eventually};
use anyhow::{Context, Result, bail, ensure};
use dmi::connect;
use dmi::proto::{Twin, TwinProperty};
use edge_agent::api::view::{DesiredAnswer, DeviceView};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::yield_now;
use tonic::Code;

use super::witness::Witness;
use crate::app::App;

const DEVICE: &str = "/v1/devices/bench/d0";
const PROPERTIES: u32 = 3;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(5);
/// Turns of this process between the calls and the kill that hits them, at most.
const TURNS: u32 = 400;

/// One thing that happens; with the number of a property.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The local API desires a value.
    Api(u32),
    /// An application does, over MQTT.
    Mqtt(u32),
    /// Both at once, each its own.
    Both(u32),
    /// The manifest does.
    Folder(u32),
    /// The mapper reports a value.
    Report(u32),
    /// The mapper reports what is desired.
    Reach(u32),
    /// The application goes without a word, and comes back.
    AppLeaves,
    /// The application compares the delta that it is told.
    Delta,
    /// The agent is killed while all of them write, and started again.
    Kill(u32),
    /// The device is deleted; nobody can write it; it is made again. The agent is killed in between, or not.
    Recreate { killed: bool },
}

pub(super) struct History {
    random: StdRng,
    gateway: Gateway,
    app: App,
    witness: Witness,
    /// The last value that anybody used: each is used once.
    number: u32,
    /// What the manifest desires, by property.
    manifest: BTreeMap<String, String>,
}

impl History {
    pub(super) async fn begin(seed: u64) -> Result<Self> {
        let mut gateway = Gateway::new(true)?;
        gateway.manifest("model.yaml", &plain_devices(0, usize::try_from(PROPERTIES)?))?;
        gateway.manifest("d0.yaml", &manifest(&BTreeMap::new())?)?;
        gateway.start(None).await?;
        let app = App::join(&gateway).await?;
        let witness = Witness::of(&device_of(&gateway).await?);
        let random = StdRng::seed_from_u64(seed);
        Ok(Self { random, gateway, app, witness, number: 0, manifest: BTreeMap::new() })
    }

    pub(super) fn choose(&mut self) -> Step {
        let property = self.random.random_range(0..PROPERTIES);
        match self.random.random_range(0..40) {
            0..=5 => Step::Api(property),
            6..=11 => Step::Mqtt(property),
            12..=16 => Step::Both(property),
            17..=19 => Step::Folder(property),
            20..=24 => Step::Report(property),
            25..=28 => Step::Reach(property),
            29..=30 => Step::AppLeaves,
            31..=33 => Step::Delta,
            34..=37 => Step::Kill(property),
            _ => Step::Recreate { killed: self.random.random() },
        }
    }

    /// Lives through `step`, and looks at the twin afterwards.
    pub(super) async fn live(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Api(property) => self.desire(property, true, false).await?,
            Step::Mqtt(property) => self.desire(property, false, true).await?,
            Step::Both(property) => self.desire(property, true, true).await?,
            Step::Folder(property) => self.describe(property).await?,
            Step::Report(property) => {
                let value = self.value();
                self.report(property, &value).await?;
            }
            Step::Reach(property) => {
                if let Some(value) = self.witness.delta().remove(&name(property)) {
                    self.report(property, &value).await?;
                }
            }
            Step::AppLeaves => self.app = App::join(&self.gateway).await?,
            Step::Delta => {
                let told = self.app.delta().await?;
                let open = self.witness.delta();
                ensure!(told == open, "{told:?} is told, {open:?} is open");
            }
            Step::Kill(property) => self.kill(property).await?,
            Step::Recreate { killed } => return self.recreate(killed).await,
        }
        self.witness.compare(&device_of(&self.gateway).await?)
    }

    /// All that is desired is reached, and then nothing is told as open any more.
    pub(super) async fn end(mut self) -> Result<()> {
        self.live(Step::Delta).await?;
        for property in 0..PROPERTIES {
            self.live(Step::Reach(property)).await?;
        }
        ensure!(self.witness.delta().is_empty(), "{:?}", self.witness);
        self.live(Step::Delta).await?;
        self.gateway.stop(PATIENCE).await.map(drop)
    }

    fn value(&mut self) -> String {
        self.number += 1;
        self.number.to_string()
    }

    /// By the API, over MQTT, or both at once.
    async fn desire(&mut self, property: u32, api: bool, mqtt: bool) -> Result<()> {
        let (name, first, second) = (name(property), self.value(), self.value());
        let socket = self.gateway.api();
        let by_api =
            async { if api { desire(&socket, &name, &first).await.map(Some) } else { Ok(None) } };
        let by_mqtt = async {
            if !mqtt {
                return Ok(None);
            }
            let twin = json!({ &*name: { "expected": { "value": second } } });
            let result = self.app.update(&twin).await?;
            let generation = &result["twin"][&*name]["expected"]["metadata"]["version"];
            generation.as_u64().map(Some).with_context(|| result.to_string())
        };
        let (by_api, by_mqtt) = tokio::try_join!(by_api, by_mqtt)?;
        for (generation, value) in [(by_api, first), (by_mqtt, second)] {
            if let Some(generation) = generation {
                self.witness.desired(&name, &value, generation)?;
            }
        }
        Ok(())
    }

    /// Writes the manifest with a desired value, and waits until it counts.
    async fn describe(&mut self, property: u32) -> Result<()> {
        let (name, value) = (name(property), self.value());
        self.manifest.insert(name.clone(), value.clone());
        self.gateway.manifest("d0.yaml", &manifest(&self.manifest)?)?;
        let generation = eventually(PATIENCE, "the manifest's value", async || {
            let view = device_of(&self.gateway).await?;
            let desired = view.property(&name).and_then(|property| property.desired.clone());
            let desired = desired.context("nothing is desired")?;
            ensure!(desired.value == value, "{desired:?}");
            Ok(desired.version.0)
        })
        .await?;
        self.witness.desired(&name, &value, generation)
    }

    async fn report(&mut self, property: u32, value: &str) -> Result<()> {
        report(&self.gateway, property, value).await?;
        self.witness.reported(&name(property), value);
        Ok(())
    }

    /// Kills the agent while a value is desired and one is reported; what was answered before that is there afterwards.
    async fn kill(&mut self, property: u32) -> Result<()> {
        let (name, wish, reading) = (name(property), self.value(), self.value());
        let (socket, turns) = (self.gateway.api(), self.random.random_range(0..TURNS));
        let mut agent = connect::manager(self.gateway.dmi(), CALL);
        let reporting = async { agent.report_device_status(request(property, &reading)).await };
        let gateway = &mut self.gateway;
        let killing = async {
            for _ in 0..turns {
                yield_now().await;
            }
            gateway.crash()
        };
        let (desired, reported, killed) =
            tokio::join!(desire(&socket, &name, &wish), reporting, killing);
        killed?;
        match desired {
            Ok(generation) => self.witness.desired(&name, &wish, generation)?,
            Err(_) => self.witness.doubt(&name, &wish, false),
        }
        match reported {
            Ok(_) => self.witness.reported(&name, &reading),
            Err(_) => self.witness.doubt(&name, &reading, true),
        }
        self.start().await
    }

    async fn start(&mut self) -> Result<()> {
        self.gateway.start(None).await?;
        self.app = App::join(&self.gateway).await?;
        Ok(())
    }

    async fn recreate(&mut self, killed: bool) -> Result<()> {
        let file = self.gateway.folder().join("manifests/d0.yaml");
        let text = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        self.gateway.loaded(0).await?;
        if killed {
            self.gateway.crash()?;
            self.start().await?;
            self.gateway.loaded(0).await?;
        }
        // Whoever writes it makes nothing of it.
        let (value, p0) = (self.value(), name(0));
        match report(&self.gateway, 0, &value).await {
            Err(error) if error.downcast_ref().is_some_and(is_not_found) => {}
            other => bail!("a report of a deleted device: {other:?}"),
        }
        let body = json!({ "properties": { &*p0: { "value": value } } });
        let (status, _) =
            http::patch(&self.gateway.api(), &format!("{DEVICE}/desired"), &body).await?;
        ensure!(status == 404, "a wish for a deleted device: {status}");
        let answer = self.app.update(&json!({ &*p0: { "expected": { "value": value } } })).await?;
        ensure!(answer["code"] == 404, "a wish for a deleted device: {answer}");
        self.gateway.loaded(0).await?;

        fs::write(&file, text)?;
        self.gateway.loaded(1).await?;
        let view = device_of(&self.gateway).await?;
        ensure!(view.incarnation != self.witness.life(), "it lives on: {view:#?}");
        ensure!(
            view.properties.iter().all(|one| one.reported.is_none()),
            "it was revived: {view:#?}"
        );
        let first = |generation: u64| generation == 1;
        let desired = view.properties.iter().filter_map(|one| one.desired.as_ref());
        for desired in desired {
            ensure!(first(desired.version.0) && desired.writer == "manifest", "{desired:?}");
        }
        self.witness = Witness::of(&view);
        Ok(())
    }
}

/// The device's, with these desired values.
fn manifest(desired: &BTreeMap<String, String>) -> Result<String> {
    let all = plain_devices(1, usize::try_from(PROPERTIES)?);
    let (_, device) = all.split_once("---\n").context("a model and a device")?;
    let mut text = device.to_owned();
    for (name, value) in desired {
        let wanting = format!("name: {name}, desired: {{value: \"{value}\"}}, reportToCloud");
        text = text.replace(&format!("name: {name}, reportToCloud"), &wanting);
    }
    Ok(text)
}

fn name(property: u32) -> String {
    format!("p{property}")
}

async fn device_of(gateway: &Gateway) -> Result<DeviceView> {
    gateway.devices().await?.pop().context("the device is not there")
}

/// Desires a value by the API; its generation.
async fn desire(socket: &std::path::Path, name: &str, value: &str) -> Result<u64> {
    let body = json!({ "properties": { name: { "value": value } } });
    let (status, body) = http::patch(socket, &format!("{DEVICE}/desired"), &body).await?;
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
    let answer: DesiredAnswer = serde_json::from_slice(&body)?;
    Ok(answer.properties.get(name).context("it was taken")?.version.0)
}

async fn report(gateway: &Gateway, property: u32, value: &str) -> Result<()> {
    let mut agent = connect::manager(gateway.dmi(), CALL);
    agent.report_device_status(request(property, value)).await?;
    Ok(())
}

fn request(property: u32, value: &str) -> dmi::proto::ReportDeviceStatusRequest {
    let mut request = crash::report(0, 0, 0);
    let side = |value: &str| Some(TwinProperty { value: value.into(), ..TwinProperty::default() });
    request.reported_device.get_or_insert_default().twins.push(Twin {
        property_name: name(property),
        observed_desired: side(""),
        reported: side(value),
    });
    request
}

fn is_not_found(status: &tonic::Status) -> bool {
    status.code() == Code::NotFound
}
