//! The embedded broker and the clients that apps are made with: paho for Python and Mosquitto's, over MQTT 3.1.1 and 5.
#![cfg(feature = "peers")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::mosquitto::{Subscriber, publish_with};
use e2e::peers::program;
use edge_agent::config::ServerTls;
use edge_agent::{Agent, AgentConfig};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A check takes seconds; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// An agent without devices: its broker.
struct Broker {
    folder: TempDir,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), edge_agent::Error>>,
}

impl Broker {
    async fn start(change: impl FnOnce(&mut AgentConfig, &Path) -> Result<()>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut config = AgentConfig::within(folder.path());
        std::fs::create_dir(&config.manifests.dir)?;
        change(&mut config, folder.path())?;
        let agent = Agent::bind(config).await?;
        let address = agent.addresses().mqtt.context("no broker")?;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(agent.run(stop.clone()));
        Ok(Self { folder, address, stop, tasks })
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Has paho do a check to its end.
    async fn paho(&self, check: &str, arguments: &[&str]) -> Result<()> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/python/mqtt_client.py");
        let mut command = Command::new(program("EDGETWIN_PYTHON").await?);
        command.arg(script).args([check, &self.address.port().to_string()]).args(arguments);
        let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await??;
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{check}: {}\n{said}{complained}", output.status);
        let passed: Vec<_> = said.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(passed, [format!("{check} over 3.1.1"), format!("{check} over 5.0")]);
        Ok(())
    }

    async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn plain() -> Result<Broker> {
    Broker::start(|_, _| Ok(())).await
}

/// Has paho do a check that needs nothing but a broker.
async fn paho(check: &str) -> Result<()> {
    let broker = plain().await?;
    broker.paho(check, &[]).await?;
    broker.stop().await
}

#[tokio::test]
async fn paho_gets_each_message_once_and_in_order_at_every_quality() -> Result<()> {
    paho("qos").await
}

#[tokio::test]
async fn paho_finds_what_was_retained_until_it_is_replaced_or_deleted() -> Result<()> {
    paho("retained").await
}

#[tokio::test]
async fn pahos_last_will_is_told_when_it_did_not_say_goodbye_and_only_then() -> Result<()> {
    paho("will").await
}

#[tokio::test]
async fn pahos_messages_wait_for_its_session_and_a_clean_one_has_none() -> Result<()> {
    paho("session").await
}

#[tokio::test]
async fn pahos_wildcards_and_shares_get_what_they_match() -> Result<()> {
    paho("filters").await
}

#[tokio::test]
async fn pahos_largest_packet_passes_and_one_octet_more_ends_its_connection() -> Result<()> {
    let broker = plain().await?;
    let limit = AgentConfig::default().mqtt.limits.packet.to_string();
    broker.paho("sizes", &[&limit]).await?;
    broker.stop().await
}

#[tokio::test]
async fn paho_comes_in_with_the_right_password_alone() -> Result<()> {
    let broker = Broker::start(|config, folder| {
        let file = folder.join("passwords");
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .arg(&file)
            .args(["ann", "apple"])
            .status();
        ensure!(made.context("mosquitto_passwd; install mosquitto")?.success(), "no password file");
        config.mqtt.password_file = Some(file);
        Ok(())
    })
    .await?;
    broker.paho("login", &["ann", "apple"]).await?;
    broker.stop().await
}

/// Writes an authority and what it signed, for a server and for a client.
fn certificates(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    // OpenSSL takes one who bears the name of its issuer for the issuer.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let server = ("server", ExtendedKeyUsagePurpose::ServerAuth);
    for (name, usage) in [server, ("client", ExtendedKeyUsagePurpose::ClientAuth)] {
        let mut leaf = CertificateParams::new(vec!["localhost".into()])?;
        leaf.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem())?;
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

async fn with_tls(client_ca: Option<&str>) -> Result<Broker> {
    Broker::start(|config, folder| {
        certificates(folder)?;
        let file = |name: &str| -> PathBuf { folder.join(name) };
        let (cert, key) = (file("server.pem"), file("server.key"));
        config.mqtt.tls = Some(ServerTls { cert, key, client_ca: client_ca.map(file) });
        Ok(())
    })
    .await
}

#[tokio::test]
async fn paho_and_the_broker_know_each_other_by_their_certificates() -> Result<()> {
    let broker = with_tls(None).await?;
    broker.paho("tls", &[&broker.file("ca.pem")]).await?;
    broker.stop().await?;
    let broker = with_tls(Some("ca.pem")).await?;
    let files = ["ca.pem", "client.pem", "client.key"].map(|name| broker.file(name));
    broker.paho("certificate", &files.each_ref().map(String::as_str)).await?;
    broker.stop().await
}

#[tokio::test]
async fn mosquittos_clients_get_every_quality_what_is_retained_and_wills() -> Result<()> {
    let broker = plain().await?;
    for version in ["mqttv311", "mqttv5"] {
        for quality in ["0", "1", "2"] {
            mosquitto(&broker, &["-V", version, "-q", quality]).await?;
        }
    }
    broker.stop().await
}

async fn mosquitto(broker: &Broker, options: &[&str]) -> Result<()> {
    let address = broker.address;
    let publish = async |more: &[&str], topic: &str| {
        publish_with(address, &[options, more].concat(), topic).await
    };
    let subscribe = async |topic: &str| Subscriber::start_with(address, options, &[topic]).await;
    let next = async |subscriber: &mut Subscriber| -> Result<String> {
        Ok(subscriber.message(|_, _| true).await?.1.to_string())
    };

    let mut live = subscribe("said").await?;
    for number in 0..5 {
        publish(&["-m", &number.to_string()], "said").await?;
        assert_eq!(next(&mut live).await?, number.to_string());
    }

    publish(&["-r", "-m", "1"], "kept").await?;
    publish(&["-r", "-m", "2"], "kept").await?;
    let mut late = subscribe("kept").await?;
    assert_eq!(next(&mut late).await?, "2");
    publish(&["-r", "-n"], "kept").await?;
    let mut later = subscribe("kept").await?;
    publish(&["-m", "3"], "kept").await?;
    assert_eq!(next(&mut later).await?, "3", "there is nothing from before");

    let mut heirs = subscribe("will").await?;
    let will = |payload| ["--will-topic", "will", "--will-payload", payload];
    // One that says goodbye, and one that is killed.
    publish(&[&will("1")[..], &["-m", "0"]].concat(), "said").await?;
    let dying = Subscriber::start_with(address, &[options, &will("2")].concat(), &["none"]).await?;
    drop(dying);
    assert_eq!(next(&mut heirs).await?, "2");
    Ok(())
}
