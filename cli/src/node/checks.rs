//! What can be wrong with a node, looked at one by one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use device_model::Timestamp;
use device_twin::SqliteStore;
use edge_agent::api::view::{PartStatus, PartView, ReadyView};
use edge_agent::config::{AgentConfig, Cloud, File};
use edge_agent::identity::{JoinServers, Papers, Places, Unreached, authority, reach};
use edge_agent::program::RunArgs;

use crate::duration::short;
use crate::findings::Findings;

/// Less room than this for the store is too little.
const ROOM: u64 = 64 << 20;
/// A certificate that ends so soon was not renewed in time.
const SOON: Duration = Duration::from_secs(24 * 3600);

/// The configuration; the defaults where there is none.
pub(crate) fn configuration(run: &RunArgs, findings: &mut Findings) -> Option<AgentConfig> {
    let named =
        run.file().map_or("no file; the defaults apply".into(), |path| path.display().to_string());
    match run.configuration() {
        Ok(File { config, unused, .. }) if unused.is_empty() => {
            findings.ok("configuration", named);
            Some(config)
        }
        Ok(File { config, unused, .. }) => {
            let said = format!("{named}: without effect here: {}", unused.join(", "));
            findings.warning("configuration", said, "take these keys out, or write what was meant");
            Some(config)
        }
        Err(error) => {
            let remedy = "correct the file; `edgetwin config print` shows every key";
            findings.problem("configuration", error.to_string(), remedy);
            None
        }
    }
}

/// The machine's clock, by which certificates are judged.
pub(crate) fn clock(now: Timestamp, findings: &mut Findings) {
    if now.is_of_a_set_clock() {
        return findings.ok("clock", now.to_string());
    }
    let remedy = "let it be set over the network (systemd-timesyncd, chrony), or write `date -s`; certificates are judged by it";
    findings.problem("clock", format!("it shows {now}, so nobody has set it"), remedy);
}

/// The place of the store, and its room.
pub(crate) fn store(config: &AgentConfig, findings: &mut Findings) {
    let dir = &config.store.dir;
    match dir.join(SqliteStore::FILE).try_exists() {
        Ok(true) => findings
            .ok("store", format!("{}; `edgetwin store check` reads it whole", dir.display())),
        Ok(false) => findings.ok("store", format!("nothing in {} so far", dir.display())),
        Err(error) => {
            let remedy =
                "run this as root or as the agent's user, or name another folder in store.dir";
            findings.problem("store", format!("{}: {error}", dir.display()), remedy);
        }
    }
    let there = dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Err(error) => {
            findings.problem("disk", format!("{}: {error}", there.display()), "see `dmesg`")
        }
        Ok(disk) => {
            let (free, mib) = (disk.f_bavail.saturating_mul(disk.f_frsize), 1 << 20);
            let said = format!("{} MiB free at {}", free / mib, there.display());
            match free < ROOM {
                false => findings.ok("disk", said),
                true => findings.problem(
                    "disk",
                    said,
                    format!("make room: {} MiB at least", ROOM / mib),
                ),
            }
        }
    }
}

/// The node's certificate, of which the cloud knows it.
pub(crate) fn certificate(
    config: &AgentConfig,
    now: Timestamp,
    findings: &mut Findings,
) -> Option<Papers> {
    let what = "certificate";
    let again = "get another one: `edgetwin join` with a new token and --force";
    match Papers::read(&Places::from(&config.cloud), &config.node.name) {
        Err(error) => findings.problem(what, error.to_string(), again),
        Ok(None) => {
            let said = format!("there is none at {}", config.cloud.cert.display());
            findings.problem(what, said, "get one: `edgetwin join` with a token");
        }
        Ok(Some(papers)) if papers.is_expired(now) => {
            let said = format!("it ended at {}", papers.expires_at());
            findings.problem(what, said, format!("see whether the clock is right; then {again}"));
        }
        Ok(Some(papers)) => {
            let left = papers.expires_at().since(now);
            let said = format!("good for {} more, for {}", short(left), config.node.name);
            match left < SOON && papers.renew_at(1.0) < now {
                false => findings.ok(what, said),
                true => findings.warning(
                    what,
                    format!("{said}; it should have been renewed by now"),
                    "see whether the join server is reached, below, and that cloud.rotate is not false",
                ),
            }
            return Some(papers);
        }
    }
    None
}

/// Whether each address of the cloud answers, to this node where it has papers.
pub(crate) async fn hub(cloud: &Cloud, papers: Option<&Papers>, findings: &mut Findings) {
    for address in &cloud.addresses {
        let what = format!("cloud {address}");
        match reach(address, cloud.proxy.as_deref(), papers).await {
            Ok(()) if papers.is_some() => {
                findings.ok(what, "reached, and it takes this node's certificate")
            }
            Ok(()) => findings.ok(what, "reached"),
            Err(error) => findings.problem(what, error.to_string(), unreached(&error)),
        }
    }
}

/// Whether the join server answers, with the authority that this node trusts.
pub(crate) async fn join_server(cloud: &Cloud, papers: Option<&Papers>, findings: &mut Findings) {
    let servers = JoinServers::from(cloud);
    let what = format!("join server {}", servers.addresses.join(", "));
    match (authority(&servers).await, papers) {
        (Err(error), _) => {
            let remedy = "let this machine through to it, or name it in cloud.join; certificates are renewed there";
            findings.problem(what, error.to_string(), remedy);
        }
        (Ok(shown), Some(papers)) if shown != *papers.authority() => findings.problem(
            what,
            format!("it shows another authority than {}", cloud.ca.display()),
            "it is another cloud, or a new one: `edgetwin leave --purge`, then join with a new token",
        ),
        (Ok(_), Some(_)) => findings.ok(what, "reached, with the authority that this node trusts"),
        (Ok(_), None) => findings.ok(what, "reached"),
    }
}

/// What to do about a cloud that is not reached.
pub(crate) fn unreached(error: &Unreached) -> &'static str {
    match error {
        Unreached::Tcp(_) => {
            "see that the bridge runs, that the address is right, and that nothing between lets through less; cloud.proxy names a proxy"
        }
        Unreached::Tls(_) => {
            "see that both clocks are right, that the address stands in the bridge's join.advertise, and that it is the cloud that this node joined"
        }
        Unreached::Silent => "see what else listens there, and whether a proxy is in between",
    }
}

/// What a running agent says of itself.
pub(crate) fn agent(ready: &ReadyView, findings: &mut Findings) {
    for PartView { name, status, reason, remedy, .. } in &ready.parts {
        let what = format!("agent: {name}");
        match status {
            PartStatus::Ok => findings.ok(what, "ok"),
            PartStatus::Degraded => findings.warning(what, reason, remedy),
            PartStatus::Failed => findings.problem(what, reason, remedy),
        }
    }
    for problem in &ready.problems {
        let remedy = "correct it where it was written: in the manifests folder, or in the cluster";
        findings.warning(format!("manifest {}", problem.file), &problem.message, remedy);
    }
}

/// The time of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
