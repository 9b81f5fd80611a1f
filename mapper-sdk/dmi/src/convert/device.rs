//! A device on its way to its mapper.

use std::time::Duration;

use device_model::{Device, DeviceMethod, Problem, Property};

use super::{DesiredTwin, Peer, config_to_proto, push_method_to_proto};
use crate::proto;

/// The message for `device`, with `desired` telling what is desired of each property now.
///
/// What the device itself holds as desired came from a manifest and may be out of date, so of that only the free
/// words are taken, and these only while the value is still that one. Where nothing is desired the message says
/// so with an empty value: Go mappers read it without asking whether it is there.
///
/// # Errors
/// A push method that is not of the contract's shape.
pub fn device_to_proto(
    device: &Device,
    desired: impl Fn(&Property) -> Option<DesiredTwin>,
    peer: Peer,
) -> Result<proto::Device, Problem> {
    let properties = device.properties.iter().map(|property| {
        let path = format!("spec.properties[{}].pushMethod", property.name);
        let push_method = property.push_method.as_ref();
        Ok(proto::DeviceProperty {
            name: property.name.to_string(),
            desired: Some(desired_to_proto(property, desired(property))),
            visitors: Some(proto::VisitorConfig {
                protocol_name: property.visitor_protocol.clone(),
                config_data: Some(config_to_proto(&property.visitor, peer)),
            }),
            report_cycle: millis(property.report_cycle),
            collect_cycle: millis(property.collect_cycle),
            report_to_cloud: property.report,
            push_method: push_method
                .map(|push| push_method_to_proto(&path, push, peer))
                .transpose()?,
        })
    });
    let method = |method: &DeviceMethod| proto::DeviceMethod {
        name: method.name.clone(),
        description: method.description.clone(),
        property_names: method.property_names.clone(),
    };
    let status = device.state_report.map(|report| proto::DeviceStatus {
        twins: Vec::new(),
        report_to_cloud: report.enabled,
        report_cycle: millis(report.cycle),
    });
    Ok(proto::Device {
        name: device.id.name().into(),
        namespace: device.id.namespace().into(),
        spec: Some(proto::DeviceSpec {
            device_model_reference: device.model.clone(),
            protocol: Some(proto::ProtocolConfig {
                protocol_name: device.protocol.clone(),
                config_data: Some(config_to_proto(&device.config, peer)),
            }),
            properties: properties.collect::<Result<_, Problem>>()?,
            methods: device.methods.iter().map(method).collect(),
        }),
        // Go mappers read the status without asking whether it is there.
        status: Some(status.unwrap_or_default()),
    })
}

fn desired_to_proto(property: &Property, desired: Option<DesiredTwin>) -> proto::TwinProperty {
    let Some(twin) = desired else { return proto::TwinProperty::default() };
    let manifest = property.desired.as_ref().filter(|desire| desire.value.same_as(&twin.value));
    match manifest {
        Some(desire) => twin.to_proto(&desire.metadata),
        None => twin.to_proto(&Default::default()),
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
