//! `edgetwin get`: devices, or the twin of one; and what lies between this node and its cloud.

use device_model::Timestamp;
use edge_agent::api::view::{DeviceList, DeviceView, ObjectList, OutboxView, PropertyView};

use crate::client::{Client, ConnectArgs};
use crate::duration::age;
use crate::outcome::Outcome;
use crate::output::{
    OutputArgs, ack_cell, add, concise, faint, print, quality_cell, state_cell, table, text,
    with_unit,
};

/// Show all devices, the properties of one, or what lies between this node and its cloud
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  edgetwin get devices\n  edgetwin get demo/pump\n  edgetwin get pump -o json\n  edgetwin get outbox     what the cloud does not have\n  edgetwin get objects    what the cloud gave this node"
)]
pub(crate) struct GetArgs {
    /// `devices`, `outbox`, `objects`, or one device: namespace/name, or its name alone
    #[arg(default_value = "devices", value_name = "WHAT")]
    what: String,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks the agent and prints.
///
/// # Errors
/// No agent answers, or there is no such device.
pub(crate) async fn run(args: GetArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let now = Timestamp::from(std::time::SystemTime::now());
    let output = args.output.output;
    match args.what.as_str() {
        "devices" => {
            let list = DeviceList { devices: client.devices().await? };
            print(output, &list, |list| devices_table(&list.devices, now))?;
        }
        "outbox" => print(output, &client.outbox().await?, |outbox| outbox_table(outbox, now))?,
        "objects" => print(output, &client.objects().await?, objects_table)?,
        device => {
            let device = client.device(device).await?;
            print(output, &device, |device| properties_table(device, now))?;
        }
    }
    Ok(Outcome::Done)
}

fn devices_table(devices: &[DeviceView], now: Timestamp) -> String {
    if devices.is_empty() {
        return "no devices; put DeviceModel and Device manifests into the agent's manifests folder"
            .into();
    }
    let mut heads =
        vec!["DEVICE", "STATE", "PROTOCOL", "MODEL", "MAPPER", "PROPERTIES", "IN SYNC", "AGE"];
    // Where all is well there is nothing to give reasons for.
    let reasons = devices.iter().any(|device| reason(device).is_some());
    if reasons {
        heads.push("REASON");
    }
    let mut rows = table(&heads);
    for device in devices {
        let wanted = device.properties.iter().filter(|property| property.desired.is_some());
        let in_sync = wanted.clone().filter(|property| property.in_sync).count();
        let newest = device.properties.iter().filter_map(|property| property.reported.as_ref());
        let newest = newest.map(|reported| reported.sample_time).max();
        let mut cells: Vec<comfy_table::Cell> = vec![
            device.id().into(),
            state_cell(device.state),
            (&device.protocol).into(),
            (&device.model).into(),
            device.mapper.as_deref().unwrap_or("none").into(),
            device.properties.len().into(),
            format!("{in_sync}/{}", wanted.count()).into(),
            newest.map_or_else(|| faint("never"), |at| age(now.since(at)).into()),
        ];
        if reasons {
            cells.push(reason(device).unwrap_or_default().into());
        }
        add(&mut rows, cells);
    }
    text(&rows)
}

fn outbox_table(outbox: &OutboxView, now: Timestamp) -> String {
    let link = if outbox.linked { "linked" } else { "no link to the cloud" };
    if outbox.devices.is_empty() {
        return format!("{link}; the cloud has everything");
    }
    let mut rows = table(&["DEVICE", "REVISION", "CLOUD HAS", "WAITS"]);
    for one in &outbox.devices {
        let confirmed = one.confirmed.map_or_else(|| faint("nothing"), |rev| rev.into());
        let waits = age(now.since(one.since)).into();
        add(&mut rows, vec![one.device.to_string().into(), one.rev.into(), confirmed, waits]);
    }
    format!("{link}; the cloud does not have:\n{}", text(&rows))
}

fn objects_table(list: &ObjectList) -> String {
    if list.objects.is_empty() {
        return "the cloud gave this node nothing; name it in spec.nodeName of a Device".into();
    }
    let mut rows = table(&["NAMESPACE", "KIND", "NAME", "GENERATION", "UID"]);
    for one in &list.objects {
        let generation = one.generation.map_or_else(|| faint("-"), |number| number.into());
        let texts = [&one.namespace, &one.kind, &one.name].map(Into::into);
        add(&mut rows, texts.into_iter().chain([generation, (&one.uid).into()]).collect());
    }
    text(&rows)
}

/// What is not as it should be with a device: its description, before its state.
fn reason(device: &DeviceView) -> Option<&str> {
    device.problem.as_deref().or(device.state_reason.as_deref())
}

/// One row for each property of `device`.
pub(crate) fn properties_table(device: &DeviceView, now: Timestamp) -> String {
    let mut rows = table(&["PROPERTY", "DESIRED", "REPORTED", "QUALITY", "AGE", "ACKNOWLEDGED"]);
    for property in &device.properties {
        add(&mut rows, property_cells(property, now));
    }
    text(&rows)
}

/// Desired to acknowledgement of one property, after its name.
pub(crate) fn property_cells(property: &PropertyView, now: Timestamp) -> Vec<comfy_table::Cell> {
    let desired = property.desired.as_ref().map_or("", |desired| &desired.value);
    let mut cells = vec![(&property.name).into(), desired.into()];
    match &property.reported {
        None => cells.extend([faint("-"), faint("no reading yet"), faint("-")]),
        Some(reported) => cells.extend([
            match &reported.value {
                Some(value) => {
                    with_unit(&concise(value, property.data_type), &property.unit).into()
                }
                None => faint("-"),
            },
            quality_cell(reported.quality, reported.code),
            age(now.since(reported.sample_time)).into(),
        ]),
    }
    cells.push(ack_cell(property.ack.as_ref()));
    cells
}
