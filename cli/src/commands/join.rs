//! `edgetwin join`: makes this machine a node of a cloud.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, bail};
use cloud_bridge::identity::NodeName;
use edge_agent::config::{
    AgentConfig, DEFAULT_PATH, Dialect, File, HUB_PORT, JOIN_PORT, with_port,
};
use edge_agent::identity::{JoinServers, Papers, Places, join, reach};
use serde_json::{Map, Value as Json, json};

use crate::node::service::{NAME, Service};
use crate::node::{checks, sections};
use crate::outcome::{Outcome, complain};
use crate::output::say;

/// Make this machine a node: get a certificate, write the configuration, start the service
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin join bridge.example.com --token-file edge-1.token
  edgetwin join bridge.example.com --name edge-1 --labels site=north,line=3 --token-file -
  edgetwin join 203.0.113.10:30000 --join-address 203.0.113.10:30002 --token-file - --no-service

`edgetwin token create` makes the token. It is read from a file, since every user of a machine sees command lines.
Devices and what is desired of them stay; the manifests folder counts no more, until `edgetwin leave`.")]
pub(crate) struct JoinArgs {
    /// Where the bridge is; port 10000 unless another is named. Of several the first that answers is taken
    #[arg(required = true, value_name = "HOST[:PORT]")]
    addresses: Vec<String>,
    /// The file with the token; - is standard input
    #[arg(long, value_name = "FILE|-")]
    token_file: PathBuf,
    /// The node's name; else the one in the configuration, else the host's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Labels of the Node object
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// Where the bridge gives certificates; else the same host, port 10002
    #[arg(long, value_name = "HOST[:PORT]")]
    join_address: Option<String>,
    /// The configuration file to write
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Say what would be written, and do nothing; the token is not used
    #[arg(long)]
    dry_run: bool,
    /// Install no service
    #[arg(long)]
    no_service: bool,
    /// Join anew, though this machine is a node already
    #[arg(long)]
    force: bool,
}

/// What is going to be.
struct Plan {
    text: String,
    config: AgentConfig,
    /// The unit; none where no service is wanted.
    unit: Option<String>,
}

/// Joins.
///
/// # Errors
/// Something is wrong beforehand, the cloud gives no certificate, or a file or the service cannot be written. What was
/// done is said before.
pub(crate) async fn run(args: JoinArgs) -> anyhow::Result<Outcome> {
    let plan = args.plan()?;
    let Plan { text, config, unit } = &plan;
    let places = Places::from(&config.cloud);
    if args.dry_run {
        say(&format!("# {}\n{text}", args.config.display()))?;
        if let Some(unit) = unit {
            say(&format!("# {}\n{unit}", Service::here().unit_path().display()))?;
        }
        return Ok(Outcome::Done);
    }
    let token = args.token()?;
    args.look(config).await?;
    let name = &config.node.name;
    let papers = join(&JoinServers::from(&config.cloud), &token, name, &places).await?;
    say(&format!(
        "{name} has a certificate until {}: {}",
        papers.expires_at(),
        places.cert.display()
    ))?;
    sections::write(&args.config, text)
        .with_context(|| format!("write {}", args.config.display()))?;
    say(&format!("{}: cloud and node are written", args.config.display()))?;
    let by_hand = format!("edgetwin run --config {}", args.config.display());
    let Some(unit) = unit else {
        say(&format!("start the agent, anew where it runs: {by_hand}"))?;
        return Ok(Outcome::Done);
    };
    let service = Service::here();
    if !service.is_possible() {
        say(&format!("systemd does not run here; start the agent yourself: {by_hand}"))?;
        return Ok(Outcome::Degraded);
    }
    service.install(unit, &places)?;
    say(&format!(
        "{NAME} runs; `edgetwin status` shows the link, `edgetwin leave` undoes all this"
    ))?;
    Ok(Outcome::Done)
}

