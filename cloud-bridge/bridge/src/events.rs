//! Kubernetes Events on Devices: a desired value was refused, or a description is of no use.

use std::sync::Arc;
use std::time::Duration;

use device_model::DeviceId;
use edge_link::Uid;
use exposition::Counter;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Events that wait; more are counted and dropped: what they tell is in the DeviceStatus, too.
const QUEUE: usize = 256;
/// The shortest span between two Events: they are for people.
const SPAN: Duration = Duration::from_millis(100);
/// How long the API server may take for one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that whoever wants a device to do something should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) device: DeviceId,
    pub(crate) uid: Uid,
    /// One word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) note: String,
}

/// Where notices go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    queue: mpsc::Sender<Notice>,
    /// Notices that were dropped because too many waited.
    pub(crate) dropped: Arc<Counter>,
}

impl Notices {
    /// The way to the Events, and the task that publishes them as `replica` until `stop`.
    pub(crate) fn new(
        client: kube::Client,
        replica: &str,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, notices) = mpsc::channel(QUEUE);
        let reporter = Reporter {
            controller: "edgetwin.io/cloud-bridge".into(),
            instance: Some(replica.to_owned()),
        };
        let publishing = publish(Recorder::new(client, reporter), notices, stop);
        (Self { queue, dropped: Arc::default() }, publishing)
    }

    /// Tells people `notice`.
    pub(crate) fn tell(&self, notice: Notice) {
        if self.queue.try_send(notice).is_err() {
            self.dropped.increment();
        }
    }
}

async fn publish(recorder: Recorder, mut notices: mpsc::Receiver<Notice>, stop: CancellationToken) {
    while let Some(Some(notice)) = stop.run_until_cancelled(notices.recv()).await {
        let Notice { device, uid, reason, note } = notice;
        let about = ObjectReference {
            api_version: Some(device_model::API_VERSION.into()),
            kind: Some("Device".into()),
            namespace: Some(device.namespace().into()),
            name: Some(device.name().into()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: reason.into(),
            note: Some(short(note)),
            action: "Write".into(),
            secondary: None,
        };
        match tokio::time::timeout(PATIENCE, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%device, %error, "the Event was not taken"),
            Err(_) => debug!(%device, "the API server did not take the Event in time"),
        }
        let _ = stop.run_until_cancelled(tokio::time::sleep(SPAN)).await;
    }
}

/// The API server takes 1 KiB.
fn short(mut note: String) -> String {
    const MOST: usize = 1000;
    if note.len() > MOST {
        let end = (0..=MOST).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
        note.push('…');
    }
    note
}
