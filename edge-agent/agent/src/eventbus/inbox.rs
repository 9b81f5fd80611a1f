//! From the bus to the twins.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use device_model::{Device, DeviceId, DeviceState, Quality, QualityCode, Value};
use device_twin::{
    AckSource, Command, Desire, DesireProperty, Given, GivenReading, PropertyReport, Report, Twin,
    Writer,
};
use tracing::{debug, warn};

use super::payload::{self, Unreadable, Update, Wish};
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

    async fn update(&self, id: DeviceId, update: Update) -> Result<(), Unavailable> {
        let Update { event_id, twins: wishes } = update;
        let Some(twin) = self.twins.twin(&id).await? else {
            let reason = format!("device {id} is not known here");
            let origin = Origin::Update { event_id, touched: Vec::new() };
            return self.twins.tell(Entry::new(Some(id), origin, now()).refused(404, reason)).await;
        };
        let touched = match judge(twin.device(), &wishes) {
            Ok(touched) => touched,
            Err((code, reason)) => {
                let origin = Origin::Update { event_id, touched: Vec::new() };
                let entry = Entry::new(Some(id), origin, now()).refused(code, reason);
                return self.twins.tell(entry).await;
            }
        };
        let origin = Origin::Update { event_id, touched };
        let (report, desire) = split(&twin, id.clone(), wishes);
        let mut commands = Vec::with_capacity(2);
        commands.extend(report.map(Command::Report));
        commands.extend(desire.map(Command::Desire));
        if commands.is_empty() {
            return self.twins.tell(Entry::new(Some(id), origin, now())).await;
        }
        self.twins.apply(commands, origin).await.map(drop)
    }

    async fn state(&self, address: Address<'_>, bytes: &[u8]) -> Result<(), Unavailable> {
        // KubeEdge answers nothing to a word or a device that it does not know; nor do we.
        let Some(id) = address.id() else { return Ok(()) };
        let Ok(word) = payload::state(bytes) else { return Ok(()) };
        let known = !word.eq_ignore_ascii_case("disconnected");
        let Some(state) = DeviceState::from_name(&word).filter(|_| known) else { return Ok(()) };
        let report = Report::of(id).with_state(state);
        self.twins.apply(vec![Command::Report(report)], Origin::State { word }).await.map(drop)
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

/// What the message says, property by property. One bad property refuses the whole message.
fn judge(device: &Device, wishes: &[(String, Wish)]) -> Result<Vec<Touched>, (u16, String)> {
    let mut all = Vec::with_capacity(wishes.len());
    for (name, wish) in wishes {
        let Some(property) = device.property(name) else {
            let known: Vec<_> = device.properties.iter().map(|p| p.name.as_str()).collect();
            let known = known.join(", ");
            return Err((
                404,
                format!("{name} is not a property of {}; it has {known}", device.id),
            ));
        };
        let data_type = property.data_type;
        let mut touched = Touched {
            name: name.clone(),
            data_type,
            reported: false,
            actual: None,
            expected: None,
            removed: *wish == Wish::Remove,
        };
        if let Wish::Values { actual, expected } = wish {
            let parse = |text: &String| {
                Value::parse(data_type, text).map_err(|e| (400, format!("{name}: {e}")))
            };
            let actual = actual.as_ref().map(parse).transpose()?;
            let expected = expected.as_ref().map(parse).transpose()?;
            if let Some(value) = &expected {
                property.accepts(value).map_err(|reason| (400, reason))?;
            }
            touched.reported = actual.is_some();
            touched.actual = actual.map(|value| value.to_string());
            touched.expected = expected.map(|value| value.to_string());
        }
        all.push(touched);
    }
    Ok(all)
}

/// What is reported, and what is desired. A desired value beside a reported one that is what is desired already is
/// an echo, not a wish.
fn split(
    twin: &Twin,
    id: DeviceId,
    wishes: Vec<(String, Wish)>,
) -> (Option<Report>, Option<Desire>) {
    let mut report = Report { acks: AckSource::Derived, ..Report::of(id.clone()) };
    let mut desire = Desire::of(id, Writer::local("mqtt"));
    for (name, wish) in wishes {
        let desired = twin.property(&name).and_then(|(_, state)| state.desired.clone());
        let (actual, expected) = match wish {
            Wish::Remove => {
                if desired.is_some() {
                    desire.properties.push(DesireProperty::of(name, None));
                }
                continue;
            }
            Wish::Values { actual, expected } => (actual, expected),
        };
        let echo = actual.is_some()
            && expected.as_ref().is_some_and(|text| {
                desired.as_ref().is_some_and(|desired| desired.value.to_string() == *text)
            });
        if let Some(text) = &expected
            && !echo
        {
            let value = Some(Given::Text(text.clone()));
            desire.properties.push(DesireProperty::of(name.clone(), value));
        }
        if let Some(text) = actual {
            let reading = GivenReading {
                value: Some(Given::Text(text)),
                quality: Quality::Good,
                code: QualityCode::Ok,
                source_time: None,
                sample_time: now(),
            };
            let mut property = PropertyReport::reading(name, reading);
            property.echo = expected.filter(|_| echo);
            report.properties.push(property);
        }
    }
    let report = (!report.properties.is_empty()).then_some(report);
    let desire = (!desire.properties.is_empty()).then_some(desire);
    (report, desire)
}
