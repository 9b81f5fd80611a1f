//! From files to running servers.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;
use tokio_serial::{DataBits, SerialPortBuilderExt, StopBits};

use super::output::{Listening, Place};
use super::{Arguments, CommandError, Parity};
use crate::blueprint::{Blueprint, Station};
use crate::manifest::Wire;
use crate::problem::{Problem, SpecError};
use crate::register_file;
use crate::server::line::LineOptions;
use crate::simulation::Simulation;

/// A running simulation and where it is reached.
pub(super) struct Served {
    pub(super) simulation: Simulation,
    pub(super) place: Place,
    /// Removed when this is dropped.
    _link: Option<Link>,
}

/// Starts everything that `arguments` ask for, or nothing.
pub(super) async fn start(arguments: &Arguments) -> Result<Vec<Served>, CommandError> {
    let text = read(&arguments.files)?;
    let chosen = arguments.tcp.is_some()
        || arguments.rtu_over_tcp.is_some()
        || arguments.serial.is_some()
        || arguments.pty.is_some();
    if chosen || register_file::is_one(&text) {
        let blueprint = Blueprint::parse(&text)?;
        return Ok(vec![serve_here(arguments, blueprint).await?]);
    }
    let mut served = Vec::new();
    for station in Blueprint::stations(&text)? {
        served.push(serve_station(arguments, station).await?);
    }
    Ok(served)
}

/// Every file as one text of several YAML documents.
fn read(files: &[PathBuf]) -> Result<String, CommandError> {
    let mut text = String::new();
    for path in files {
        let failed = |source| CommandError::Read { path: path.clone(), source };
        let mut paths = vec![path.clone()];
        if path.is_dir() {
            paths = fs::read_dir(path)
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
                .map_err(failed)?;
            paths.retain(|path| {
                path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
            });
            paths.sort();
            if paths.is_empty() {
                let (folder, found) = (path.display().to_string(), "no .yaml or .yml file in it");
                let remedy = "name a folder that has some; folders in it are not searched";
                return Err(SpecError::one(Problem::new(folder, found, remedy)).into());
            }
        }
        for path in paths {
            let document = fs::read_to_string(&path).map_err(failed)?;
            // Of the whole text nobody could tell which file is meant.
            let readable: Result<Vec<serde_json::Value>, _> =
                serde_saphyr::from_multiple(&document);
            readable.map_err(|error| unreadable(&path, &error.to_string()))?;
            if !text.is_empty() {
                text.push_str("\n---\n");
            }
            text.push_str(&document);
        }
    }
    Ok(text)
}

/// The first line of `error` says where and what; those after it show the text.
fn unreadable(path: &Path, error: &str) -> SpecError {
    let first = error.lines().next().unwrap_or_default();
    let what = first.strip_prefix("error: ").unwrap_or(first);
    SpecError::one(Problem::new(path.display().to_string(), what, "correct the YAML there"))
}

/// All units on the wires that were asked for.
async fn serve_here(arguments: &Arguments, blueprint: Blueprint) -> Result<Served, CommandError> {
    let units = blueprint.units();
    let devices = blueprint.devices();
    let mut simulation = start_simulation(arguments, blueprint);
    let mut listening = Vec::new();
    let mut link = None;
    let serial = arguments.serial.is_some() || arguments.pty.is_some();
    let tcp = match (arguments.tcp, arguments.rtu_over_tcp) {
        // A register file names no wire.
        (None, None) if !serial => Some(SocketAddr::new(arguments.bind, 1502)),
        (tcp, _) => tcp,
    };
    if let Some(address) = tcp {
        let listener = bind(address).await?;
        let address = simulation.serve_tcp(listener).map_err(|source| lost(address, source))?;
        listening.push(Listening::new("tcp", address));
    }
    if let Some(address) = arguments.rtu_over_tcp {
        let listener = bind(address).await?;
        let address =
            simulation.serve_rtu_over_tcp(listener).map_err(|source| lost(address, source))?;
        listening.push(Listening::new("rtu-over-tcp", address));
    }
    if let Some(path) = &arguments.serial {
        let port = open_serial(arguments, path)?;
        simulation
            .serve_rtu(port, LineOptions { silence: SERIAL_SILENCE, ..LineOptions::default() });
        listening.push(Listening::new("rtu", path.display()));
    }
    if let Some(at) = &arguments.pty {
        let path = serve_pty(arguments, arguments.baud, &mut simulation)?;
        if let Some(at) = at {
            link = Some(Link::make(at, &path)?);
        }
        listening.push(Listening::new("rtu", at.as_ref().unwrap_or(&path).display()));
    }
    Ok(Served { simulation, place: Place { wire: None, devices, units, listening }, _link: link })
}

