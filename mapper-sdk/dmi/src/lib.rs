//! DMI v1beta1: the gRPC contract between mappers and the agent, over Unix sockets.
//!
//! Both ends may be somebody else's: KubeEdge's mappers call our agent, KubeEdge's EdgeCore calls our mappers. So
//! [`proto`] has their messages; what is ours beyond them rides in metadata maps ([`convert::words`]), request headers
//! ([`headers`]) and a few members with numbers from 1000, which go only to peers that say that they know them, or
//! may be lost without harm.
//!
//! - [`convert`] turns messages into the vocabulary of `device-model` and back. Protobuf types go no further.
//! - [`serve`] binds a socket and answers on it; [`connect`] calls.
//! - [`frames`] shows what goes over a device's wire: a service of our own beside the contract.
//! - [`authority`] lets peers in that a server made with tonic would turn away.
//!
//! Server reflection, which EdgeCore and KubeEdge's mappers offer, is left out: no peer asks for it.
//!
//! # Example
//! A mapper registers and reports; the agent takes the report apart.
//!
//! ```
//! use std::time::Duration;
//!
//! use device_model::{Device, Manifest, PropertyName, Reading, Timestamp, Value, parse_manifests};
//! use dmi::convert::{
//!     EncodedReport, Peer, TwinRef, device_to_proto, instance_from_proto, model_from_proto,
//!     model_to_proto, report_from_proto,
//! };
//! use dmi::proto::{
//!     DeviceManagerService, DeviceManagerServiceClient, MapperRegisterRequest, MapperRegisterResponse,
//!     ReportDeviceStatesRequest, ReportDeviceStatesResponse, ReportDeviceStatusRequest,
//!     ReportDeviceStatusResponse,
//! };
//! use dmi::serve::Listener;
//! use tokio_util::sync::CancellationToken;
//! use tonic::{Request, Response, Status};
//!
//! struct Agent {
//!     models: Vec<dmi::proto::DeviceModel>,
//!     device: Device,
//! }
//!
//! #[tonic::async_trait]
//! impl DeviceManagerService for Agent {
//!     async fn mapper_register(
//!         &self,
//!         _: Request<MapperRegisterRequest>,
//!     ) -> Result<Response<MapperRegisterResponse>, Status> {
//!         let device = device_to_proto(&self.device, |_| None, Peer::KubeEdge)
//!             .map_err(|problem| Status::internal(problem.to_string()))?;
//!         let model_list = self.models.clone();
//!         Ok(Response::new(MapperRegisterResponse { model_list, device_list: vec![device] }))
//!     }
//!
//!     async fn report_device_status(
//!         &self,
//!         request: Request<ReportDeviceStatusRequest>,
//!     ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
//!         let now = Timestamp::from(std::time::SystemTime::now());
//!         let report = report_from_proto(request.into_inner(), &self.device, now);
//!         println!("{:?}", report.twins);
//!         match report.refused.first() {
//!             None => Ok(Response::new(ReportDeviceStatusResponse {})),
//!             Some(problem) => Err(Status::invalid_argument(problem.to_string())),
//!         }
//!     }
//!
//!     async fn report_device_states(
//!         &self,
//!         _: Request<ReportDeviceStatesRequest>,
//!     ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
//!         Ok(Response::new(ReportDeviceStatesResponse {}))
//!     }
//! }
//!
//! # const MANIFESTS: &str = "
//! # apiVersion: devices.kubeedge.io/v1beta1
//! # kind: DeviceModel
//! # metadata: {name: pump}
//! # spec:
//! #   properties: [{name: speed, type: INT, accessMode: ReadWrite}]
//! # ---
//! # apiVersion: devices.kubeedge.io/v1beta1
//! # kind: Device
//! # metadata: {name: pump-1}
//! # spec:
//! #   deviceModelRef: {name: pump}
//! #   protocol: {protocolName: modbus, configData: {port: 502}}
//! #   properties: [{name: speed}]
//! # ";
//! # fn agent() -> Agent {
//! #     match parse_manifests(MANIFESTS).unwrap().as_slice() {
//! #         [Manifest::Model(model), Manifest::Device(instance)] => Agent {
//! #             models: vec![model_to_proto(model)],
//! #             device: Device::resolve(model, instance).unwrap(),
//! #         },
//! #         _ => unreachable!(),
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let socket = dir.path().join("dmi.sock");
//! let stop = CancellationToken::new();
//! let listener = Listener::bind(&socket)?;
//! let serving = listener.serve_manager(agent(), stop.clone());
//!
//! let mapper = async {
//!     let channel = dmi::connect::channel(&socket, Duration::from_secs(5));
//!     let mut agent = DeviceManagerServiceClient::new(channel.clone());
//!     let request = MapperRegisterRequest { with_data: true, mapper: None };
//!     let answer = agent.mapper_register(request).await?.into_inner();
//!     for (device, model) in answer.device_list.into_iter().zip(answer.model_list) {
//!         let instance = instance_from_proto(device).map_err(|problems| format!("{problems:?}"))?;
//!         let device = Device::resolve(&model_from_proto(model), &instance)?;
//!         let reading = Reading::good(Value::Int(1450), Timestamp::from_millis(1_700_000_000_000));
//!         let property = PropertyName::new("speed")?;
//!         let (property, reading) = (&property, Some(&reading));
//!         let mut report = EncodedReport::new(Peer::Edgetwin);
//!         report.push(&device.id, [TwinRef { property, reading, ack: None, observed: None }]);
//!         dmi::connect::report(channel.clone(), Request::new(report)).await?;
//!     }
//!     stop.cancel();
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let (served, reported) = tokio::join!(serving, mapper);
//! served?;
//! reported?;
//! # Ok(())
//! # }
//! ```

pub mod authority;
pub mod connect;
pub mod convert;
pub mod frames;
pub mod headers;
pub mod refusal;
pub mod serve;
pub mod trace;

/// Messages, clients and server traits as generated from `proto/dmi.proto`.
///
/// They are for the border alone: [`convert`] turns them into the vocabulary of `device-model`.
pub mod proto {
    #![allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
    tonic::include_proto!("v1beta1");

    pub use device_manager_service_client::DeviceManagerServiceClient;
    pub use device_manager_service_server::{DeviceManagerService, DeviceManagerServiceServer};
    pub use device_mapper_service_client::DeviceMapperServiceClient;
    pub use device_mapper_service_server::{DeviceMapperService, DeviceMapperServiceServer};

    /// What our mappers show beside it, from `proto/frames.proto`.
    pub mod frames {
        tonic::include_proto!("edgetwin.mapper.v1");
    }

    /// The contract as a serialized `google.protobuf.FileDescriptorSet`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dmi.bin"));
}

/// Largest message that is accepted, in bytes. gRPC's usual 4 MiB are too little for the registration of
/// some thousand devices.
pub const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;
