//! How a gateway becomes and stays a node, with the commands that a person types, at a real bridge and API server.
#![cfg(feature = "peers")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cloud::{Addresses, Cloud};
use e2e::cluster::Cluster;
use e2e::process::{Process, program};
use e2e::systemd::Systemd;
use e2e::wait::eventually;
use edge_agent::identity::{JoinError, JoinServers, Papers, Places, join, reach, renew};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A cloud that keeps its identity in Secrets, and a machine beside it.
struct World {
    cloud: Cloud,
    at: Addresses,
    machine: TempDir,
}

impl World {
    async fn start() -> Result<Self> {
        let cloud =
            Cloud::with(Cluster::start().await?, json!({"identity": {"dir": null}})).await?;
        let at = cloud.addresses("first")?;
        let machine = tempfile::tempdir()?;
        let path = |name: &str| machine.path().join(name);
        let config = format!(
            "# what only this machine needs\napi: {{socket: {}}}\ndevices: {{dmiSocket: {}}}\nstore: {{dir: {}}}\n\
             manifests: {{dir: {}}}\nlog: {{level: debug}}\ncloud:\n  ca: {}\n  cert: {}\n  key: {}\n",
            path("api.sock").display(),
            path("dmi.sock").display(),
            path("store").display(),
            path("manifests").display(),
            path("cloud/ca.crt").display(),
            path("cloud/node.crt").display(),
            path("cloud/node.key").display(),
        );
        fs::create_dir(path("manifests"))?;
        fs::write(path("config.yaml"), config)?;
        Ok(Self { cloud, at, machine })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.machine.path().join(name)
    }

    fn places(&self) -> Places {
        Places {
            ca: self.path("cloud/ca.crt"),
            cert: self.path("cloud/node.crt"),
            key: self.path("cloud/node.key"),
        }
    }

    fn servers(&self) -> JoinServers {
        JoinServers { addresses: vec![self.at.join.to_string()], proxy: None }
    }

    /// `edgetwin token` at the cluster.
    fn token(&self, arguments: &[&str]) -> Result<Output> {
        let kubeconfig = self.cloud.cluster.kubeconfig().to_string_lossy().into_owned();
        let cluster = ["--kubeconfig", kubeconfig.as_str(), "--namespace", "edgetwin"];
        edgetwin(&[&["token"], arguments, &cluster].concat(), "")
    }

    /// A token, as JSON has it.
    fn create(&self, scope: &[&str]) -> Result<Json> {
        let made = self.token(&[&["create", "--output", "json"], scope].concat())?;
        serde_json::from_str(&done(&made)?).context("JSON")
    }

    /// `edgetwin join` on the machine, with that token on standard input.
    fn join(&self, name: &str, token: &str, more: &[&str]) -> Result<Output> {
        let (hub, server) = (self.at.hub.to_string(), self.at.join.to_string());
        let config = self.path("config.yaml").to_string_lossy().into_owned();
        let usual = ["join", &hub, "--join-address", &server, "--name", name, "--config", &config];
        edgetwin(&[&usual[..], &["--token-file", "-", "--no-service"], more].concat(), token)
    }

    /// Another command about the machine's configuration.
    fn about(&self, arguments: &[&str]) -> Result<Output> {
        let config = self.path("config.yaml").to_string_lossy().into_owned();
        edgetwin(&[arguments, &["--config", &config]].concat(), "")
    }
}

/// Runs the command to its end.
fn edgetwin(arguments: &[&str], input: &str) -> Result<Output> {
    let mut command = Command::new(program("edgetwin")?);
    command.args(arguments).env_remove("KUBECONFIG").env_remove("EDGETWIN_SOCKET");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // It need not read all of it.
    let _ = child.stdin.take().context("an input")?.write_all(input.as_bytes());
    Ok(child.wait_with_output()?)
}

/// What it printed, if it ended well.
fn done(output: &Output) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8(output.stdout.clone())?;
    ensure!(output.status.success(), "{}: {errors}{said}", output.status);
    Ok(said)
}

