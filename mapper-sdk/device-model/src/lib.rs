//! The vocabulary of a device plane, without I/O, clock or runtime: values, readings, device models,
//! device instances, and the [`Device`] that [`Device::resolve`] makes of a model and an instance.
//!
//! A text from outside (a manifest, a DMI message, an MQTT payload) is parsed into these types once, at
//! the border. Behind the border a [`Value`] stays a `Value`, and a [`Device`] is valid by construction.

mod ack;
mod config;
mod device;
mod id;
mod manifest;
mod options;
mod problem;
mod reading;
mod resolve;
mod time;
mod value;

pub use ack::{Ack, AckCode};
pub use config::{Config, Scalar};
pub use device::{Desire, Device, Generation, Property, StateReport};
pub use id::{DeviceId, IdError, PropertyName};
pub use manifest::{
    API_VERSION, Desired, DeviceInstance, DeviceMethod, DeviceModel, DeviceProperty, InstanceSpec,
    Manifest, ManifestError, Metadata, ModelProperty, ModelRef, ModelSpec, Protocol,
    StateReportSpec, Visitor, parse_manifests,
};
pub use options::{LocalOverride, OPTION_KEYS, PropertyOptions, ReportStrategy};
pub use problem::{Problem, Problems};
pub use reading::{DeviceState, Quality, QualityCode, Reading};
pub use time::Timestamp;
pub use value::{Access, DataType, ParseValueError, Value};
