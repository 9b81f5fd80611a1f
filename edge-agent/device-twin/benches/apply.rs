//! How many property values a second one core applies and commits.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use device_model::{Device, DeviceId, Manifest, Reading, Timestamp, Value, parse_manifests};
use device_twin::{
    Command, MemoryStore, PropertyReport, Report, Settings, SqliteStore, Store, Twins,
};

const DEVICES: usize = 1000;
const PROPERTIES: usize = 10;

fn devices() -> Vec<Arc<Device>> {
    let model = (0..PROPERTIES)
        .map(|p| format!("    - {{name: p{p}, type: INT, accessMode: ReadWrite}}\n"))
        .collect::<String>();
    let own = (0..PROPERTIES)
        .map(|p| {
            format!(
                "    - {{name: p{p}, visitors: {{protocolName: x, configData: {{offset: {p}}}}}}}\n"
            )
        })
        .collect::<String>();
    (0..DEVICES)
        .map(|number| {
            let text = format!(
                "apiVersion: devices.kubeedge.io/v1beta1\nkind: DeviceModel\n\
                 metadata: {{name: m, namespace: bench}}\nspec:\n  properties:\n{model}---\n\
                 apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\n\
                 metadata: {{name: d{number}, namespace: bench}}\nspec:\n  deviceModelRef: {{name: m}}\n\
                 \x20 protocol: {{protocolName: x}}\n  properties:\n{own}"
            );
            let (mut model, mut instance) = (None, None);
            for manifest in parse_manifests(&text).unwrap() {
                match manifest {
                    Manifest::Model(one) => model = Some(one),
                    Manifest::Device(one) => instance = Some(one),
                }
            }
            Arc::new(Device::resolve(&model.unwrap(), &instance.unwrap()).unwrap())
        })
        .collect()
}

/// Reports of a fleet, each with another value than before, and a clock that goes with them.
struct Fleet<S> {
    twins: Twins<S>,
    ids: Vec<DeviceId>,
    round: i64,
    next: usize,
}

impl<S: Store> Fleet<S> {
    fn over(store: S, devices: &[Arc<Device>]) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let mut twins = Twins::open(store, Settings::default(), now).unwrap();
        twins.apply(devices.iter().cloned().map(Command::Load).collect::<Vec<_>>(), now).unwrap();
        let ids = devices.iter().map(|device| device.id.clone()).collect();
        Self { twins, ids, round: 0, next: 0 }
    }

    /// One batch of `calls` reports with `values` changed values each; a millisecond passes.
    fn batch(&mut self, calls: usize, values: usize) {
        self.round += 1;
        let now = Timestamp::from_millis(1_800_000_000_000 + self.round);
        let commands = (0..calls).map(|_| {
            self.next += 1;
            let mut report = Report::of(self.ids[self.next % DEVICES].clone());
            for value in 0..values {
                let property = format!("p{}", (self.next / DEVICES + value) % PROPERTIES);
                let reading = Reading::good(Value::Int(self.round), now);
                report.properties.push(PropertyReport::reading(property, reading));
            }
            Command::Report(report)
        });
        let commands: Vec<_> = commands.collect();
        let outcomes = self.twins.apply(commands, now).unwrap();
        assert!(outcomes.iter().all(|one| one.changes.len() == 1));
    }
}

fn apply(criterion: &mut Criterion) {
    let devices = devices();
    let directory = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("apply");
    let mut sqlite =
        Fleet::over(SqliteStore::open(&directory.path().join("twins.db")).unwrap(), &devices);
    let mut memory = Fleet::over(MemoryStore::new(), &devices);
    for (calls, values) in [(1, 1), (1, 10), (100, 1), (1000, 1), (100, 10), (1000, 10)] {
        group.throughput(Throughput::Elements(u64::try_from(calls * values).unwrap()));
        let shape = format!("{calls} calls of {values}");
        group.bench_function(BenchmarkId::new("sqlite", &shape), |bencher| {
            bencher.iter(|| sqlite.batch(calls, values));
        });
        group.bench_function(BenchmarkId::new("memory", &shape), |bencher| {
            bencher.iter(|| memory.batch(calls, values));
        });
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
