//! A device as its mapper gets it.

use device_model::{
    Desired, DeviceInstance, DeviceMethod, DeviceProperty, InstanceSpec, ModelRef, Problem,
    Protocol, StateReportSpec, Visitor,
};

use super::model::metadata;
use super::{config_from_proto, push_method_from_proto, words};
use crate::proto;

/// The device as a manifest would hold it; [`device_model::Device::resolve`] checks it against its model.
///
/// An empty desired value without a version is what agents send where nothing is desired, so it is left out.
///
/// # Errors
/// Every value of a `configData` that is no scalar in a wrapper.
pub fn instance_from_proto(device: proto::Device) -> Result<DeviceInstance, Vec<Problem>> {
    let mut problems = Vec::new();
    let spec = device.spec.unwrap_or_default();
    let protocol = spec.protocol.unwrap_or_default();
    let mut config = |path: String, data: Option<&proto::CustomizedValue>| {
        config_from_proto(&path, data).unwrap_or_else(|problem| {
            problems.push(problem);
            Default::default()
        })
    };
    let config_data = config("spec.protocol.configData".into(), protocol.config_data.as_ref());
    let properties = spec.properties.into_iter().map(|property| {
        let path = format!("spec.properties[{}]", property.name);
        let visitors = property.visitors.map(|visitor| Visitor {
            config_data: config(
                format!("{path}.visitors.configData"),
                visitor.config_data.as_ref(),
            ),
            protocol_name: visitor.protocol_name,
        });
        DeviceProperty {
            desired: property.desired.and_then(desired),
            visitors,
            collect_cycle: property.collect_cycle,
            report_cycle: property.report_cycle,
            report_to_cloud: Some(property.report_to_cloud),
            push_method: property.push_method.map(|mut push| {
                let anomaly = push.anomaly_detection.take().map(|anomaly| {
                    let data = proto::CustomizedValue { data: anomaly.data };
                    config(format!("{path}.pushMethod.anomalyDetection"), Some(&data))
                });
                push_method_from_proto(push, anomaly)
            }),
            name: property.name,
        }
    });
    let properties = properties.collect();
    let method = |method: proto::DeviceMethod| DeviceMethod {
        name: method.name,
        description: method.description,
        property_names: method.property_names,
    };
    let reference = spec.device_model_reference;
    let state_report =
        device.status.filter(|status| status.report_to_cloud || status.report_cycle != 0);
    let instance = DeviceInstance {
        metadata: metadata(device.namespace, device.name),
        spec: InstanceSpec {
            device_model_ref: (!reference.is_empty()).then_some(ModelRef { name: reference }),
            node_name: String::new(),
            protocol: Protocol { protocol_name: protocol.protocol_name, config_data },
            properties,
            methods: spec.methods.into_iter().map(method).collect(),
            state_report: state_report.map(|status| StateReportSpec {
                report_to_cloud: status.report_to_cloud,
                report_cycle: status.report_cycle,
            }),
        },
    };
    if problems.is_empty() { Ok(instance) } else { Err(problems) }
}

fn desired(twin: proto::TwinProperty) -> Option<Desired> {
    let nothing = twin.value.is_empty() && !twin.metadata.contains_key(words::VERSION);
    (!nothing).then_some(Desired { value: twin.value, metadata: twin.metadata })
}
