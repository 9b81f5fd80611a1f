//! What the SDK itself costs: 100 units of 20 values at one second, over a driver that costs nothing, to an agent in
//! another thread. Prints the CPU time of the mapper's thread for 10,000 values.
//!
//! `cargo run --release -p mapper-sdk --features testkit --example load`

use std::fs;
use std::time::Duration;

use device_model::{Device, Problem, Property, Value};
use dmi::convert::Peer;
use mapper_sdk::testkit::FakeAgent;
use mapper_sdk::{Driver, Mapper, MapperConfig, PropertyFault, ReadResult, Session, SessionFault};
use tokio_util::sync::CancellationToken;

const UNITS: usize = 100;
const VALUES: usize = 20;
const SECONDS: u64 = 20;

struct Free;
struct FreeSession(i64);

impl Driver for Free {
    const PROTOCOL: &'static str = "free";
    type Endpoint = String;
    type Unit = ();
    type Visitor = ();
    type Session = FreeSession;

    fn address(&self, _: &Device) -> Result<(String, ()), Vec<Problem>> {
        Ok(("wire".into(), ()))
    }

    fn visitor(&self, _: &Device, _: &Property) -> Result<(), Problem> {
        Ok(())
    }

    async fn connect(&self, _: &String) -> Result<FreeSession, SessionFault> {
        Ok(FreeSession(0))
    }
}

impl Session for FreeSession {
    type Unit = ();
    type Visitor = ();

    async fn read(&mut self, (): &(), group: &[&()]) -> Result<Vec<ReadResult>, SessionFault> {
        self.0 += 1;
        Ok(group.iter().map(|()| Ok(Value::Int(self.0).into())).collect())
    }

    async fn write(
        &mut self,
        (): &(),
        (): &(),
        _: &Value,
    ) -> Result<Result<(), PropertyFault>, SessionFault> {
        Ok(Ok(()))
    }
}

fn manifests() -> String {
    let head = "apiVersion: devices.kubeedge.io/v1beta1";
    let mut text =
        format!("{head}\nkind: DeviceModel\nmetadata: {{name: m}}\nspec:\n  properties:\n");
    for value in 0..VALUES {
        text += &format!("  - {{name: value-{value}, type: INT}}\n");
    }
    for unit in 0..UNITS {
        text += &format!(
            "---\n{head}\nkind: Device\nmetadata: {{name: unit-{unit}}}\nspec:\n  \
             deviceModelRef: {{name: m}}\n  protocol: {{protocolName: free}}\n  properties:\n"
        );
        for value in 0..VALUES {
            text += &format!("  - {{name: value-{value}, collectCycle: 1000}}\n");
        }
    }
    text
}

/// CPU time of this process' thread of that name, and the process' resident memory in KiB.
fn spent(thread: &str) -> anyhow::Result<Duration> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == thread {
            let text = fs::read_to_string(task.join("schedstat"))?;
            let nanos = text.split_whitespace().next().unwrap_or("0").parse()?;
            return Ok(Duration::from_nanos(nanos));
        }
    }
    anyhow::bail!("no thread {thread}")
}

fn on_thread(
    name: &str,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<std::thread::JoinHandle<anyhow::Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.into());
    Ok(thread.spawn(move || runtime.block_on(work))?)
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> anyhow::Result<()> {
    let directory = std::env::temp_dir().join(format!("mapper-load-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let (socket, own) = (directory.join("dmi.sock"), directory.join("mapper.sock"));
    let stop = CancellationToken::new();
    let (stopped, path) = (stop.clone(), socket.clone());
    let agent = on_thread("agent", async move {
        let agent = FakeAgent::start(path, Peer::Edgetwin);
        agent.hold(&manifests());
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        while !stopped.is_cancelled() {
            tick.tick().await;
            agent.clear();
        }
        Ok(())
    })?;
    let (stopped, config) = (stop.clone(), MapperConfig::new("load", own, socket));
    let (tell, told) = std::sync::mpsc::channel();
    let mapper = on_thread("mapper", async move {
        let mapper = Mapper::bind(config, Free).await?;
        tell.send(mapper.metrics())?;
        mapper.run(stopped).await
    })?;
    let metrics = told.recv()?;
    let clock = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    clock.block_on(async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (cpu, values) = (spent("mapper")?, metrics.values.count());
        tokio::time::sleep(Duration::from_secs(SECONDS)).await;
        let cpu = spent("mapper")? - cpu;
        let values = u32::try_from(metrics.values.count() - values)?;
        println!(
            "{values} values in {SECONDS} s, {} reports so far: {:?} of CPU for 10,000 values",
            metrics.reports.count(),
            cpu * 10_000 / values.max(1)
        );
        anyhow::Ok(())
    })?;
    stop.cancel();
    for thread in [mapper, agent] {
        thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    fs::remove_dir_all(&directory)?;
    Ok(())
}
