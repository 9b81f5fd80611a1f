//! A protocol for tests: wires with numbered units that hold named values, and every fault a wire can have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use device_model::{
    AckCode, Device, DeviceId, Manifest, Problem, Property, QualityCode, Timestamp, Value,
    parse_manifests,
};
use tokio::time::{Instant, sleep};

use crate::driver::{Driver, PropertyFault, ReadResult, Sample, Session, SessionFault};

/// What happened on a wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Connect(String),
    Read(u8, Vec<String>),
    Write(u8, String, Value),
    Close,
    /// A device left a wire.
    Left(String, String),
}

#[derive(Debug, Default)]
pub(crate) struct Plant {
    pub(crate) values: BTreeMap<(u8, String), Value>,
    /// Units that do not answer.
    pub(crate) silent: BTreeSet<u8>,
    /// Wires that cannot be opened.
    pub(crate) down: BTreeSet<String>,
    /// Open sessions are lost at their next call.
    pub(crate) cut: bool,
    /// Wires on which the driver panics.
    pub(crate) panics: BTreeSet<String>,
    /// Points that the device refuses.
    pub(crate) refused: BTreeSet<String>,
    /// Points that take a write and keep their value.
    pub(crate) stubborn: BTreeSet<String>,
    /// Writes that are done and not answered.
    pub(crate) swallow: u32,
    pub(crate) latency: Duration,
    /// How long a silent unit is waited for.
    pub(crate) patience: Duration,
    pub(crate) log: Vec<(Instant, Event)>,
    /// How often a device's place was asked for.
    pub(crate) addressed: u32,
    /// The next read is answered too late.
    pub(crate) delay_one: bool,
    /// What the devices' clocks say, where they have one.
    pub(crate) source_time: Option<Timestamp>,
    /// A late answer is taken for the next one.
    pub(crate) sloppy: bool,
    busy: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fake(Arc<Mutex<Plant>>);

impl Fake {
    pub(crate) fn new() -> Self {
        let fake = Self::default();
        fake.plant().patience = Duration::from_millis(500);
        fake
    }

    pub(crate) fn plant(&self) -> MutexGuard<'_, Plant> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set(&self, unit: u8, name: &str, value: impl Into<i64>) {
        self.plant().values.insert((unit, name.into()), Value::Int(value.into()));
    }

    pub(crate) fn get(&self, unit: u8, name: &str) -> Option<Value> {
        self.plant().values.get(&(unit, name.into())).cloned()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.plant().log.iter().map(|(_, event)| event.clone()).collect()
    }

    pub(crate) fn writes(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Write(..))).count()
    }

    pub(crate) fn connects(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Connect(_))).count()
    }

    fn note(&self, event: Event) {
        self.plant().log.push((Instant::now(), event));
    }
}

pub(crate) struct FakeSession {
    fake: Fake,
    line: String,
    late: Option<Vec<ReadResult>>,
}

impl Driver for Fake {
    const PROTOCOL: &'static str = "fake";
    type Endpoint = String;
    type Unit = u8;
    type Visitor = String;
    type Session = FakeSession;

    fn address(&self, device: &Device) -> Result<(String, u8), Vec<Problem>> {
        self.plant().addressed += 1;
        let config = &device.config;
        let line = config
            .text("line")
            .ok_or_else(|| vec![config.problem("line", "missing", "name the line")])?;
        let unit = config.integer("unit", 0..=255).map_err(|problem| vec![problem])?;
        Ok((line, u8::try_from(unit.unwrap_or(1)).unwrap()))
    }

    fn left(&self, device: &DeviceId, line: &String) {
        self.note(Event::Left(device.name().into(), line.clone()));
    }

    fn visitor(&self, _: &Device, property: &Property) -> Result<String, Problem> {
        let config = property.driver_config();
        config.text("name").ok_or_else(|| config.problem("name", "missing", "name the point"))
    }

    async fn connect(&self, line: &String) -> Result<FakeSession, SessionFault> {
        self.note(Event::Connect(line.clone()));
        if self.plant().panics.contains(line) {
            panic!("a driver's bug");
        }
        if self.plant().down.contains(line) {
            return Err(SessionFault::lost("connection refused"));
        }
        self.plant().cut = false;
        self.plant().busy.remove(line);
        Ok(FakeSession { fake: self.clone(), line: line.clone(), late: None })
    }
}

/// A request that is under way, until it is dropped.
struct Busy<'s>(&'s FakeSession);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fake.plant().busy.remove(&self.0.line);
    }
}

