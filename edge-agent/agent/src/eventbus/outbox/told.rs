//! What apps at one broker were told of each device, and what of that is sure.

use std::collections::{HashMap, VecDeque};

use device_model::{DeviceId, DeviceState};
use device_twin::{Twin, Uid};

use crate::broker::Delivered;

/// How a device stood when it was last spoken of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) uid: Uid,
    pub(super) rev: u64,
    /// None where nobody knows what was told.
    pub(super) state: Option<DeviceState>,
}

impl Told {
    /// That of a device as it stands.
    pub(super) fn of(twin: &Twin) -> Self {
        Self { uid: twin.uid().clone(), rev: twin.rev(), state: Some(twin.state()) }
    }
}

/// After a gap only what differs from this is told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    told: HashMap<DeviceId, Told>,
    /// How things were before messages that the broker has perhaps not taken: how many it must have taken, the device,
    /// and how that stood. The oldest first.
    unsettled: VecDeque<(u64, DeviceId, Option<Told>)>,
    /// Number of the newest event when it was last told how things stand: what came of events up to it was told then.
    caught_up: u64,
}

impl Ledger {
    /// All devices as they stand are known.
    pub(super) fn of(twins: &[Twin]) -> Self {
        let told = twins.iter().map(|twin| (twin.device().id.clone(), Told::of(twin)));
        Self { told: told.collect(), ..Self::default() }
    }

    /// All devices are known, and nothing of how they stand.
    pub(super) fn unsure(twins: &[Twin]) -> Self {
        let mut ledger = Self::of(twins);
        for told in ledger.told.values_mut() {
            (told.rev, told.state) = (0, None);
        }
        ledger
    }

    pub(super) fn get(&self, id: &DeviceId) -> Option<&Told> {
        self.told.get(id)
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = (&DeviceId, &Told)> {
        self.told.iter()
    }

    /// Notes how a device stands; gives how it stood.
    pub(super) fn set(&mut self, id: &DeviceId, told: Option<Told>) -> Option<Told> {
        match told {
            Some(told) => self.told.insert(id.clone(), told),
            None => self.told.remove(id),
        }
    }

    /// It is told how things stand after event number `newest`.
    pub(super) fn catch_up(&mut self, newest: u64) {
        self.caught_up = newest;
    }

    /// Whether what came of the event of this number was told when how things stand was told.
    pub(super) fn is_past(&self, number: u64) -> bool {
        number <= self.caught_up
    }

    /// What was told of a device counts when the broker has taken what was `delivered` so far.
    pub(super) fn settle_later(
        &mut self,
        delivered: Delivered,
        id: DeviceId,
        before: Option<Told>,
    ) {
        let Delivered { published, taken } = delivered;
        while self.unsettled.front().is_some_and(|(number, ..)| *number <= taken) {
            self.unsettled.pop_front();
        }
        if published > taken {
            self.unsettled.push_back((published, id, before));
        }
    }

    /// Takes back what the last connection perhaps did not bring home.
    pub(super) fn doubt(&mut self) {
        while let Some((_, id, before)) = self.unsettled.pop_back() {
            self.set(&id, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rev: u64) -> Option<Told> {
        Some(Told { uid: Uid::new("u"), rev, state: Some(DeviceState::Online) })
    }

    #[test]
    fn what_was_not_taken_for_sure_is_taken_back() {
        let mut ledger = Ledger::default();
        let pump = DeviceId::new("demo", "pump").unwrap();
        for (rev, published, taken) in [(1, 2, 0), (2, 4, 2), (3, 6, 4)] {
            let before = ledger.set(&pump, told(rev));
            ledger.settle_later(Delivered { published, taken }, pump.clone(), before);
        }
        assert_eq!(ledger.get(&pump), told(3).as_ref());
        ledger.doubt();
        assert_eq!(ledger.get(&pump), told(2).as_ref(), "four messages were taken");
        let before = ledger.set(&pump, None);
        ledger.settle_later(Delivered { published: 9, taken: 0 }, pump.clone(), before);
        ledger.doubt();
        assert_eq!(ledger.get(&pump), told(2).as_ref(), "nobody was told that it went");
    }
}
