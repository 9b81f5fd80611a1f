//! A simulated device and sessions to it.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each file uses its part")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use device_model::{Device, Manifest, Value, parse_manifests};
use mapper_modbus::{Endpoint, ModbusDriver, ModbusSession, Unit, Visitor};
use mapper_sdk::{Driver, PropertyFault, ReadResult, Session, SessionFault};
use sim_modbus::{Blueprint, Handle, LineOptions, Simulation};
use tokio::net::TcpListener;

/// How the simulated units are reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire {
    Tcp,
    RtuOverTcp,
    Pty,
}

impl Wire {
    pub(crate) const ALL: [Self; 3] = [Self::Tcp, Self::RtuOverTcp, Self::Pty];
}

/// One property of a device under test: name, type, access, visitor keys.
pub(crate) type Point<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Manifests of one device with these properties; `protocol` are keys of `protocol.configData`.
pub(crate) fn manifests(name: &str, protocol: &str, points: &[Point<'_>]) -> String {
    let mut model = String::new();
    let mut device = String::new();
    for (property, data_type, access, visitor) in points {
        model += &format!("  - {{name: {property}, type: {data_type}, accessMode: {access}}}\n");
        device += &format!(
            "  - {{name: {property}, collectCycle: 100, visitors: {{protocolName: modbus, configData: {{{visitor}}}}}}}\n"
        );
    }
    format!(
        "apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {{name: {name}, namespace: demo}}
spec:
  properties:
{model}---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: {name}, namespace: demo}}
spec:
  deviceModelRef: {{name: {name}}}
  protocol: {{protocolName: modbus, configData: {{{protocol}}}}}
  properties:
{device}---
"
    )
}

/// The devices of manifests.
pub(crate) fn devices(text: &str) -> Vec<Device> {
    let mut models = BTreeMap::new();
    let mut instances = Vec::new();
    for manifest in parse_manifests(text).unwrap() {
        match manifest {
            Manifest::Model(model) => drop(models.insert(model.metadata.name.clone(), model)),
            Manifest::Device(device) => instances.push(device),
        }
    }
    let resolve = |device: Box<device_model::DeviceInstance>| {
        let model = device.spec.device_model_ref.as_ref().unwrap().name.clone();
        Device::resolve(&models[&model], &device).unwrap()
    };
    instances.into_iter().map(resolve).collect()
}

/// Units that run, and where.
pub(crate) struct Rig {
    pub(crate) simulation: Simulation,
    pub(crate) handle: Handle,
    /// Keys of `protocol.configData` that lead there.
    pub(crate) wire: String,
}

impl Rig {
    /// Serves the units of `blueprint` on a fresh wire.
    pub(crate) async fn start(wire: Wire, blueprint: Blueprint) -> Self {
        let mut simulation = Simulation::new(blueprint);
        let handle = simulation.handle();
        let wire = match wire {
            Wire::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = simulation.serve_tcp(listener).unwrap();
                format!("ip: 127.0.0.1, port: {}", address.port())
            }
            Wire::RtuOverTcp => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = simulation.serve_rtu_over_tcp(listener).unwrap();
                format!("mode: rtu-over-tcp, ip: 127.0.0.1, port: {}", address.port())
            }
            Wire::Pty => {
                let path: PathBuf = simulation.serve_pty(LineOptions::default()).unwrap();
                format!("serialPort: {}, baudRate: 115200, parity: even", path.display())
            }
        };
        Self { simulation, handle, wire }
    }

    /// A device on it, with a session of its own.
    pub(crate) async fn connect(&self, protocol: &str, points: &[Point<'_>]) -> Link {
        let text = manifests("device", &format!("{}, {protocol}", self.wire), points);
        Link::open(devices(&text).remove(0)).await.unwrap()
    }
}

/// A session and one device's way through it.
pub(crate) struct Link {
    pub(crate) driver: ModbusDriver,
    pub(crate) session: ModbusSession,
    pub(crate) endpoint: Endpoint,
    pub(crate) unit: Unit,
    names: Vec<String>,
    visitors: Vec<Visitor>,
}

impl Link {
    pub(crate) async fn open(device: Device) -> Result<Self, SessionFault> {
        let driver = ModbusDriver::default();
        let (endpoint, unit) = driver.address(&device).unwrap();
        let session = driver.connect(&endpoint).await?;
        let visitor = |property: &std::sync::Arc<device_model::Property>| {
            driver.visitor(&device, property).unwrap()
        };
        Ok(Self {
            visitors: device.properties.iter().map(visitor).collect(),
            names: device.properties.iter().map(|property| property.name.to_string()).collect(),
            driver,
            session,
            endpoint,
            unit,
        })
    }

    fn visitor(&self, name: &str) -> Visitor {
        let index = self.names.iter().position(|other| other == name).unwrap();
        self.visitors[index].clone()
    }

    /// Reads everything, group by group of the plan.
    pub(crate) async fn read_all(&mut self) -> Result<BTreeMap<String, ReadResult>, SessionFault> {
        let visitors: Vec<&Visitor> = self.visitors.iter().collect();
        let mut results = BTreeMap::new();
        for group in self.driver.plan(&self.unit, &visitors) {
            let members: Vec<&Visitor> = group.iter().map(|index| visitors[*index]).collect();
            let read = self.session.read(&self.unit, &members).await?;
            assert_eq!(read.len(), group.len());
            results.extend(group.iter().map(|index| self.names[*index].clone()).zip(read));
        }
        Ok(results)
    }

    /// Reads one property.
    pub(crate) async fn read(&mut self, name: &str) -> Result<ReadResult, SessionFault> {
        let visitor = self.visitor(name);
        Ok(self.session.read(&self.unit, &[&visitor]).await?.remove(0))
    }

    /// The good value of one property.
    pub(crate) async fn value(&mut self, name: &str) -> Value {
        self.read(name).await.unwrap().unwrap().value
    }

    pub(crate) async fn write(
        &mut self,
        name: &str,
        value: Value,
    ) -> Result<Result<(), PropertyFault>, SessionFault> {
        let visitor = self.visitor(name);
        self.session.write(&self.unit, &visitor, &value).await
    }
}
