//! What was acknowledged of one life of a device, and how it must be found when all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

/// One life.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// Of the Device at the API server.
    pub(super) uid: String,
    /// By property: the newest number that the agent acknowledged.
    reported: BTreeMap<&'static str, u64>,
    /// The last value that the API server took.
    cloud: Option<u64>,
    /// What was desired at the gateway since, and taken.
    local: BTreeSet<u64>,
    /// What it must be, where nothing else can have come after it.
    certain: Option<u64>,
}

impl Life {
    pub(super) fn new(uid: String) -> Self {
        let (reported, local) = (BTreeMap::new(), BTreeSet::new());
        Self { uid, reported, cloud: None, local, certain: None }
    }

    pub(super) fn reported(&mut self, property: &'static str, value: u64) {
        let newest = self.reported.entry(property).or_default();
        *newest = value.max(*newest);
    }

    pub(super) fn wanted_by_cloud(&mut self, value: u64) {
        self.cloud = Some(value);
        self.local.clear();
        self.certain = Some(value);
    }

    /// `before`: what the agent had as desired before.
    pub(super) fn wanted_here(&mut self, value: u64, before: Option<u64>) {
        self.local.insert(value);
        // Else what the cloud wants is on its way still, and ends what was set here when it comes.
        let arrived = before == self.cloud || before.is_some_and(|one| self.local.contains(&one));
        self.certain = arrived.then_some(value);
    }

    /// A call that nobody answered desires `value` at the gateway.
    pub(super) fn perhaps_wanted_here(&mut self, value: u64) {
        self.local.insert(value);
        self.certain = None;
    }

    /// The store is lost, or an older one is in its place: with it goes what was set at the gateway.
    pub(super) fn forgets(&mut self) {
        self.certain = self.cloud.filter(|_| self.local.is_empty());
    }

    /// Compares with what is desired at the gateway.
    pub(super) fn compare_desired(&self, found: Option<u64>) -> Result<()> {
        if let Some(certain) = self.certain {
            ensure!(found == Some(certain), "{found:?} is desired, and not {certain}: {self:?}");
        }
        let may_be = found == self.cloud || found.is_some_and(|one| self.local.contains(&one));
        ensure!(may_be, "{found:?} is desired: {self:?}");
        Ok(())
    }

    /// Compares with what the cloud shows of a property.
    pub(super) fn compare_reported(&self, property: &str, found: Option<u64>) -> Result<()> {
        let least = self.reported.get(property).copied();
        ensure!(found >= least, "{property} is {found:?}, {least:?} was acknowledged: {self:?}");
        Ok(())
    }
}
