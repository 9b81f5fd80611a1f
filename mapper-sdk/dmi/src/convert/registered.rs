//! The answer to a registration, read one device at a time: as messages, all of them together are ten times the octets.

use bytes::Bytes;
use device_model::{DeviceId, DeviceInstance, DeviceModel, Problem};
use prost::Message;

use super::{device_id, instance_from_proto, model_from_proto};
use crate::proto;

/// A `MapperRegisterResponse` whose models and devices are still octets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Registered {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    models: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    devices: Vec<Bytes>,
}

/// A device that the agent gave and that makes no sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// Which one, if that can be read.
    pub id: Option<DeviceId>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Registered {
    /// How many devices there are.
    pub const fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are no devices.
    pub const fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Takes the models and the devices, each read when it is asked for.
    pub fn into_parts(
        self,
    ) -> (
        impl Iterator<Item = Result<DeviceModel, Problem>> + Send + use<>,
        impl Iterator<Item = Result<DeviceInstance, Unreadable>> + Send + use<>,
    ) {
        (self.models.into_iter().map(read_model), self.devices.into_iter().map(read))
    }
}

impl From<proto::MapperRegisterResponse> for Registered {
    fn from(message: proto::MapperRegisterResponse) -> Self {
        let models = message.model_list.iter().map(|model| model.encode_to_vec().into());
        let devices = message.device_list.iter().map(|device| device.encode_to_vec().into());
        Self { models: models.collect(), devices: devices.collect() }
    }
}

fn read_model(octets: Bytes) -> Result<DeviceModel, Problem> {
    let model = proto::DeviceModel::decode(octets);
    model.map(model_from_proto).map_err(|error| not_a("modelList", "model", &error))
}

fn not_a(field: &str, what: &str, error: &prost::DecodeError) -> Problem {
    let message = format!("not a {what}: {error}");
    Problem::new(field, "", message, "use an agent that speaks DMI v1beta1")
}

fn read(octets: Bytes) -> Result<DeviceInstance, Unreadable> {
    let device = proto::Device::decode(octets).map_err(|error| Unreadable {
        id: None,
        problems: vec![not_a("deviceList", "device", &error)],
    })?;
    let id = device_id(&device.namespace, &device.name).ok();
    instance_from_proto(device).map_err(|problems| Unreadable { id, problems })
}
