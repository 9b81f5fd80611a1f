//! An agent that remembers what it was told, and refuses what it is told to.

mod service;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use device_model::{
    Device, DeviceId, DeviceModel, DeviceState, Generation, Manifest, parse_manifests,
};
use dmi::convert::{DesiredTwin, DesiredWords, Peer, TwinReport, device_to_proto, model_to_proto};
use dmi::proto::{
    self, DeviceMapperServiceClient, RegisterDeviceRequest, RemoveDeviceRequest,
    UpdateDeviceRequest,
};
use dmi::serve::Listener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use service::Service;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A call that the agent heard.
#[derive(Clone, Debug)]
pub enum Heard {
    /// `MapperRegister`.
    Register {
        /// Whether devices were asked for.
        with_data: bool,
        /// The token that came with it.
        lease: Option<String>,
    },
    /// `ReportDeviceStatus`, taken.
    Report {
        /// Which device.
        device: DeviceId,
        /// What was told of it.
        twins: Vec<TwinReport>,
        /// The token that came with it.
        lease: Option<String>,
    },
    /// `ReportDeviceStates`, taken.
    State {
        /// Which device.
        device: DeviceId,
        /// Its state.
        state: DeviceState,
        /// Why; empty if nothing was said.
        reason: String,
        /// What is wrong with its description; empty if nothing is, none if nothing was said.
        problem: Option<String>,
    },
    /// Any call, refused as scripted.
    Refused(tonic::Code),
}

#[derive(Debug)]
struct State {
    peer: Peer,
    models: BTreeMap<(String, String), DeviceModel>,
    devices: BTreeMap<DeviceId, Device>,
    heard: Vec<Heard>,
    refusals: VecDeque<Status>,
    /// Calls of `ReportDeviceStatus` that were admitted.
    reports: u32,
    mapper: Option<PathBuf>,
    lease: u32,
    ttl: Duration,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An agent for tests, on a socket of its own. Its calls panic when what they wait for does not come.
#[derive(Debug)]
pub struct FakeAgent {
    socket: PathBuf,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl FakeAgent {
    /// Starts on the socket `path`, as an agent of ours or as a real EdgeCore would answer.
    ///
    /// # Panics
    /// The socket cannot be bound.
    pub fn start(path: impl AsRef<Path>, peer: Peer) -> Self {
        let state = State {
            peer,
            models: BTreeMap::new(),
            devices: BTreeMap::new(),
            heard: Vec::new(),
            refusals: VecDeque::new(),
            reports: 0,
            mapper: None,
            lease: 0,
            ttl: Duration::from_secs(30),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), news: Notify::new() });
        let mut agent = Self {
            socket: path.as_ref().into(),
            shared,
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        agent.serve();
        agent
    }

    fn serve(&mut self) {
        let listener = Listener::bind(&self.socket).unwrap_or_else(|error| panic!("{error}"));
        self.stop = CancellationToken::new();
        let (service, stop) = (Service(self.shared.clone()), self.stop.clone());
        self.tasks.spawn(async move {
            // A server that fails shows in what the test then waits for.
            let _ = listener.serve_manager(service, stop).await;
        });
    }

    /// Ends this process' life, as far as mappers can tell: connections break, the socket goes.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
        self.shared.state().lease += 1;
    }

