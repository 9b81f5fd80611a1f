//! `edgetwin token`: what a machine shows once, to become a node.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use cloud_bridge::config::{BridgeConfig, File};
use cloud_bridge::identity::token::{Listed, Scope, TokenId, TokenStore, create};
use cloud_bridge::identity::{Authority, Entry, Place};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::duration;
use crate::outcome::{Outcome, complain};
use crate::output::{Format, OutputArgs, add, print, say, table, text};

/// Make, list or revoke the tokens with which machines become nodes
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for one node or a pool, and print it; nobody can print it again
    Create(CreateArgs),
    /// List tokens, without what makes them good
    List(ListArgs),
    /// Make a token good for nothing; nodes that joined with it stay
    Revoke(RevokeArgs),
}

/// Whose tokens.
#[derive(Debug, clap::Args)]
struct Cluster {
    /// How the API server is reached; else as kubectl does it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The bridge's namespace [default: edgetwin]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// The bridge's configuration, where it keeps its identity anywhere else than in that namespace
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// For whom, and for how long.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin token create --node edge-1
  edgetwin token create --node edge-1 > edge-1.token
  edgetwin token create --pool 'line-*' --uses 20 --ttl 24h

The token goes to standard output, what to do with it to standard error.")]
pub(crate) struct CreateArgs {
    /// The node that it is for
    #[arg(long, value_name = "NAME", required_unless_present = "pool")]
    node: Option<String>,
    /// The nodes that it is for: every name that begins so
    #[arg(long, value_name = "START*", conflicts_with = "node")]
    pool: Option<String>,
    /// When it ends
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
    ttl: Duration,
    /// How many certificates it is good for
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// Where nodes reach the bridge, for the command that is printed; else the first name in its certificate
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which cluster, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which token.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Its id, as `token list` shows it
    id: String,
    #[command(flatten)]
    cluster: Cluster,
}

#[derive(Serialize)]
struct Created {
    id: String,
    token: String,
    scope: String,
    uses: u32,
    expires: Timestamp,
    /// What to run on the machine.
    join: String,
}

#[derive(Serialize)]
struct Row {
    id: String,
    scope: String,
    /// Certificates that it is still good for.
    uses: u32,
    expires: Timestamp,
    expired: bool,
    created: Timestamp,
}

/// Makes, lists or revokes.
///
/// # Errors
/// The API server cannot be asked, or there is no authority yet.
pub(crate) async fn run(command: TokenCommand) -> anyhow::Result<Outcome> {
    match command {
        TokenCommand::Create(args) => args.create().await,
        TokenCommand::List(args) => args.list().await,
        TokenCommand::Revoke(args) => args.revoke().await,
    }
}

impl Cluster {
    /// Where the bridge keeps its identity, and where its tokens.
    async fn open(&self) -> anyhow::Result<(Place, std::sync::Arc<dyn TokenStore>)> {
        let mut config = match &self.config {
            Some(path) => File::read(path)?.config,
            None => BridgeConfig::default(),
        };
        if let Some(path) = &self.kubeconfig {
            config.kubeconfig = Some(path.clone());
        }
        if let Some(namespace) = &self.namespace {
            config.namespace.clone_from(namespace);
        }
        let client = cloud_bridge::bridge::client(&config)
            .await
            .context("find the cluster; name a kubeconfig with --kubeconfig")?;
        Ok((config.place(&client), config.tokens(&client)))
    }
}

impl CreateArgs {
    async fn create(&self) -> anyhow::Result<Outcome> {
        let scope: Scope = match (&self.node, &self.pool) {
            (Some(name), _) => Scope::Node(name.parse()?),
            (None, Some(pool)) if pool.ends_with('*') => pool.parse()?,
            (None, pool) => {
                bail!("--pool {}: no pool; write line-*", pool.as_deref().unwrap_or_default())
            }
        };
        let (place, tokens) = self.cluster.open().await?;
        let Some(authority) = place.load(Entry::Authority).await? else {
            bail!(
                "{}: there is no authority yet; start the bridge once, or name its namespace with --namespace",
                place.name(Entry::Authority)
            );
        };
        let authority = Authority::of(&authority.pair, &place.name(Entry::Authority))?;
        let now = Timestamp::now();
        let ttl = SignedDuration::try_from(self.ttl)?;
        let expires = now.checked_add(ttl).context("--ttl: too long; write 1h, or 720h")?;
        let address = match &self.address {
            Some(address) => address.clone(),
            None => advertised(&place).await.unwrap_or_else(|| "BRIDGE".into()),
        };
        let ours = create(&*tokens, scope.clone(), self.uses, expires, now).await?;
        let name = match &scope {
            Scope::Node(name) => name.to_string(),
            Scope::Pool(start) => format!("{start}NAME"),
        };
        let created = Created {
            id: ours.id.to_string(),
            token: ours.text(&authority.fingerprint()),
            scope: scope.to_string(),
            uses: self.uses,
            expires,
            join: format!("edgetwin join {address} --name {name} --token-file -"),
        };
        match self.output.output {
            Format::Table => {
                say(&created.token)?;
                complain(&format!(
                    "good for {}, {} time(s), until {:.0}; on the machine run, and paste the token there:\n  {}",
                    created.scope, created.uses, created.expires, created.join
                ));
            }
            form => print(form, &created, |_| String::new())?,
        }
        Ok(Outcome::Done)
    }
}

/// The first name under which the bridge's certificate says that nodes reach it, beside this machine's own.
async fn advertised(place: &Place) -> Option<String> {
    let server = place.load(Entry::Server).await.ok()??;
    let (_, certificate) = X509Certificate::from_der(&server.pair.certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match <[u8; 4]>::try_from(*octets) {
            Ok(octets) => Some(std::net::Ipv4Addr::from(octets).to_string()),
            Err(_) => <[u8; 16]>::try_from(*octets)
                .ok()
                .map(|octets| format!("[{}]", std::net::Ipv6Addr::from(octets))),
        },
        _ => None,
    });
    // `<service>.<namespace>.svc` is the webhook's, for the API server alone.
    names.find(|name| !name.ends_with(".svc") && !name.starts_with("*."))
}

