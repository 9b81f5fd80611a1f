use std::time::Duration;

use device_model::{Manifest, Quality, Value, parse_manifests};
use dmi::convert::{Peer, device_to_proto, model_to_proto};
use dmi::proto::MapperRegisterResponse;
use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::backoff::Pace;
use crate::fake::{Event, Fake, manifests};

const LIMITS: Limits = Limits {
    reconnect: Pace { min: Duration::from_secs(1), max: Duration::from_secs(60) },
    rest: Pace { min: Duration::from_secs(1), max: Duration::from_secs(60) },
    stop: Duration::from_millis(700),
};

/// A fleet, with everything that it said.
struct World {
    fake: Fake,
    orders: mpsc::Sender<Order>,
    inbox: mpsc::Receiver<Report>,
    wanting: Arc<Notify>,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    names: BTreeMap<Seat, String>,
    said: Vec<(Instant, String, Reading)>,
    states: Vec<(String, DeviceState)>,
    problems: Vec<(String, Option<Arc<str>>)>,
}

impl World {
    fn new() -> Self {
        let fake = Fake::new();
        let (orders, for_fleet) = mpsc::channel(8);
        let (reports, inbox) = mpsc::channel(4096);
        let cancel = CancellationToken::new();
        let driver = Arc::new(fake.clone());
        let wanting = Arc::new(Notify::new());
        let told = (reports, wanting.clone());
        let fleet = Fleet::new(driver, told, LIMITS, Arc::default(), cancel.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(fleet.run(for_fleet, cancel.clone()));
        Self {
            fake,
            orders,
            inbox,
            wanting,
            cancel,
            tasks,
            names: BTreeMap::new(),
            said: Vec::new(),
            states: Vec::new(),
            problems: Vec::new(),
        }
    }

    async fn register(&self, texts: &[String]) {
        let mut answer = MapperRegisterResponse::default();
        for text in texts {
            let mut models = Vec::new();
            for manifest in parse_manifests(text).unwrap() {
                match manifest {
                    Manifest::Model(model) => models.push(model),
                    Manifest::Device(instance) => {
                        let device = Device::resolve(&models[0], &instance).unwrap();
                        let device = device_to_proto(&device, |_| None, Peer::Edgetwin).unwrap();
                        answer.device_list.push(device);
                    }
                }
            }
            answer.model_list.extend(models.iter().map(model_to_proto));
        }
        let order = Order::Registered { answer: answer.into(), fresh: false };
        self.orders.send(order).await.unwrap();
    }

    async fn put(&self, text: &str) -> Result<(), Refused> {
        let mut result = Ok(());
        for manifest in parse_manifests(text).unwrap() {
            match manifest {
                Manifest::Model(model) => {
                    let (answer, answered) = oneshot::channel();
                    self.orders.send(Order::PutModel(model, answer)).await.unwrap();
                    answered.await.unwrap();
                }
                Manifest::Device(instance) => {
                    let (answer, answered) = oneshot::channel();
                    self.orders.send(Order::Put(*instance, answer)).await.unwrap();
                    result = answered.await.unwrap();
                }
            }
        }
        result
    }

    async fn remove(&self, name: &str) -> bool {
        let (answer, answered) = oneshot::channel();
        let id = DeviceId::new("demo", name).unwrap();
        self.orders.send(Order::Remove(id, answer)).await.unwrap();
        answered.await.unwrap()
    }

    async fn seconds(&mut self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while let Ok(Some(report)) = tokio::time::timeout_at(end, self.inbox.recv()).await {
            match report {
                Report::Device(seat, device) => {
                    self.names.insert(seat, device.id.name().into());
                }
                Report::Gone(seat) => {
                    self.names.remove(&seat);
                }
                // As the outbox: what is said of nobody is not heard.
                Report::State(seat, health) => {
                    let Some(name) = self.names.get(&seat) else { continue };
                    self.states.push((name.clone(), health.state));
                }
                Report::Problem(seat, problem) => {
                    self.problems.push((self.names[&seat].clone(), problem));
                }
                Report::Batch(batch) => {
                    let Some(name) = self.names.get(&batch.seat.unwrap()) else { continue };
                    let now = Instant::now();
                    let readings = batch.readings.into_iter();
                    self.said.extend(readings.map(|(_, reading)| (now, name.clone(), reading)));
                }
            }
        }
    }

    fn times(&self, name: &str) -> Vec<Instant> {
        let good = self
            .said
            .iter()
            .filter(|(_, other, reading)| other == name && reading.quality == Quality::Good);
        good.map(|(at, ..)| *at).collect()
    }

    async fn stop(mut self) {
        self.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_driver_costs_only_its_own_endpoint() {
    let mut world = World::new();
    world.fake.set(1, "p", 1);
    world.fake.plant().panics.insert("bad".into());
    let one = |name: &str, line: &str| manifests(name, line, 1, &[("p", "", "")]);
    world.register(&[one("pump", "good"), one("fan", "bad")]).await;
    world.seconds(30).await;
    assert!(world.times("pump").len() >= 29);
    assert!(world.times("fan").is_empty());
    assert!(world.states.contains(&("fan".into(), DeviceState::Offline)));
    world.fake.plant().panics.clear();
    world.seconds(61).await;
    assert!(!world.times("fan").is_empty());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_of_a_hundred_devices_changes_and_the_others_see_no_gap_and_no_reconnect() {
    let mut world = World::new();
    let text = |n: u8, options: &str| {
        manifests(&format!("d{n}"), &format!("line{}", n % 10), n, &[("p", options, "")])
    };
    for n in 0..100 {
        world.fake.set(n, "p", n);
    }
    world.register(&(0..100).map(|n| text(n, "")).collect::<Vec<_>>()).await;
    world.seconds(10).await;
    assert_eq!(world.fake.connects(), 10);
    world.put(&text(42, "").replace("collectCycle: 1000", "collectCycle: 250")).await.unwrap();
    world.said.clear();
    world.seconds(10).await;
    for n in (0..100u8).filter(|n| *n != 42) {
        let times = world.times(&format!("d{n}"));
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(times.len() >= 9 && gap <= Duration::from_secs(1), "d{n}: {gap:?}");
    }
    assert!(world.times("d42").len() >= 38, "four times as often");
    assert_eq!(world.fake.connects(), 10);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn registering_again_changes_what_differs_and_nothing_else() {
    let mut world = World::new();
    let one = |name: &str, unit: u8| manifests(name, "a", unit, &[("p", "", "{value: '5'}")]);
    for unit in 1..=3 {
        world.fake.set(unit, "p", 5);
    }
    world.register(&[one("pump", 1), one("fan", 2)]).await;
    world.seconds(5).await;
    for _ in 0..5 {
        world.register(&[one("pump", 1), one("valve", 3)]).await;
        world.seconds(5).await;
    }
    world.said.clear();
    world.seconds(10).await;
    assert_eq!(world.times("pump").len(), 10);
    assert_eq!(world.times("valve").len(), 10);
    assert!(world.times("fan").is_empty());
    assert_eq!((world.fake.connects(), world.fake.writes()), (1, 0), "every device showed it");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_description_is_refused_and_the_one_before_stays_in_force() {
    let mut world = World::new();
    world.fake.set(1, "p", 5);
    let good = manifests("pump", "a", 1, &[("p", "", "")]);
    world.put(&good).await.unwrap();
    world.seconds(3).await;
    for wrong in
        [good.replace("line: a, ", ""), good.replace("collectCycle: 1000", "collectCycle: -1")]
    {
        match world.put(&wrong).await {
            Err(Refused::Invalid(problems)) => assert!(!problems.problems.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    world.said.clear();
    world.seconds(5).await;
    assert_eq!(world.times("pump").len(), 5);
    // The agent is told what is wrong, also of what came with a registration, and when it is mended.
    world.register(&[good.replace("line: a, ", "")]).await;
    world.put(&good).await.unwrap();
    world.seconds(1).await;
    let told: Vec<_> = world.problems.iter().map(|(_, problem)| problem.as_deref()).collect();
    let [Some(line), Some(cycle), Some(again), None] = told.as_slice() else { panic!("{told:?}") };
    assert!(line.contains("configData.line: "), "{line}");
    assert!(cycle.contains("collectCycle = \"-1\""), "{cycle}");
    assert_eq!(again, line);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_device_with_a_wrong_description_is_refused_shown_and_served_once_it_is_mended() {
    let mut world = World::new();
    world.fake.set(1, "p", 5);
    let good = manifests("pump", "a", 1, &[("p", "", "")]);
    let wrong = good.replace("line: a, ", "");
    for _ in 0..2 {
        assert!(matches!(world.put(&wrong).await, Err(Refused::Invalid(_))));
    }
    world.seconds(1).await;
    assert_eq!(world.states, [("pump".to_owned(), DeviceState::Unhealthy)]);
    assert_eq!(world.problems.len(), 1, "the same again is no news");
    world.put(&good).await.unwrap();
    world.seconds(5).await;
    assert!(world.times("pump").len() >= 4);
    assert_eq!(world.problems.last(), Some(&("pump".to_owned(), None)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_model_of_a_device_makes_the_mapper_fetch_its_devices() {
    let world = World::new();
    let pump = manifests("pump", "a", 1, &[("p", "", "")]);
    world.put(&pump).await.unwrap();
    world.put(&pump).await.unwrap();
    assert!(world.wanting.notified().now_or_never().is_none(), "the same model again");
    // Nothing can be made of this one, and yet the next one counts.
    let wrong = pump.replace("type: INT", "type: NOTHING");
    for text in [wrong, manifests("pump", "a", 1, &[("q", "", "")])] {
        let _ = world.put(&text).await;
        assert!(world.wanting.notified().now_or_never().is_some(), "{text}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_devices_with_the_same_unit_are_both_served() {
    let mut world = World::new();
    world.fake.set(1, "p", 5);
    world.fake.set(1, "q", 6);
    world.put(&manifests("pump", "a", 1, &[("p", "", "")])).await.unwrap();
    world.put(&manifests("twin", "a", 1, &[("q", "", "{value: '7'}")])).await.unwrap();
    world.seconds(10).await;
    assert!(world.times("pump").len() >= 9 && world.times("twin").len() >= 9);
    assert_eq!((world.fake.connects(), world.fake.get(1, "q")), (1, Some(Value::Int(7))));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_device_of_a_wire_closes_it() {
    let mut world = World::new();
    world.fake.set(1, "p", 5);
    world.put(&manifests("pump", "a", 1, &[("p", "safeValue: 0", "")])).await.unwrap();
    world.seconds(3).await;
    assert!(world.remove("pump").await);
    world.seconds(3).await;
    assert_eq!(world.fake.events().last(), Some(&Event::Close));
    assert_eq!(world.fake.writes(), 0, "to let a device go is no stop");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_is_asked_for_a_place_when_a_device_is_described_and_told_when_it_leaves() {
    let world = World::new();
    let pump = |line: &str, desired: &str| manifests("pump", line, 1, &[("p", "", desired)]);
    for (line, desired) in [("a", ""), ("a", "{value: '1'}"), ("a", "{value: '2'}"), ("a", "")] {
        world.put(&pump(line, desired)).await.unwrap();
    }
    assert_eq!(world.fake.plant().addressed, 1, "what is desired says nothing of the place");
    world.put(&pump("b", "")).await.unwrap();
    assert_eq!(world.fake.plant().addressed, 2);
    assert!(world.remove("pump").await);
    let left = |event: &Event| matches!(event, Event::Left(..));
    let events: Vec<_> = world.fake.events().into_iter().filter(left).collect();
    let expected = ["a", "b"].map(|line| Event::Left("pump".into(), line.into()));
    assert_eq!(events, expected);
    world.stop().await;
}

/// Waits until a device on line `a` is asked, which does not answer for five seconds.
async fn asked_in_vain(world: &mut World, text: &str) {
    world.fake.plant().patience = Duration::from_secs(5);
    world.put(text).await.unwrap();
    world.seconds(2).await;
    world.fake.plant().silent.insert(1);
    world.seconds(2).await;
    assert!(matches!(world.fake.events().last(), Some(Event::Read(1, _))));
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_is_given_up_and_taken_again_is_opened_when_the_old_session_ended() {
    let mut world = World::new();
    world.fake.set(1, "p", 5);
    let pump = manifests("pump", "a", 1, &[("p", "", "")]);
    asked_in_vain(&mut world, &pump).await;
    assert!(world.remove("pump").await);
    world.put(&pump).await.unwrap();
    world.fake.plant().silent.clear();
    world.said.clear();
    world.seconds(10).await;
    let lives = |event: &Event| matches!(event, Event::Connect(_) | Event::Close);
    let events: Vec<_> = world.fake.events().into_iter().filter(lives).collect();
    let connect = Event::Connect("a".into());
    assert_eq!(events, [connect.clone(), Event::Close, connect]);
    assert!(world.times("pump").len() >= 5, "it is served again");
    // And once more, now that nothing of it is left.
    assert!(world.remove("pump").await);
    world.seconds(1).await;
    world.put(&pump).await.unwrap();
    world.said.clear();
    world.seconds(5).await;
    assert!(world.times("pump").len() >= 4);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_old_wire_says_of_a_device_that_moved_is_not_heard() {
    let mut world = World::new();
    let pump = |line: &str, unit: u8| manifests("pump", line, unit, &[("p", "", "")]);
    for unit in [1, 2] {
        world.fake.set(unit, "p", 5);
    }
    asked_in_vain(&mut world, &pump("a", 1)).await;
    world.states.clear();
    world.said.clear();
    world.put(&pump("b", 2)).await.unwrap();
    world.seconds(10).await;
    let states: Vec<_> = world.states.iter().map(|(_, state)| *state).collect();
    assert_eq!(states, [DeviceState::Online]);
    assert!(world.said.iter().all(|(_, _, reading)| reading.quality == Quality::Good));
    world.stop().await;
}
