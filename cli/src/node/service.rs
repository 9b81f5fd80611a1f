//! The agent as a service of systemd.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use edge_agent::config::DEFAULT_PATH;
use edge_agent::identity::Places;

use super::sections;

/// The unit's name.
pub(crate) const NAME: &str = "edgetwin.service";
/// The unit, with the usual paths.
const UNIT: &str = include_str!("../../../deploy/systemd/edgetwin.service");
/// The program's path in it.
const PROGRAM: &str = "/usr/local/bin/edgetwin";
/// Who the agent runs as.
const USERS: &str = include_str!("../../../deploy/systemd/edgetwin.sysusers");
const USER: &str = "edgetwin";
/// Folders of people, which services do not see, or which are empty after a start.
const PRIVATE: [&str; 4] = ["/home", "/root", "/tmp", "/run"];

/// The service of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// `/`, but for tests.
    root: PathBuf,
}

impl Service {
    /// That of this machine.
    pub(crate) fn here() -> Self {
        Self { root: "/".into() }
    }

    /// Whether systemd runs.
    pub(crate) fn is_possible(&self) -> bool {
        self.root.join("run/systemd/system").is_dir()
    }

    /// Whether it is installed, and runs with the configuration at `config`.
    pub(crate) fn runs(&self, config: &Path) -> bool {
        let unit = fs::read_to_string(self.unit_path()).unwrap_or_default();
        let named = format!("--config {}", config.display());
        unit.lines().any(|line| line.starts_with("ExecStart=") && line.ends_with(&named))
    }

    /// Where the unit is.
    pub(crate) fn unit_path(&self) -> PathBuf {
        self.root.join("etc/systemd/system").join(NAME)
    }

    fn users_path(&self) -> PathBuf {
        self.root.join("etc/sysusers.d/edgetwin.conf")
    }

    /// The unit that runs `program` with the configuration at `config`.
    ///
    /// # Errors
    /// A service cannot run a program there.
    pub(crate) fn unit(program: &Path, config: &Path) -> anyhow::Result<String> {
        for path in [program, config] {
            let text = path.to_str().unwrap_or_default();
            if text.is_empty() || text.contains([' ', '%', '"', '\'', '\\', '$', ';']) {
                bail!("{}: no path for a service; choose one of plain letters", path.display());
            }
            if !path.is_absolute() || PRIVATE.iter().any(|folder| path.starts_with(folder)) {
                bail!(
                    "{}: a service cannot reach it; put the program into /usr/local/bin and the configuration into /etc/edgetwin, or join with --no-service",
                    path.display()
                );
            }
        }
        let (program, config) = (program.display().to_string(), config.display().to_string());
        Ok(UNIT.replace(PROGRAM, &program).replace(DEFAULT_PATH, &config))
    }

    /// Installs and starts it; starts it again where it runs. The papers become its user's.
    ///
    /// # Errors
    /// A file cannot be written, or systemd says no; what was written stays.
    pub(crate) fn install(&self, unit: &str, places: &Places) -> anyhow::Result<()> {
        let write = |path: &Path, text: &str| {
            sections::write(path, text).with_context(|| format!("write {}", path.display()))
        };
        write(&self.users_path(), USERS)?;
        run("systemd-sysusers", &[&self.users_path().display().to_string()])?;
        self.give(places)?;
        write(&self.unit_path(), unit)?;
        run("systemctl", &["daemon-reload"])?;
        run("systemctl", &["enable", "--quiet", NAME])?;
        run("systemctl", &["restart", NAME]).context(
            "the service does not start; see `journalctl -u edgetwin` and `edgetwin check`",
        )
    }

    /// Gives the papers to the service's user.
    fn give(&self, places: &Places) -> anyhow::Result<()> {
        let passwd = fs::read_to_string(self.root.join("etc/passwd")).context("/etc/passwd")?;
        let (user, group) = ids(&passwd).with_context(|| format!("there is no user {USER}"))?;
        let folder = places.key.parent().map(Path::to_owned);
        let files = [&places.ca, &places.cert, &places.key].into_iter().cloned();
        for path in folder.into_iter().chain(files) {
            chown(&path, Some(user), Some(group))
                .with_context(|| format!("give {} to the user {USER}", path.display()))?;
        }
        Ok(())
    }

    /// Stops it and takes it away. Its user stays, since files may be that one's.
    ///
    /// # Errors
    /// systemd says no, or a file cannot be removed.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        let possible = self.is_possible();
        if possible {
            run("systemctl", &["disable", "--quiet", "--now", NAME])?;
        }
        for path in [self.unit_path(), self.users_path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", path.display()));
                }
                _ => {}
            }
        }
        if possible {
            run("systemctl", &["daemon-reload"])?;
        }
        Ok(())
    }
}

/// User and group of the service in an `/etc/passwd`.
fn ids(passwd: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(USER))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_runs_this_program_with_this_file() {
        let usual = Service::unit(Path::new(PROGRAM), Path::new(DEFAULT_PATH)).unwrap();
        assert_eq!(usual, UNIT);
        let unit = Service::unit(Path::new("/opt/e/edgetwin"), Path::new("/etc/e.yaml")).unwrap();
        assert!(unit.contains("\nExecStart=/opt/e/edgetwin run --config /etc/e.yaml\n"), "{unit}");
        for (program, config) in [
            ("/home/me/edgetwin", DEFAULT_PATH),
            ("/opt/a b/edgetwin", DEFAULT_PATH),
            (PROGRAM, "/tmp/config.yaml"),
            (PROGRAM, "config.yaml"),
        ] {
            assert!(Service::unit(Path::new(program), Path::new(config)).is_err(), "{program}");
        }
    }

    #[test]
    fn its_user_is_found_and_what_was_installed_is_removed_where_systemd_does_not_run() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nedgetwin:x:998:997:Edgetwin:/var/lib/edgetwin:/x\n";
        assert_eq!(ids(passwd), Some((998, 997)));
        assert_eq!(ids("root:x:0:0::/root:/bin/sh\n"), None);
        let dir = tempfile::tempdir().unwrap();
        let service = Service { root: dir.path().into() };
        let config = Path::new(DEFAULT_PATH);
        assert!(!service.is_possible() && !service.runs(config));
        sections::write(&service.unit_path(), UNIT).unwrap();
        assert!(service.runs(config) && !service.runs(Path::new("/etc/other.yaml")));
        service.remove().unwrap();
        assert!(!service.unit_path().exists());
    }
}
