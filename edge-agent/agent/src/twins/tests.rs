use device_model::{Device, Manifest, Reading, Value, parse_manifests};
use device_twin::{MemoryStore, PropertyReport, Report, Settings};

use super::faulty::Faulty;
use super::*;
use crate::clock::now;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PUMPS: usize = 8;

/// A device of the protocol `x` with two numbers, and a text that can be wished for.
pub(crate) fn pump(number: usize) -> Arc<Device> {
    let text = format!(
        "apiVersion: devices.kubeedge.io/v1beta1\nkind: DeviceModel\nmetadata: {{name: m, namespace: demo}}\n\
         spec:\n  properties:\n    - {{name: a, type: INT}}\n    - {{name: b, type: INT}}\n\
         \x20   - {{name: note, type: STRING, accessMode: ReadWrite}}\n---\n\
         apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\n\
         metadata: {{name: pump{number}, namespace: demo}}\nspec:\n  deviceModelRef: {{name: m}}\n\
         \x20 protocol: {{protocolName: x}}\n  properties: [{{name: a}}, {{name: b}}, {{name: note}}]\n"
    );
    let (mut model, mut instance) = (None, None);
    for manifest in parse_manifests(&text).unwrap() {
        match manifest {
            Manifest::Model(one) => model = Some(one),
            Manifest::Device(one) => instance = Some(one),
        }
    }
    Arc::new(Device::resolve(&model.unwrap(), &instance.unwrap()).unwrap())
}

/// The twins of some pumps over `store`.
pub(crate) async fn pumps(store: Box<dyn Store + Send>) -> (Twins, Owner) {
    let core = Core::open(store, Settings::default(), now()).unwrap();
    let (twins, owner) = Twins::start(core, Run::first(now()), 64, Arc::default()).unwrap();
    let load = (0..PUMPS).map(|number| Command::Load(pump(number))).collect();
    let loaded = twins.apply(load, Origin::Unasked).await.unwrap();
    assert!(loaded.iter().all(Result::is_ok));
    (twins, owner)
}

/// A report of `value` for `properties` of a pump.
pub(crate) fn reads(number: usize, properties: &[&str], value: i64) -> Command {
    let mut report = Report::of(pump(number).id.clone());
    for property in properties {
        let reading = Reading::good(Value::Int(value), now());
        report.properties.push(PropertyReport::reading(*property, reading));
    }
    Command::Report(report)
}

async fn revision(twins: &Twins, number: usize) -> u64 {
    twins.twin(&pump(number).id).await.unwrap().unwrap().rev()
}

/// Asks for time to pass until `done`.
async fn tick_until(twins: &Twins, done: impl Fn() -> bool) {
    let ticking = async {
        let mut again = tokio::time::interval(Duration::from_millis(20));
        while !done() {
            again.tick().await;
            twins.tick();
        }
    };
    tokio::time::timeout(PATIENCE, ticking).await.unwrap();
}

#[tokio::test]
async fn a_panic_of_the_owner_is_told_and_nobody_waits_for_it() {
    let core = Core::open(Box::new(MemoryStore::new()), Settings::default(), now()).unwrap();
    let (twins, mut owner) = Twins::start(core, Run::first(now()), 4, Arc::default()).unwrap();
    let asked = twins.read(|_| -> () { panic!("out of {}", "luck") }).await;
    assert_eq!(asked, Err(Unavailable::Stopped));
    assert_eq!(owner.fault().await, "panicked: out of luck");
    assert_eq!(twins.read(Core::epoch).await, Err(Unavailable::Stopped));
}

