//! SIGHUP: what of another configuration takes effect at once.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use world::program::{BUS, Program, folder, signal};

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
