//! One program of ours or of somebody else, started for a test and gone when its handle is.

use std::collections::HashSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use procfs::net::TcpState;
use procfs::process::FDTarget;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time together.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident: u64,
    /// Largest resident memory so far, in bytes.
    pub peak: u64,
    /// Open file descriptors now.
    pub files: usize,
    /// Threads now.
    pub threads: u64,
}

impl Process {
    /// Starts `command` with its standard error in `log` (its last lines are in the error if it ends too early).
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = std::fs::File::create(log).with_context(|| format!("{}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> Result<Usage> {
        let process = procfs::process::Process::new(i32::try_from(self.child.id())?)?;
        let stat = process.stat()?;
        let status = process.status()?;
        let ticks = procfs::ticks_per_second();
        Ok(Usage {
            cpu: Duration::from_millis((stat.utime + stat.stime) * 1000 / ticks),
            resident: status.vmrss.unwrap_or_default() * 1024,
            peak: status.vmhwm.unwrap_or_default() * 1024,
            files: process.fd_count()?,
            threads: status.threads,
        })
    }

    /// Processor time of its threads that still live, to the nanosecond; [`Usage::cpu`] counts in hundredths.
    ///
    /// # Errors
    /// It is gone, or the kernel does not count.
    pub fn busy(&self) -> Result<Duration> {
        let mut nanos = 0_u64;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the one and the other.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            nanos += text.split_whitespace().next().context("no schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Where it listens for TCP connections over IPv4 now.
    ///
    /// # Errors
    /// It is gone.
    pub fn listening(&self) -> Result<Vec<SocketAddr>> {
        let process = procfs::process::Process::new(i32::try_from(self.child.id())?)?;
        let mut own = HashSet::new();
        // A file may be closed between the one and the other.
        for file in process.fd()?.flatten() {
            if let FDTarget::Socket(inode) = file.target {
                own.insert(inode);
            }
        }
        let all = process.tcp()?.into_iter();
        let listening = all.filter(|it| it.state == TcpState::Listen && own.contains(&it.inode));
        Ok(listening.map(|socket| socket.local_address).collect())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no such process")?;
        kill_process(pid, signal).with_context(|| format!("signal to {}", self.name))
    }

    /// Kills it without a word, as a crash or a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn crash(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits for it to end by itself within `patience`; tells how long that took.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub async fn stop(self, patience: Duration) -> Result<(ExitStatus, Duration)> {
        let start = Instant::now();
        self.signal(Signal::TERM)?;
        let status = self.ended(patience).await?;
        Ok((status, start.elapsed()))
    }

    /// Waits for it to end by itself within `patience`.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub async fn ended(mut self, patience: Duration) -> Result<ExitStatus> {
        let what = format!("end of {}", self.name);
        eventually(patience, &what, async || self.child.try_wait()?.context("it still runs")).await
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `command` prints, once it has ended well; programs for root alone are found, too.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = command.env("PATH", path).stdin(Stdio::null()).output();
    let name = command.get_program().to_string_lossy().into_owned();
    let arguments = command.get_args().collect::<Vec<_>>();
    let output = output.with_context(|| format!("{name} {arguments:?}"))?;
    if !output.status.success() {
        bail!("{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Path of one of our programs, built if it is not there or not fresh: as it is shipped for a caller that measures
/// (in profile driver), else in profile dev.
///
/// # Errors
/// It does not build.
pub fn program(binary: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    // target/PROFILE/bench or target/PROFILE/deps/test-hash
    let profile = here
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "driver" || name == "debug"))
        .context("not in a target folder")?;
    let measured = profile.ends_with("driver");
    ensure!(built(measured), "{binary} does not build; cargo says why");
    let path = match measured {
        true => profile.with_file_name("release").join(binary),
        false => profile.join(binary),
    };
    if !path.exists() {
        bail!("{} was not built", path.display());
    }
    Ok(path)
}

/// A test takes what `cargo test --workspace` built beside it: with any other selection of packages cargo would give
/// their dependencies other features, and build them all once more. For the same reason all that is shipped is built
/// together to measure one of them.
fn built(measured: bool) -> bool {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--locked"]).args(arguments);
        cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        // What cargo says to a test is none of its business: build scripts that look at it, ring's does, would run again,
        // and all that hangs on them would be built twice.
        let told = |name: &OsString| {
            let about = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
            name.to_str().is_some_and(|name| about.iter().any(|about| name.starts_with(about)))
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| told(name)) {
            cargo.env_remove(name);
        }
        cargo.status().is_ok_and(|status| status.success())
    };
    *BUILT.get_or_init(|| {
        if measured {
            let shipped = ["edge-agent", "edgetwin", "mapper-modbus", "sim-modbus", "cloud-bridge"];
            let shipped = shipped.iter().flat_map(|package| ["-p", package]);
            cargo(&["--release", "--bins"].into_iter().chain(shipped).collect::<Vec<_>>())
        } else {
            let features = if cfg!(feature = "peers") { "e2e/peers" } else { "" };
            cargo(&["--workspace", "--bins", "--tests", "--features", features])
        }
    })
}
