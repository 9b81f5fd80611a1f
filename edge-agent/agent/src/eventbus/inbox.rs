//! From the bus to the twins.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use device_model::{Device, DeviceId, DeviceState, Quality, QualityCode, Value};
use device_twin::{
    Answer, Command, DesireProperty, Given, GivenReading, PropertyReport, Rejected, Report, Twin,
    Update, Writer,
};
use tracing::debug;

use super::payload::{self, Unreadable, Wish};
use super::refused::{Kind, Reason};
use super::topic::{self, Topic};
use crate::broker::Inbox;
use crate::clock::now;
use crate::feed::{Entry, Origin, Touched};
use crate::messages::Heard;
use crate::metrics::Metrics;
use crate::refuse::unknown_device;
use crate::subscriptions::Subscriptions;
use crate::twins::{Twins, Unavailable};

/// Takes what clients publish.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) twins: Twins,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) subscriptions: Arc<Subscriptions>,
}

impl Inbox for Receiver {
    fn allows(&self, client: &str, topic: &str) -> bool {
        let (reason, why) = match topic::parse(topic) {
            Some(Topic::CloudUpdated(_)) => (Reason::Spoofed, CLOUD),
            Some(Topic::Answer) => (
                Reason::AnswerTopic,
                "only the agent answers; publish requests, and let no bridge pass answers in",
            ),
            _ => return true,
        };
        self.metrics.bus_refused.note(Kind::Foreign, reason, client, topic, why);
        false
    }

    fn turned_away(&self, client: &str, why: &str) {
        self.metrics.bus_refused.note(Kind::Connect, Reason::Sessions, client, "", why);
    }

    fn hear(&self, heard: Heard<'_>) -> bool {
        self.subscriptions.hear(heard)
    }

    fn kept(&self, client: &str, topic: &str) {
        let Some(kind) = topic::parse(topic).map(kind) else { return };
        let why = "it was kept from before, and would be done again at each connection; publish it without retain";
        self.metrics.bus_refused.note(kind, Reason::Retained, client, topic, why);
    }

    fn receive<'a>(
        &'a self,
        client: &'a str,
        topic: &'a str,
        payload: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let Some(asked) = topic::parse(topic) else { return Box::pin(std::future::ready(())) };
        Box::pin(async move {
            let from = From { client, topic, kind: kind(asked) };
            // The agent stops: its broker does, too.
            if self.take(&from, asked, payload).await.is_err() {
                debug!(client, "a message came after the end");
            }
        })
    }
}

const CLOUD: &str =
    "only the cloud may say twin/cloud_updated; write expected values with twin/update";

/// Where a message came from.
struct From<'a> {
    client: &'a str,
    topic: &'a str,
    kind: Kind,
}

fn kind(topic: Topic<'_>) -> Kind {
    match topic {
        Topic::TwinUpdate(_) => Kind::TwinUpdate,
        Topic::TwinGet(_) => Kind::TwinGet,
        Topic::StateUpdate(_) => Kind::StateUpdate,
        Topic::MembershipGet => Kind::MembershipGet,
        Topic::CloudUpdated(_) | Topic::Answer => Kind::Foreign,
        Topic::Upload => Kind::Upload,
    }
}

impl Receiver {
    async fn take(
        &self,
        from: &From<'_>,
        topic: Topic<'_>,
        bytes: &[u8],
    ) -> Result<(), Unavailable> {
        let address = match topic {
            Topic::TwinUpdate(address) | Topic::TwinGet(address) | Topic::StateUpdate(address) => {
                address
            }
            Topic::MembershipGet => return self.membership(from, bytes).await,
            Topic::CloudUpdated(_) | Topic::Answer => {
                self.allows(from.client, from.topic);
                return Ok(());
            }
            Topic::Upload => {
                self.refuse(
                    from,
                    Reason::NoRoute,
                    "it is for the cloud, there is no way there, and nobody subscribed to it",
                );
                return Ok(());
            }
        };
        let Some(id) = address.id() else {
            // There is no topic to answer on that means a device.
            let why = "no device can have this name; write $hw/events/device/<namespace>/<name>/…";
            self.refuse(from, Reason::BadName, why);
            return Ok(());
        };
        match topic {
            Topic::TwinGet(_) => self.get(from, id, bytes).await,
            Topic::StateUpdate(_) => self.state(from, id, bytes).await,
            _ => self.update(from, id, bytes).await,
        }
    }