/// One wire of the manifests, where they say.
async fn serve_station(arguments: &Arguments, station: Station) -> Result<Served, CommandError> {
    let Station { wire, devices, blueprint } = station;
    let units = blueprint.units();
    let mut simulation = start_simulation(arguments, blueprint);
    let listening = match &wire {
        Wire::Tcp { host, port } => {
            let address = local(arguments, host, *port);
            let listener = bind(address).await?;
            let address = simulation.serve_tcp(listener).map_err(|source| lost(address, source))?;
            Listening::new("tcp", address)
        }
        Wire::RtuOverTcp { host, port } => {
            let address = local(arguments, host, *port);
            let listener = bind(address).await?;
            let address =
                simulation.serve_rtu_over_tcp(listener).map_err(|source| lost(address, source))?;
            Listening::new("rtu-over-tcp", address)
        }
        Wire::Serial { baud, .. } => {
            Listening::new("rtu", serve_pty(arguments, *baud, &mut simulation)?.display())
        }
    };
    let place = Place { wire: Some(wire.to_string()), devices, units, listening: vec![listening] };
    Ok(Served { simulation, place, _link: None })
}

fn start_simulation(arguments: &Arguments, blueprint: Blueprint) -> Simulation {
    let simulation = Simulation::new(blueprint.seed(arguments.seed));
    for fault in &arguments.fault {
        simulation.handle().inject(*fault);
    }
    simulation
}

fn serve_pty(
    arguments: &Arguments,
    baud: u32,
    simulation: &mut Simulation,
) -> Result<PathBuf, CommandError> {
    let options = if arguments.pace { LineOptions::paced(baud) } else { LineOptions::default() };
    simulation.serve_pty(options).map_err(|source| CommandError::Serve {
        wire: "pseudo-terminal".into(),
        source,
        remedy: "end other programs that hold some, or mount /dev/pts",
    })
}

/// USB adapters hand over what they received every 16 ms.
const SERIAL_SILENCE: std::time::Duration = std::time::Duration::from_millis(30);

fn open_serial(
    arguments: &Arguments,
    path: &Path,
) -> Result<tokio_serial::SerialStream, CommandError> {
    tokio_serial::new(path.to_string_lossy(), arguments.baud)
        .data_bits(DataBits::Eight)
        .stop_bits(StopBits::One)
        .parity(match arguments.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .open_native_async()
        .map_err(|error| CommandError::Serve {
            wire: path.display().to_string(),
            source: error.into(),
            remedy: "check the name, your rights (group dialout), and that nobody else has it open",
        })
}

/// The manifest's address if it is this machine's loopback, else `--bind`.
fn local(arguments: &Arguments, host: &str, port: u16) -> SocketAddr {
    let named = host.parse().ok().filter(IpAddr::is_loopback);
    SocketAddr::new(named.unwrap_or(arguments.bind), port)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|source| lost(address, source))
}

fn lost(address: SocketAddr, source: io::Error) -> CommandError {
    let remedy = match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need rights: serve elsewhere with --tcp 127.0.0.1:1502"
        }
        io::ErrorKind::AddrInUse => {
            "end the other program, or serve elsewhere with --tcp 127.0.0.1:0"
        }
        _ => "give an address of this machine with --tcp or --bind",
    };
    CommandError::Serve { wire: address.to_string(), source, remedy }
}

/// A symbolic link to a pseudo-terminal.
struct Link(PathBuf);

impl Link {
    fn make(at: &Path, to: &Path) -> Result<Self, CommandError> {
        // A link that an earlier run left behind is replaced, anything else is not.
        if at.is_symlink() {
            let _ = fs::remove_file(at);
        }
        std::os::unix::fs::symlink(to, at).map(|()| Self(at.to_owned())).map_err(|source| {
            CommandError::Serve {
                wire: at.display().to_string(),
                source,
                remedy: "name a path that does not exist yet, in a folder that you may write",
            }
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
