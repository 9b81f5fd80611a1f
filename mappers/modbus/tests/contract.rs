//! The SDK's contract for drivers, on every wire.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod rig;

use std::time::Duration;

use device_model::{DataType, Device, Property, Value};
use mapper_modbus::ModbusDriver;
use mapper_sdk::testkit::contract::{self, keeps_the_contract};
use rig::{Point, Rig, Wire};
use sim_modbus::{Blueprint, Fault, FaultId, FaultKind};

const POINTS: &[Point<'_>] = &[
    ("enable", "BOOLEAN", "ReadWrite", "register: coil, offset: 0"),
    ("speed", "INT", "ReadWrite", "register: holding, offset: 0, limit: 1, simValue: 900"),
    (
        "count",
        "INT",
        "ReadWrite",
        "register: holding, offset: 1, rawType: i32, order: CDAB, simValue: -7",
    ),
    ("volts", "FLOAT", "ReadWrite", "register: holding, offset: 3, rawType: f32, simValue: 230.5"),
    (
        "level",
        "DOUBLE",
        "ReadOnly",
        "register: input, offset: 0, rawType: i16, scale: 0.1, simValue: 12.3",
    ),
];
const TIMEOUT: Duration = Duration::from_millis(150);

struct ModbusRig {
    driver: ModbusDriver,
    rig: Rig,
    silence: Option<FaultId>,
}

impl ModbusRig {
    async fn start(wire: Wire) -> Self {
        let blueprint = [(1, "device"), (2, "neighbour")].map(|(unit, name)| {
            rig::manifests(name, &format!("ip: 127.0.0.1, slaveID: {unit}"), POINTS)
        });
        let blueprint = Blueprint::from_manifests(&blueprint.concat()).unwrap();
        let rig = Rig::start(wire, blueprint).await;
        Self { driver: ModbusDriver::default(), rig, silence: None }
    }

    fn make(&self, name: &str, unit: u8, points: &[Point<'_>]) -> Device {
        let protocol = format!("{}, slaveID: {unit}, timeout: {TIMEOUT:?}", self.rig.wire);
        rig::devices(&rig::manifests(name, &protocol, points)).remove(0)
    }
}

impl contract::Rig for ModbusRig {
    type Driver = ModbusDriver;

    fn driver(&self) -> &ModbusDriver {
        &self.driver
    }

    fn device(&self) -> Device {
        self.make("device", 1, POINTS)
    }

    fn refused(&self) -> Device {
        let nowhere = ("nowhere", "INT", "ReadOnly", "register: holding, offset: 999");
        self.make("device", 1, &[nowhere])
    }

    fn neighbour(&self) -> Option<Device> {
        Some(self.make("neighbour", 2, POINTS))
    }

    async fn value(&self, property: &Property) -> Value {
        let value = self.rig.handle.value("demo/device", property.name.as_str()).unwrap();
        match property.data_type {
            DataType::Boolean => Value::Boolean(value != 0.0),
            DataType::Double => Value::Double(value),
            data_type => Value::parse(data_type, &value.to_string()).unwrap(),
        }
    }

    async fn change(&mut self, property: &Property, value: &Value) {
        let value = value.as_f64().unwrap();
        self.rig.handle.set_value("demo/device", property.name.as_str(), value).unwrap();
    }

    async fn silence(&mut self, silent: bool) {
        if silent {
            let silence = Fault::new(FaultKind::Silence).unit(1);
            self.silence = Some(self.rig.handle.inject(silence));
        } else if let Some(fault) = self.silence.take() {
            self.rig.handle.clear(fault);
        }
    }

    async fn cut(&mut self) {
        self.rig.handle.inject(Fault::new(FaultKind::Reset).count(1));
    }

    async fn delay_one(&mut self) {
        let late = FaultKind::Late(TIMEOUT + Duration::from_millis(50));
        self.rig.handle.inject(Fault::new(late).count(1));
    }
}

#[tokio::test]
async fn tcp_keeps_the_contract() {
    keeps_the_contract(&mut ModbusRig::start(Wire::Tcp).await).await;
}

#[tokio::test]
async fn rtu_over_tcp_keeps_the_contract() {
    keeps_the_contract(&mut ModbusRig::start(Wire::RtuOverTcp).await).await;
}

/// A simulated line cannot be cut; all else holds.
#[tokio::test]
async fn a_line_keeps_the_contract() {
    let rig = &mut ModbusRig::start(Wire::Pty).await;
    contract::plans_each_property_once(rig);
    contract::reads_each_type(rig).await;
    contract::writes_and_reads_back(rig).await;
    contract::a_refused_address_keeps_the_session(rig).await;
    contract::a_mute_unit_is_silent_and_its_neighbour_is_heard(rig).await;
    contract::a_late_answer_is_never_taken_for_the_next(rig).await;
    contract::a_dropped_call_does_not_confuse_the_next(rig).await;
}
