use std::path::PathBuf;

use device_model::{AckCode, DeviceState, Quality, QualityCode, Value};
use dmi::convert::Peer;
use tempfile::TempDir;
use tonic::Status;

use super::*;
use crate::backoff::Pace;
use crate::fake::{Fake, manifests};
use crate::testkit::{FakeAgent, Heard};

/// A mapper of fake devices beside a fake agent, on real sockets and a real clock.
struct World {
    fake: Fake,
    agent: FakeAgent,
    metrics: Option<Arc<Metrics>>,
    directory: TempDir,
    state_window: Duration,
    tasks: JoinSet<anyhow::Result<()>>,
    cancel: CancellationToken,
}

impl World {
    fn new(peer: Peer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let agent = FakeAgent::start(directory.path().join("dmi.sock"), peer);
        Self {
            fake: Fake::new(),
            agent,
            metrics: None,
            directory,
            state_window: Duration::from_secs(60),
            tasks: JoinSet::new(),
            cancel: CancellationToken::new(),
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("mapper.sock")
    }

    async fn start(&mut self) {
        let mut config = MapperConfig::new("fake-mapper", self.socket(), self.agent.socket());
        config.reconnect = Pace { min: Duration::from_millis(20), max: Duration::from_millis(100) };
        config.rest = config.reconnect;
        config.state_window = self.state_window;
        let mapper = Mapper::bind(config, self.fake.clone()).await.unwrap();
        self.metrics = Some(mapper.metrics());
        self.cancel = CancellationToken::new();
        self.tasks.spawn(mapper.run(self.cancel.clone()));
    }

    async fn stop(&mut self) {
        self.cancel.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }

    /// Calls that the agent refused so far.
    fn refused(&self) -> usize {
        let refused = |heard: &&Heard| matches!(heard, Heard::Refused(_));
        self.agent.heard().iter().filter(refused).count()
    }

    async fn until_good(&self, device: &str, property: &str, value: i64) {
        self.agent
            .until_twin(device, property, |twin| {
                twin.reading.as_ref().is_some_and(|reading| {
                    reading.quality == Quality::Good && reading.value == Some(Value::Int(value))
                })
            })
            .await;
    }
}

#[tokio::test]
async fn a_value_goes_up_and_a_desired_value_goes_down_and_is_verified() {
    let mut world = World::new(Peer::Edgetwin);
    world.fake.set(1, "speed", 5);
    world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", "")]));
    world.start().await;
    world.until_good("demo/pump", "speed", 5).await;
    assert_eq!(world.fake.writes(), 0);
    let desired = "{value: '42', metadata: {version: '3'}}";
    world.agent.update_device(&manifests("pump", "a", 1, &[("speed", "", desired)])).await.unwrap();
    let verified = |twin: &dmi::convert::TwinReport| {
        twin.ack.as_ref().is_some_and(|ack| ack.code == AckCode::Verified)
    };
    let twin = world.agent.until_twin("demo/pump", "speed", verified).await;
    assert_eq!(twin.observed.as_deref(), Some("42"));
    assert_eq!(world.agent.codes("demo/pump", "speed"), [102, 202, 209]);
    world.until_good("demo/pump", "speed", 42).await;
    assert_eq!((world.fake.connects(), world.fake.writes()), (1, 1));
    world.stop().await;
}

/// Reports that were heard of so many devices on one wire, and the calls that brought them.
async fn told_of(units: u8, peer: Peer) -> (usize, u32) {
    let mut world = World::new(peer);
    for unit in 1..=units {
        world.fake.set(unit, "level", i64::from(unit));
        let name = format!("unit-{unit}");
        world.agent.hold(&manifests(&name, "a", unit, &[("level", "", "")]));
    }
    world.start().await;
    for unit in 1..=units {
        world.until_good(&format!("demo/unit-{unit}"), "level", i64::from(unit)).await;
    }
    world.stop().await;
    let reports = world.agent.heard();
    assert!(!reports.iter().any(|heard| matches!(heard, Heard::Refused(_))), "{reports:?}");
    let reports = reports.iter().filter(|heard| matches!(heard, Heard::Report { .. })).count();
    (reports, world.agent.report_calls())
}

#[tokio::test]
async fn our_agent_is_told_of_several_devices_in_one_call() {
    let (reports, calls) = told_of(20, Peer::Edgetwin).await;
    assert!(reports >= 20 && usize::try_from(calls).unwrap() < reports, "{calls} for {reports}");
}

#[tokio::test]
async fn an_edgecore_is_told_of_one_device_a_call() {
    let (reports, calls) = told_of(6, Peer::KubeEdge).await;
    assert_eq!(usize::try_from(calls).unwrap(), reports);
}

#[tokio::test]
async fn a_mapper_waits_for_its_agent_for_ever_and_registers_again_with_a_new_one() {
    let mut world = World::new(Peer::Edgetwin);
    world.fake.set(1, "speed", 5);
    world.agent.hold(&manifests("pump", "a", 1, &[("speed", "reportStrategy: onChange", "")]));
    world.agent.stop().await;
    world.start().await;
    assert!(world.tasks.try_join_next().is_none());
    world.agent.restart().await;
    world.until_good("demo/pump", "speed", 5).await;
    world.agent.clear();
    world.fake.set(2, "level", 9);
    world.agent.hold(&manifests("tank", "a", 2, &[("level", "", "")]));
    world.agent.restart().await;
    world.until_good("demo/tank", "level", 9).await;
    world.until_good("demo/pump", "speed", 5).await;
    assert_eq!(world.fake.connects(), 1, "the wire did not notice");
    world.stop().await;
}

#[tokio::test]
async fn a_lease_that_is_gone_is_asked_for_again_and_devices_that_left_are_let_go() {
    let mut world = World::new(Peer::Edgetwin);
    world.fake.set(1, "speed", 5);
    world.fake.set(2, "level", 9);
    world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", "")]));
    let tank = world.agent.hold(&manifests("tank", "b", 2, &[("level", "", "")])).remove(0);
    world.start().await;
    world.until_good("demo/tank", "level", 9).await;
    world.agent.drop_device(&tank);
    world.agent.forget_lease();
    world
        .agent
        .until(|heard| {
            let registered =
                |heard: &&Heard| matches!(heard, Heard::Register { with_data: true, .. });
            (heard.iter().filter(registered).count() == 2).then_some(())
        })
        .await;
    world.agent.clear();
    world.until_good("demo/pump", "speed", 5).await;
    let mut mapper = world.agent.mapper();
    let request = |name: &str| dmi::proto::GetDeviceRequest {
        device_name: name.into(),
        device_namespace: "demo".into(),
    };
    assert!(mapper.get_device(request("pump")).await.is_ok());
    let status = mapper.get_device(request("tank")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    world.stop().await;
}

#[tokio::test]
async fn an_idle_mapper_renews_its_lease() {
    let mut world = World::new(Peer::Edgetwin);
    world.agent.set_ttl(Duration::from_millis(1_500));
    world.start().await;
    world
        .agent
        .until(|heard| {
            let renewed = |heard: &Heard| {
                matches!(heard, Heard::Register { with_data: false, lease: Some(_) })
            };
            heard.iter().any(renewed).then_some(())
        })
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_busy_agent_is_asked_again_and_nothing_is_lost() {
    let mut world = World::new(Peer::Edgetwin);
    world.fake.set(1, "speed", 5);
    let desired = "{value: '42', metadata: {version: '3'}}";
    world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", desired)]));
    let busy = || Status::resource_exhausted("later");
    let edgecore = || Status::unknown("fail because of too many request: fake-mapper");
    world.agent.refuse([busy(), busy(), edgecore(), busy(), busy()]);
    world.start().await;
    world.until_good("demo/pump", "speed", 42).await;
    let verified = |twin: &dmi::convert::TwinReport| {
        twin.ack.as_ref().is_some_and(|ack| ack.code == AckCode::Verified)
    };
    world.agent.until_twin("demo/pump", "speed", verified).await;
    assert_eq!(world.agent.codes("demo/pump", "speed"), [102, 202, 209], "none lost, in order");
    assert_eq!(world.refused(), 5);
    // Calls go side by side: the answer to a refused one may come after what another one told.
    let metrics = world.metrics.clone().unwrap();
    let counted = async {
        while metrics.pushed_back.count() < 5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.unwrap();
    world.stop().await;
    assert_eq!(metrics.pushed_back.count(), 5);
}

#[tokio::test]
async fn an_agent_whose_store_fails_is_told_the_newest_as_soon_as_it_heals() {
    let mut world = World::new(Peer::Edgetwin);
    world.fake.set(1, "speed", 5);
    world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", "{value: '42'}")]));
    let full = || Status::unavailable("the disk of twins.db is full; free space there");
    world.agent.refuse(std::iter::repeat_with(full).take(6));
    world.start().await;
    world.until_good("demo/pump", "speed", 42).await;
    assert_eq!(world.refused(), 6);
    let metrics = world.metrics.clone().unwrap();
    assert_eq!(metrics.registrations.count(), 1, "it is there, and asked again under a back-off");
    world.stop().await;
}

/// Why a device is in `state`, as soon as that is told.
async fn reason_of(world: &World, name: &str, state: DeviceState) -> String {
    let told = |heard: &[Heard]| {
        heard.iter().find_map(|heard| match heard {
            Heard::State { device, state: told, reason, .. }
                if device.name() == name && *told == state =>
            {
                Some(reason.clone())
            }
            _ => None,
        })
    };
    world.agent.until(told).await
}

#[tokio::test]
async fn the_window_of_the_configuration_says_how_many_changes_are_told() {
    fn states(heard: &[Heard]) -> Vec<DeviceState> {
        let state = |heard: &Heard| match heard {
            Heard::State { state, .. } => Some(*state),
            _ => None,
        };
        let mut states: Vec<_> = heard.iter().filter_map(state).collect();
        // Another reason of the same state may have been told.
        states.dedup();
        states
    }
    /// How often the value went from good to bad or back; its first reading counts, too.
    fn turns(heard: &[Heard]) -> usize {
        let qualities = heard.iter().flat_map(|heard| match heard {
            Heard::Report { twins, .. } => twins.as_slice(),
            _ => &[],
        });
        let mut qualities: Vec<_> =
            qualities.filter_map(|twin| Some(twin.reading.as_ref()?.quality)).collect();
        qualities.dedup();
        qualities.len()
    }
    for (window, told) in [(Duration::ZERO, 7), (Duration::from_secs(3600), 3)] {
        let mut world = World::new(Peer::Edgetwin);
        world.fake.set(1, "speed", 5);
        world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", "")]));
        world.state_window = window;
        world.start().await;
        for number in 1..=7 {
            let reached =
                |heard: &[Heard]| turns(heard) >= number && states(heard).len() >= number.min(told);
            world.agent.until(|heard| reached(heard).then_some(())).await;
            match number {
                1 | 3 | 5 => {
                    world.fake.plant().down.insert("a".into());
                }
                _ => world.fake.plant().down.clear(),
            }
        }
        world.stop().await;
        assert_eq!(states(&world.agent.heard()).len(), told, "{window:?}");
    }
}

#[tokio::test]
async fn the_reason_of_a_state_is_told_to_our_agent_alone() {
    for (peer, expected) in [(Peer::Edgetwin, "connection refused"), (Peer::KubeEdge, "")] {
        let mut world = World::new(peer);
        world.fake.plant().down.insert("a".into());
        world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", "")]));
        world.start().await;
        let reason = reason_of(&world, "pump", DeviceState::Offline).await;
        assert_eq!(reason, expected, "{peer:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_device_that_the_driver_refuses_is_shown_and_stops_nobody() {
    let mut world = World::new(Peer::Edgetwin);
    world.fake.set(1, "speed", 5);
    world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", "")]));
    world.agent.hold(&manifests("odd", "a", 1, &[("p", "", "")]).replace("line: a, ", ""));
    world.start().await;
    world.until_good("demo/pump", "speed", 5).await;
    let bad = |twin: &dmi::convert::TwinReport| {
        twin.reading.as_ref().is_some_and(|reading| reading.code == QualityCode::ConfigError)
    };
    world.agent.until_twin("demo/odd", "p", bad).await;
    let reason = reason_of(&world, "odd", DeviceState::Unhealthy).await;
    assert!(reason.contains("spec.protocol.configData.line: "), "{reason}");
    world.stop().await;
}

#[tokio::test]
async fn devices_are_added_changed_and_removed_while_others_keep_their_session() {
    let mut world = World::new(Peer::Edgetwin);
    for unit in 1..=3 {
        world.fake.set(unit, "p", unit);
    }
    world.agent.hold(&manifests("one", "a", 1, &[("p", "", "")]));
    world.start().await;
    world.until_good("demo/one", "p", 1).await;
    world.agent.register_device(&manifests("two", "a", 2, &[("p", "", "")])).await.unwrap();
    world.until_good("demo/two", "p", 2).await;
    world.agent.register_device(&manifests("two", "a", 3, &[("p", "", "")])).await.unwrap();
    world.until_good("demo/two", "p", 3).await;
    assert_eq!(world.fake.connects(), 1);
    world.agent.update_device(&manifests("two", "b", 2, &[("p", "", "")])).await.unwrap();
    world.agent.clear();
    world.until_good("demo/two", "p", 2).await;
    assert_eq!(world.fake.connects(), 2, "it moved to another wire");

    let invalid = manifests("two", "b", 2, &[("p", "", "")]).replace("line: b", "lime: b");
    let status = world.agent.update_device(&invalid).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("spec.protocol.configData.line"), "{status}");
    world.agent.clear();
    world.until_good("demo/two", "p", 2).await;

    let id = "demo/two".parse().unwrap();
    world.agent.remove_device(&id).await.unwrap();
    let status = world.agent.remove_device(&id).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    world.agent.clear();
    world.until_good("demo/one", "p", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_device_of_a_model_that_never_came_is_fetched_by_registering_again() {
    let mut world = World::new(Peer::KubeEdge);
    world.fake.set(1, "p", 7);
    world.start().await;
    world.agent.until(|heard| (!heard.is_empty()).then_some(())).await;
    let status = world.agent.register_bare(&manifests("one", "a", 1, &[("p", "", "")])).await;
    assert_eq!(status.unwrap_err().code(), tonic::Code::FailedPrecondition);
    world.until_good("demo/one", "p", 7).await;
    world.stop().await;
}

#[tokio::test]
async fn a_call_with_a_missing_field_is_refused_by_name() {
    let mut world = World::new(Peer::Edgetwin);
    world.start().await;
    world.agent.until(|heard| (!heard.is_empty()).then_some(())).await;
    let mut mapper = world.agent.mapper();
    let request = dmi::proto::RegisterDeviceRequest { device: None };
    let status = mapper.register_device(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::InvalidArgument, "device: missing")
    );
    let device = dmi::proto::Device { name: "pump".into(), ..Default::default() };
    let request = dmi::proto::RegisterDeviceRequest { device: Some(device) };
    let status = mapper.register_device(request).await.unwrap_err();
    assert_eq!(status.message(), "device.spec: missing");
    world.stop().await;
}

#[tokio::test]
async fn a_real_edgecore_gets_values_alone_and_is_not_written_to_twice() {
    let mut world = World::new(Peer::KubeEdge);
    world.fake.set(1, "speed", 42);
    let desired = "{value: '42', metadata: {timestamp: '100'}}";
    world.agent.hold(&manifests("pump", "a", 1, &[("speed", "", desired), ("gone", "", "")]));
    world.start().await;
    world.until_good("demo/pump", "speed", 42).await;
    world
        .agent
        .until(|heard| {
            let reports = heard.iter().filter(|heard| matches!(heard, Heard::Report { .. }));
            (reports.count() >= 2).then_some(())
        })
        .await;
    assert_eq!(world.fake.writes(), 0, "the device shows it already");
    for heard in world.agent.heard() {
        if let Heard::Report { twins, .. } = heard {
            assert!(twins.iter().all(|twin| twin.ack.is_none()));
            assert!(twins.iter().all(|twin| twin.property.as_str() == "speed"), "Bad is no value");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_stopped_mapper_leaves_safe_values_and_tells_the_rest_within_two_seconds() {
    let mut world = World::new(Peer::Edgetwin);
    world.fake.set(1, "speed", 5);
    let points = [("speed", "safeValue: 0", "{value: '50', metadata: {version: '1'}}")];
    world.agent.hold(&manifests("pump", "a", 1, &points));
    world.start().await;
    world.until_good("demo/pump", "speed", 50).await;
    let start = std::time::Instant::now();
    world.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(world.fake.get(1, "speed"), Some(Value::Int(0)));
    assert!(!world.socket().exists(), "the socket goes with the mapper");
}
