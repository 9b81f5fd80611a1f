//! A machine with systemd for a test: in namespaces, on a layer of its own over the files of this one, so that services can
//! be installed and nothing of it is left. It shares this machine's network.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, geteuid, getpid, kill_process};
use tempfile::TempDir;

use crate::process::output;
use crate::wait::eventually;

/// How long it may take until all is there.
const PATIENCE: Duration = Duration::from_secs(60);
const BOOT: &str = include_str!("systemd/boot.sh");

/// A running systemd. Dropping it kills all that it runs.
#[derive(Debug)]
pub struct Systemd {
    outer: Child,
    /// Its number out here.
    pid: Pid,
    cgroup: PathBuf,
    folder: TempDir,
}

impl Systemd {
    /// What this takes and is not here; told at once to whoever watches.
    pub fn missing() -> Option<String> {
        let tried = || {
            ensure!(geteuid().is_root(), "this is not root");
            ensure!(Path::new("/lib/systemd/systemd").exists(), "systemd is not installed");
            output(Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]))?;
            hierarchy().map(drop)
        };
        let why = format!("{:#}", tried().err()?);
        let said = format!("\n!! SKIPPED: this test starts a systemd of its own: {why}.\n");
        // Past what catches the output of tests. Where it cannot be written nobody watches.
        let _ = std::io::stderr().write_all(said.as_bytes());
        Some(why)
    }

    /// Starts one, with `program` as `/usr/local/bin/edgetwin`.
    ///
    /// # Errors
    /// It does not come up; the error has what it said.
    pub async fn boot(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (script, mounted) = (folder.path().join("boot.sh"), folder.path().join("mounted"));
        fs::write(&script, BOOT)?;
        fs::create_dir(&mounted)?;
        let name =
            format!("edgetwin-test-{}-{:08x}", getpid().as_raw_nonzero(), rand::random::<u32>());
        let cgroup = hierarchy()?.join(name);
        fs::create_dir(&cgroup)?;
        // It enters its control group itself, since only then is that the root of its namespace.
        let enter = "echo $$ >\"$1\"/cgroup.procs && shift && exec unshare --mount --pid --uts --ipc --cgroup --fork \
                     --kill-child --propagation private sh \"$@\"";
        let log = fs::File::create(folder.path().join("log"))?;
        let mut outer = Command::new("sh");
        outer.args(["-c", enter, "sh"]).arg(&cgroup).arg(&script).arg(&mounted).arg(program);
        let outer = outer.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let pid = Pid::from_raw(i32::try_from(outer.id())?).context("a process")?;
        let mut machine = Self { outer, pid, cgroup, folder };
        let booted = eventually(PATIENCE, "systemd", async || machine.is_up()).await;
        booted.with_context(|| {
            fs::read_to_string(machine.folder.path().join("log")).unwrap_or_default()
        })?;
        Ok(machine)
    }

    fn is_up(&mut self) -> Result<()> {
        let outer = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        let child = children.split_whitespace().next().context("no child yet")?;
        self.pid = Pid::from_raw(child.parse()?).context("a process")?;
        let name = fs::read_to_string(format!("/proc/{child}/comm"))?;
        ensure!(name.trim() == "systemd", "{name}");
        let state = self.run(&["systemctl", "is-system-running"], "")?;
        let state = String::from_utf8_lossy(&state.stdout).into_owned();
        ensure!(["running", "degraded"].contains(&state.trim()), "{state}");
        Ok(())
    }

    /// Runs a command there to its end, as root.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn run(&self, command: &[&str], input: &str) -> Result<Output> {
        let mut inside = Command::new("nsenter");
        inside.arg("--target").arg(self.pid.to_string());
        inside
            .args(["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--wd=/", "--"])
            .args(command);
        inside.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut inside = inside.spawn()?;
        // It need not read all of it.
        let _ = inside.stdin.take().context("an input")?.write_all(input.as_bytes());
        Ok(inside.wait_with_output()?)
    }

    /// A property of a unit.
    ///
    /// # Errors
    /// systemd does not say.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let said = self.run(&["systemctl", "show", unit, "--property", name, "--value"], "")?;
        Ok(String::from_utf8(said.stdout)?.trim().to_owned())
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
        let _ = self.outer.wait();
        remove(&self.cgroup);
    }
}

/// Where control groups of the second kind are made.
fn hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    let place = mounts.find_map(|mut fields| {
        let place = fields.nth(1)?;
        (fields.next() == Some("cgroup2")).then_some(place)
    });
    place.map(PathBuf::from).context("no control groups of the second kind are mounted")
}

/// Removes a control group and those beneath it.
fn remove(cgroup: &Path) {
    let beneath = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in beneath.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&entry.path());
    }
    let _ = fs::remove_dir(cgroup);
}
