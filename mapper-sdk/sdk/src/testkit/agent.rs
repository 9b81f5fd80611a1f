//! An agent that remembers what it was told, and refuses what it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use device_model::{
    Device, DeviceId, DeviceModel, DeviceState, Generation, Manifest, Timestamp, parse_manifests,
};
use dmi::convert::{
    DesiredTwin, DesiredWords, Peer, TwinReport, device_to_proto, model_to_proto, report_device,
    report_from_proto,
};
use dmi::headers;
use dmi::proto::{
    self, DeviceManagerService, DeviceMapperServiceClient, MapperRegisterRequest,
    MapperRegisterResponse, RegisterDeviceRequest, RemoveDeviceRequest, ReportDeviceStatesRequest,
    ReportDeviceStatesResponse, ReportDeviceStatusRequest, ReportDeviceStatusResponse,
    UpdateDeviceRequest,
};
use dmi::serve::Listener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

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

struct Service(Arc<Shared>);

impl Service {
    /// Refuses as scripted, and calls with a lease that is not the present one.
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let scripted = self.0.state().refusals.pop_front();
        match scripted {
            None => self.admit_lease(request),
            Some(status) => {
                self.note(Heard::Refused(status.code()));
                Err(status)
            }
        }
    }

    fn admit_lease<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let present = format!("lease-{}", self.0.state().lease);
        if lease(request).is_none_or(|given| given == present) {
            return Ok(());
        }
        let status = Status::failed_precondition("lease unknown");
        self.note(Heard::Refused(status.code()));
        Err(status)
    }

    /// One device's report.
    fn take(&self, report: ReportDeviceStatusRequest, lease: Option<&str>) -> Result<(), Status> {
        let id = report_device(&report).map_err(|p| Status::invalid_argument(p.to_string()))?;
        let device = self.0.state().devices.get(&id).cloned();
        let device = device.ok_or_else(|| Status::not_found(format!("no device {id}")))?;
        let now: Timestamp = SystemTime::now().into();
        let report = report_from_proto(report, &device, now);
        let lease = lease.map(str::to_owned);
        self.note(Heard::Report { device: id, twins: report.twins, lease });
        match report.refused.first() {
            None => Ok(()),
            Some(problem) => Err(Status::invalid_argument(problem.to_string())),
        }
    }

    fn note(&self, heard: Heard) {
        self.0.state().heard.push(heard);
        self.0.news.notify_waiters();
    }
}

fn lease<T>(request: &Request<T>) -> Option<String> {
    let token = request.metadata().get(headers::LEASE)?;
    token.to_str().ok().map(str::to_owned)
}

#[tonic::async_trait]
impl DeviceManagerService for Service {
    async fn mapper_register(
        &self,
        request: Request<MapperRegisterRequest>,
    ) -> Result<Response<MapperRegisterResponse>, Status> {
        let lease = lease(&request);
        let fresh = request.get_ref().with_data;
        if !fresh {
            self.admit_lease(&request)?;
        }
        let request = request.into_inner();
        let mut response = Response::new(MapperRegisterResponse::default());
        {
            let mut state = self.0.state();
            if fresh {
                state.lease += 1;
                let info = request.mapper.unwrap_or_default();
                state.mapper = Some(String::from_utf8_lossy(&info.address).into_owned().into());
                for device in state.devices.values() {
                    let (model, device) = state.described(device);
                    response.get_mut().model_list.push(model);
                    response.get_mut().device_list.push(device);
                }
                if state.peer == Peer::Edgetwin {
                    let token = format!("lease-{}", state.lease);
                    let ttl = state.ttl.as_millis().to_string();
                    let words = [
                        (headers::CAPABILITIES, headers::OUR_CAPABILITIES.to_owned()),
                        (headers::LEASE, token),
                        (headers::LEASE_TTL_MS, ttl),
                    ];
                    for (key, word) in words {
                        if let Ok(word) = MetadataValue::try_from(word) {
                            response.metadata_mut().insert(key, word);
                        }
                    }
                }
            }
        }
        self.note(Heard::Register { with_data: fresh, lease });
        Ok(response)
    }

    async fn report_device_status(
        &self,
        request: Request<ReportDeviceStatusRequest>,
    ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
        self.admit(&request)?;
        let lease = lease(&request);
        let mut request = request.into_inner();
        let more = std::mem::take(&mut request.more);
        let peer = {
            let mut state = self.0.state();
            state.reports += 1;
            state.peer
        };
        if peer == Peer::KubeEdge && !more.is_empty() {
            return Err(Status::internal("EdgeCore does not know the member `more`"));
        }
        let mut result = self.take(request, lease.as_deref());
        for request in more {
            result = result.and(self.take(request, lease.as_deref()));
        }
        result.map(|()| Response::new(ReportDeviceStatusResponse {}))
    }

    async fn report_device_states(
        &self,
        request: Request<ReportDeviceStatesRequest>,
    ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
        self.admit(&request)?;
        let request = request.into_inner();
        let device = dmi::convert::device_id(&request.device_namespace, &request.device_name)
            .map_err(|problem| Status::invalid_argument(problem.to_string()))?;
        let state = DeviceState::from_name(&request.state)
            .ok_or_else(|| Status::invalid_argument("state: unknown word"))?;
        let (reason, problem) = (request.reason, request.problem);
        if self.0.state().peer == Peer::KubeEdge && (!reason.is_empty() || problem.is_some()) {
            return Err(Status::internal("EdgeCore knows neither `reason` nor `problem`"));
        }
        self.note(Heard::State { device, state, reason, problem });
        Ok(Response::new(ReportDeviceStatesResponse {}))
    }
}
