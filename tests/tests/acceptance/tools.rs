//! Demands 17, 18 and 22: what people run at their desk.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use e2e::process::program;
use sim_modbus::{Blueprint, Fault, FaultKind, Simulation};
use tokio::net::TcpListener;

const PUMP: &str = "../device-profiles/demo/pump-skid.yaml";

fn pump() -> Result<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PUMP);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[tokio::test]
async fn row_17_a_mapper_runs_without_any_agent() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let text = pump()?;
    let mut simulation = Simulation::new(Blueprint::from_manifests(&text)?);
    simulation.serve_tcp(listener)?;
    let folder = tempfile::tempdir()?;
    let mut model = None;
    let mut device = None;
    for document in text.split("\n---") {
        let path = if document.contains("kind: DeviceModel") { &mut model } else { &mut device };
        let name = if document.contains("kind: DeviceModel") { "model.yaml" } else { "dev.yaml" };
        // The profile's own address gives way to where the simulation listens.
        let document: String = document
            .lines()
            .map(|line| match line.trim_start().split_once(':') {
                Some(("port", _)) => {
                    format!("{}port: \"{port}\"\n", &line[..line.len() - line.trim_start().len()])
                }
                Some(("ip", _)) => {
                    format!("{}ip: 127.0.0.1\n", &line[..line.len() - line.trim_start().len()])
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let file = folder.path().join(name);
        std::fs::write(&file, document)?;
        *path = Some(file);
    }
    let edgetwin = program("edgetwin", "edgetwin")?;
    let output = tokio::task::spawn_blocking(move || {
        Command::new(edgetwin)
            .args(["mapper", "run", "--once", "--output", "json", "--model"])
            .arg(model.unwrap_or_default())
            .arg("--device")
            .arg(device.unwrap_or_default())
            .output()
    })
    .await??;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("speed") && said.contains("good"), "{said}");
    simulation.stop().await;
    Ok(())
}

#[tokio::test]
async fn row_18_simulated_devices_take_every_fault() -> Result<()> {
    let start = Instant::now();
    let mut simulation = Simulation::new(Blueprint::from_manifests(&pump()?)?);
    simulation.serve_tcp(TcpListener::bind("127.0.0.1:0").await?)?;
    assert!(start.elapsed().as_secs() < 1, "it starts in less than a second");
    let words = [
        "delay:ms=200",
        "silence",
        "exception:code=4",
        "wrong-crc",
        "truncate",
        "late:ms=1500",
        "reset",
        "one-connection",
    ];
    for text in words {
        let fault: Fault = text.parse()?;
        assert_eq!(Some(fault.kind.as_str()), text.split(':').next());
        let set = simulation.handle().inject(fault);
        simulation.handle().clear(set);
    }
    assert_eq!(Fault::new(FaultKind::Silence).unit, None);
    simulation.stop().await;
    Ok(())
}

#[tokio::test]
async fn row_22_the_plan_shows_the_address_base() -> Result<()> {
    let edgetwin = program("edgetwin", "edgetwin")?;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PUMP);
    let output = tokio::task::spawn_blocking(move || {
        Command::new(edgetwin).args(["modbus", "plan"]).arg(path).output()
    })
    .await??;
    let plan = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{plan}{}", String::from_utf8_lossy(&output.stderr));
    assert!(plan.contains("count from 0"), "the base that is used is shown:\n{plan}");
    let speed = plan.lines().find(|line| line.contains(" speed ")).context("speed")?;
    for notation in ["holding 0", "0x0000", "40001"] {
        assert!(speed.contains(notation), "{notation} is missing in {speed:?}");
    }
    Ok(())
}
