//! How it all ends: nothing goes wrong any more, and both ends come to agree.

use super::cloud::{Bridge, Said, version};
use super::edge::{said, wanted};
use super::world::World;
use super::{Broken, DEVICES, PROPERTIES};

impl World {
    /// Nothing goes wrong any more: both ends come to agree.
    pub fn rest(&mut self) -> Result<(), Broken> {
        self.api.is_up = true;
        for round in 0..60 {
            self.api.collect();
            while self.bridge.as_ref().is_some_and(|bridge| !bridge.is_current(&self.api)) {
                self.with_bridge(Bridge::watch_devices);
                self.with_bridge(Bridge::watch_statuses);
            }
            self.connect()?;
            for at in 0..DEVICES {
                // Mappers read again what they have read, once the agent is there.
                (0..PROPERTIES).try_for_each(|property| self.read(at, property, true))?;
            }
            (0..4).for_each(|_| self.send());
            (0..4).for_each(|_| self.upload());
            while !self.down.is_empty() {
                self.deliver(false)?;
            }
            while !self.acks.is_empty() {
                self.acknowledge()?;
            }
            while !self.up.is_empty() {
                self.arrive();
            }
            (0..DEVICES).for_each(|at| self.turn(at));
            while !self.requests.is_empty() {
                self.write()?;
            }
            while !self.confirmations.is_empty() {
                self.confirm()?;
            }
            if round > 0 && self.is_settled() {
                return self.agree();
            }
            self.pass(6)?;
        }
        Err("it never came to rest")
    }

    fn is_settled(&self) -> bool {
        let (Some(agent), Some(bridge)) = (&self.edge.agent, &self.bridge) else { return false };
        let Some(link) = &bridge.link else { return false };
        link.queue.is_settled()
            && agent.outbox.is_settled()
            && bridge.is_current(&self.api)
            && !(0..DEVICES).any(|at| bridge.is_waiting(at))
    }

    fn agree(&mut self) -> Result<(), Broken> {
        for at in 0..DEVICES {
            let on_disk = self.edge.on_disk(at);
            let twin = self.edge.agent.as_ref().and_then(|agent| agent.twin(at));
            let Some(device) = &self.api.devices[at] else {
                if on_disk.is_some() || twin.is_some() || self.api.statuses[at].is_some() {
                    return Err("a device that was deleted is still there");
                }
                continue;
            };
            let state = version(device).resource_version.to_string();
            if on_disk != Some((device.life, state)) {
                return Err("when all was quiet the edge had another object than the cloud");
            }
            let Some(twin) = twin else { return Err("a device has no twin") };
            let shown = self.api.statuses[at].as_ref().map(|status| status.shown);
            for (property, (_, one)) in twin.properties().enumerate() {
                if wanted(one) != device.wants[property] {
                    return Err("when all was quiet something else was desired than in the cloud");
                }
                let here = said(one);
                let there = shown.map_or_else(Said::default, |shown| shown[property]);
                if there.value != Some(self.field[at][property]) || here.value != there.value {
                    return Err("when all was quiet the cloud did not show what the device has");
                }
                if here.settled.is_some() && here.settled != there.settled {
                    return Err("when all was quiet the cloud did not show what was settled");
                }
            }
        }
        Ok(())
    }
}
