//! A mapper that knows nothing beyond KubeEdge's contract, and the field behind it. It takes what is desired at once,
//! says so until somebody hears it, and reads a device when it is given to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use dmi::connect;
use dmi::convert::words;
use dmi::proto::{
    CreateDeviceModelRequest, CreateDeviceModelResponse, Device, DeviceManagerServiceClient,
    DeviceMapperService, DeviceStatus, GetDeviceRequest, GetDeviceResponse, MapperInfo,
    MapperRegisterRequest, RegisterDeviceRequest, RegisterDeviceResponse, RemoveDeviceModelRequest,
    RemoveDeviceModelResponse, RemoveDeviceRequest, RemoveDeviceResponse,
    ReportDeviceStatusRequest, Twin, TwinProperty, UpdateDeviceModelRequest,
    UpdateDeviceModelResponse, UpdateDeviceRequest, UpdateDeviceResponse,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::objects::{LEVELS, PROTOCOL, WRITABLE};
use crate::wait::{PATIENCE, eventually};

/// How long a call may take.
const CALL: Duration = Duration::from_secs(10);
/// How soon what nobody heard is said again.
const AGAIN: Duration = Duration::from_millis(50);

/// What is desired of a device: value and version.
type Wish = Option<(String, String)>;

/// Serves its socket until it is dropped.
pub(super) struct Mapper {
    socket: PathBuf,
    namespace: String,
    shared: Arc<Shared>,
    tell: mpsc::Sender<Tell>,
    _tasks: JoinSet<()>,
}

struct Shared {
    /// By device: the numbers in the field.
    field: Mutex<BTreeMap<String, [u64; LEVELS.len()]>>,
    /// By device that the agent gave: what is desired of it.
    held: Mutex<BTreeMap<String, Wish>>,
    /// One call at a time: the order of two reports of one device counts.
    agent: tokio::sync::Mutex<DeviceManagerServiceClient<Channel>>,
}

/// What is to be said of a device.
enum Tell {
    /// All of its numbers, and what is desired.
    All(String),
    /// What is desired.
    Wish(String),
}

impl Mapper {
    /// Registers with the agent at `dmi`.
    pub(super) async fn start(dmi: &Path, namespace: &str) -> Result<Self> {
        let socket = dmi.with_file_name("mapper.sock");
        let listener = dmi::serve::Listener::bind(&socket)?;
        let shared = Arc::new(Shared {
            field: Mutex::default(),
            held: Mutex::default(),
            agent: tokio::sync::Mutex::new(connect::manager(dmi, CALL)),
        });
        let (tell, told) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        let ears = Ears { shared: shared.clone(), tell: tell.clone() };
        tasks.spawn(async move {
            // It ends with the mapper.
            let _ = listener.serve_mapper(ears, CancellationToken::new()).await;
        });
        tasks.spawn(speak(shared.clone(), namespace.to_owned(), told));
        let namespace = namespace.to_owned();
        let mapper = Self { socket, namespace, shared, tell, _tasks: tasks };
        mapper.register().await?;
        Ok(mapper)
    }

    /// Registers, again where the agent may have lost that, and takes over what it is given.
    pub(super) async fn register(&self) -> Result<()> {
        let info = MapperInfo {
            name: "field".into(),
            version: "1".into(),
            api_version: "v1beta1".into(),
            protocol: PROTOCOL.into(),
            address: self.socket.to_str().context("a path in UTF-8")?.into(),
            state: "ok".into(),
        };
        let request = MapperRegisterRequest { with_data: true, mapper: Some(info) };
        lock(&self.shared.held).clear();
        let answer = eventually(PATIENCE, "the registration", async || {
            Ok(self.shared.agent.lock().await.mapper_register(request.clone()).await?)
        });
        for device in answer.await?.into_inner().device_list {
            let (name, wish) = named(&device);
            lock(&self.shared.held).insert(name.clone(), wish);
            self.tell.send(Tell::All(name)).await.ok().context("the mapper speaks no more")?;
        }
        Ok(())
    }

    /// The number of the property is `value` from now on, and the agent is told once; whether it took it.
    pub(super) async fn report(&self, device: &str, property: usize, value: u64) -> Result<bool> {
        let mut agent = self.shared.agent.lock().await;
        lock(&self.shared.field).entry(device.to_owned()).or_default()[property] = value;
        let twin = twin(LEVELS[property], &value.to_string(), BTreeMap::new());
        let request = request(&self.namespace, device, vec![twin]);
        Ok(agent.report_device_status(request).await.is_ok())
    }

    /// What the field has.
    pub(super) fn number(&self, device: &str, property: usize) -> Option<u64> {
        lock(&self.shared.field).get(device).map(|numbers| numbers[property]).filter(|it| *it > 0)
    }

    /// What it was told to make of the device, in words of the twin; none: it does not have that device.
    pub(super) fn held(&self, device: &str) -> Option<Option<u64>> {
        let held = lock(&self.shared.held);
        let wish = held.get(device)?;
        Some(wish.as_ref().and_then(|(value, _)| value.parse().ok()))
    }
}

/// Says what is to be said until it is heard, or is not to be said any more.
async fn speak(shared: Arc<Shared>, namespace: String, mut told: mpsc::Receiver<Tell>) {
    while let Some(tell) = told.recv().await {
        loop {
            let mut agent = shared.agent.lock().await;
            let Some(twins) = words_of(&shared, &tell).filter(|twins| !twins.is_empty()) else {
                break;
            };
            let (Tell::All(device) | Tell::Wish(device)) = &tell;
            match agent.report_device_status(request(&namespace, device, twins)).await {
                Ok(_) => break,
                Err(status) if status.code() == Code::NotFound => break,
                Err(_) => drop(agent),
            }
            sleep(AGAIN).await;
        }
    }
}

/// As things stand now.
fn words_of(shared: &Shared, tell: &Tell) -> Option<Vec<Twin>> {
    let (Tell::All(device) | Tell::Wish(device)) = tell;
    let wish = lock(&shared.held).get(device)?.clone();
    let mut twins = Vec::new();
    if let Some((value, version)) = wish {
        let metadata = [(words::ACK_CODE, "209".to_owned()), (words::ACK_VERSION, version)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        twins.push(twin(WRITABLE, &value, metadata));
    }
    if let Tell::All(_) = tell {
        let numbers = lock(&shared.field).get(device).copied().unwrap_or_default();
        let read = LEVELS.iter().zip(numbers).filter(|(_, number)| *number > 0);
        twins.extend(read.map(|(name, number)| twin(name, &number.to_string(), BTreeMap::new())));
    }
    Some(twins)
}

fn twin(property: &str, value: &str, metadata: BTreeMap<String, String>) -> Twin {
    let metadata = metadata.into_iter().collect();
    Twin {
        property_name: property.into(),
        observed_desired: Some(TwinProperty::default()),
        reported: Some(TwinProperty { value: value.into(), metadata, ..TwinProperty::default() }),
    }
}

fn request(namespace: &str, device: &str, twins: Vec<Twin>) -> ReportDeviceStatusRequest {
    ReportDeviceStatusRequest {
        device_name: device.into(),
        device_namespace: namespace.into(),
        reported_device: Some(DeviceStatus { twins, ..DeviceStatus::default() }),
        ..ReportDeviceStatusRequest::default()
    }
}

fn named(device: &Device) -> (String, Wish) {
    let mut properties = device.spec.iter().flat_map(|spec| &spec.properties);
    let writable = properties.find(|property| property.name == WRITABLE);
    let desired = writable.and_then(|property| property.desired.as_ref());
    let wish = desired.and_then(|desired| {
        Some((desired.value.clone(), desired.metadata.get(words::VERSION)?.clone()))
    });
    (device.name.clone(), wish)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Ears {
    shared: Arc<Shared>,
    tell: mpsc::Sender<Tell>,
}

impl Ears {
    async fn take(&self, device: Option<Device>, tell: fn(String) -> Tell) -> Result<(), Status> {
        let (name, wish) = named(&device.ok_or_else(|| Status::invalid_argument("no device"))?);
        lock(&self.shared.held).insert(name.clone(), wish);
        self.tell.send(tell(name)).await.map_err(|_| Status::unavailable("gone"))
    }
}

#[tonic::async_trait]
impl DeviceMapperService for Ears {
    async fn register_device(
        &self,
        request: Request<RegisterDeviceRequest>,
    ) -> Result<Response<RegisterDeviceResponse>, Status> {
        self.take(request.into_inner().device, Tell::All).await?;
        Ok(Response::new(RegisterDeviceResponse::default()))
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<UpdateDeviceResponse>, Status> {
        self.take(request.into_inner().device, Tell::Wish).await?;
        Ok(Response::new(UpdateDeviceResponse::default()))
    }

    async fn remove_device(
        &self,
        request: Request<RemoveDeviceRequest>,
    ) -> Result<Response<RemoveDeviceResponse>, Status> {
        lock(&self.shared.held).remove(&request.into_inner().device_name);
        Ok(Response::new(RemoveDeviceResponse::default()))
    }

    async fn create_device_model(
        &self,
        _: Request<CreateDeviceModelRequest>,
    ) -> Result<Response<CreateDeviceModelResponse>, Status> {
        Ok(Response::new(CreateDeviceModelResponse::default()))
    }

    async fn update_device_model(
        &self,
        _: Request<UpdateDeviceModelRequest>,
    ) -> Result<Response<UpdateDeviceModelResponse>, Status> {
        Ok(Response::new(UpdateDeviceModelResponse::default()))
    }

    async fn remove_device_model(
        &self,
        _: Request<RemoveDeviceModelRequest>,
    ) -> Result<Response<RemoveDeviceModelResponse>, Status> {
        Ok(Response::new(RemoveDeviceModelResponse::default()))
    }

    async fn get_device(
        &self,
        _: Request<GetDeviceRequest>,
    ) -> Result<Response<GetDeviceResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}