impl FakeSession {
    async fn exchange(&self, unit: u8) -> Result<(), SessionFault> {
        let (latency, patience) = {
            let mut plant = self.fake.plant();
            assert!(plant.busy.insert(self.line.clone()), "two requests on one wire");
            (plant.latency, plant.patience)
        };
        let _busy = Busy(self);
        let silent = self.fake.plant().silent.contains(&unit);
        sleep(if silent { patience } else { latency }).await;
        let plant = self.fake.plant();
        if plant.cut || plant.down.contains(&self.line) {
            return Err(SessionFault::lost("connection reset"));
        }
        if silent { Err(SessionFault::silent("time-out")) } else { Ok(()) }
    }

    fn value(&self, unit: u8, name: &str) -> ReadResult {
        let plant = self.fake.plant();
        if plant.refused.contains(name) {
            return Err(refusal());
        }
        let value = plant.values.get(&(unit, name.to_owned())).cloned().ok_or_else(refusal)?;
        Ok(Sample { source_time: plant.source_time, ..value.into() })
    }
}

fn refusal() -> PropertyFault {
    PropertyFault::Refused {
        code: QualityCode::NotFound,
        ack: AckCode::NotFound,
        detail: "exception 2".into(),
    }
}

impl Session for FakeSession {
    type Unit = u8;
    type Visitor = String;

    async fn read(
        &mut self,
        unit: &u8,
        group: &[&String],
    ) -> Result<Vec<ReadResult>, SessionFault> {
        self.fake.note(Event::Read(*unit, group.iter().map(|name| (*name).clone()).collect()));
        let results: Vec<_> = group.iter().map(|name| self.value(*unit, name)).collect();
        if std::mem::take(&mut self.fake.plant().delay_one) {
            self.late = Some(results).filter(|_| self.fake.plant().sloppy);
            return Err(SessionFault::silent("time-out"));
        }
        self.exchange(*unit).await?;
        let results = group.iter().map(|name| self.value(*unit, name)).collect();
        Ok(self.late.take().unwrap_or(results))
    }

    async fn write(
        &mut self,
        unit: &u8,
        visitor: &String,
        value: &Value,
    ) -> Result<Result<(), PropertyFault>, SessionFault> {
        self.fake.note(Event::Write(*unit, visitor.clone(), value.clone()));
        self.exchange(*unit).await?;
        let mut plant = self.fake.plant();
        if plant.refused.contains(visitor) {
            return Ok(Err(refusal()));
        }
        if !plant.stubborn.contains(visitor) {
            plant.values.insert((*unit, visitor.clone()), value.clone());
        }
        if plant.swallow > 0 {
            plant.swallow -= 1;
            return Err(SessionFault::lost("connection reset"));
        }
        Ok(Ok(()))
    }

    fn close(self) {
        self.fake.note(Event::Close);
    }
}

/// A model and a device of it, as YAML. `properties`: name, options as a YAML flow mapping, desired value.
pub(crate) fn manifests(
    name: &str,
    line: &str,
    unit: u8,
    properties: &[(&str, &str, &str)],
) -> String {
    let mut model = format!(
        "apiVersion: devices.kubeedge.io/v1beta1\nkind: DeviceModel\nmetadata: {{name: {name}-model, namespace: demo}}\n\
         spec:\n  protocol: fake\n  properties:\n"
    );
    let mut device = format!(
        "---\napiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {{name: {name}, namespace: demo}}\n\
         spec:\n  deviceModelRef: {{name: {name}-model}}\n  protocol:\n    protocolName: fake\n    \
         configData: {{line: {line}, unit: {unit}}}\n  properties:\n"
    );
    for (property, options, desired) in properties {
        model += &format!(
            "  - {{name: {property}, type: INT, accessMode: ReadWrite, minimum: '-100', maximum: '100'}}\n"
        );
        let options = if options.is_empty() { String::new() } else { format!(", {options}") };
        device += &format!(
            "  - name: {property}\n    collectCycle: 1000\n    visitors: {{protocolName: fake, configData: {{name: {property}{options}}}}}\n"
        );
        if !desired.is_empty() {
            device += &format!("    desired: {desired}\n");
        }
    }
    model + &device
}

/// The device of such a text.
pub(crate) fn device(text: &str) -> Device {
    let (mut model, mut instance) = (None, None);
    for manifest in parse_manifests(text).unwrap() {
        match manifest {
            Manifest::Model(found) => model = Some(found),
            Manifest::Device(found) => instance = Some(found),
        }
    }
    Device::resolve(&model.unwrap(), &instance.unwrap()).unwrap()
}