    async fn update(&self, from: &From<'_>, id: DeviceId, bytes: &[u8]) -> Result<(), Unavailable> {
        let payload::Update { event_id, twins: wishes } = match payload::update(bytes) {
            Ok(update) => update,
            Err(Unreadable { event_id, reason }) => {
                let origin = Origin::Update { event_id, touched: Vec::new(), trace: None };
                return self.unreadable(from, Some(id), origin, reason).await;
            }
        };
        let Some(twin) = self.twins.twin(&id).await? else {
            let reason = unknown_device(&id);
            self.refuse(from, Reason::UnknownDevice, &reason);
            let origin = Origin::Update { event_id, touched: Vec::new(), trace: None };
            return self.twins.tell(Entry::new(Some(id), origin, now()).refused(404, reason)).await;
        };
        let touched = touched(twin.device(), &wishes);
        let device = id.clone();
        let command = Command::Update(update(&twin, id, wishes));
        let origin = Origin::Update { event_id, touched, trace: None };
        match self.twins.apply(vec![command], origin.clone()).await {
            Err(error @ Unavailable::Store(_)) => {
                self.refuse(from, Reason::Unavailable, &error.to_string());
                let entry = Entry::new(Some(device), origin, now());
                self.twins.tell(entry.refused(error.http_status(), error.to_string())).await
            }
            answers => {
                self.count(from, &answers?);
                Ok(())
            }
        }
    }

    async fn get(&self, from: &From<'_>, id: DeviceId, bytes: &[u8]) -> Result<(), Unavailable> {
        match payload::get(bytes) {
            Ok(event_id) => {
                if self.twins.twin(&id).await?.is_none() {
                    self.refuse(from, Reason::UnknownDevice, &unknown_device(&id));
                }
                self.twins.tell(Entry::new(Some(id), Origin::Get { event_id }, now())).await
            }
            Err(Unreadable { event_id, reason }) => {
                self.unreadable(from, Some(id), Origin::Get { event_id }, reason).await
            }
        }
    }

    async fn membership(&self, from: &From<'_>, bytes: &[u8]) -> Result<(), Unavailable> {
        match payload::get(bytes) {
            Ok(event_id) => {
                self.twins.tell(Entry::new(None, Origin::Membership { event_id }, now())).await
            }
            Err(Unreadable { event_id, reason }) => {
                self.unreadable(from, None, Origin::Membership { event_id }, reason).await
            }
        }
    }

    /// KubeEdge answers nothing to a word or a device that it does not know; nor do we.
    async fn state(&self, from: &From<'_>, id: DeviceId, bytes: &[u8]) -> Result<(), Unavailable> {
        let word = match payload::state(bytes) {
            Ok(word) => word,
            Err(Unreadable { reason, .. }) => {
                self.refuse(from, Reason::Unreadable, &reason);
                return Ok(());
            }
        };
        let known = !word.eq_ignore_ascii_case("disconnected");
        let Some(state) = DeviceState::from_name(&word).filter(|_| known) else {
            let why = format!("state is no word for a device; {}", payload::STATES);
            self.refuse(from, Reason::BadState, &why);
            return Ok(());
        };
        let report = Command::Report(Report::of(id).with_state(state));
        match self.twins.apply(vec![report], Origin::State { word }).await {
            // There is no answer for that, either.
            Err(error @ Unavailable::Store(_)) => {
                self.refuse(from, Reason::Unavailable, &error.to_string());
            }
            answers => self.count(from, &answers?),
        }
        Ok(())
    }

    async fn unreadable(
        &self,
        from: &From<'_>,
        id: Option<DeviceId>,
        origin: Origin,
        reason: String,
    ) -> Result<(), Unavailable> {
        self.refuse(from, Reason::Unreadable, &reason);
        self.twins.tell(Entry::new(id, origin, now()).refused(400, reason)).await
    }

    /// Counts what the twins refused.
    fn count(&self, from: &From<'_>, answers: &[Result<Answer, Rejected>]) {
        for rejected in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            self.refuse(from, Reason::of(rejected), &rejected.to_string());
        }
    }

    fn refuse(&self, from: &From<'_>, reason: Reason, why: &str) {
        self.metrics.bus_refused.note(from.kind, reason, from.client, from.topic, why);
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
            // Nothing is desired of it, perhaps because it is not there: done already.
            Wish::Remove => continue,
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
