mod writes;

use std::collections::HashMap;

use device_model::{AckCode, DeviceState, Quality, QualityCode, Reading, Timestamp, Value};
use tokio::task::JoinSet;

use super::*;
use crate::fake::{Event, Fake, device, manifests};
use crate::report::Receipt;

const LIMITS: Limits = Limits {
    reconnect: Pace { min: Duration::from_secs(1), max: Duration::from_secs(60) },
    rest: Pace { min: Duration::from_secs(1), max: Duration::from_secs(60) },
    stop: Duration::from_millis(700),
};

/// One wire's task, with everything that it said.
struct World {
    fake: Fake,
    commands: Option<mpsc::Sender<Command<Fake>>>,
    inbox: mpsc::Receiver<Report>,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    seats: HashMap<String, Seat>,
    said: Vec<(Instant, Report)>,
    metrics: Arc<Metrics>,
    /// Receipts of an agent that is slow to record; none for one that is not.
    receipts: Option<Vec<Receipt>>,
}

impl World {
    fn new() -> Self {
        Self::with(Fake::new())
    }

    fn with(fake: Fake) -> Self {
        let (commands, for_task) = mpsc::channel(64);
        let (reports, inbox) = mpsc::channel(4096);
        let (cancel, metrics) = (CancellationToken::new(), Arc::new(Metrics::default()));
        let task = Endpoint::new(
            Arc::new(fake.clone()),
            "a".to_owned(),
            0.0,
            (for_task, reports),
            LIMITS,
            metrics.clone(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run(cancel.clone()));
        let commands = Some(commands);
        Self {
            fake,
            commands,
            inbox,
            cancel,
            tasks,
            seats: HashMap::new(),
            said: Vec::new(),
            metrics,
            receipts: None,
        }
    }

    async fn tell(&self, command: Command<Fake>) {
        assert!(self.commands.as_ref().unwrap().send(command).await.is_ok());
    }

    async fn join(&mut self, name: &str, unit: u8, properties: &[(&str, &str, &str)]) {
        let device = device(&manifests(name, "a", unit, properties));
        self.join_device(device, unit, Origin::Update).await;
    }

    /// As if the agent had named it in its answer to a registration.
    async fn register(&mut self, name: &str, unit: u8, properties: &[(&str, &str, &str)]) {
        let device = device(&manifests(name, "a", unit, properties));
        self.join_device(device, unit, Origin::Registration).await;
    }

    async fn join_device(&mut self, device: Device, unit: u8, origin: Origin) {
        for property in &device.properties {
            if self.fake.get(unit, property.name.as_str()).is_none() {
                self.fake.set(unit, property.name.as_str(), 0);
            }
        }
        let next = Seat(u32::try_from(self.seats.len()).unwrap());
        let seat = *self.seats.entry(device.id.name().into()).or_insert(next);
        let member = Box::new(Member::new(&self.fake, seat, Arc::new(device), unit));
        self.tell(Command::Join { member, origin, doubtful: false }).await;
    }

    async fn desire(&mut self, name: &str, properties: &[(&str, &str, &str)], unit: u8) {
        let device = Arc::new(device(&manifests(name, "a", unit, properties)));
        self.tell(Command::Desire(self.seats[name], device)).await;
    }

    /// Lets the wire work for `span`.
    async fn pass(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while let Ok(Some(mut report)) = tokio::time::timeout_at(end, self.inbox.recv()).await {
            if let Report::Batch(batch) = &mut report {
                let receipts = std::mem::take(&mut batch.receipts);
                if let Some(kept) = &mut self.receipts {
                    kept.extend(receipts);
                }
            }
            self.said.push((Instant::now(), report));
        }
    }

    fn seconds(&mut self, seconds: u64) -> impl Future<Output = ()> {
        self.pass(Duration::from_secs(seconds))
    }

    fn readings(&self, name: &str) -> Vec<(Instant, String, Reading)> {
        let seat = self.seats[name];
        let mut readings = Vec::new();
        for (at, report) in &self.said {
            if let Report::Batch(batch) = report
                && batch.seat == Some(seat)
            {
                for (property, reading) in &batch.readings {
                    readings.push((*at, property.to_string(), reading.clone()));
                }
            }
        }
        readings
    }

    fn good(&self, name: &str) -> usize {
        let good = |(_, _, reading): &&(Instant, String, Reading)| reading.quality == Quality::Good;
        self.readings(name).iter().filter(good).count()
    }

    fn codes(&self, name: &str) -> Vec<u16> {
        let seat = self.seats[name];
        let mut codes = Vec::new();
        for (_, report) in &self.said {
            if let Report::Batch(batch) = report
                && batch.seat == Some(seat)
            {
                codes.extend(batch.acks.iter().map(|(_, ack)| ack.code.number()));
            }
        }
        codes
    }

    fn states(&self, name: &str) -> Vec<DeviceState> {
        let seat = self.seats[name];
        let state = |(_, report): &(Instant, Report)| match report {
            Report::State(other, health) if *other == seat => Some(health.state),
            _ => None,
        };
        self.said.iter().filter_map(state).collect()
    }

    async fn stop(&mut self) -> Duration {
        let start = Instant::now();
        self.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        while let Ok(report) = self.inbox.try_recv() {
            self.said.push((Instant::now(), report));
        }
        start.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_unit_leaves_its_neighbours_95_percent_of_their_readings() {
    let mut world = World::new();
    for unit in 0..16 {
        world.join(&format!("unit{unit}"), unit, &[("p", "", "")]).await;
    }
    world.fake.plant().silent = [3, 7, 12].into();
    world.fake.plant().latency = Duration::from_millis(10);
    world.seconds(60).await;
    world.said.clear();
    world.seconds(100).await;
    for unit in 0..16 {
        let good = world.good(&format!("unit{unit}"));
        match unit {
            3 | 7 | 12 => assert_eq!(good, 0),
            _ => assert!(good >= 95, "unit {unit}: {good}"),
        }
    }
    assert_eq!(world.fake.connects(), 1, "one connection, whoever is dead");
    world.fake.plant().silent.clear();
    world.seconds(61).await;
    world.said.clear();
    world.seconds(20).await;
    assert!(world.good("unit7") >= 19, "revived within one probe: {}", world.good("unit7"));
}

#[tokio::test(start_paused = true)]
async fn a_devices_time_stands_unless_its_clock_is_off_and_then_the_gateways_does() {
    let now = time().as_millis();
    let minutes = |minutes: i64| Timestamp::from_millis(now + minutes * 60_000);
    for (source, skew, credible) in [
        (minutes(0), "", true),
        (minutes(4), "", true),
        (minutes(4), "clockSkew: 3m", false),
        // A device that kept a value while the line was down.
        (minutes(-600), "", true),
        (minutes(6), "", false),
        (minutes(6), "clockSkew: 1h", true),
        // 2000-01-01, where many clocks start after a power cut, and 1970.
        (Timestamp::from_millis(946_684_800_000), "", false),
        (Timestamp::from_millis(5), "", false),
    ] {
        let mut world = World::new();
        world.fake.plant().source_time = Some(source);
        world.join("pump", 1, &[("p", skew, "")]).await;
        world.seconds(1).await;
        let (_, _, reading) = world.readings("pump").remove(0);
        assert_eq!(reading.value, Some(Value::Int(0)), "the value is not in doubt");
        assert!(reading.sample_time.as_millis() >= now);
        if credible {
            assert_eq!((reading.quality, reading.source_time), (Quality::Good, Some(source)));
        } else {
            let judged = (reading.quality, reading.code, reading.source_time);
            assert_eq!(judged, (Quality::Uncertain, QualityCode::ClockSkew, None), "{source}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn thirty_two_units_share_one_connection_and_each_is_read_once_a_cycle() {
    let mut world = World::new();
    world.fake.plant().latency = Duration::from_millis(20);
    for unit in 0..32 {
        world.join(&format!("unit{unit}"), unit, &[("p", "", ""), ("q", "", "")]).await;
    }
    world.seconds(600).await;
    assert_eq!(world.fake.connects(), 1);
    for unit in 0..32 {
        let of_unit = |event: &Event| matches!(event, Event::Read(other, _) if *other == unit);
        let reads = world.fake.events().into_iter().filter(of_unit).count();
        assert!((599..=602).contains(&reads), "unit {unit}: {reads} transactions");
        let readings = world.good(&format!("unit{unit}"));
        assert!((2 * reads - 2..=2 * reads).contains(&readings), "unit {unit}: {readings}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_there_at_start_is_offline_within_two_seconds_and_found_later() {
    let mut world = World::new();
    world.fake.plant().down.insert("a".into());
    let start = Instant::now();
    world.join("pump", 1, &[("p", "", "")]).await;
    world.seconds(2).await;
    assert_eq!(world.states("pump"), [DeviceState::Offline]);
    let readings = world.readings("pump");
    assert_eq!(readings[0].2.code, QualityCode::NoCommunication);
    assert!(readings[0].0 - start < Duration::from_secs(2));
    world.seconds(600).await;
    assert!(world.readings("pump").len() == 1, "told once");
    world.fake.plant().down.clear();
    world.seconds(61).await;
    assert!(world.good("pump") >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_wire_makes_every_property_bad_in_one_report_and_good_only_when_read_again() {
    let mut world = World::new();
    world.join("pump", 1, &[("a", "", ""), ("b", "", ""), ("c", "", "")]).await;
    world.seconds(5).await;
    assert!(world.good("pump") >= 12);
    world.said.clear();
    world.fake.plant().down.insert("a".into());
    world.seconds(10).await;
    let batches: Vec<_> = world
        .said
        .iter()
        .filter_map(|(_, report)| match report {
            Report::Batch(batch) => Some(batch),
            _ => None,
        })
        .collect();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].readings.len(), 3);
    assert!(batches[0].readings.iter().all(|(_, r)| r.code == QualityCode::NoCommunication));
    assert_eq!(world.good("pump"), 0, "no new good sample");
    world.fake.plant().down.clear();
    world.seconds(61).await;
    let mut states = world.states("pump");
    // The reason was another one once the wire could not be opened again.
    states.dedup();
    assert_eq!(states, [DeviceState::Offline, DeviceState::Online]);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_outages_are_a_hundred_recoveries() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", "")]).await;
    for round in 0..100 {
        world.said.clear();
        world.seconds(3).await;
        assert!(world.good("pump") >= 1, "round {round}");
        world.fake.plant().cut = true;
        world.seconds(3).await;
    }
    assert_eq!(world.metrics.reconnects.count(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_wire_on_which_nobody_answers_is_opened_anew() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", "")]).await;
    world.fake.plant().silent.insert(1);
    world.seconds(20).await;
    assert!(world.fake.connects() >= 2, "a half-open connection looks like this");
    world.fake.plant().silent.clear();
    world.said.clear();
    world.seconds(61).await;
    assert!(world.good("pump") >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_is_tried_again_and_keeps_its_desired_values() {
    let mut world = World::new();
    world.fake.plant().panics.insert("a".into());
    world.join("pump", 1, &[("speed", "", "{value: '7', metadata: {version: '1'}}")]).await;
    world.seconds(10).await;
    assert_eq!(world.states("pump"), [DeviceState::Offline]);
    assert!(world.metrics.panics.count() >= 3);
    world.fake.plant().panics.clear();
    world.seconds(61).await;
    assert_eq!((world.fake.writes(), world.fake.get(1, "speed")), (1, Some(Value::Int(7))));
}

#[tokio::test(start_paused = true)]
async fn a_wire_that_is_never_idle_tells_what_it_reads() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", "")]).await;
    world.fake.plant().latency = Duration::from_millis(1_100);
    world.seconds(22).await;
    assert!(world.metrics.overruns.count() > 0, "more than the wire can carry");
    assert!(world.good("pump") >= 19, "{}", world.good("pump"));
}

#[tokio::test(start_paused = true)]
async fn a_new_visitor_plans_one_device_anew_and_the_others_see_no_gap() {
    let mut world = World::new();
    for unit in 0..10 {
        world.join(&format!("unit{unit}"), unit, &[("p", "", "")]).await;
    }
    world.seconds(10).await;
    world.said.clear();
    let desired = "{value: '5', metadata: {version: '1'}}";
    world.join("unit4", 4, &[("p", "deadband: 2", desired), ("q", "", "")]).await;
    world.seconds(10).await;
    for unit in (0..10).filter(|unit| *unit != 4) {
        let times: Vec<_> =
            world.readings(&format!("unit{unit}")).iter().map(|(at, ..)| *at).collect();
        assert_eq!(times.len(), 10);
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(gap <= Duration::from_secs(1), "{gap:?}");
    }
    assert_eq!((world.fake.connects(), world.fake.writes()), (1, 1));
    world.join("unit4", 4, &[("p", "", desired)]).await;
    world.seconds(10).await;
    assert_eq!(world.fake.writes(), 1, "the writer went along: not written again");
}

#[tokio::test(start_paused = true)]
async fn a_value_outside_of_the_models_range_is_uncertain() {
    let mut world = World::new();
    world.fake.set(1, "p", 101);
    world.join("pump", 1, &[("p", "", "")]).await;
    world.seconds(2).await;
    let (_, _, reading) = world.readings("pump").remove(0);
    assert_eq!((reading.quality, reading.code), (Quality::Uncertain, QualityCode::OutOfRange));
    assert_eq!(reading.value, Some(Value::Int(101)));
}

#[tokio::test(start_paused = true)]
async fn everything_is_told_again_to_a_new_agent() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "reportStrategy: onChange", "")]).await;
    world.seconds(10).await;
    assert_eq!(world.good("pump"), 1);
    world.tell(Command::Refresh).await;
    world.seconds(2).await;
    assert_eq!(world.good("pump"), 2);
    assert_eq!(world.states("pump"), [DeviceState::Online, DeviceState::Online]);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_told_while_another_unit_is_waited_for() {
    let mut world = World::new();
    world.fake.plant().patience = Duration::from_secs(9);
    // The first and the last are read at the same point of the cycle.
    for (name, unit) in [("pump", 1), ("b", 3), ("c", 4), ("d", 5), ("dead", 2)] {
        world.join(name, unit, &[("p", "", "")]).await;
    }
    world.seconds(3).await;
    world.fake.plant().silent.insert(2);
    world.fake.plant().log.clear();
    world.said.clear();
    world.seconds(30).await;
    let log = std::mem::take(&mut world.fake.plant().log);
    let read = log.iter().filter(|(_, event)| matches!(event, Event::Read(1, _)));
    for ((read, _), (told, ..)) in read.zip(world.readings("pump")) {
        assert!(told - *read <= GATHER + Duration::from_millis(10), "{:?}", told - *read);
    }
    assert!(world.good("pump") >= 5, "{}", world.good("pump"));
}
