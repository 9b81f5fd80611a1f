//! Everything at once on an agent: reports as fast as they go, desired values and their acknowledgements, and word of
//! each answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dmi::connect;
use dmi::convert::words;
use dmi::proto::{
    MapperInfo, MapperRegisterRequest, ReportDeviceStatusRequest, Twin, TwinProperty,
};
use edge_agent::api::view::{DesiredAnswer, DeviceView, ErrorView};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::crash;
use crate::gateway::plain_devices;
use crate::http;

/// Devices under load.
pub const DEVICES: usize = 4;
/// INT properties of each; `p0` is written, too.
pub const PROPERTIES: usize = 5;
/// The longest text that is reported, in characters: a commit now and then is longer than a page.
const LONGEST: usize = 2000;
/// Each device's writer pauses for so long.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the load says about the agent's answers. All numbers of a device rise from where they were found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// How a device is at the start.
    Found(Found),
    /// The number that a device reports in all of its properties was taken.
    Reported {
        /// Its place in [`DEVICES`].
        device: usize,
        /// The number.
        number: i64,
        /// Milliseconds since the start of the load.
        at: u64,
    },
    /// A desired value was taken.
    Desired {
        /// Its place in [`DEVICES`].
        device: usize,
        /// The value.
        number: i64,
        /// Its generation.
        version: u64,
        /// The device's revision.
        rev: u64,
    },
    /// A desired value's last acknowledgement was taken.
    Acknowledged {
        /// Its place in [`DEVICES`].
        device: usize,
        /// The value's generation.
        version: u64,
    },
    /// A call was not taken.
    Refused {
        /// Which: `report`, `desire`.
        call: String,
        /// A gRPC code by name, or an HTTP status.
        code: String,
        /// The words.
        text: String,
    },
}

/// How a device was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its place in [`DEVICES`].
    pub device: usize,
    /// The store's life, and the device's.
    pub life: (u64, String),
    /// Its revision.
    pub rev: u64,
    /// The number in each of its properties, and before its text: one, unless a report was kept in parts.
    pub reported: Vec<i64>,
    /// The desired value and its generation.
    pub desired: (i64, u64),
    /// The generation whose last acknowledgement is there.
    pub acknowledged: u64,
}

/// The devices, for [`plain_devices`]' namespace, with a text each.
pub fn manifest() -> String {
    plain_devices(DEVICES, PROPERTIES)
        .replace(
            "  - {name: p0, type: INT,",
            "  - {name: text, type: STRING, accessMode: ReadWrite}\n  - {name: p0, type: INT,",
        )
        .replace(
            "  - {name: p0, reportToCloud",
            "  - {name: text, reportToCloud: true}\n  - {name: p0, reportToCloud",
        )
}

/// A running load; it ends when it is dropped.
#[derive(Debug)]
pub struct Load {
    tasks: JoinSet<Result<()>>,
}

impl Load {
    /// Reads how the devices are, says so, and begins where they are. Each task ends when nobody listens any more.
    ///
    /// # Errors
    /// The API does not answer with the devices.
    pub async fn start(dmi: &Path, api: &Path, say: mpsc::Sender<Said>) -> Result<Self> {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for view in http::devices(api).await? {
            let found = Found::of(&view)?;
            let (device, number) = (found.device, found.reported.iter().max().copied());
            let desired = found.desired.0;
            say.send(Said::Found(found)).await.context("nobody listens")?;
            let reporter = Reporter { socket: dmi.to_owned(), device, start, say: say.clone() };
            tasks.spawn(reporter.run(number.unwrap_or_default()));
            let writer =
                Writer { dmi: dmi.to_owned(), api: api.to_owned(), device, say: say.clone() };
            tasks.spawn(writer.run(desired));
        }
        ensure!(tasks.len() == 2 * DEVICES, "not all devices are there");
        Ok(Self { tasks })
    }

    /// Waits until the load ends by itself, which it does only on a fault, or when nobody listens.
    ///
    /// # Errors
    /// The fault.
    pub async fn ended(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }
}

impl Found {
    /// # Errors
    /// A property holds what the load never wrote.
    pub fn of(view: &DeviceView) -> Result<Self> {
        let device = view.name[1..].parse()?;
        let (mut reported, mut desired, mut acknowledged) = (Vec::new(), (0, 0), 0);
        for property in &view.properties {
            let value = property.reported.as_ref().and_then(|reported| reported.value.as_deref());
            let number = value.unwrap_or("0").split(' ').next().unwrap_or_default();
            let number = number.parse().with_context(|| format!("{}: {number}", property.name))?;
            if !reported.contains(&number) {
                reported.push(number);
            }
            if let Some(wanted) = &property.desired {
                desired = (wanted.value.parse()?, wanted.version.0);
            }
            if let Some(ack) = property.ack.as_ref().filter(|ack| ack.code.is_final()) {
                acknowledged = ack.version.0;
            }
        }
        let life = (view.epoch, view.incarnation.clone());
        Ok(Self { device, life, rev: view.rev, reported, desired, acknowledged })
    }
}

