//! SIGHUP: what of another configuration takes effect at once.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use edge_agent::config::Span;
use world::bus::Bus;
use world::program::{BUS, Program, folder, signal};
use world::{World, eventually};

const UPDATE: &str = "$hw/events/device/demo/pump/twin/update";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_what_can_be_taken_and_names_the_rest_and_a_wrong_file_changes_nothing() {
    let mut program = Program::start(folder(), "").await;

    Program::configure(&program.dir, "log: {level: debug}\nmqtt: {mode: 'off'}\n");
    signal(&program.process, "HUP");
    let said = program.says("the configuration was read again").await;
    assert!(said.contains("applied=log.level at_next_start=mqtt.listen, mqtt.mode"), "{said}");

    Program::configure(&program.dir, "log: {levle: debug}\n");
    signal(&program.process, "HUP");
    let said = program.says("the former one stays").await;
    assert!(said.contains("unknown field `levle`") && said.contains("did you mean"), "{said}");

    Program::configure(&program.dir, BUS);
    signal(&program.process, "HUP");
    let said = program.says("the configuration was read again").await;
    assert!(said.trim_end().ends_with("applied=log.level at_next_start="), "{said}");
    signal(&program.process, "TERM");
    let (status, said, _dir) = program.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test]
async fn what_only_repeats_itself_is_written_as_often_as_the_new_configuration_says() {
    let rarely = Span::secs(3600);
    let mut world = World::start(&[("pump", "")], |config| config.store.refresh = rarely).await;
    let received = async |world: &World| {
        let device = world.device("pump").await.unwrap();
        device.property("speed").unwrap().reported.as_ref().unwrap().received_at
    };
    let report = async |world: &World| {
        let mut app = Bus::join(world.mqtt(), "app").await;
        app.publish(UPDATE, r#"{"twin":{"speed":{"actual":{"value":"1"}}}}"#).await;
        app.next("twin/update/result").await;
    };
    report(&world).await;
    let first = received(&world).await;
    // It comes to the twins by a way of its own: perhaps after the next report.
    let written = async || {
        let reloaded = world.reload(|config| config.store.refresh = Span::secs(0));
        assert_eq!(reloaded.applied, ["store.refresh"]);
        report(&world).await;
        world.config.store.refresh = rarely;
        world.restart().await;
        (received(&world).await > first).then_some(())
    };
    eventually("the repeated value on the disk", written).await;
}
