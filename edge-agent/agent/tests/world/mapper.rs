//! A mapper made of the bare contract.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmi::headers;
use dmi::proto::{
    CreateDeviceModelRequest, CreateDeviceModelResponse, DeviceManagerServiceClient,
    DeviceMapperService, DeviceStatus, GetDeviceRequest, GetDeviceResponse, MapperInfo,
    MapperRegisterRequest, MapperRegisterResponse, RegisterDeviceRequest, RegisterDeviceResponse,
    RemoveDeviceModelRequest, RemoveDeviceModelResponse, RemoveDeviceRequest, RemoveDeviceResponse,
    ReportDeviceStatesRequest, ReportDeviceStatusRequest, Twin, TwinProperty,
    UpdateDeviceModelRequest, UpdateDeviceModelResponse, UpdateDeviceRequest, UpdateDeviceResponse,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::within;

/// What the agent told the mapper.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    Model(String),
    Registered(String, Option<(String, String)>),
    Updated(String, Option<(String, String)>),
    Removed(String),
    /// An update of a device that it says not to know.
    Unknown(String),
}

/// Metadata of a reported value.
pub(crate) type Words<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct FakeMapper {
    pub(crate) client: DeviceManagerServiceClient<Channel>,
    pub(crate) heard: mpsc::Receiver<Heard>,
    pub(crate) token: Option<String>,
    pub(crate) socket: std::path::PathBuf,
    pub(crate) answer: MapperRegisterResponse,
    name: String,
    /// Whose devices it serves.
    pub(crate) protocol: String,
    address: String,
    ours: bool,
    /// Whether it says that it knows no device that is updated.
    pub(crate) forgetful: Arc<AtomicBool>,
    /// The device whose calls it hears and never answers.
    pub(crate) hanging: Arc<Mutex<Option<String>>>,
    /// Why it refuses each device that it is told of.
    pub(crate) refusal: Arc<Mutex<Option<String>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl FakeMapper {
    /// A mapper that knows leases, registered.
    pub(crate) async fn ours(dmi: &Path, name: &str) -> Self {
        Self::registered(dmi, name, &dmi.with_file_name(format!("{name}.sock")), true).await
    }

    /// One that knows nothing beyond the contract.
    pub(crate) async fn old(dmi: &Path, name: &str) -> Self {
        Self::old_at(dmi, name, &dmi.with_file_name(format!("{name}.sock"))).await
    }

    /// The same on a socket of another name.
    pub(crate) async fn old_at(dmi: &Path, name: &str, socket: &Path) -> Self {
        Self::registered(dmi, name, socket, false).await
    }

    async fn registered(dmi: &Path, name: &str, socket: &Path, ours: bool) -> Self {
        let mut mapper = Self::mute(dmi, name, socket, ours);
        mapper.register().await.unwrap();
        mapper
    }

    /// One that listens and has not registered.
    pub(crate) fn mute(dmi: &Path, name: &str, socket: &Path, ours: bool) -> Self {
        let listener = dmi::serve::Listener::bind(socket).unwrap();
        let (tell, heard) = mpsc::channel(1024);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let token = stop.clone();
        let forgetful = Arc::new(AtomicBool::new(false));
        let hanging = Arc::<Mutex<Option<String>>>::default();
        let refusal = Arc::<Mutex<Option<String>>>::default();
        let ears = Ears {
            tell,
            forgetful: forgetful.clone(),
            hanging: hanging.clone(),
            refusal: refusal.clone(),
        };
        tasks.spawn(async move { listener.serve_mapper(ears, token).await.unwrap() });
        let client = dmi::connect::manager(dmi, Duration::from_secs(10));
        Self {
            client,
            heard,
            token: None,
            answer: MapperRegisterResponse::default(),
            name: name.into(),
            protocol: "test".into(),
            address: socket.to_str().unwrap().into(),
            socket: socket.into(),
            ours,
            forgetful,
            hanging,
            refusal,
            stop,
            tasks,
        }
    }

    pub(crate) async fn register(&mut self) -> Result<(), Status> {
        let mapper = MapperInfo {
            name: self.name.clone(),
            version: "1".into(),
            api_version: "v1beta1".into(),
            protocol: self.protocol.clone(),
            address: self.address.clone().into_bytes(),
            state: "ok".into(),
        };
        self.token = None;
        let message = MapperRegisterRequest { with_data: true, mapper: Some(mapper) };
        let request = self.request(message);
        let answer = self.client.mapper_register(request).await?;
        let token = answer.metadata().get(headers::LEASE);
        self.token = token.map(|token| token.to_str().unwrap().into());
        assert_eq!(self.token.is_some(), self.ours);
        self.answer = answer.into_inner();
        Ok(())
    }

    pub(crate) fn devices(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.answer.device_list.iter().map(|device| device.name.clone()).collect();
        names.sort();
        names
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.ours {
            let words = MetadataValue::from_static(headers::OUR_CAPABILITIES);
            request.metadata_mut().insert(headers::CAPABILITIES, words);
        }
        if let Some(token) = &self.token {
            request.metadata_mut().insert(headers::LEASE, token.parse().unwrap());
        }
        request
    }

    /// Reports values of one device: property, text, words.
    pub(crate) async fn report(
        &mut self,
        device: &str,
        values: &[(&str, &str, Words<'_>)],
    ) -> Result<(), Status> {
        let twins = values
            .iter()
            .map(|(property, value, words)| Twin {
                property_name: (*property).into(),
                observed_desired: Some(TwinProperty::default()),
                reported: Some(TwinProperty {
                    value: (*value).into(),
                    metadata: words
                        .iter()
                        .map(|(key, word)| ((*key).to_owned(), (*word).to_owned()))
                        .collect(),
                    ..TwinProperty::default()
                }),
            })
            .collect();
        self.report_twins(device, twins).await
    }

    pub(crate) async fn report_twins(
        &mut self,
        device: &str,
        twins: Vec<Twin>,
    ) -> Result<(), Status> {
        let request = self.request(ReportDeviceStatusRequest {
            device_name: device.into(),
            device_namespace: "demo".into(),
            reported_device: Some(DeviceStatus { twins, ..DeviceStatus::default() }),
            ..ReportDeviceStatusRequest::default()
        });
        self.client.report_device_status(request).await.map(drop)
    }

    pub(crate) async fn state(&mut self, device: &str, state: &str) -> Result<(), Status> {
        self.state_because(device, state, "").await
    }

    /// Reports a state with a reason, which only our mappers know.
    pub(crate) async fn state_because(
        &mut self,
        device: &str,
        state: &str,
        reason: &str,
    ) -> Result<(), Status> {
        let request = self.request(ReportDeviceStatesRequest {
            device_name: device.into(),
            device_namespace: "demo".into(),
            state: state.into(),
            reason: reason.into(),
            problem: None,
        });
        self.client.report_device_states(request).await.map(drop)
    }

    /// The agent's next calls, sorted.
    pub(crate) async fn hear_some(&mut self, count: usize) -> Vec<Heard> {
        let mut heard = Vec::new();
        for _ in 0..count {
            heard.push(self.hear().await);
        }
        heard.sort();
        heard
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        within("the agent's call", self.heard.recv()).await.unwrap()
    }

    /// Ends as a killed process does: its sockets are gone, nobody is told.
    pub(crate) async fn kill(mut self) {
        self.tasks.shutdown().await;
        self.stop.cancel();
    }
}

struct Ears {
    tell: mpsc::Sender<Heard>,
    forgetful: Arc<AtomicBool>,
    hanging: Arc<Mutex<Option<String>>>,
    refusal: Arc<Mutex<Option<String>>>,
}

impl Ears {
    fn hangs(&self, device: &str) -> bool {
        self.hanging.lock().unwrap().as_deref() == Some(device)
    }

    async fn note<T: Default>(&self, heard: Heard) -> Result<Response<T>, Status> {
        let device = matches!(heard, Heard::Registered(..) | Heard::Updated(..));
        self.tell.send(heard).await.map_err(|_| Status::unavailable("gone"))?;
        let refusal = self.refusal.lock().unwrap().clone();
        if let Some(reason) = refusal.filter(|_| device) {
            return Err(Status::invalid_argument(reason));
        }
        Ok(Response::new(T::default()))
    }
}

/// Name of a device, and value and version of what is desired of its first property.
fn named(device: Option<dmi::proto::Device>) -> (String, Option<(String, String)>) {
    let device = device.unwrap();
    let desired = device.spec.unwrap().properties[0].desired.clone().unwrap();
    let version = desired.metadata.get("version").cloned();
    (device.name, version.map(|version| (desired.value, version)))
}

#[tonic::async_trait]
impl DeviceMapperService for Ears {
    async fn register_device(
        &self,
        request: Request<RegisterDeviceRequest>,
    ) -> Result<Response<RegisterDeviceResponse>, Status> {
        let (name, desired) = named(request.into_inner().device);
        let hangs = self.hangs(&name);
        let answer = self.note(Heard::Registered(name, desired)).await;
        if hangs { std::future::pending().await } else { answer }
    }

    async fn remove_device(
        &self,
        request: Request<RemoveDeviceRequest>,
    ) -> Result<Response<RemoveDeviceResponse>, Status> {
        self.note(Heard::Removed(request.into_inner().device_name)).await
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<UpdateDeviceResponse>, Status> {
        let (name, desired) = named(request.into_inner().device);
        if self.hangs(&name) {
            self.note::<UpdateDeviceResponse>(Heard::Updated(name, desired)).await?;
            return std::future::pending().await;
        }
        if self.forgetful.load(Ordering::Relaxed) {
            self.note::<UpdateDeviceResponse>(Heard::Unknown(name)).await?;
            return Err(Status::not_found("no such device"));
        }
        self.note(Heard::Updated(name, desired)).await
    }

    async fn create_device_model(
        &self,
        request: Request<CreateDeviceModelRequest>,
    ) -> Result<Response<CreateDeviceModelResponse>, Status> {
        self.note(Heard::Model(request.into_inner().model.unwrap().name)).await
    }

    async fn remove_device_model(
        &self,
        _: Request<RemoveDeviceModelRequest>,
    ) -> Result<Response<RemoveDeviceModelResponse>, Status> {
        Ok(Response::new(RemoveDeviceModelResponse {}))
    }

    async fn update_device_model(
        &self,
        request: Request<UpdateDeviceModelRequest>,
    ) -> Result<Response<UpdateDeviceModelResponse>, Status> {
        self.note(Heard::Model(request.into_inner().model.unwrap().name)).await
    }

    async fn get_device(
        &self,
        _: Request<GetDeviceRequest>,
    ) -> Result<Response<GetDeviceResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}