struct Reporter {
    socket: PathBuf,
    device: usize,
    start: Instant,
    say: mpsc::Sender<Said>,
}

impl Reporter {
    async fn run(self, mut number: i64) -> Result<()> {
        let Self { socket, device, start, say } = self;
        let mut agent = register(&socket, &format!("load-{device}")).await?;
        let mut pace = pace();
        loop {
            pace.tick().await;
            number += 1;
            let mut request = crash::report(device, PROPERTIES, number);
            let text = "x".repeat(rand::rng().random_range(0..LONGEST));
            add(&mut request, twin("text", format!("{number} {text}")));
            let said = match agent.report_device_status(request).await {
                Ok(_) => {
                    let at = u64::try_from(start.elapsed().as_millis())?;
                    Said::Reported { device, number, at }
                }
                Err(status) => refused("report", &status),
            };
            if say.send(said).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Desires values of one device one after the other, and acknowledges each as its mapper would.
struct Writer {
    dmi: PathBuf,
    api: PathBuf,
    device: usize,
    say: mpsc::Sender<Said>,
}

impl Writer {
    async fn run(self, mut number: i64) -> Result<()> {
        let Self { dmi, api, device, say } = self;
        let mut agent = register(&dmi, &format!("writer-{device}")).await?;
        let path = format!("/v1/devices/bench/d{device}/desired");
        let mut pace = pace();
        loop {
            pace.tick().await;
            number += 1;
            let wish = json!({ "properties": { "p0": { "value": number } } });
            let (status, body) = match http::patch(&api, &path, &wish).await {
                Ok(answer) => answer,
                // The agent is gone, or going.
                Err(error) => {
                    let text = format!("{error:#}");
                    let said = Said::Refused { call: "desire".into(), code: "gone".into(), text };
                    if say.send(said).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
            };
            if status != 200 {
                let ErrorView { message, remedy, .. } = serde_json::from_slice(&body)?;
                let text = format!("{message}: {remedy}");
                let said = Said::Refused { call: "desire".into(), code: status.to_string(), text };
                if say.send(said).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let DesiredAnswer { rev, properties, .. } = serde_json::from_slice(&body)?;
            let version = properties.get("p0").context("it was taken")?.version.0;
            if say.send(Said::Desired { device, number, version, rev }).await.is_err() {
                return Ok(());
            }
            let said = match agent.report_device_status(acknowledgement(device, version)).await {
                Ok(_) => Said::Acknowledged { device, version },
                Err(status) => refused("acknowledge", &status),
            };
            if say.send(said).await.is_err() {
                return Ok(());
            }
        }
    }
}

type Agent = dmi::proto::DeviceManagerServiceClient<tonic::transport::Channel>;

/// A mapper of a protocol of its own: it holds no lease and owns no device.
async fn register(socket: &Path, name: &str) -> Result<Agent> {
    let mut agent = connect::manager(socket, PATIENCE);
    let mapper = MapperInfo {
        name: name.into(),
        protocol: "load".into(),
        address: b"/nowhere.sock".to_vec(),
        ..MapperInfo::default()
    };
    agent.mapper_register(MapperRegisterRequest { with_data: true, mapper: Some(mapper) }).await?;
    Ok(agent)
}

fn pace() -> tokio::time::Interval {
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

fn refused(call: &str, status: &tonic::Status) -> Said {
    let code = format!("{:?}", status.code());
    Said::Refused { call: call.into(), code, text: status.message().into() }
}

fn acknowledgement(device: usize, version: u64) -> ReportDeviceStatusRequest {
    let mut request = crash::report(device, 0, 0);
    let mut twin = twin("p0", String::new());
    let metadata = [
        (words::ACK_ONLY, "true".to_owned()),
        (words::ACK_CODE, "209".to_owned()),
        (words::ACK_VERSION, version.to_string()),
    ];
    if let Some(reported) = &mut twin.reported {
        reported.metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    }
    add(&mut request, twin);
    request
}

fn twin(property: &str, value: String) -> Twin {
    Twin {
        property_name: property.into(),
        observed_desired: Some(TwinProperty::default()),
        reported: Some(TwinProperty { value, ..TwinProperty::default() }),
    }
}

fn add(request: &mut ReportDeviceStatusRequest, twin: Twin) {
    request.reported_device.get_or_insert_default().twins.push(twin);
}