impl JoinArgs {
    /// What to write, from what is there; nothing is asked and nothing changed.
    fn plan(&self) -> anyhow::Result<Plan> {
        let place = self.config.display();
        let before = match std::fs::read_to_string(&self.config) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read {place}")),
        };
        let wrong = |message: String| anyhow::anyhow!("{place}: {message}");
        let file = File::parse(&before).map_err(wrong)?;
        if file.dialect == Dialect::EdgeCore {
            bail!(
                "{place} is KubeEdge's; make one of ours with `edgetwin config convert {place} --to {DEFAULT_PATH}`, or write modules.edgeHub there and put the token into modules.edgeHub.token"
            );
        }
        let keys = sections::keys(&before).map_err(wrong)?;
        let section =
            |name: &str| keys.get(name).and_then(Json::as_object).cloned().unwrap_or_default();
        let mut node = section("node");
        let name = self.name.clone().unwrap_or(file.config.node.name);
        let name: NodeName = name.parse().context("--name")?;
        node.insert("name".into(), name.as_str().into());
        if !self.labels.is_empty() {
            let labels = self.labels.iter().cloned().map(|(key, value)| (key, value.into()));
            node.insert("labels".into(), Json::Object(labels.collect::<Map<_, _>>()));
        }
        let mut cloud = section("cloud");
        let addresses: Vec<_> = self.addresses.iter().map(|one| with_port(one, HUB_PORT)).collect();
        cloud.insert("addresses".into(), json!(addresses));
        cloud.remove("tokenFile");
        cloud.remove("join");
        if let Some(server) = &self.join_address {
            cloud.insert("join".into(), format!("https://{}", with_port(server, JOIN_PORT)).into());
        }
        let text =
            sections::replaced(&before, &[("node", node), ("cloud", cloud)]).map_err(wrong)?;
        let config = File::parse(&text).map_err(wrong)?.config;
        let unit = match self.no_service {
            true => None,
            false => Some(self.unit()?),
        };
        Ok(Plan { text, config, unit })
    }

    fn unit(&self) -> anyhow::Result<String> {
        let program = std::env::current_exe().context("find this program")?;
        Service::unit(&program, &self.config)
    }

    fn token(&self) -> anyhow::Result<String> {
        if self.token_file.as_os_str() != "-" {
            return std::fs::read_to_string(&self.token_file)
                .with_context(|| format!("read the token from {}", self.token_file.display()));
        }
        let mut input = std::io::stdin().lock();
        let mut token = String::new();
        if input.is_terminal() {
            complain("paste the token, and press Enter:");
            std::io::BufRead::read_line(&mut input, &mut token)?;
        } else {
            input.read_to_string(&mut token)?;
        }
        Ok(token)
    }

    /// What would go wrong, before the token is used.
    async fn look(&self, config: &AgentConfig) -> anyhow::Result<()> {
        if !self.no_service && !rustix::process::geteuid().is_root() {
            bail!("a service is installed by root alone; use sudo, or join with --no-service");
        }
        let now = checks::now();
        if !now.is_of_a_set_clock() {
            bail!(
                "the clock of this machine shows {now}; set it, since certificates are judged by it (`date -s`, systemd-timesyncd, chrony)"
            );
        }
        let held = Papers::read(&Places::from(&config.cloud), &config.node.name);
        let joined = File::read(&self.config).is_ok_and(|file| file.config.cloud.is_joined());
        if !self.force
            && joined
            && held.is_ok_and(|held| held.is_some_and(|held| !held.is_expired(now)))
        {
            bail!(
                "this machine is the node {} already, by {}; `edgetwin leave` first, or join anew with --force",
                config.node.name,
                self.config.display()
            );
        }
        let (cloud, mut last) = (&config.cloud, None);
        for address in &cloud.addresses {
            match reach(address, cloud.proxy.as_deref(), None).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some((address, error)),
            }
        }
        match last {
            None => Ok(()),
            Some((address, error)) => bail!("{address}: {error}; {}", checks::unreached(&error)),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write a label as key=value".into()),
    }
}
