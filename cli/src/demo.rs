//! `edgetwin demo`: simulated devices, the Modbus mapper and an agent in one process, shown as they work.
//!
//! The parts talk as they would apart: Modbus over a socket and a pseudo-terminal, DMI over a Unix socket, and
//! what is shown comes from the local API.

mod board;
mod home;
mod intro;
mod manifests;
mod parts;
mod show;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use device_model::DeviceState;
use mapper_sdk::signal;
use tokio::time::sleep;

use crate::client::Client;
use crate::demo::board::Board;
use crate::demo::home::Home;
use crate::demo::parts::Parts;
use crate::demo::show::{Form, show};
use crate::logging::{self, Target};
use crate::outcome::{Outcome, complain};
use crate::output::OutputArgs;

/// Run simulated devices, a mapper and an agent, and show live values
///
/// On a terminal a table is drawn over itself; otherwise snapshots of it follow each other. With --output json
/// there is one object for each change of a property.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin demo
  edgetwin demo --duration 20s --output json
  edgetwin demo --dir ./demo        keeps twins, desired values and manifests for the next time")]
pub(crate) struct DemoArgs {
    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    duration: Option<Duration>,
    /// Keep twins and manifests in this directory; else they are gone at the end
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of the embedded MQTT broker; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// What goes to the log: error, warn, info, debug, trace, or a filter
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the demo until its time is over, somebody stops it, or a part of it fails.
///
/// # Errors
/// A part cannot start or failed, or nobody reads any more.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<Outcome> {
    let requested = signal::stop_requested()?;
    let home = Home::make(args.dir.as_deref())?;
    logging::start(&args.log_level, Target::File(&home.data().join("edgetwin.log")))?;

    let mut parts = Parts::start(&home, free_or_any(args.mqtt)).await?;
    let link = home.announce()?.to_owned();
    let client = Client::at(&parts.addresses().api);
    // Before the mapper starts, so that no change is missed.
    let events = client.events().await?;
    parts.start_mapper(&home).await?;

    let intro = intro::text(&home, &link, parts.addresses(), parts.wires());
    let form = Form::of(args.output.output);
    let end = async {
        tokio::select! {
            () = requested => Ok(()),
            () = over(args.duration) => Ok(()),
            failed = parts.failure() => Err(failed),
        }
    };
    let shown = show(&client, events, form, &intro, end).await;
    let stopped = parts.stop().await;
    let board = shown?;
    stopped?;
    Ok(if args.duration.is_some() && !all_online(&board) {
        Outcome::Degraded
    } else {
        Outcome::Done
    })
}

async fn over(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// The wanted address, or a free port beside it where something else listens there: most often a mosquitto.
fn free_or_any(wanted: SocketAddr) -> SocketAddr {
    match std::net::TcpListener::bind(wanted) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            complain(&format!("note: {wanted} is taken, so MQTT gets a free port"));
            SocketAddr::new(wanted.ip(), 0)
        }
        _ => wanted,
    }
}

fn all_online(board: &Board) -> bool {
    board.devices().iter().all(|device| device.state == DeviceState::Online)
}
