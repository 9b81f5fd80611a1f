//! Demand 40: the frames on a device's wire, while everything runs on.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::http;
use e2e::process::program;
use e2e::world::{Machine, PATIENCE, World, device_path, good};
use serde_json::Value;
use sim_modbus::LineOptions;
use tokio::time::timeout;

/// The octets of a frame.
fn octets(frame: &Value) -> Result<Vec<u8>> {
    let hex = frame["hex"].as_str().context("no octets")?;
    let pairs = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16));
    Ok(pairs.collect::<Result<_, _>>()?)
}

/// A request and its answer, as they stand in what comes next.
async fn exchange(frames: &mut http::Events) -> Result<(Value, Value)> {
    let mut asked = None;
    loop {
        let next = timeout(PATIENCE, frames.next()).await.context("no frame")??;
        let frame = next.context("the end of the frames")?;
        match (frame["direction"].as_str(), asked.take()) {
            (Some("received"), Some(sent)) => return Ok((sent, frame)),
            // A request that was not answered in time is followed by another.
            (Some("sent"), _) => asked = Some(frame),
            (_, before) => asked = before,
        }
    }
}

#[tokio::test]
async fn row_40_the_frames_of_one_device_are_shown_on_tcp_and_on_a_serial_line() -> Result<()> {
    let pair = [Machine::new("pump", 7), Machine::new("fan", 8)];
    let worlds = [World::tcp(&pair).await?, World::line(&pair, LineOptions::default())?];
    for (mut world, unit_at) in worlds.into_iter().zip([6, 0]) {
        world.devices().set_value("test/pump", "level", 77.0)?;
        world.start().await?;
        world.until("pump", "level", |reading| good(reading) == Some("77")).await?;
        let path = format!("{}/frames", device_path("pump"));
        let mut frames = http::events(&world.api(), &path).await?;
        let mut levels = 0;
        for _ in 0..9 {
            let (sent, received) = exchange(&mut frames).await?;
            assert_eq!(
                (&sent["afterMicros"], &received["direction"]),
                (&Value::Null, &"received".into())
            );
            ensure!(received["afterMicros"].as_u64().is_some(), "{received}");
            let (sent, received) = (octets(&sent)?, octets(&received)?);
            assert_eq!(
                (sent[unit_at], received[unit_at]),
                (7, 7),
                "the other device's are not shown"
            );
            // Function 4, two octets, 77.
            levels += usize::from(received[unit_at + 1..].starts_with(&[4, 2, 0, 77]));
        }
        assert!(levels > 0, "the level was read");
        world.remove("pump")?;
        let ended = async {
            while frames.next().await?.is_some() {}
            anyhow::Ok(())
        };
        timeout(PATIENCE, ended).await.context("frames of a device that is gone")??;
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn row_40_a_command_traces_a_device_at_run_time() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 7)]).await?.as_programs();
    world.start().await?;
    world.until("pump", "level", |reading| good(reading).is_some()).await?;
    let edgetwin = program("edgetwin")?;
    let socket = world.api();
    let trace = move |more: &[&str]| {
        let mut command = Command::new(&edgetwin);
        command.args(["trace", "test/pump", "--count", "4", "--duration", "20s", "--socket"]);
        command.arg(&socket).args(more).stdin(Stdio::null()).output()
    };
    // The simulated devices are in this process and must run on.
    let (table, json) = tokio::task::spawn_blocking(move || {
        anyhow::Ok((trace(&["--hex"])?, trace(&["-o", "json"])?))
    })
    .await??;
    for output in [&table, &json] {
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let lines = String::from_utf8(table.stdout)?;
    assert_eq!(lines.lines().count(), 4, "{lines}");
    assert!(lines.contains("-> sent") && lines.contains("<- received"), "{lines}");
    // Transaction, protocol 0, 6 octets, unit 7.
    assert!(lines.contains(" 00 00 00 06 07 0"), "{lines}");
    for line in String::from_utf8(json.stdout)?.lines() {
        let frame: Value = serde_json::from_str(line)?;
        assert_eq!(octets(&frame)?[6], 7, "{line}");
    }
    world.stop().await
}
