//! The program `sim-modbus`, and the same behind `edgetwin simulate modbus`.

mod output;
mod serve;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::problem::SpecError;

/// The end of the help: examples for `program`, the words that start it, and a register file.
#[must_use]
pub fn examples(program: &str) -> String {
    format!(
        "\
Examples:
  {program} device-profiles/demo
      each device where its manifest says
  {program} pump.yaml --tcp 127.0.0.1:0
      all units on a free port
  {program} meter.yaml --pty=/tmp/meter --pace
      a pseudo-terminal with a name, as slow as a real line
  {program} pump.yaml --fault silence:unit=3 --fault exception:function=16,code=6,every=10
      a dead unit, and a device that refuses each tenth write

{REGISTER_FILE}"
    )
}

const REGISTER_FILE: &str = "\
A register file:
  units:
    1:
      holding: {0: 42, 10-19: 0, 20: [1, 2, 3]}
      input:
        0: {rawType: f32, order: CDAB, simValue: 21.5}
        2: {rawType: i16, scale: 0.1, simWave: sine, simMin: -5, simMax: 5, simPeriod: 20s}
      coils: {0: true, 8-15: false}

Ctrl-C or SIGTERM stops it; then it prints what it was asked.";

/// What the program is told.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// DeviceModel and Device manifests, or a register file; of a folder its .yaml and .yml files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Serve all units with Modbus TCP here; port 0 takes a free one.
    ///
    /// Without --tcp, --rtu-over-tcp, --serial or --pty, each device is served where its manifest says: TCP devices on their
    /// port at --bind, serial devices on a pseudo-terminal each line.
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub tcp: Option<SocketAddr>,
    /// Serve all units with RTU frames on TCP connections here.
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub rtu_over_tcp: Option<SocketAddr>,
    /// Serve all units with RTU on this serial device.
    #[arg(long, value_name = "DEVICE")]
    pub serial: Option<PathBuf>,
    /// Serve all units with RTU on a new pseudo-terminal; LINK becomes a symbolic link to it.
    #[arg(long, value_name = "LINK", num_args = 0..=1, require_equals = true)]
    pub pty: Option<Option<PathBuf>>,
    /// Where TCP devices listen when their manifests name an address that is not this machine's loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Baud rate of --serial and of the pace of --pty.
    #[arg(long, default_value_t = 9600, value_parser = clap::value_parser!(u32).range(1..))]
    pub baud: u32,
    /// Parity of --serial.
    #[arg(long, value_enum, default_value_t = Parity::None)]
    pub parity: Parity,
    /// Let pseudo-terminals take the time of a real line: 11 bits a character at the baud rate of the manifest, or --baud.
    #[arg(long)]
    pub pace: bool,
    /// A fault from the start, such as 'silence:unit=3'; may be given several times.
    ///
    /// delay:ms=200 answers later; late:ms=1500 answers later while others are answered in time; silence answers nothing;
    /// exception:code=2 refuses; wrong-crc and truncate damage answers; wrong-transaction misaddresses them; garbage and
    /// echo put noise, or the request, before them, garbage:ms=300 so long before; merge:ms=300 holds one back until the next; reset resets the connection;
    /// reboot:ms=2000 restarts all units; one-connection refuses a second connection.
    ///
    /// All but the last take unit=, function=, count= (only so often) and every= (each so-many-th).
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<Fault>,
    /// Seed of random waveforms; equal seeds give equal values.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Stop by itself after this time, such as 20s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How to print where it listens, and at the end what was counted.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Parity of a serial device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    #[value(alias = "table")]
    Text,
    /// One JSON object at the start and one at the end, a line each.
    Json,
    /// The same as two YAML documents.
    Yaml,
}

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are read, but what they say cannot be simulated.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A wire cannot be served.
    #[error("cannot serve {wire}; {remedy}")]
    Serve {
        /// Which one.
        wire: String,
        /// Why.
        source: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Standard output is closed.
    #[error("standard output")]
    Output(#[source] io::Error),
}

impl CommandError {
    /// Exit code of the program: 2 when the caller must change files or arguments, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::Spec(_) => 2,
            Self::Serve { .. } | Self::Output(_) => 1,
        }
    }
}

/// Simulates until `stop` or the end of `--duration`, and prints to `out`.
///
/// # Errors
/// The files cannot be simulated, or a wire cannot be served.
pub async fn run(
    arguments: Arguments,
    stop: CancellationToken,
    out: &mut (impl io::Write + Send),
) -> Result<(), CommandError> {
    let served = serve::start(&arguments).await?;
    let places: Vec<_> = served.iter().map(|served| served.place.clone()).collect();
    output::listening(arguments.output, &places, out).map_err(CommandError::Output)?;
    if let Some(duration) = arguments.duration {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(duration) => {}
        }
    } else {
        stop.cancelled().await;
    }
    let mut ends = JoinSet::new();
    for (index, served) in served.into_iter().enumerate() {
        ends.spawn(async move { (index, served.simulation.stop().await) });
    }
    let mut counters = ends.join_all().await;
    counters.sort_by_key(|(index, _)| *index);
    let counters = counters.into_iter().map(|(_, counters)| counters);
    let ended: Vec<_> = places.into_iter().zip(counters).collect();
    output::ended(arguments.output, &ended, out).map_err(CommandError::Output)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    // A listener takes one address, and localhost may have two.
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| "write an address with its port, such as 127.0.0.1:1502".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::settings::duration(text).ok_or_else(|| "write a time such as 500ms, 20s or 5m".into())
}
