//! What the agent acknowledged of one life of the device, and how that must be found ever after.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use edge_agent::api::view::{DeviceView, PropertyView};

/// What was taken for sure, and what was under way when the agent was killed.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    life: String,
    rev: u64,
    /// By property: the highest generation that was acknowledged, and its value.
    desired: BTreeMap<String, (u64, String)>,
    reported: BTreeMap<String, String>,
    /// Nobody answered: they are there, or they are not.
    doubtful: Vec<Call>,
}

/// A call that nobody answered.
#[derive(Clone, Debug)]
struct Call {
    property: String,
    value: String,
    reports: bool,
}

impl Witness {
    /// Of a life that begins as `view` shows it.
    pub(super) fn of(view: &DeviceView) -> Self {
        let mut witness = Self { life: view.incarnation.clone(), ..Self::default() };
        for property in &view.properties {
            witness.take_over(property);
        }
        witness.rev = view.rev;
        witness
    }

    pub(super) fn life(&self) -> &str {
        &self.life
    }

    /// A desired value was taken with this generation. Of two that were written at once the higher one counts.
    pub(super) fn desired(&mut self, property: &str, value: &str, generation: u64) -> Result<()> {
        let known = self.desired.get(property).map_or(0, |(generation, _)| *generation);
        ensure!(known != generation, "{property}: generation {generation} was given twice");
        if known < generation {
            self.desired.insert(property.into(), (generation, value.into()));
        }
        Ok(())
    }

    pub(super) fn reported(&mut self, property: &str, value: &str) {
        self.reported.insert(property.into(), value.into());
    }

    /// A call was not answered.
    pub(super) fn doubt(&mut self, property: &str, value: &str, reports: bool) {
        let (property, value) = (property.into(), value.into());
        self.doubtful.push(Call { property, value, reports });
    }

    /// What should be told as the delta.
    pub(super) fn delta(&self) -> BTreeMap<String, String> {
        let open = |(name, (_, value)): &(&String, &(u64, String))| {
            self.reported.get(*name) != Some(value)
        };
        let open = self.desired.iter().filter(open);
        open.map(|(name, (_, value))| (name.clone(), value.clone())).collect()
    }

    /// Compares with what is found: the same life, nothing older, nothing that nobody sent. What was in doubt is known
    /// then.
    pub(super) fn compare(&mut self, view: &DeviceView) -> Result<()> {
        ensure!(
            view.incarnation == self.life,
            "{} is another life than {}",
            view.incarnation,
            self.life
        );
        ensure!(view.rev >= self.rev, "revision {} after {}", view.rev, self.rev);
        self.rev = view.rev;
        for property in &view.properties {
            self.compare_property(property).with_context(|| format!("{property:#?}, {self:#?}"))?;
            self.take_over(property);
        }
        self.doubtful.clear();
        Ok(())
    }

    fn compare_property(&self, found: &PropertyView) -> Result<()> {
        let sent = |value: &str, reports| {
            let same = |call: &&Call| call.property == found.name && call.value == value;
            self.doubtful.iter().filter(same).any(|call| call.reports == reports)
        };
        let (least, value) = match self.desired.get(&found.name) {
            Some((generation, value)) => (*generation, Some(value.as_str())),
            None => (0, None),
        };
        let (generation, desired) = match &found.desired {
            Some(desired) => (desired.version.0, Some(desired.value.as_str())),
            None => (0, None),
        };
        ensure!(generation >= least, "the generation went back");
        let later = generation > least && desired.is_some_and(|value| sent(value, false));
        ensure!(later || (generation, desired) == (least, value), "another value is desired");
        let reported = found.reported.as_ref().and_then(|reported| reported.value.as_deref());
        let known = self.reported.get(&found.name).map(String::as_str);
        let later = reported.is_some_and(|value| sent(value, true));
        ensure!(later || reported == known, "another value is reported");
        Ok(())
    }

    fn take_over(&mut self, found: &PropertyView) {
        if let Some(desired) = &found.desired {
            let desired = (desired.version.0, desired.value.clone());
            self.desired.insert(found.name.clone(), desired);
        }
        if let Some(value) = found.reported.as_ref().and_then(|reported| reported.value.clone()) {
            self.reported.insert(found.name.clone(), value);
        }
    }
}