#[tokio::test]
async fn what_the_store_does_not_take_is_an_error_of_the_call_and_heals_by_itself() {
    let (store, switch) = Faulty::new();
    let (twins, owner) = pumps(store).await;
    let full: Arc<StoreError> = Arc::new(StoreError::Full { place: "/faulty".into() });
    let told = twins.feed().newest();

    switch.fill(true);
    let refused = twins.apply(vec![reads(0, &["a"], 7)], Origin::Unasked).await;
    assert_eq!(refused.unwrap_err(), Unavailable::Store(full.clone()));
    let object = Object {
        key: ObjectKey { kind: "K".into(), namespace: "n".into(), name: "o".into() },
        uid: String::new(),
        resource_version: String::new(),
        body: Vec::new(),
    };
    assert!(matches!(twins.keep(object.clone()).await, Err(Unavailable::Store(_))));
    assert!(matches!(twins.forget(object.key.clone()).await, Err(Unavailable::Store(_))));
    // Reads and what changes nothing go on; nothing of the refused report is there, and nobody was told of it.
    assert_eq!(revision(&twins, 0).await, 1);
    assert!(twins.apply(vec![Command::Load(pump(1))], Origin::Unasked).await.unwrap()[0].is_ok());
    assert_eq!(twins.feed().newest(), told);
    assert_eq!((twins.store_health().fault(), twins.store_health().failures()), (Some(full), 3));

    switch.fill(false);
    twins.apply(vec![reads(0, &["a"], 8)], Origin::Unasked).await.unwrap().remove(0).unwrap();
    twins.keep(object).await.unwrap();
    assert_eq!(revision(&twins, 0).await, 2);
    tick_until(&twins, || twins.store_health().fault().is_none()).await;
    owner.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_run_that_the_store_does_not_take_at_first_is_kept_later() {
    let (store, switch) = Faulty::new();
    let core = Core::open(store, Settings::default(), now()).unwrap();
    switch.fill(true);
    let (twins, owner) = Twins::start(core, Run::first(now()), 64, Arc::default()).unwrap();
    // It works all the same, and reads.
    assert!(twins.twins().await.unwrap().is_empty());
    assert!(twins.store_health().fault().is_some());
    switch.fill(false);
    tick_until(&twins, || switch.has(Run::KIND)).await;
    twins.apply(vec![Command::Load(pump(0))], Origin::Unasked).await.unwrap().remove(0).unwrap();
    owner.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn one_request_that_the_store_does_not_take_fails_alone() {
    let (store, switch) = Faulty::new();
    let (twins, _owner) = pumps(store).await;
    switch.limit(1);
    let all = (0..PUMPS).map(|number| {
        let properties: &[&str] = if number == 2 { &["a", "b"] } else { &["a"] };
        (reads(number, properties, 7), Origin::Unasked)
    });
    let mut answers = Vec::new();
    for request in twins.ask_each(all).unwrap() {
        answers.push(request.await.unwrap());
    }
    for (number, answer) in answers.into_iter().enumerate() {
        let refused = matches!(answer, Err(Unavailable::Store(_)));
        assert_eq!(refused, number == 2, "{number}: {answer:?}");
        assert_eq!(revision(&twins, number).await, if refused { 1 } else { 2 });
    }
    assert_eq!(twins.store_health().failures(), 1);
}

#[tokio::test]
async fn a_full_store_is_not_asked_for_each_request_of_a_batch() {
    let (store, switch) = Faulty::new();
    let (twins, _owner) = pumps(store).await;
    switch.fill(true);
    let all = (0..PUMPS).map(|number| (reads(number, &["a"], 7), Origin::Unasked));
    let error = twins.try_apply_each(all).await.unwrap_err();
    assert!(matches!(error, Unavailable::Store(_)), "{error}");
    assert_eq!(twins.store_health().failures(), u64::try_from(PUMPS).unwrap());
}

#[tokio::test]
async fn a_store_that_does_not_sync_at_the_end_is_told() {
    let (store, switch) = Faulty::new();
    let (_twins, owner) = pumps(store).await;
    switch.fill(true);
    assert!(owner.stop(PATIENCE).await.unwrap_err().contains("is full"));
}

#[tokio::test]
async fn a_store_that_hangs_holds_up_no_end() {
    let (store, release) = Faulty::hanging();
    let (_twins, owner) = pumps(store).await;
    let said = owner.stop(Duration::from_millis(50)).await.unwrap_err();
    assert!(said.contains("did not answer within 50ms"), "{said}");
    drop(release);
}
