//! Mappers that others' gRPC stacks are inside of: `tests/peers/{go,python}`.
//!
//! Each is a process that does what its input says and tells what happens as lines of JSON; see the head of its
//! source for both.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::peers::program;

/// Which program, and how it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// grpc-go, dialling the bare path as KubeEdge's mapper framework does: its authority is the escaped path.
    GoPath,
    /// The same with a new connection for each call, which is what that framework really does.
    GoFresh,
    /// grpc-go, dialling `unix://<path>`: its authority is `localhost`.
    GoUrl,
    /// grpcio for Python.
    Python,
}

/// A running foreign mapper; killed when dropped.
#[derive(Debug)]
pub struct ForeignMapper {
    // Kills the process when dropped.
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What it told and nobody asked for yet.
    events: Vec<Json>,
}

/// How long one of these programs may take to say something. Python takes a second to start.
const PATIENCE: Duration = Duration::from_secs(30);

impl ForeignMapper {
    /// Starts it: it serves the socket `own` and registers, as a mapper of Modbus, with the agent on `agent`.
    ///
    /// # Errors
    /// The program could not be built or started.
    pub async fn start(stack: Stack, agent: &Path, own: &Path) -> anyhow::Result<Self> {
        let mut command = match stack {
            Stack::Python => {
                let mut command = Command::new(program("EDGETWIN_PYTHON").await?);
                command.arg(program("EDGETWIN_PYTHON_PEER").await?);
                command
            }
            _ => Command::new(program("EDGETWIN_GO_PEER").await?),
        };
        match stack {
            Stack::GoFresh => command.arg("--fresh"),
            Stack::GoUrl => command.args(["--dial", "url"]),
            Stack::GoPath | Stack::Python => &mut command,
        };
        command.arg("--agent").arg(agent).arg("--listen").arg(own);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("{command:?}"))?;
        let input = process.stdin.take().context("its input is piped")?;
        let output = process.stdout.take().context("its output is piped")?;
        let output = BufReader::new(output).lines();
        Ok(Self { _process: process, input, output, events: Vec::new() })
    }

    /// The first event of that kind that was not returned before; waits for it.
    ///
    /// # Errors
    /// The program ended, or said nothing for half a minute.
    pub async fn event(&mut self, kind: &str) -> anyhow::Result<Json> {
        loop {
            if let Some(index) = self.events.iter().position(|event| event["event"] == kind) {
                return Ok(self.events.remove(index));
            }
            let event = self
                .read()
                .await
                .with_context(|| format!("no \"{kind}\" came; before it: {:?}", self.events))?;
            self.events.push(event);
        }
    }

    /// The first event that was not returned before; waits for it. Lost is none if the caller waits no longer.
    ///
    /// # Errors
    /// The program ended, or said nothing for half a minute.
    pub async fn next(&mut self) -> anyhow::Result<Json> {
        if self.events.is_empty() { self.read().await } else { Ok(self.events.remove(0)) }
    }

    async fn read(&mut self) -> anyhow::Result<Json> {
        let line =
            timeout(PATIENCE, self.output.next_line()).await.context("it says nothing")??;
        let line = line.context("it ended")?;
        serde_json::from_str(&line).with_context(|| line)
    }

    /// How many events of that kind came and were not returned.
    pub fn unread(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event["event"] == kind).count()
    }

    /// The next call of the agent: its name and the request. Waits for it.
    ///
    /// # Errors
    /// As for [`ForeignMapper::event`].
    pub async fn called(&mut self) -> anyhow::Result<(String, Json)> {
        let event = self.event("called").await?;
        let name = event["call"].as_str().context("a call has a name")?;
        Ok((name.to_owned(), event["request"].clone()))
    }

    /// Has it call the agent, and waits for the answer: `code` in capitals without underscores, `message`,
    /// `headers`, and for `times` calls how many were `ok` and `failed` and how many `seconds` they took.
    ///
    /// # Errors
    /// The program ended, or did not answer for half a minute.
    pub async fn call(&mut self, name: &str, request: &Json, times: u64) -> anyhow::Result<Json> {
        let line = json!({ "call": name, "request": request, "times": times }).to_string() + "\n";
        self.input.write_all(line.as_bytes()).await?;
        let mut answer = self.event("answer").await?;
        // Go says InvalidArgument, Python INVALID_ARGUMENT.
        let code = answer["code"].as_str().unwrap_or_default().replace('_', "").to_uppercase();
        answer["code"] = code.into();
        Ok(answer)
    }
}

/// A twin of ReportDeviceStatus, with a value and nothing about it.
pub fn twin(property: &str, value: &str) -> Json {
    json!({ "propertyName": property, "observedDesired": {}, "reported": { "value": value } })
}

/// The request of ReportDeviceStatus.
pub fn report(namespace: &str, device: &str, twins: &[Json]) -> Json {
    json!({
        "deviceName": device,
        "deviceNamespace": namespace,
        "reportedDevice": { "twins": twins },
    })
}
