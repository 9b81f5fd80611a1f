//! Somebody who watches what the cloud shows, all the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{Config, Event, watcher};
use tokio::task::JoinSet;

use super::objects::{LEVELS, shown};

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// By device and property: the newest number.
    newest: BTreeMap<(String, &'static str), u64>,
    values: u64,
    wrong: Vec<String>,
}

/// Watches until it is dropped.
pub(super) struct Viewer {
    seen: Arc<Mutex<Seen>>,
    _watching: JoinSet<()>,
}

impl Viewer {
    pub(super) fn start(statuses: Api<DynamicObject>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut watching = JoinSet::new();
        let eyes = seen.clone();
        watching.spawn(async move {
            let mut events = std::pin::pin!(watcher(statuses, Config::default()));
            while let Some(event) = events.next().await {
                // An API server that is away is found again by the watcher.
                if let Ok(Event::Apply(status) | Event::InitApply(status)) = event {
                    eyes.lock().unwrap_or_else(PoisonError::into_inner).look(&status);
                }
            }
        });
        Self { seen, _watching: watching }
    }

    /// How many values it saw.
    ///
    /// # Errors
    /// An older one came after a newer one.
    pub(super) fn verdict(&self) -> Result<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(seen.wrong.is_empty(), "the cloud went back: {:?}", seen.wrong);
        Ok(seen.values)
    }

    /// The newest number that it saw of a property.
    pub(super) fn newest(&self, device: &str, property: &'static str) -> Option<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.newest.get(&(device.to_owned(), property)).copied()
    }
}

impl Seen {
    fn look(&mut self, status: &DynamicObject) {
        let device = status.metadata.name.clone().unwrap_or_default();
        for property in LEVELS {
            let Some(value) = shown(&status.data["status"], property, "reported") else { continue };
            let Ok(value) = value.parse::<u64>() else {
                self.wrong.push(format!("{device} {property} is {value}"));
                continue;
            };
            let newest = self.newest.entry((device.clone(), property)).or_default();
            if value < *newest {
                self.wrong.push(format!("{device} {property}: {value} after {newest}"));
            }
            self.values += u64::from(value > *newest);
            *newest = value.max(*newest);
        }
    }
}
