//! Writes, and what the device is left with at a stop.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_desired_value_survives_reconnects_and_is_written_and_verified_when_the_wire_is_back() {
    let mut world = World::new();
    world.fake.plant().down.insert("a".into());
    world.join("pump", 1, &[("speed", "", "{value: '42', metadata: {version: '3'}}")]).await;
    world.seconds(30).await;
    assert_eq!(world.codes("pump"), [102, 424]);
    assert_eq!(world.states("pump"), [DeviceState::Offline]);
    world.fake.plant().down.clear();
    world.seconds(65).await;
    assert_eq!(world.codes("pump"), [102, 424, 202, 209]);
    assert_eq!((world.fake.writes(), world.fake.get(1, "speed")), (1, Some(Value::Int(42))));
    assert_eq!(world.states("pump"), [DeviceState::Offline, DeviceState::Online]);
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_one_transaction_at_most_when_the_wire_is_busy() {
    let mut world = World::new();
    for unit in 0..20 {
        world.join(&format!("unit{unit}"), unit, &[("p", "", "")]).await;
    }
    world.fake.plant().latency = Duration::from_millis(100);
    world.seconds(20).await;
    assert!(world.metrics.overruns.count() > 0, "twice as much as the wire can carry");
    for round in 1..=20 {
        let asked = Instant::now();
        let desired = format!("{{value: '{round}', metadata: {{version: '{round}'}}}}");
        world.desire("unit5", &[("p", "", &desired)], 5).await;
        world.pass(Duration::from_millis(777)).await;
        let plant = world.fake.plant();
        let written = plant.log.iter().rev().find(|(_, event)| matches!(event, Event::Write(..)));
        let waited = written.unwrap().0 - asked;
        assert!(waited <= Duration::from_millis(100), "round {round}: {waited:?}");
    }
    assert_eq!(world.fake.writes(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_acknowledged_and_polling_goes_on() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", ""), ("q", "", "")]).await;
    world.seconds(2).await;
    world.fake.plant().refused.insert("q".into());
    world
        .desire("pump", &[("p", "", ""), ("q", "", "{value: '5', metadata: {version: '1'}}")], 1)
        .await;
    world.seconds(1).await;
    assert_eq!(world.codes("pump"), [102, 202, AckCode::NotFound.number()]);
    let before = world.good("pump");
    world.seconds(10).await;
    assert!(world.good("pump") >= before + 9, "p is read on");
    assert_eq!((world.fake.writes(), world.fake.connects()), (1, 1));
    assert_eq!(world.states("pump"), [DeviceState::Online, DeviceState::Unhealthy]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_at_start_when_nothing_is_desired() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", ""), ("q", "", "")]).await;
    world.seconds(60).await;
    assert_eq!(world.fake.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_looked_at_before_it_is_repeated() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", "")]).await;
    world.seconds(2).await;
    world.fake.plant().swallow = 1;
    world.desire("pump", &[("p", "", "{value: '5', metadata: {version: '1'}}")], 1).await;
    world.seconds(10).await;
    assert_eq!(world.codes("pump"), [102, 202, 424, 209]);
    assert_eq!(world.fake.writes(), 1, "it had been written");
}

#[tokio::test(start_paused = true)]
async fn a_pulse_whose_answer_was_lost_is_never_repeated() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "atMostOnce: true", "")]).await;
    world.seconds(2).await;
    world.fake.plant().swallow = 1;
    let desired = "{value: '1', metadata: {version: '1'}}";
    world.desire("pump", &[("p", "atMostOnce: true", desired)], 1).await;
    world.seconds(60).await;
    assert_eq!(world.codes("pump"), [102, 202, 500]);
    assert_eq!(world.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_keeps_its_own_value_is_not_called_applied() {
    let mut world = World::new();
    world.fake.plant().stubborn.insert("p".into());
    world.join("pump", 1, &[("p", "", "{value: '5', metadata: {version: '1'}}")]).await;
    world.seconds(10).await;
    assert_eq!(world.codes("pump"), [102, 202, 203]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_transaction_in_flight_and_applies_the_safe_values() {
    let mut world = World::new();
    world.fake.plant().latency = Duration::from_millis(300);
    world
        .join("pump", 1, &[("speed", "safeValue: 0", "{value: '50', metadata: {version: '1'}}")])
        .await;
    world.pass(Duration::from_millis(5_100)).await;
    assert_eq!(world.fake.get(1, "speed"), Some(Value::Int(50)));
    let took = world.stop().await;
    assert!(took <= Duration::from_millis(700), "{took:?}");
    assert_eq!(world.fake.get(1, "speed"), Some(Value::Int(0)));
    assert_eq!(world.fake.events().last(), Some(&Event::Close));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_device_cannot_hold_a_stop() {
    let mut world = World::new();
    world.join("pump", 1, &[("speed", "safeValue: 0", "")]).await;
    world.seconds(2).await;
    world.fake.plant().latency = Duration::from_secs(3600);
    world.seconds(1).await;
    assert!(world.stop().await <= Duration::from_millis(1_400));
}

#[tokio::test(start_paused = true)]
async fn enforce_writes_over_a_drift_once_and_reapply_after_an_outage() {
    let mut world = World::new();
    let desired = "{value: '5', metadata: {version: '1'}}";
    world
        .join("pump", 1, &[("p", "enforce: true", desired), ("q", "reapply: true", desired)])
        .await;
    world.seconds(5).await;
    assert_eq!(world.fake.writes(), 2);
    world.fake.set(1, "p", 9);
    world.seconds(5).await;
    assert_eq!((world.fake.writes(), world.fake.get(1, "p")), (3, Some(Value::Int(5))));
    world.fake.plant().cut = true;
    world.fake.set(1, "q", 0);
    world.seconds(10).await;
    assert_eq!((world.fake.writes(), world.fake.get(1, "q")), (4, Some(Value::Int(5))));
    world.fake.plant().cut = true;
    world.seconds(10).await;
    assert_eq!(world.fake.writes(), 4, "it had not forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_desired_value_is_not_written_again_by_fifty_restarts() {
    let fake = Fake::new();
    fake.set(1, "p", 5);
    for _ in 0..50 {
        let mut world = World::with(fake.clone());
        let known = "{value: '5', metadata: {version: '4', ackVersion: '4', ackCode: '209'}}";
        world.join("pump", 1, &[("p", "", known)]).await;
        world.seconds(3).await;
        assert_eq!(world.codes("pump"), [0u16; 0]);
        world.stop().await;
        assert_eq!(world.fake.writes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_survives_a_new_description_of_its_device() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", ""), ("q", "", "")]).await;
    world.seconds(2).await;
    let desired = "{value: '5', metadata: {version: '1'}}";
    // In one burst, after which the point has another place.
    world.desire("pump", &[("p", "", ""), ("q", "", desired)], 1).await;
    world.join("pump", 1, &[("q", "deadband: 2", desired)]).await;
    world.seconds(2).await;
    assert_eq!(world.codes("pump"), [102, 202, 209]);
    assert_eq!((world.fake.writes(), world.fake.get(1, "q")), (1, Some(Value::Int(5))));
}

#[tokio::test(start_paused = true)]
async fn a_slow_device_is_looked_at_when_it_was_to_be_though_it_is_described_anew() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", "")]).await;
    world.seconds(2).await;
    world.fake.plant().stubborn.insert("p".into());
    let desired = "{value: '5', metadata: {version: '1'}}";
    world.desire("pump", &[("p", "", desired)], 1).await;
    for deadband in ["deadband: 1", "deadband: 2", "deadband: 3"] {
        world.pass(Duration::from_millis(500)).await;
        world.join("pump", 1, &[("p", deadband, desired)]).await;
    }
    world.pass(Duration::from_millis(400)).await;
    world.fake.set(1, "p", 5);
    world.seconds(1).await;
    assert_eq!(
        world.codes("pump"),
        [102, 202, 209],
        "the last look is two seconds after the write"
    );
}

#[tokio::test(start_paused = true)]
async fn a_property_that_became_read_only_is_not_written_any_more() {
    let mut world = World::new();
    world.join("pump", 1, &[("p", "", "")]).await;
    world.seconds(2).await;
    let desired = "{value: '5', metadata: {version: '1'}}";
    world.desire("pump", &[("p", "", desired)], 1).await;
    let text = manifests("pump", "a", 1, &[("p", "", "")]).replace("ReadWrite", "ReadOnly");
    world.join_device(device(&text), 1, Origin::Update).await;
    world.seconds(5).await;
    assert_eq!(world.fake.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_time_out_leaves_the_other_units_their_safe_values() {
    let mut world = World::new();
    world.fake.plant().patience = Duration::from_secs(1);
    world.join("pump", 1, &[("speed", "safeValue: 0", "")]).await;
    world.join("dead", 2, &[("p", "", "")]).await;
    world.fake.plant().silent.insert(2);
    world.fake.set(1, "speed", 50);
    world.seconds(2).await;
    let asked = |world: &World| matches!(world.fake.events().last(), Some(Event::Read(2, _)));
    while !asked(&world) {
        world.pass(Duration::from_millis(10)).await;
    }
    world.said.clear();
    let took = world.stop().await;
    assert!(took <= Duration::from_millis(1_400), "{took:?}");
    assert_eq!(world.fake.get(1, "speed"), Some(Value::Int(0)));
    assert!(world.states("pump").is_empty(), "a stop is no loss: {:?}", world.said);
    assert!(world.readings("pump").iter().all(|(_, _, reading)| reading.quality == Quality::Good));
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_died_a_moment_ago_does_not_cost_the_others_their_safe_values() {
    let mut world = World::new();
    world.join("died", 1, &[("p", "safeValue: 0", ""), ("q", "safeValue: 0", "")]).await;
    world.join("pump", 2, &[("speed", "safeValue: 0", "")]).await;
    world.join("fan", 3, &[("speed", "safeValue: 0", "")]).await;
    world.seconds(2).await;
    world.fake.set(2, "speed", 50);
    world.fake.set(3, "speed", 50);
    world.fake.plant().patience = Duration::from_secs(30);
    world.fake.plant().silent.insert(1);
    let took = world.stop().await;
    assert!(took <= Duration::from_millis(1_400), "{took:?}");
    let left = [2, 3].map(|unit| world.fake.get(unit, "speed"));
    assert_eq!(left, [Some(Value::Int(0)), Some(Value::Int(0))]);
}

#[tokio::test(start_paused = true)]
async fn a_pulse_waits_until_the_agent_has_recorded_that_it_is_under_way() {
    let mut world = World::new();
    world.receipts = Some(Vec::new());
    let (pulse, desired) = ("atMostOnce: true", "{value: '1', metadata: {version: '1'}}");
    world.join("pump", 1, &[("p", pulse, ""), ("q", "", "")]).await;
    world.seconds(2).await;
    world.desire("pump", &[("p", pulse, desired), ("q", "", desired)], 1).await;
    world.seconds(5).await;
    assert_eq!(world.codes("pump"), [102, 102, 202, 202, 209], "the other one does not wait");
    assert_eq!(
        (world.fake.get(1, "p"), world.fake.get(1, "q")),
        (Some(Value::Int(0)), Some(Value::Int(1)))
    );
    // The device goes and comes back, and the point has another place then: it is told anew.
    world.fake.plant().cut = true;
    world.seconds(5).await;
    world.join("pump", 1, &[("q", "", desired), ("p", pulse, desired)]).await;
    drop(world.receipts.as_mut().unwrap().remove(0));
    world.seconds(5).await;
    assert_eq!(world.codes("pump")[5..], [424, 202]);
    assert_eq!(world.fake.writes(), 1, "what was recorded before the outage counts no more");
    world.receipts = None;
    world.seconds(1).await;
    assert_eq!(world.codes("pump")[7..], [209]);
    assert_eq!((world.fake.writes(), world.fake.get(1, "p")), (2, Some(Value::Int(1))));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_may_have_written_is_looked_at_first() {
    let unknown = "{value: '5', metadata: {version: '1'}}";
    let received = "{value: '5', metadata: {version: '1', ackVersion: '1', ackCode: '102'}}";
    let away = "{value: '5', metadata: {version: '1', ackVersion: '1', ackCode: '424'}}";
    for (shown, desired, writes) in [
        (5, unknown, 0),
        (5, received, 0),
        (5, away, 0),
        (3, unknown, 1),
        (3, received, 1),
        (3, away, 1),
    ] {
        let mut world = World::new();
        world.fake.set(1, "p", shown);
        world.fake.set(1, "q", 0);
        // The pulse was never announced, so it was never written.
        let pulse = ("q", "atMostOnce: true", desired);
        world.register("pump", 1, &[("p", "", desired), pulse]).await;
        world.seconds(5).await;
        let of = |name: &str| {
            let wrote =
                |event: &&Event| matches!(event, Event::Write(_, point, _) if point == name);
            world.fake.events().iter().filter(wrote).count()
        };
        assert_eq!((of("p"), of("q")), (writes, 1), "{shown} {desired}");
        assert_eq!(world.fake.get(1, "p"), Some(Value::Int(5)));
        assert_eq!(world.codes("pump").iter().filter(|code| **code == 209).count(), 2);
    }
}