impl ListArgs {
    async fn list(&self) -> anyhow::Result<Outcome> {
        let (_, tokens) = self.cluster.open().await?;
        let now = Timestamp::now();
        let row = |Listed { id, grant }: Listed| Row {
            id: id.to_string(),
            scope: grant.scope.to_string(),
            uses: grant.uses,
            expires: grant.expires,
            expired: grant.expires <= now,
            created: grant.created,
        };
        let rows: Vec<Row> = tokens.list().await?.into_iter().map(row).collect();
        print(self.output.output, &rows, |rows| list_table(rows))?;
        Ok(Outcome::Done)
    }
}

fn list_table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "there is no token; make one with `edgetwin token create --node NAME`".into();
    }
    let mut shown = table(&["ID", "FOR", "USES LEFT", "EXPIRES", "CREATED"]);
    for row in rows {
        let ends = if row.expired { "expired".into() } else { format!("{:.0}", row.expires) };
        let created = format!("{:.0}", row.created);
        let cells = vec![
            (&row.id).into(),
            (&row.scope).into(),
            row.uses.into(),
            ends.into(),
            created.into(),
        ];
        add(&mut shown, cells);
    }
    text(&shown)
}

impl RevokeArgs {
    async fn revoke(&self) -> anyhow::Result<Outcome> {
        let Ok(id) = self.id.parse::<TokenId>() else {
            bail!(
                "{}: no id of a token, which has 16 hexadecimal digits; see `edgetwin token list`",
                self.id
            );
        };
        let (_, tokens) = self.cluster.open().await?;
        if !tokens.revoke(&id).await? {
            bail!("there is no token {id}; see `edgetwin token list`");
        }
        say(&format!("token {id} is revoked; nodes that joined with it stay"))?;
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use cloud_bridge::identity::{Files, Served, ServerNames};

    use super::*;

    #[tokio::test]
    async fn the_printed_command_names_the_bridge_as_its_certificate_does() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Files(Files::within(dir.path()));
        assert_eq!(advertised(&place).await, None);
        let authority = std::sync::Arc::new(Authority::open(&place).await.unwrap());
        let names = ServerNames {
            dns: ["bridge.edgetwin.svc".into()].into(),
            ips: ["2001:db8::1".parse().unwrap()].into(),
        };
        let hour = Duration::from_secs(3600);
        Served::open(authority, place.clone(), names, hour).await.unwrap();
        assert_eq!(advertised(&place).await.as_deref(), Some("[2001:db8::1]"));
    }
}
