//! The whole mapper between a simulated wire and an agent.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod rig;

use std::time::Duration;

use device_model::{DeviceState, Quality, Value};
use dmi::convert::Peer;
use mapper_modbus::ModbusDriver;
use mapper_sdk::testkit::{FakeAgent, Heard};
use mapper_sdk::{Mapper, MapperConfig, Pace};
use rig::{Point, Rig, Wire};
use sim_modbus::{Blueprint, Fault, FaultKind, Layout, Simulation, Table};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const SPEED: Point<'_> = ("speed", "INT", "ReadWrite", "register: holding, offset: 0, limit: 1");

/// A mapper with quick tempers, and the agent that it serves. Ends when dropped.
struct World {
    agent: FakeAgent,
    mapper: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    _folder: TempDir,
}

impl World {
    async fn start(manifests: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let agent = FakeAgent::start(folder.path().join("dmi.sock"), Peer::Edgetwin);
        agent.hold(manifests);
        let socket = folder.path().join("modbus.sock");
        let mut config = MapperConfig::new("modbus", socket, agent.socket());
        let quick = Pace { min: Duration::from_millis(10), max: Duration::from_millis(200) };
        (config.reconnect, config.rest) = (quick, quick);
        let mapper = Mapper::bind(config, ModbusDriver::default()).await.unwrap();
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(mapper.run(stop.clone()));
        Self { agent, mapper: tasks, stop, _folder: folder }
    }

    async fn good(&self, device: &str) -> Value {
        let is_good = |twin: &dmi::convert::TwinReport| {
            twin.reading.as_ref().is_some_and(|reading| reading.quality == Quality::Good)
        };
        let twin = self.agent.until_twin(device, "speed", is_good).await;
        twin.reading.unwrap().value.unwrap()
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.mapper.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// Units 1 to `count`, each with its number in register 0.
fn units(count: u8) -> Blueprint {
    (1..=count).fold(Blueprint::default(), |blueprint, unit| {
        let mut layout = Layout::default();
        layout.put(Table::Holding, 0, &[unit.into()]);
        blueprint.unit(unit, layout)
    })
}

fn device(unit: u8, wire: &str) -> String {
    let protocol = format!("{wire}, slaveID: {unit}, timeout: 100ms");
    rig::manifests(&format!("unit-{unit}"), &protocol, &[SPEED])
}

/// Row 2 of the demands.
#[tokio::test]
async fn thirty_two_units_share_the_one_connection_that_the_device_allows() {
    let rig = Rig::start(Wire::Tcp, units(32)).await;
    rig.handle.inject(Fault::new(FaultKind::OneConnection));
    let manifests: String = (1..=32).map(|unit| device(unit, &rig.wire)).collect();
    let world = World::start(&manifests).await;
    for unit in 1..=32u8 {
        let value = world.good(&format!("demo/unit-{unit}")).await;
        assert_eq!(value, Value::Int(unit.into()));
    }
    let polled =
        |counters: &sim_modbus::Counters| (1..=32).all(|unit| counters.unit(unit).requests >= 5);
    let counters = rig.handle.until(polled).await;
    assert_eq!(counters.connections.accepted, 1);
    assert_eq!(counters.connections.refused, 0);
    world.stop().await;
}

/// Row 1 of the demands: absent at the start, then cut again and again.
#[tokio::test]
async fn a_device_that_comes_late_and_goes_often_is_always_found_again() {
    // Bound, but not listening: connections are refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let world = World::start(&device(1, &format!("ip: 127.0.0.1, port: {port}"))).await;
    let offline = |heard: &[Heard]| {
        heard.iter().find_map(|heard| {
            matches!(heard, Heard::State { state: DeviceState::Offline, .. }).then_some(())
        })
    };
    world.agent.until(offline).await;
    let mut simulation = Simulation::new(units(1));
    let handle = simulation.handle();
    simulation.serve_tcp(socket.listen(8).unwrap()).unwrap();
    assert_eq!(world.good("demo/unit-1").await, Value::Int(1));
    for round in 2..30u16 {
        handle.write(1, Table::Holding, 0, &[round]).unwrap();
        handle.inject(Fault::new(FaultKind::Reset).count(1));
        let news = |twin: &dmi::convert::TwinReport| {
            let reading = twin.reading.as_ref();
            reading.and_then(|reading| reading.value.clone()) == Some(Value::Int(round.into()))
        };
        world.agent.until_twin("demo/unit-1", "speed", news).await;
    }
    let connections = handle.counters().connections;
    assert!(connections.accepted >= 28, "{connections:?}");
    assert_eq!(connections.max, 1, "never two at a time");
    world.stop().await;
}

/// Row 3 of the demands, small: the dead units rest, the others are read as often as they want.
#[tokio::test]
async fn dead_units_leave_the_line_to_the_others() {
    let rig = Rig::start(Wire::Pty, units(8)).await;
    for unit in [2, 5] {
        rig.handle.inject(Fault::new(FaultKind::Silence).unit(unit));
    }
    let manifests: String = (1..=8).map(|unit| device(unit, &rig.wire)).collect();
    let world = World::start(&manifests).await;
    let healthy = |counters: &sim_modbus::Counters| {
        [1, 3, 4, 6, 7, 8].iter().all(|unit| counters.unit(*unit).requests >= 20)
    };
    let counters = rig.handle.until(healthy).await;
    assert!(counters.unit(2).requests < 20, "{:?}", counters.unit(2));
    assert_eq!(counters.overlapping_frames, 0);
    rig.handle.clear_faults();
    assert_eq!(world.good("demo/unit-5").await, Value::Int(5));
    world.stop().await;
}