    /// Stops, and starts anew on a new socket, knowing what it knew.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.serve();
    }

    /// The agent's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Leases end after `ttl` from the next registration on.
    pub fn set_ttl(&self, ttl: Duration) {
        self.shared.state().ttl = ttl;
    }

    /// Forgets the present lease: the mapper has to register again.
    pub fn forget_lease(&self) {
        self.shared.state().lease += 1;
    }

    /// Holds models and devices of a YAML text from now on, and answers registrations with them. Tells no mapper.
    ///
    /// # Panics
    /// The text does not resolve.
    pub fn hold(&self, manifests: &str) -> Vec<DeviceId> {
        let mut state = self.shared.state();
        let mut devices = Vec::new();
        let mut instances = Vec::new();
        for manifest in parse_manifests(manifests).unwrap_or_else(|error| panic!("{error}")) {
            match manifest {
                Manifest::Model(model) => {
                    let key = (model.metadata.namespace.clone(), model.metadata.name.clone());
                    state.models.insert(key, model);
                }
                Manifest::Device(instance) => instances.push(instance),
            }
        }
        for instance in instances {
            let name = instance.spec.device_model_ref.as_ref().map_or("", |model| &model.name);
            let key = (instance.metadata.namespace.clone(), name.to_owned());
            let model = state.models.get(&key).unwrap_or_else(|| panic!("no model {key:?}"));
            let device =
                Device::resolve(model, &instance).unwrap_or_else(|problems| panic!("{problems}"));
            devices.push(device.id.clone());
            state.devices.insert(device.id.clone(), device);
        }
        devices
    }

    /// Lets go of a device, without telling the mapper.
    pub fn drop_device(&self, id: &DeviceId) {
        self.shared.state().devices.remove(id);
    }

    /// The next reports are refused so, one status each.
    pub fn refuse(&self, statuses: impl IntoIterator<Item = Status>) {
        self.shared.state().refusals.extend(statuses);
    }

    /// Everything heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.state().heard.clone()
    }

    /// How many calls of `ReportDeviceStatus` it has admitted; one may tell of several devices.
    pub fn report_calls(&self) -> u32 {
        self.shared.state().reports
    }

    /// Forgets what was heard.
    pub fn clear(&self) {
        self.shared.state().heard.clear();
    }

    /// Waits until `found` finds something in what was heard.
    ///
    /// # Panics
    /// It does not within 20 s.
    pub async fn until<T>(&self, mut found: impl FnMut(&[Heard]) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let news = self.shared.news.notified();
                let result = found(&self.shared.state().heard);
                if let Some(result) = result {
                    return result;
                }
                news.await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(result) => result,
            Err(_) => panic!("not heard within {PATIENCE:?}; heard {:#?}", self.heard()),
        }
    }

    /// Waits for a report on a property of which `is` says so, and gives it.
    ///
    /// # Panics
    /// None comes within 20 s.
    pub async fn until_twin(
        &self,
        device: &str,
        property: &str,
        mut is: impl FnMut(&TwinReport) -> bool,
    ) -> TwinReport {
        self.until(|heard| {
            heard.iter().find_map(|heard| match heard {
                Heard::Report { device: other, twins, .. } if other.to_string() == device => twins
                    .iter()
                    .find(|twin| twin.property.as_str() == property && is(twin))
                    .cloned(),
                _ => None,
            })
        })
        .await
    }

    /// Every acknowledgement heard for a property, as numbers.
    pub fn codes(&self, device: &str, property: &str) -> Vec<u16> {
        let mut codes = Vec::new();
        for heard in self.heard() {
            if let Heard::Report { device: other, twins, .. } = heard
                && other.to_string() == device
            {
                let of = twins.iter().filter(|twin| twin.property.as_str() == property);
                codes.extend(of.filter_map(|twin| twin.ack.as_ref()).map(|ack| ack.code.number()));
            }
        }
        codes
    }

    /// A client of the mapper that registered last.
    ///
    /// # Panics
    /// None registered.
    pub fn mapper(&self) -> DeviceMapperServiceClient<Channel> {
        let socket = self.shared.state().mapper.clone();
        dmi::connect::mapper(socket.unwrap_or_else(|| panic!("no mapper registered")), PATIENCE)
    }

    /// Holds the device of a YAML text and sends it to the mapper by `RegisterDevice`.
    ///
    /// # Errors
    /// The mapper's answer.
    pub async fn register_device(&self, manifests: &str) -> Result<(), Status> {
        for (model, device) in self.told(manifests) {
            let model = Some(model);
            self.mapper().create_device_model(proto::CreateDeviceModelRequest { model }).await?;
            let device = Some(device);
            self.mapper().register_device(RegisterDeviceRequest { device }).await?;
        }
        Ok(())
    }

    /// As [`FakeAgent::register_device`], without the model: EdgeCore sends a model only if it names a protocol.
    ///
    /// # Errors
    /// The mapper's answer.
    pub async fn register_bare(&self, manifests: &str) -> Result<(), Status> {
        for (_, device) in self.told(manifests) {
            let device = Some(device);
            self.mapper().register_device(RegisterDeviceRequest { device }).await?;
        }
        Ok(())
    }

    /// Holds the device of a YAML text and sends it to the mapper by `UpdateDevice`.
    ///
    /// # Errors
    /// The mapper's answer.
    pub async fn update_device(&self, manifests: &str) -> Result<(), Status> {
        for (model, device) in self.told(manifests) {
            let model = Some(model);
            self.mapper().update_device_model(proto::UpdateDeviceModelRequest { model }).await?;
            let device = Some(device);
            self.mapper().update_device(UpdateDeviceRequest { device }).await?;
        }
        Ok(())
    }

    /// Lets go of a device and tells the mapper.
    ///
    /// # Errors
    /// The mapper's answer.
    pub async fn remove_device(&self, id: &DeviceId) -> Result<(), Status> {
        self.drop_device(id);
        let request = RemoveDeviceRequest {
            device_name: id.name().into(),
            device_namespace: id.namespace().into(),
        };
        self.mapper().remove_device(request).await.map(|_| ())
    }

    fn told(&self, manifests: &str) -> Vec<(proto::DeviceModel, proto::Device)> {
        let ids = self.hold(manifests);
        let state = self.shared.state();
        ids.iter().map(|id| state.described(&state.devices[id])).collect()
    }
}

impl State {
    fn described(&self, device: &Device) -> (proto::DeviceModel, proto::Device) {
        let desired = |property: &device_model::Property| {
            let desire = property.desired.as_ref()?;
            let words = DesiredWords::read(&desire.metadata);
            Some(DesiredTwin {
                value: desire.value.clone(),
                generation: words.generation.unwrap_or(Generation(1)),
                set_at: words.set_at.unwrap_or_default(),
                ack: words.ack,
                trace: words.trace,
            })
        };
        let mut described = device_to_proto(device, desired, self.peer)
            .unwrap_or_else(|problem| panic!("{problem}"));
        if self.peer == Peer::KubeEdge {
            for property in described.spec.iter_mut().flat_map(|spec| &mut spec.properties) {
                if let Some(desired) = &mut property.desired {
                    desired.metadata.retain(|key, _| key == "timestamp" || key == "type");
                }
            }
        }
        let key = (device.id.namespace().to_owned(), device.model.clone());
        (model_to_proto(&self.models[&key]), described)
    }
}
