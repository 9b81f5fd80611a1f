//! Demand 48: a machine without a clock of its own, which the network sets later. It is one of QEMU's, and starts in 1970.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use device_model::{Quality, Timestamp};
use e2e::disk::volatile::Volatile;
use e2e::gateway::plain_devices;
use e2e::machine::{Image, Machine};
use e2e::process::program;
use edge_agent::api::view::{
    DeviceView, Doubt, Part, PartStatus, PropertyView, Readiness, ReadyView,
};
use serde::de::DeserializeOwned;

const CONFIG: &str = "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nnode: {name: machine}\n\
    store: {dir: /disk/store}\nmanifests: {dir: /etc/manifests}\n\
    devices: {dmiSocket: /tmp/dmi.sock}\napi: {socket: /tmp/api.sock}\nmqtt: {mode: embedded}\n";

/// A value is reported and one is desired, with an hour to be written in; then the clock is set; then both again. What
/// the agent says of itself and of the device is told before, after, and at the end.
const INIT: &str = r#"
edge-agent --config /etc/agent.yaml >/dev/console 2>&1 &
api() { edgetwin "$@" --socket /tmp/api.sock --output json 2>/dev/console | tr -d '\n'; }
tell() { echo "$(api status)"; echo "$(api get bench/d0)"; }
report() {
    mosquitto_pub -h 127.0.0.1 -q 1 -t '$hw/events/device/bench/d0/twin/update' \
        -m "{\"twin\":{\"p0\":{\"actual\":{\"value\":\"$1\"}}}}" 2>/dev/console
}
{
    until api get bench/d0 | grep -q d0; do sleep 1; done
    report 1
    api set bench/d0 p0=7 --expires 1h >/dev/console
    tell
    date -s "@$(cat /etc/today)" >/dev/console
    while api status | grep -q unsynced; do sleep 1; done
    tell
    report 2
    api set bench/d0 p0=8 --expires 1h >/dev/console
    tell
} >$SAY
"#;

/// What the agent says at one moment.
struct Look {
    ready: ReadyView,
    device: DeviceView,
}

impl Look {
    async fn hear(machine: &mut Machine) -> Result<Self> {
        Ok(Self { ready: parsed(machine).await?, device: parsed(machine).await? })
    }

    fn clock(&self) -> Result<(PartStatus, &str)> {
        let clock = self.ready.parts.iter().find(|part| part.name == Part::Clock);
        clock.map(|part| (part.status, &*part.reason)).context("no clock")
    }

    fn property(&self) -> Result<&PropertyView> {
        self.device.property("p0").context("no p0")
    }
}

async fn parsed<T: DeserializeOwned>(machine: &mut Machine) -> Result<T> {
    let line = machine.line().await?;
    serde_json::from_str(&line).with_context(|| format!("{line}\n{}", machine.console()))
}

#[tokio::test]
async fn row_48_a_clock_that_is_set_after_the_start_ages_nothing_and_changes_no_order() -> Result<()>
{
    let today = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let programs = [
        ("edge-agent", &*program("edge-agent")?),
        ("edgetwin", &*program("edgetwin")?),
        ("mosquitto_pub", Path::new("/usr/bin/mosquitto_pub")),
    ];
    let manifest = plain_devices(1, 1).replace(
        "name: p0, reportToCloud",
        "name: p0, visitors: {configData: {staleAfter: 10m}}, reportToCloud",
    );
    let files = [
        ("agent.yaml", CONFIG.to_owned()),
        ("manifests/devices.yaml", manifest),
        ("today", today.to_string()),
    ];
    let image = Image::build(&programs, &files, INIT).await?;
    let folder = tempfile::tempdir()?;
    let disk = Arc::new(Volatile::ext4(48 << 20, folder.path())?);
    let mut machine = Machine::boot_at(&image, &disk, "1970-01-01T00:00:00").await?;

    let judged = judge(&mut machine, today).await;
    judged.with_context(|| machine.console())
}

async fn judge(machine: &mut Machine, today: u64) -> Result<()> {
    let unset = Look::hear(machine).await?;
    let (status, reason) = unset.clock()?;
    assert_eq!((unset.ready.status, status), (Readiness::Degraded, PartStatus::Degraded));
    ensure!(reason.starts_with("unsynced"), "{reason}");
    let property = unset.property()?;
    let reported = property.reported.as_ref().context("it was reported")?;
    assert_eq!(reported.value.as_deref(), Some("1"));
    assert_eq!(reported.clock, Some(Doubt::Unsynced));
    ensure!(reported.received_at < Timestamp::from_millis(86_400_000), "{reported:?}");
    let desired = property.desired.as_ref().context("it was desired")?;
    assert_eq!((desired.version.0, desired.clock), (1, Some(Doubt::Unsynced)));

    let set = Look::hear(machine).await?;
    assert_eq!(set.clock()?, (PartStatus::Ok, ""));
    assert_eq!(set.device, unset.device, "fifty-six years at once changed nothing");

    let last = Look::hear(machine).await?;
    ensure!(last.device.rev > set.device.rev, "{:?}", last.device);
    assert_eq!(last.device.epoch, unset.device.epoch);
    assert_eq!(last.device.incarnation, unset.device.incarnation);
    let property = last.property()?;
    let reported = property.reported.as_ref().context("it was reported")?;
    assert_eq!((reported.value.as_deref(), reported.quality), (Some("2"), Quality::Good));
    assert_eq!(reported.clock, None);
    ensure!(reported.received_at.as_millis() / 1000 >= i64::try_from(today)?, "{reported:?}");
    let desired = property.desired.as_ref().context("it was desired")?;
    assert_eq!((desired.version.0, desired.value.as_str(), desired.clock), (2, "8", None));
    Ok(())
}