/// What it complained, if it ended with 1.
fn refused(output: &Output) -> Result<String> {
    ensure!(output.status.code() == Some(1), "{}: {output:?}", output.status);
    Ok(String::from_utf8(output.stderr.clone())?)
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_becomes_a_node_by_two_commands_and_is_none_after_a_third() -> Result<()> {
    let world = World::start().await?;
    let made = world.create(&["--node", "edge-1"])?;
    ensure!(
        text(&made["join"]) == "edgetwin join 127.0.0.1 --name edge-1 --token-file -",
        "{made}"
    );
    let before = fs::read_to_string(world.path("config.yaml"))?;

    // Nothing happens, and the token is still good.
    let shown = done(&world.join("edge-1", "", &["--dry-run"])?)?;
    ensure!(shown.contains(&world.at.hub.to_string()), "{shown}");
    ensure!(fs::read_to_string(world.path("config.yaml"))? == before);
    let named = world.about(&["diagnose", "join"])?;
    ensure!(named.status.code() == Some(3), "{named:?}");

    let labels = ["--labels", "site=north,line=3"];
    let said = done(&world.join("edge-1", text(&made["token"]), &labels)?)?;
    ensure!(said.contains("edge-1 has a certificate until "), "{said}");
    let config = fs::read_to_string(world.path("config.yaml"))?;
    ensure!(config.starts_with("# what only this machine needs\napi: "), "{config}");
    let mode = |path: &str| -> Result<u32> {
        Ok(fs::metadata(world.path(path))?.permissions().mode() & 0o777)
    };
    ensure!((mode("cloud")?, mode("cloud/node.key")?) == (0o700, 0o600));

    let again = refused(&world.join("edge-1", text(&made["token"]), &[])?)?;
    ensure!(again.contains("already") && again.contains("--force"), "{again}");
    let used = refused(&world.join("edge-1", text(&made["token"]), &["--force"])?)?;
    ensure!(used.contains("(401): the token is used up"), "{used}");
    let without = world.about(&["check", "--output", "json"])?;
    ensure!(without.status.code() == Some(3), "no agent runs: {without:?}");

    let mut agent = Command::new(program("edgetwin")?);
    agent.arg("run").arg("--config").arg(world.path("config.yaml"));
    let agent = Process::start(&mut agent, &world.path("log"))?;
    let ready =
        "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status} {.metadata.labels.site}";
    eventually(PATIENCE, "a Node that is Ready", async || {
        let said = world.cloud.cluster.kubectl(&["get", "node", "edge-1", ready]).await?;
        ensure!(said == "True north", "{said}");
        Ok(())
    })
    .await
    .with_context(|| fs::read_to_string(world.path("log")).unwrap_or_default())?;
    eventually(PATIENCE, "a node that is well", async || done(&world.about(&["check"])?)).await?;
    let socket = world.path("api.sock").to_string_lossy().into_owned();
    let node = done(&edgetwin(&["diagnose", "node", "--socket", &socket], "")?)?;
    ensure!(node.contains("0 device(s) wait for the cloud"), "{node}");
    let missing = edgetwin(&["diagnose", "device", "default/pump", "--socket", &socket], "")?;
    let missing = String::from_utf8_lossy(&missing.stdout).into_owned();
    ensure!(missing.contains("spec.nodeName"), "{missing}");
    agent.stop(PATIENCE).await?;

    let left = done(&world.about(&["leave", "--purge"])?)?;
    ensure!(left.contains("kubectl delete node edge-1"), "{left}");
    let after = fs::read_to_string(world.path("config.yaml"))?;
    ensure!(
        after.starts_with("# what only this machine needs\napi: ") && !after.contains("cloud:")
    );
    ensure!(fs::read_dir(world.path("cloud"))?.next().is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_or_revoked_or_of_another_cloud_leaves_no_trace() -> Result<()> {
    let world = World::start().await?;
    let pool = world.create(&["--pool", "line-*", "--uses", "2", "--ttl", "2h"])?;
    let token = text(&pool["token"]);
    let (_, bearer) = token.split_once('.').context("four parts")?;
    let cases = [
        (
            "line-1",
            format!("{}.{bearer}", "0".repeat(64)),
            "shows an authority with the fingerprint",
        ),
        ("edge-1", token.to_owned(), "(401): the token is for another node"),
        ("line-1", bearer.to_owned(), "the token has 3 parts, not four"),
        ("Line_1", token.to_owned(), "is no name of a node"),
    ];
    for (name, token, wanted) in &cases {
        let said = refused(&world.join(name, token, &[])?)?;
        ensure!(said.contains(wanted) && !said.contains(bearer), "{said}");
        ensure!(!world.path("cloud").exists(), "{name}: a trace");
    }
    // What is kept in a file is the token and nothing else.
    let made = world.token(&["create", "--node", "edge-9"])?;
    let alone = done(&made)?;
    ensure!(alone.lines().count() == 1 && alone.trim().split('.').count() == 4, "{alone}");
    ensure!(String::from_utf8_lossy(&made.stderr).contains("--name edge-9"), "{made:?}");
    let listed = done(&world.token(&["list"])?)?;
    ensure!(listed.contains("line-*") && !listed.contains(bearer), "{listed}");
    done(&world.token(&["revoke", text(&pool["id"])])?)?;
    let unknown = refused(&world.token(&["revoke", text(&pool["id"])])?)?;
    ensure!(unknown.contains("there is no token"), "{unknown}");
    let said = refused(&world.join("line-1", token, &[])?)?;
    ensure!(said.contains("(401): the token is unknown, or was revoked"), "{said}");
    ensure!(!world.path("cloud").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_renews_its_certificate_at_a_bridge_with_another_key() -> Result<()> {
    let world = World::start().await?;
    let made = world.create(&["--node", "edge-1"])?;
    let (servers, places) = (world.servers(), world.places());
    let first = join(&servers, text(&made["token"]), "edge-1", &places).await?;
    let key = fs::read(&places.key)?;
    let second = renew(&servers, &first, "edge-1", &places).await?;
    ensure!(fs::read(&places.key)? != key, "the key is the same");
    ensure!(second.expires_at() >= first.expires_at());
    let read = Papers::read(&places, "edge-1")?.context("papers")?;
    let hub = world.at.hub.to_string();
    reach(&hub, None, Some(&read)).await?;
    // A node renews its own name alone.
    let error =
        renew(&servers, &second, "edge-2", &places).await.err().context("another's name")?;
    ensure!(matches!(&error, JoinError::Refused { status: 403, .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_systemd_is_a_node_after_join_and_also_after_a_crash_until_it_leaves()
-> Result<()> {
    if Systemd::missing().is_some() {
        return Ok(());
    }
    let world = World::start().await?;
    let machine = Systemd::boot(&program("edgetwin")?).await?;
    let made = world.create(&["--node", "edge-1"])?;
    let (hub, server) = (world.at.hub.to_string(), world.at.join.to_string());
    let join = [
        "edgetwin",
        "join",
        &hub,
        "--join-address",
        &server,
        "--name",
        "edge-1",
        "--token-file",
        "-",
    ];
    let said = done(&machine.run(&join, text(&made["token"]))?)?;
    ensure!(said.contains("edgetwin.service runs"), "{said}");
    let ready = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    let is_ready = async || {
        let said = world.cloud.cluster.kubectl(&["get", "node", "edge-1", ready]).await?;
        ensure!(said == "True", "{said}");
        done(&machine.run(&["edgetwin", "check"], "")?)
    };
    eventually(PATIENCE, "a Node that is Ready", is_ready).await?;
    let pid = machine.property("edgetwin", "MainPID")?;
    let owner =
        done(&machine.run(&["stat", "--format=%U %a", "/var/lib/edgetwin/cloud/node.key"], "")?)?;
    ensure!(owner.trim() == "edgetwin 600", "{owner}");
    let status = done(&machine.run(&["cat", &format!("/proc/{pid}/status")], "")?)?;
    for line in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        ensure!(status.contains(line), "{line}: {status}");
    }

    done(&machine.run(&["kill", "-9", &pid], "")?)?;
    eventually(PATIENCE, "another start", async || {
        ensure!(machine.property("edgetwin", "NRestarts")? == "1");
        is_ready().await
    })
    .await?;
    // One that stands still is started again, too.
    let wait = "mkdir -p /run/systemd/system/edgetwin.service.d && cd /run/systemd/system/edgetwin.service.d && \
                printf '[Service]\nWatchdogSec=2\n' >short.conf && systemctl daemon-reload && systemctl restart edgetwin && \
                kill -STOP $(systemctl show edgetwin --property MainPID --value)";
    done(&machine.run(&["sh", "-c", wait], "")?)?;
    eventually(PATIENCE, "a start after silence", async || {
        ensure!(machine.property("edgetwin", "NRestarts")? == "1");
        is_ready().await
    })
    .await?;

    let left = done(&machine.run(&["edgetwin", "leave", "--purge"], "")?)?;
    ensure!(left.contains("edgetwin.service is stopped and removed"), "{left}");
    ensure!(machine.property("edgetwin", "LoadState")? == "not-found");
    let store = machine.run(&["ls", "/var/lib/edgetwin/twins.db"], "")?;
    let key = machine.run(&["ls", "/var/lib/edgetwin/cloud/node.key"], "")?;
    ensure!(store.status.success() && !key.status.success(), "{store:?} {key:?}");
    Ok(())
}

#[test]
fn systemd_takes_the_unit_and_finds_it_closed() -> Result<()> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join("edgetwin.service");
    let text = fs::read_to_string(deploy.join("edgetwin.service"))?;
    // systemd looks whether the program is there.
    let here = program("edgetwin")?.to_string_lossy().into_owned();
    fs::write(&unit, text.replace("/usr/local/bin/edgetwin", &here))?;
    let analyze = |arguments: &[&str]| {
        Command::new("systemd-analyze")
            .args(arguments)
            .arg(&unit)
            .output()
            .context("systemd-analyze")
    };
    let verified = analyze(&["verify", "--man=no"])?;
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    ensure!(verified.status.success() && !said.contains("edgetwin.service"), "{said}");
    // Tenths of its exposure, 0 to 100.
    let judged = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"])?;
    ensure!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    Ok(())
}
