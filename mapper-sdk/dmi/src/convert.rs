//! Protobuf messages to and from the vocabulary of `device-model`. Nothing else reads or writes them.
//!
//! | downwards (agent → mapper) | upwards (mapper → agent) |
//! |---|---|
//! | [`device_to_proto`], [`model_to_proto`] | [`EncodedReport`] |
//! | [`Registered`], [`instance_from_proto`], [`model_from_proto`], [`DesiredWords`] | [`report_device`], [`report_from_proto`] |
//!
//! What DMI has no field for travels as words in the metadata maps of a twin (see [`words`]); older peers pass
//! over them.
//!
//! A mapper gets a device with its model's defaults merged in, and resolves it once more
//! ([`device_model::Device::resolve`]), so that it too holds a device that is valid by construction.

mod config;
mod desired;
mod device;
mod encode;
mod instance;
mod model;
mod push;
mod registered;
mod report;
mod scalar;
#[cfg(test)]
mod tests;
pub mod words;

pub use config::{config_from_proto, config_to_proto};
pub use desired::{DesiredTwin, DesiredWords};
pub use device::device_to_proto;
pub use encode::{EncodedReport, TwinRef};
pub use instance::instance_from_proto;
pub use model::{model_from_proto, model_to_proto};
pub use push::{push_method_from_proto, push_method_to_proto};
pub use registered::{Registered, Unreadable};
pub use report::{Report, TwinReport, report_device, report_from_proto};
pub use scalar::{scalar_from_any, scalar_to_any};

use device_model::{DeviceId, Problem};

use crate::headers;

/// Who reads a message: decides how numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// One of ours: numbers keep all their bits, and a report may use the members that are ours alone.
    Edgetwin,
    /// A mapper made with KubeEdge's framework, or anything unknown. That framework passes over `DoubleValue`
    /// without a word, so a fraction becomes a `FloatValue`, as a real EdgeCore would send it.
    KubeEdge,
}

impl Peer {
    /// From the value of the request header [`headers::CAPABILITIES`], if it came. Whoever lacks a word of those that
    /// say how a report is written would lose what it does not know, so it gets what KubeEdge would get.
    pub fn from_capabilities(capabilities: Option<&str>) -> Self {
        let needed = [headers::ACK, headers::QUALITY, headers::REPORTS];
        match capabilities {
            Some(words) if needed.iter().all(|word| headers::lists(words, word)) => Self::Edgetwin,
            _ => Self::KubeEdge,
        }
    }
}

/// The identity of a device in a request that names it by `deviceNamespace` and `deviceName`. A peer of before
/// KubeEdge 1.16 gives no namespace; that is `default`.
///
/// # Errors
/// A name that no device can have.
pub fn device_id(namespace: &str, name: &str) -> Result<DeviceId, Problem> {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    DeviceId::new(namespace, name).map_err(|error| {
        let field =
            if DeviceId::new(namespace, "a").is_err() { "deviceNamespace" } else { "deviceName" };
        Problem::new(field, "", error.to_string(), "send the names that the agent gave")
    })
}
