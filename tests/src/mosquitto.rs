//! Eclipse Mosquitto: its clients `mosquitto_sub` and `mosquitto_pub` (Debian's package `mosquitto-clients`), and its
//! broker (`mosquitto`), on a port and with a configuration of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::process::Process;
use crate::wait::eventually;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Marks a message among what else is printed; a tab parts topic and payload.
const MESSAGE: &str = "message ";

/// A running `mosquitto_sub`; killed when dropped.
#[derive(Debug)]
pub struct Subscriber {
    // Kills the process when dropped.
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Subscriber {
    /// Subscribes and waits for the broker's word that it is so.
    ///
    /// # Errors
    /// The program is not installed, or the broker does not accept the subscription.
    pub async fn start(broker: SocketAddr, topics: &[&str]) -> Result<Self> {
        Self::start_with(broker, &["-q", "1"], topics).await
    }

    /// The same with other options of the program than QoS 1.
    ///
    /// # Errors
    /// As for [`Subscriber::start`].
    pub async fn start_with(broker: SocketAddr, options: &[&str], topics: &[&str]) -> Result<Self> {
        // It tells with -d when the subscription is there, but into a pipe only when its buffer is full.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d"]).args(address(broker)).args(options);
        command.args(["-F", &format!("{MESSAGE}%t\t%p")]);
        for topic in topics {
            command.args(["-t", topic]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("mosquitto_sub; install mosquitto-clients")?;
        let output = process.stdout.take().context("its output is piped")?;
        let mut subscriber = Self { _process: process, lines: BufReader::new(output).lines() };
        subscriber.line(|line| line.starts_with("Subscribed").then_some(())).await?;
        Ok(subscriber)
    }

    /// The next message for which `wanted` holds; those before it are passed over.
    ///
    /// # Errors
    /// None came in time; the error has the last line of the program.
    pub async fn message(
        &mut self,
        wanted: impl Fn(&str, &Json) -> bool,
    ) -> Result<(String, Json)> {
        self.line(|line| {
            let (topic, payload) = line.strip_prefix(MESSAGE)?.split_once('\t')?;
            let payload = serde_json::from_str(payload).ok()?;
            wanted(topic, &payload).then(|| (topic.to_owned(), payload))
        })
        .await
    }

    async fn line<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let mut last = String::new();
        let search = async {
            while let Some(line) = self.lines.next_line().await? {
                if let Some(found) = wanted(&line) {
                    return Ok(found);
                }
                last = line;
            }
            anyhow::bail!("mosquitto_sub ended")
        };
        let found = timeout(PATIENCE, search).await;
        found
            .map_err(anyhow::Error::from)
            .flatten()
            .with_context(|| format!("last it said: {last:?}"))
    }
}

/// A running `mosquitto`; killed when dropped.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    process: Process,
}

impl Broker {
    /// Starts one at `address` with its files in `folder`, where it keeps sessions, too, and waits until it serves.
    ///
    /// # Errors
    /// The program is not installed, or the address is taken.
    pub async fn start(address: SocketAddr, folder: &Path) -> Result<Self> {
        let file = folder.join("mosquitto.conf");
        let text = format!(
            "listener {} {}\nallow_anonymous true\npersistence true\npersistence_location {}/\nuser root\n",
            address.port(),
            address.ip(),
            folder.display(),
        );
        std::fs::write(&file, text)?;
        // Debian keeps it where only root looks.
        let installed = Path::new("/usr/sbin/mosquitto");
        let program = if installed.exists() { installed } else { Path::new("mosquitto") };
        let mut command = std::process::Command::new(program);
        command.arg("-c").arg(&file).stdout(Stdio::null());
        let process = Process::start(&mut command, &folder.join("mosquitto.log"))
            .context("mosquitto; install mosquitto")?;
        eventually(PATIENCE, "mosquitto", async || {
            Ok(TcpStream::connect(address).await.map(drop)?)
        })
        .await?;
        Ok(Self { address, process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Stops it as its service would.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop(self) -> Result<()> {
        self.process.stop(PATIENCE).await.map(drop)
    }
}

/// Publishes one message with `mosquitto_pub` and waits until the broker has acknowledged it.
///
/// # Errors
/// The program is not installed, or the broker does not take the message.
pub async fn publish(broker: SocketAddr, topic: &str, payload: &str) -> Result<()> {
    publish_with(broker, &["-q", "1", "-m", payload], topic).await
}

/// Runs `mosquitto_pub` with these options, what to publish among them, to its end.
///
/// # Errors
/// As for [`publish`].
pub async fn publish_with(broker: SocketAddr, options: &[&str], topic: &str) -> Result<()> {
    let mut command = Command::new("mosquitto_pub");
    command.args(address(broker)).args(options).args(["-t", topic]).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await?;
    let output = output.context("mosquitto_pub; install mosquitto-clients")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn address(broker: SocketAddr) -> [String; 4] {
    ["-h".into(), broker.ip().to_string(), "-p".into(), broker.port().to_string()]
}
