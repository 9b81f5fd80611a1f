//! From the bus to the twins.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use device_model::{Device, DeviceId, DeviceState, Quality, QualityCode, Value};
use device_twin::{
    Command, DesireProperty, Given, GivenReading, PropertyReport, Report, Twin, Update, Writer,
};
use tracing::{debug, warn};

use super::payload::{self, Unreadable, Wish};
use super::topic::{self, Address, Topic};
use crate::broker::Inbox;
use crate::feed::{Entry, Origin, Touched};
use crate::metrics::Metrics;
use crate::twins::{Twins, Unavailable, now};

/// Takes what clients publish.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) twins: Twins,
    pub(crate) metrics: Arc<Metrics>,
}

impl Inbox for Receiver {
    fn receive<'a>(
        &'a self,
        client: &'a str,
        topic: &'a str,
        payload: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let Some(topic) = topic::parse(topic) else { return Box::pin(std::future::ready(())) };
        Box::pin(async move {
            // The agent stops: its broker does, too.
            if self.take(client, topic, payload).await.is_err() {
                debug!(client, "a message came after the end");
            }
        })
    }
}

impl Receiver {
    async fn take(&self, client: &str, topic: Topic<'_>, bytes: &[u8]) -> Result<(), Unavailable> {
        match topic {
            Topic::TwinUpdate(address) => {
                let Some(id) = address.id() else { return self.no_device(address).await };
                match payload::update(bytes) {
                    Ok(update) => self.update(id, update).await,
                    Err(unreadable) => {
                        let event_id = unreadable.event_id.clone();
                        let origin = Origin::Update { event_id, touched: Vec::new() };
                        self.unreadable(id, origin, unreadable).await
                    }
                }
            }
            Topic::TwinGet(address) => {
                let Some(id) = address.id() else { return self.no_device(address).await };
                match payload::get(bytes) {
                    Ok(event_id) => {
                        self.twins.tell(Entry::new(Some(id), Origin::Get { event_id }, now())).await
                    }
                    Err(unreadable) => {
                        let origin = Origin::Get { event_id: unreadable.event_id.clone() };
                        self.unreadable(id, origin, unreadable).await
                    }
                }
            }
            Topic::StateUpdate(address) => self.state(address, bytes).await,
            Topic::MembershipGet => match payload::get(bytes) {
                Ok(event_id) => {
                    self.twins.tell(Entry::new(None, Origin::Membership { event_id }, now())).await
                }
                Err(unreadable) => {
                    debug!(client, reason = unreadable.reason, "membership/get not understood");
                    Ok(())
                }
            },
            Topic::CloudUpdated(address) => {
                if self.metrics.bus_spoofed.fetch_add(1, Ordering::Relaxed) == 0 {
                    let device = format!("{}/{}", address.namespace, address.name);
                    warn!(
                        client,
                        device, "refused twin/cloud_updated: only the cloud may say that"
                    );
                }
                Ok(())
            }
        }
    }

    async fn update(&self, id: DeviceId, said: payload::Update) -> Result<(), Unavailable> {
        let payload::Update { event_id, twins: wishes } = said;
        let Some(twin) = self.twins.twin(&id).await? else {
            let reason = format!("device {id} is not known here");
            let origin = Origin::Update { event_id, touched: Vec::new() };
            return self.twins.tell(Entry::new(Some(id), origin, now()).refused(404, reason)).await;
        };
        let touched = touched(twin.device(), &wishes);
        let device = id.clone();
        let command = Command::Update(update(&twin, id, wishes));
        let origin = Origin::Update { event_id, touched };
        match self.twins.apply(vec![command], origin.clone()).await {
            Err(error @ Unavailable::Store(_)) => {
                let entry = Entry::new(Some(device), origin, now());
                self.twins.tell(entry.refused(error.http_status(), error.to_string())).await
            }
            other => other.map(drop),
        }
    }

    async fn state(&self, address: Address<'_>, bytes: &[u8]) -> Result<(), Unavailable> {
        // KubeEdge answers nothing to a word or a device that it does not know; nor do we.
        let Some(id) = address.id() else { return Ok(()) };
        let Ok(word) = payload::state(bytes) else { return Ok(()) };
        let known = !word.eq_ignore_ascii_case("disconnected");
        let Some(state) = DeviceState::from_name(&word).filter(|_| known) else { return Ok(()) };
        let report = Report::of(id).with_state(state);
        match self.twins.apply(vec![Command::Report(report)], Origin::State { word }).await {
            // There is no answer for that, either.
            Err(Unavailable::Store(_)) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn unreadable(
        &self,
        id: DeviceId,
        origin: Origin,
        unreadable: Unreadable,
    ) -> Result<(), Unavailable> {
        let entry = Entry::new(Some(id), origin, now()).refused(400, unreadable.reason);
        self.twins.tell(entry).await
    }

    /// A name that no device can have: there is no topic to answer on that means a device.
    async fn no_device(&self, address: Address<'_>) -> Result<(), Unavailable> {
        debug!(topic = address.topic(""), "no device can have this name");
        Ok(())
    }
}

/// What the message says of the properties that there are; the rules judge it, and refuse the others.
fn touched(device: &Device, wishes: &[(String, Wish)]) -> Vec<Touched> {
    let one = |(name, wish): &(String, Wish)| {
        let data_type = device.property(name)?.data_type;
        let canonical = |text: &String| {
            Value::parse(data_type, text).map_or_else(|_| text.clone(), |value| value.to_string())
        };
        let (actual, expected) = match wish {
            Wish::Remove => (None, None),
            Wish::Values { actual, expected } => (actual.as_ref(), expected.as_ref()),
        };
        Some(Touched {
            name: name.clone(),
            data_type,
            reported: actual.is_some(),
            actual: actual.map(canonical),
            expected: expected.map(canonical),
            removed: *wish == Wish::Remove,
        })
    };
    wishes.iter().filter_map(one).collect()
}

/// The same as a command. A desired value beside a reported one that is what is desired already is an echo, not a
/// wish.
fn update(twin: &Twin, device: DeviceId, wishes: Vec<(String, Wish)>) -> Update {
    let (mut reported, mut wanted) = (Vec::new(), Vec::new());
    for (name, wish) in wishes {
        let desired = twin.property(&name).and_then(|(_, state)| state.desired.as_ref());
        let (actual, expected) = match wish {
            Wish::Remove if desired.is_some() => {
                wanted.push(DesireProperty::of(name, None));
                continue;
            }
            Wish::Remove => (None, None),
            Wish::Values { actual, expected } => (actual, expected),
        };
        let echo = actual.is_some()
            && expected.as_ref().is_some_and(|text| {
                desired.is_some_and(|desired| desired.value.to_string() == *text)
            });
        // A property that is named alone must be there, too.
        let mut report = PropertyReport::of(name);
        report.reading = actual.map(|text| GivenReading {
            value: Some(Given::Text(text)),
            quality: Quality::Good,
            code: QualityCode::Ok,
            source_time: None,
            sample_time: now(),
        });
        match expected {
            Some(text) if echo => report.echo = Some(text),
            Some(text) => {
                wanted.push(DesireProperty::of(report.property.clone(), Some(Given::Text(text))));
            }
            None => {}
        }
        reported.push(report);
    }
    Update { device, writer: Writer::local("mqtt"), reported, desired: wanted }
}
