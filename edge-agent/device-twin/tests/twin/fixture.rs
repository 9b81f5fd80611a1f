//! A pump and its twin, to write tests with.

use std::sync::Arc;

use device_model::{
    Ack, AckCode, Device, DeviceId, Generation, Manifest, Reading, Timestamp, Value,
    parse_manifests,
};
use device_twin::{
    Change, Command, Desire, GivenReading, MemoryStore, Outcome, PropertyReport, Report, Settings,
    SqliteStore, Store, Twin, TwinProperty, Twins, Writer,
};

const PUMP: &str = r#"
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump, namespace: demo}
spec:
  protocol: modbus
  properties:
    - {name: speed, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "3000"}
    - {name: pressure, type: FLOAT, accessMode: ReadOnly}
    - {name: level, type: DOUBLE, accessMode: ReadWrite}
    - {name: label, type: STRING, accessMode: ReadWrite}
    - {name: running, type: BOOLEAN, accessMode: ReadWrite}
    - {name: raw, type: BYTES, accessMode: ReadWrite}
    - {name: locked, type: INT, accessMode: ReadWrite}
    - {name: patient, type: INT, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump, namespace: demo}
spec:
  deviceModelRef: {name: pump}
  protocol: {protocolName: modbus, configData: {}}
  properties:
    - {name: speed, visitors: {protocolName: modbus, configData: {}}}
    - {name: pressure, visitors: {protocolName: modbus, configData: {}}}
    - {name: level, visitors: {protocolName: modbus, configData: {tolerance: 0.5}}}
    - {name: label, visitors: {protocolName: modbus, configData: {}}}
    - {name: running, visitors: {protocolName: modbus, configData: {}}}
    - {name: raw, visitors: {protocolName: modbus, configData: {}}}
    - {name: locked, visitors: {protocolName: modbus, configData: {localOverride: deny}}}
    - {name: patient, visitors: {protocolName: modbus, configData: {localOverride: untilExpiry}}}
"#;

/// Seconds after the start of the story.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

pub fn pump_id() -> DeviceId {
    "demo/pump".parse().unwrap()
}

/// The pump, after `edit` changed its manifests' text.
pub fn pump_where(edit: impl Fn(String) -> String) -> Arc<Device> {
    let manifests = parse_manifests(&edit(PUMP.into())).unwrap();
    let (mut model, mut instance) = (None, None);
    for manifest in manifests {
        match manifest {
            Manifest::Model(one) => model = Some(one),
            Manifest::Device(one) => instance = Some(one),
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }
    Arc::new(Device::resolve(&model.unwrap(), &instance.unwrap()).unwrap())
}

pub fn pump() -> Arc<Device> {
    pump_where(|text| text)
}

/// The pump with `speed` desired by its manifest.
pub fn pump_wanting(speed: &str) -> Arc<Device> {
    pump_where(|text| {
        text.replace(
            "{name: speed, vis",
            &format!("{{name: speed, desired: {{value: \"{speed}\"}}, vis"),
        )
    })
}

/// A store that can be closed and opened again.
pub trait Place {
    type Store: Store;
    fn open(&mut self) -> Self::Store;
    fn close(&mut self, store: Self::Store);
}

/// Maps that outlive their user.
#[derive(Default)]
pub struct InMemory(MemoryStore);

impl Place for InMemory {
    type Store = MemoryStore;

    fn open(&mut self) -> MemoryStore {
        self.0.clone()
    }

    fn close(&mut self, store: MemoryStore) {
        self.0 = store;
    }
}

/// A file in a directory of its own.
pub struct InFile(tempfile::TempDir);

impl InFile {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for InFile {
    type Store = SqliteStore;

    fn open(&mut self) -> SqliteStore {
        SqliteStore::open(&self.0.path().join("twins.db")).unwrap()
    }

    fn close(&mut self, store: SqliteStore) {
        drop(store);
    }
}

/// All twins of a test.
pub struct Bench<S = MemoryStore> {
    pub twins: Twins<S>,
}

impl Bench {
    pub fn empty() -> Self {
        Self::over(MemoryStore::new(), Settings::default())
    }

    /// With the pump loaded, at revision 1.
    pub fn with_pump() -> Self {
        let mut bench = Self::empty();
        bench.change(at(0), Command::Load(pump()));
        bench
    }
}

impl<S: Store> Bench<S> {
    pub fn over(store: S, settings: Settings) -> Self {
        Self::opened(store, settings, at(0))
    }

    pub fn opened(store: S, settings: Settings, now: Timestamp) -> Self {
        Self { twins: Twins::open(store, settings, now).unwrap() }
    }

    pub fn outcome(&mut self, now: Timestamp, command: Command) -> Outcome {
        self.twins.apply(vec![command], now).unwrap().remove(0)
    }

    /// Applies a command that must be accepted and make exactly one change.
    pub fn change(&mut self, now: Timestamp, command: Command) -> Change {
        let mut outcome = self.outcome(now, command);
        let answer = outcome.result.unwrap();
        assert_eq!(answer.refused, []);
        assert_eq!(outcome.changes.len(), 1, "{:?}", outcome.changes);
        outcome.changes.remove(0)
    }

    /// Applies a command that must be accepted and change nothing.
    pub fn nothing(&mut self, now: Timestamp, command: Command) {
        let outcome = self.outcome(now, command);
        assert_eq!(outcome.result.unwrap().refused, []);
        assert!(outcome.changes.is_empty(), "{:?}", outcome.changes);
    }

    pub fn refusal(&mut self, now: Timestamp, command: Command) -> device_twin::Rejected {
        let outcome = self.outcome(now, command);
        assert!(outcome.changes.is_empty());
        outcome.result.unwrap_err()
    }

    pub fn pump(&self) -> &Twin {
        self.twins.get(&pump_id()).unwrap()
    }

    pub fn property(&self, name: &str) -> TwinProperty {
        self.pump().property(name).unwrap().1.clone()
    }

    pub fn in_sync(&self, name: &str) -> bool {
        let (property, state) = self.pump().property(name).unwrap();
        state.in_sync(property)
    }

    /// `name=value@generation` of each wanted property.
    pub fn delta(&self) -> Vec<String> {
        let show =
            |one: device_twin::Delta<'_>| format!("{}={}@{}", one.name, one.value, one.generation);
        self.pump().delta().map(show).collect()
    }

    pub fn report(&self) -> Report {
        Report::of(pump_id())
    }

    pub fn reading(&self, value: Value, time: Timestamp) -> GivenReading {
        Reading::good(value, time).into()
    }

    pub fn reads(&self, name: &str, value: Value, time: Timestamp) -> Report {
        self.report().with(PropertyReport::reading(name, self.reading(value, time)))
    }

    pub fn wants(&self, name: &str, value: &str) -> Desire {
        Desire::of(pump_id(), Writer::local("test")).with(name, value)
    }

    pub fn ack(&self, generation: u64, code: AckCode) -> Ack {
        Ack { generation: Generation(generation), code, detail: String::new() }
    }

    pub fn acks(&self, name: &str, generation: u64, code: AckCode) -> Report {
        self.report().with(PropertyReport::ack(name, self.ack(generation, code)))
    }
}
