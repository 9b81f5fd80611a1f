//! KubeEdge DeviceModel and Device manifests, as far as a simulator needs them.
//!
//! Read on their own, not with the mapper's reader: if the two understood a key differently, a shared reader would
//! hide it.

mod objects;
mod point;

pub(crate) use point::{Hints, PointSpec, Start, read_register};

use std::collections::{BTreeMap, BTreeSet};

use crate::layout::{Initial, Layout};
use crate::problem::{Problem, SpecError};
use crate::settings::Settings;

use objects::{DeviceObject, ModelObject, Objects};

/// Where a mapper looks for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Modbus TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// 502 unless the manifest says otherwise.
        port: u16,
    },
    /// RTU frames on a TCP connection.
    RtuOverTcp {
        /// Name or address.
        host: String,
        /// 502 unless the manifest says otherwise.
        port: u16,
    },
    /// RTU on a serial line.
    Serial {
        /// The device.
        path: String,
        /// 9600 unless the manifest says otherwise.
        baud: u32,
    },
}

/// One device of the manifests.
#[derive(Clone, Debug)]
pub(crate) struct DeviceSpec {
    /// `namespace/name`.
    pub(crate) name: String,
    pub(crate) wire: Wire,
    pub(crate) unit: u8,
    pub(crate) points: Vec<PointSpec>,
}

/// Every device in `text` whose protocol is Modbus.
pub(crate) fn parse(text: &str) -> Result<Vec<DeviceSpec>, SpecError> {
    let Objects { models, devices } = objects::read(text)?;
    let models: BTreeMap<_, _> = models.iter().map(|model| (model.metadata.id(), model)).collect();
    let mut problems = Vec::new();
    let mut specs: Vec<DeviceSpec> = Vec::new();
    for device in &devices {
        let protocol = device.spec.protocol.protocol_name.to_ascii_lowercase();
        if !protocol.is_empty() && !protocol.starts_with("modbus") {
            continue;
        }
        specs.extend(read_device(&models, device, &mut problems));
    }
    if specs.is_empty() && problems.is_empty() {
        problems.push(Problem::new(
            "manifests",
            "",
            "give at least one Device of protocol modbus, with its DeviceModel",
        ));
    }
    SpecError::unless_empty(problems).map(|()| specs)
}

fn read_device(
    models: &BTreeMap<(&str, &str), &ModelObject>,
    device: &DeviceObject,
    problems: &mut Vec<Problem>,
) -> Option<DeviceSpec> {
    let (namespace, name) = device.metadata.id();
    let id = format!("{namespace}/{name}");
    let at = |field: &str| format!("Device {id} {field}");
    let model_name = device.spec.device_model_ref.name.as_str();
    let Some(model) = models.get(&(namespace, model_name)) else {
        problems.push(Problem::new(
            at("spec.deviceModelRef.name"),
            model_name,
            format!("give the DeviceModel of that name in namespace {namespace} too"),
        ));
        return None;
    };
    let layers = [&model.spec.protocol_config_data, &device.spec.protocol.config_data];
    let mut settings = Settings::new(at("spec.protocol.configData"), &layers);
    let wire = read_wire(&mut settings);
    let unit = settings.integer(&["slaveID", "unitId", "deviceID"], 247).unwrap_or(1);
    let base = settings.integer(&["addressBase"], 1).unwrap_or(0);
    problems.append(&mut settings.problems);

    let mut points = Vec::new();
    for property in &device.spec.properties {
        let at = at(&format!("spec.properties[{}]", property.name));
        let Some(kind) = model.spec.properties.iter().find(|of| of.name == property.name) else {
            let remedy = format!("name a property of DeviceModel {model_name}");
            problems.push(Problem::new(format!("{at}.name"), &property.name, remedy));
            continue;
        };
        let layers = [&kind.visitors.config_data, &property.visitors.config_data];
        let mut settings = Settings::new(format!("{at}.visitors.configData"), &layers);
        points.extend(point::read(kind, unit, base, &mut settings));
        problems.append(&mut settings.problems);
    }
    check_followers(&id, &points, problems);
    Some(DeviceSpec { name: id, wire, unit: u8::try_from(unit).unwrap_or(1), points })
}

fn read_wire(settings: &mut Settings) -> Wire {
    let serial = ["serialName", "serialPort"];
    let mode = settings.get(&["communicateMode", "mode"], |text| {
        match text.to_ascii_lowercase().replace(['-', '_', ' '], "").as_str() {
            "tcp" => Ok(Mode::Tcp),
            "rtu" => Ok(Mode::Serial),
            "rtuovertcp" => Ok(Mode::RtuOverTcp),
            _ => Err("write TCP, RTU or RTU-over-TCP".into()),
        }
    });
    let mode = mode.unwrap_or(if settings.has(&serial) { Mode::Serial } else { Mode::Tcp });
    if mode == Mode::Serial {
        let path = settings.text(&serial).unwrap_or_else(|| "serial".into());
        let baud = settings.get(&["baudRate"], |text| {
            text.parse().ok().filter(|baud| *baud > 0).ok_or_else(|| "write a baud rate".into())
        });
        return Wire::Serial { path, baud: baud.unwrap_or(9600) };
    }
    let host = settings.text(&["ip", "host", "address"]).unwrap_or_else(|| "127.0.0.1".into());
    let port = settings.integer(&["port"], u16::MAX).unwrap_or(502);
    match mode {
        Mode::RtuOverTcp => Wire::RtuOverTcp { host, port },
        _ => Wire::Tcp { host, port },
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Tcp,
    RtuOverTcp,
    Serial,
}

/// A property can follow one that does not follow anything itself.
fn check_followers(id: &str, points: &[PointSpec], problems: &mut Vec<Problem>) {
    let followers: BTreeSet<&str> = points
        .iter()
        .filter(|point| matches!(point.hints, Hints::Follow { .. }))
        .map(|point| point.property.as_str())
        .collect();
    for point in points {
        let Hints::Follow { property: goal, .. } = &point.hints else { continue };
        let remedy = if !points.iter().any(|point| point.property == *goal) {
            "name another property of this device"
        } else if followers.contains(goal.as_str()) {
            "name a property that does not follow another one itself"
        } else {
            continue;
        };
        let field = format!(
            "Device {id} spec.properties[{}].visitors.configData.simFollow",
            point.property
        );
        problems.push(Problem::new(field, goal, remedy));
    }
}

impl DeviceSpec {
    /// Puts the device's registers into its unit's.
    pub(crate) fn lay_out(&self, layout: &mut Layout) {
        for point in &self.points {
            let initial = match &point.start {
                Start::Zero => Initial::Number(0.0_f64.max(point.least)),
                Start::At(initial) => initial.clone(),
            };
            layout.place(&point.place, &initial);
            if let Some(written) = &point.written {
                layout.place(written, &initial);
                layout.follow(&point.place, written, 0.0);
            }
        }
        for point in &self.points {
            match &point.hints {
                Hints::None => {}
                Hints::Wave(signal) => layout.wave(&point.place, *signal),
                Hints::Follow { property, time_constant } => {
                    let goal = self.points.iter().find(|point| point.property == *property);
                    if let Some(goal) = goal {
                        let goal = goal.written.as_ref().unwrap_or(&goal.place);
                        layout.follow(&point.place, goal, *time_constant);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
