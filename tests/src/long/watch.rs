//! Every value that the agent tells, as a line's claims see it.

use anyhow::{Context, Result};
use serde_json::Value as Json;

use crate::http::{self, Events};
use crate::world::World;

/// One good value of a machine.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) machine: String,
    pub(super) property: String,
    pub(super) value: i64,
}

/// The agent's stream of events.
pub(super) struct Watch(Events);

impl Watch {
    /// From now on.
    pub(super) async fn open(world: &World) -> Result<Self> {
        Ok(Self(http::events(&world.api(), "/v1/events").await?))
    }

    /// The next event of `kind`. Cancel safe.
    pub(super) async fn event(&mut self, kind: &str) -> Result<Json> {
        loop {
            let event = self.0.next().await?.context("the stream of events ended")?;
            if event["kind"] == kind {
                return Ok(event);
            }
        }
    }

    /// The next whole number that was told with good quality. Cancel safe.
    pub(super) async fn good(&mut self) -> Result<Told> {
        loop {
            let event = self.event("reported").await?;
            let value = event["reported"].as_str().and_then(|text| text.parse().ok());
            let (Some(device), Some(property), Some(value)) =
                (event["device"].as_str(), event["property"].as_str(), value)
            else {
                continue;
            };
            if event["quality"] == "good" {
                let machine = device.rsplit('/').next().unwrap_or_default();
                let (machine, property) = (machine.to_owned(), property.to_owned());
                return Ok(Told { machine, property, value });
            }
        }
    }
}
