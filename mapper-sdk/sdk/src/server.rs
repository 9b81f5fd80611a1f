//! What the agent may ask of a mapper: `DeviceMapperService`.

mod frames;

use std::sync::Arc;

use device_model::{Device, DeviceId, Problem};
use dmi::convert::{
    DesiredTwin, DesiredWords, Peer, device_id, device_to_proto, instance_from_proto,
    model_from_proto,
};
use dmi::proto::{
    self, CreateDeviceModelRequest, CreateDeviceModelResponse, DeviceMapperService,
    GetDeviceRequest, GetDeviceResponse, RegisterDeviceRequest, RegisterDeviceResponse,
    RemoveDeviceModelRequest, RemoveDeviceModelResponse, RemoveDeviceRequest, RemoveDeviceResponse,
    UpdateDeviceModelRequest, UpdateDeviceModelResponse, UpdateDeviceRequest, UpdateDeviceResponse,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tonic::{Request, Response, Status};

use crate::fleet::{Order, Refused};

pub(crate) use frames::FrameService;

/// Passes the agent's calls to the fleet, and answers when they are done.
#[derive(Debug)]
pub(crate) struct Service {
    orders: mpsc::Sender<Order>,
    /// Told when a model is missing.
    wanting: Arc<Notify>,
}

impl Service {
    pub(crate) const fn new(orders: mpsc::Sender<Order>, wanting: Arc<Notify>) -> Self {
        Self { orders, wanting }
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        let stopping = |_| Status::unavailable("the mapper stops");
        self.orders.send(order(answer)).await.map_err(|_| stopping(()))?;
        answered.await.map_err(|_| stopping(()))
    }

    /// Adds or changes a device. The same description again changes nothing.
    async fn put(&self, device: Option<proto::Device>) -> Result<DeviceId, Status> {
        let device = device.ok_or_else(|| missing("device"))?;
        if device.name.is_empty() {
            return Err(missing("device.name"));
        }
        if device.spec.is_none() {
            return Err(missing("device.spec"));
        }
        let id = device_id(&device.namespace, &device.name).map_err(invalid)?;
        let instance = instance_from_proto(device)
            .map_err(|problems| Status::invalid_argument(lines(&problems)))?;
        match self.ask(|answer| Order::Put(instance, answer)).await? {
            Ok(()) => Ok(id),
            Err(Refused::NoModel(model)) => {
                self.wanting.notify_one();
                Err(Status::failed_precondition(format!(
                    "device.spec.deviceModelReference: model {model} is not known here; \
                     the mapper registers again to get it"
                )))
            }
            Err(Refused::Invalid(problems)) => Err(Status::invalid_argument(problems.to_string())),
        }
    }

    async fn put_model(
        &self,
        model: Option<proto::DeviceModel>,
    ) -> Result<(String, String), Status> {
        let model = model.ok_or_else(|| missing("model"))?;
        if model.name.is_empty() {
            return Err(missing("model.name"));
        }
        let model = model_from_proto(model);
        let names = (model.metadata.namespace.clone(), model.metadata.name.clone());
        self.ask(|answer| Order::PutModel(model, answer)).await?;
        Ok(names)
    }
}

#[tonic::async_trait]
impl DeviceMapperService for Service {
    async fn register_device(
        &self,
        request: Request<RegisterDeviceRequest>,
    ) -> Result<Response<RegisterDeviceResponse>, Status> {
        let id = self.put(request.into_inner().device).await?;
        Ok(Response::new(RegisterDeviceResponse {
            device_name: id.name().into(),
            device_namespace: id.namespace().into(),
        }))
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<UpdateDeviceResponse>, Status> {
        self.put(request.into_inner().device).await?;
        Ok(Response::new(UpdateDeviceResponse {}))
    }

    async fn remove_device(
        &self,
        request: Request<RemoveDeviceRequest>,
    ) -> Result<Response<RemoveDeviceResponse>, Status> {
        let RemoveDeviceRequest { device_name, device_namespace } = request.into_inner();
        let id = named(&device_namespace, &device_name)?;
        match self.ask(|answer| Order::Remove(id.clone(), answer)).await? {
            true => Ok(Response::new(RemoveDeviceResponse {})),
            false => Err(unknown(&id)),
        }
    }

    async fn create_device_model(
        &self,
        request: Request<CreateDeviceModelRequest>,
    ) -> Result<Response<CreateDeviceModelResponse>, Status> {
        let (namespace, name) = self.put_model(request.into_inner().model).await?;
        Ok(Response::new(CreateDeviceModelResponse {
            device_model_name: name,
            device_model_namespace: namespace,
        }))
    }

    async fn remove_device_model(
        &self,
        request: Request<RemoveDeviceModelRequest>,
    ) -> Result<Response<RemoveDeviceModelResponse>, Status> {
        let RemoveDeviceModelRequest { model_name, model_namespace } = request.into_inner();
        if model_name.is_empty() {
            return Err(missing("modelName"));
        }
        let order = Order::RemoveModel(model_namespace, model_name);
        self.orders.send(order).await.map_err(|_| Status::unavailable("the mapper stops"))?;
        Ok(Response::new(RemoveDeviceModelResponse {}))
    }

    async fn update_device_model(
        &self,
        request: Request<UpdateDeviceModelRequest>,
    ) -> Result<Response<UpdateDeviceModelResponse>, Status> {
        self.put_model(request.into_inner().model).await?;
        Ok(Response::new(UpdateDeviceModelResponse {}))
    }

    async fn get_device(
        &self,
        request: Request<GetDeviceRequest>,
    ) -> Result<Response<GetDeviceResponse>, Status> {
        let GetDeviceRequest { device_name, device_namespace } = request.into_inner();
        let id = named(&device_namespace, &device_name)?;
        let device = self.ask(|answer| Order::Get(id.clone(), answer)).await?;
        let device = device.ok_or_else(|| unknown(&id))?;
        Ok(Response::new(GetDeviceResponse { device: Some(described(&device)?) }))
    }
}

fn described(device: &Device) -> Result<proto::Device, Status> {
    let desired = |property: &device_model::Property| {
        let desire = property.desired.as_ref()?;
        let words = DesiredWords::read(&desire.metadata);
        Some(DesiredTwin {
            value: desire.value.clone(),
            generation: words.generation?,
            set_at: words.set_at.unwrap_or_default(),
            ack: words.ack,
            trace: words.trace,
        })
    };
    device_to_proto(device, desired, Peer::Edgetwin)
        .map_err(|problem| Status::internal(problem.to_string()))
}

fn named(namespace: &str, name: &str) -> Result<DeviceId, Status> {
    if name.is_empty() {
        return Err(missing("deviceName"));
    }
    device_id(namespace, name).map_err(invalid)
}

fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("{field}: missing"))
}

fn unknown(id: &DeviceId) -> Status {
    Status::not_found(format!("device {id} is not served by this mapper"))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn invalid(problem: Problem) -> Status {
    Status::invalid_argument(problem.to_string())
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}
