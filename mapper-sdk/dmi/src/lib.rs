//! DMI v1beta1: the gRPC contract between mappers and the agent.

pub mod authority;
pub mod connect;
pub mod convert;
pub mod headers;
pub mod serve;

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

    /// The contract as a serialized `google.protobuf.FileDescriptorSet`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dmi.bin"));
}

/// Largest message that is accepted, in bytes. gRPC's usual 4 MiB are too little for the registration of
/// some thousand devices.
pub const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;
