//! Answers that are kept for a repeat of the request (rule R7).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use device_model::{DeviceId, Timestamp};

use crate::{Answer, EventKey, Rejected, Settings};

type Answered = Result<Answer, Rejected>;

/// The newest answers for each device and client.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    answers: HashMap<(DeviceId, Arc<str>), VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    id: Arc<str>,
    at: Timestamp,
    answer: Answered,
}

impl Repeats {
    /// The answer to the same request, if it was given a short while ago.
    pub(crate) fn find(
        &self,
        device: &DeviceId,
        event: &EventKey,
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Answered> {
        let kept = self.answers.get(&(device.clone(), event.client.clone()))?;
        let same = kept.iter().rev().find(|kept| kept.id == event.id)?;
        (now.since(same.at) < settings.repeat_window).then(|| {
            let mut answer = same.answer.clone();
            if let Ok(answer) = &mut answer {
                answer.repeated = true;
            }
            answer
        })
    }

    pub(crate) fn keep(
        &mut self,
        device: DeviceId,
        event: EventKey,
        answer: Answered,
        now: Timestamp,
        settings: &Settings,
    ) {
        let kept = self.answers.entry((device, event.client)).or_default();
        kept.push_back(Kept { id: event.id, at: now, answer });
        while kept.len() > settings.repeat_count {
            kept.pop_front();
        }
    }

    /// Takes back the newest answer: it was never committed.
    pub(crate) fn take_back(&mut self, device: &DeviceId, event: &EventKey) {
        if let Some(kept) = self.answers.get_mut(&(device.clone(), event.client.clone())) {
            kept.pop_back();
        }
    }

    /// Drops what is too old to be asked for.
    pub(crate) fn forget_old(&mut self, now: Timestamp, settings: &Settings) {
        self.answers.retain(|_, kept| {
            kept.retain(|kept| now.since(kept.at) < settings.repeat_window);
            !kept.is_empty()
        });
    }
}
