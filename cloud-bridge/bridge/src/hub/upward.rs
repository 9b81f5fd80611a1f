//! A session's way up: from a report to its turn, to the API server, and back as a confirmation.

use std::sync::Arc;
use std::time::Duration;

use device_model::DeviceId;
use edge_link::content::{self, Confirmation};
use edge_link::{Message, MessageId};
use tracing::{debug, warn};

use super::Shared;
use super::reports::{Read, Refused, Taken};
use super::session::{Job, Session, now};
use crate::events::Notice;
use crate::objects::DeviceEntry;
use crate::status::NotWritten;

impl Session {
    pub(super) async fn report(
        &mut self,
        id: &DeviceId,
        message: &Message,
        read: fn(&Message) -> Result<Read, content::ContentError>,
    ) {
        self.shared.metrics.reports.increment();
        let report = match read(message) {
            Ok(report) => report,
            Err(error) => {
                let reason = error.to_string();
                return warn_once(&mut self.complained, &self.node, id, &reason, &self.shared);
            }
        };
        let Some(message_id) = message.header.id.clone() else {
            return self.refuse("a report without an id");
        };
        let device = self.shared.objects.device(id);
        let device = device.filter(|device| device.node.as_deref() == Some(&*self.node));
        let Some(device) = device else {
            // Ours stops then; EdgeCore is told nothing, as CloudCore tells it nothing.
            self.refuse(&format!("a report of {id}, which is not a device of this node"));
            if let Some(uid) = report.uid() {
                let gone = Confirmation::Gone(uid.clone());
                self.confirm(&message_id, &gone);
            }
            return;
        };
        match self.reports.take(
            &device,
            self.ours,
            &self.shared.records,
            message_id.clone(),
            report,
        ) {
            Taken::Waits => self.shared.turns.ask(id.clone(), self.turn.clone()).await,
            Taken::Answer(answer) => self.confirm(&message_id, &answer),
        }
    }

    fn confirm(&mut self, report: &MessageId, how: &Confirmation) {
        let mut asked = Message::default();
        asked.header.id = Some(report.clone());
        let Some(mut confirmation) = asked.confirmation(MessageId::random(), now()) else { return };
        // An EdgeCore knows one word.
        if self.ours {
            confirmation.content = content::json(how);
        }
        self.replies.push_back(confirmation);
    }

    /// It is the device's turn to be written.
    pub(super) fn write(&mut self, id: &DeviceId) {
        let Some(device) = self.shared.objects.device(id) else { return };
        let Some((change, written)) = self.reports.turn(&device) else { return };
        for refused in self.reports.refusals(id, &change) {
            let Refused { property, value, code, detail } = refused;
            self.shared.notices.tell(Notice {
                device: id.clone(),
                uid: device.uid.clone(),
                reason: "DesiredRefused",
                note: format!("{property} = \"{value}\" was not written ({code}): {detail}"),
            });
        }
        let shared = self.shared.clone();
        self.jobs.spawn(async move {
            let result = shared.writer.write(&device, &change, written.as_ref()).await;
            Job::Written(device, result)
        });
    }

    pub(super) async fn written(
        &mut self,
        device: &Arc<DeviceEntry>,
        result: Result<(), NotWritten>,
    ) {
        match &result {
            Ok(()) => self.shared.metrics.statuses_written.increment(),
            Err(NotWritten::Elsewhere(_)) => {}
            Err(error) => {
                self.shared.metrics.statuses_failed.increment();
                debug!(device = %device.id, %error, "its status was not written; it is tried again");
            }
        }
        let written = self.reports.written(device, &result);
        if let Some(lag) = written.lag {
            self.shared.metrics.lag.observe(lag);
        }
        for (report, how) in &written.answers {
            self.confirm(report, how);
        }
        match written.again {
            None => {}
            Some(Duration::ZERO) => {
                self.shared.turns.ask(device.id.clone(), self.turn.clone()).await;
            }
            Some(rest) => {
                let id = device.id.clone();
                self.jobs.spawn(async move {
                    tokio::time::sleep(rest).await;
                    Job::Rested(id)
                });
            }
        }
    }
}

fn warn_once(complained: &mut bool, node: &str, device: &DeviceId, reason: &str, shared: &Shared) {
    shared.metrics.messages_refused.increment();
    if !std::mem::replace(complained, true) {
        warn!(node, %device, reason, "a report cannot be read; further ones of this link are only counted");
    }
}
