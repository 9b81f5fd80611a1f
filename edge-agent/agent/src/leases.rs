//! Which mapper may speak for which devices, and until when (rule R13). Pure: the caller brings the time.
//!
//! A registration gives a token; each call that carries it renews it. A device belongs to the mapper that has it,
//! else to the live mapper of its protocol with the fewest devices. When a lease ends its devices move on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use device_model::DeviceId;

/// Name of a mapper, unique on the node.
pub(crate) type MapperName = Arc<str>;

/// One registration.
#[derive(Debug)]
struct Lease {
    protocol: String,
    token: Arc<str>,
    /// When it ends unless renewed; `None` for peers that know no leases.
    until: Option<Instant>,
    devices: usize,
}

/// Every registration, and who has which device.
#[derive(Debug)]
pub(crate) struct Leases {
    ttl: Duration,
    /// Ordered, so that equal mappers are filled in the same order every time.
    mappers: BTreeMap<MapperName, Lease>,
    tokens: HashMap<Arc<str>, MapperName>,
    owners: HashMap<DeviceId, MapperName>,
}

/// Why a mapper may not speak for a device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The token is unknown or its time is over: register again.
    Token,
    /// Another mapper has the device.
    Owner(MapperName),
}

impl Leases {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, mappers: BTreeMap::new(), tokens: HashMap::new(), owners: HashMap::new() }
    }

    /// How long a lease lasts without a call.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Sets that for every renewal from now on.
    pub(crate) fn set_ttl(&mut self, ttl: Duration) {
        self.ttl = ttl;
    }

    /// A mapper is there, for the first time or again; a former token of that name ends. Its devices stay its own
    /// if its protocol did not change.
    pub(crate) fn register(
        &mut self,
        name: &MapperName,
        protocol: &str,
        token: &Arc<str>,
        leased: bool,
        now: Instant,
    ) {
        if self.mappers.get(name).is_some_and(|lease| lease.protocol != protocol) {
            self.end(name);
        }
        let until = leased.then(|| now + self.ttl);
        let devices = self.mappers.get(name).map_or(0, |lease| lease.devices);
        let lease = Lease { protocol: protocol.into(), token: token.clone(), until, devices };
        if let Some(former) = self.mappers.insert(name.clone(), lease) {
            self.tokens.remove(&former.token);
        }
        if leased {
            self.tokens.insert(token.clone(), name.clone());
        }
    }

    /// The devices that a mapper has.
    pub(crate) fn devices(&self, name: &MapperName) -> Vec<DeviceId> {
        let mine = self.owners.iter().filter(|(_, owner)| *owner == name);
        mine.map(|(id, _)| id.clone()).collect()
    }

    /// A mapper is gone: forgets it and gives back the devices that it had.
    pub(crate) fn end(&mut self, name: &MapperName) -> Vec<DeviceId> {
        if let Some(lease) = self.mappers.remove(name) {
            self.tokens.remove(&lease.token);
        }
        let lost = self.devices(name);
        for id in &lost {
            self.owners.remove(id);
        }
        lost
    }

    /// The mapper that a token names, renewed.
    pub(crate) fn renew(&mut self, token: &str, now: Instant) -> Result<MapperName, Denied> {
        let name = self.tokens.get(token).ok_or(Denied::Token)?;
        let lease = self.mappers.get_mut(name).ok_or(Denied::Token)?;
        match lease.until {
            Some(until) if until < now => Err(Denied::Token),
            _ => {
                lease.until = Some(now + self.ttl);
                Ok(name.clone())
            }
        }
    }

    /// Whether the bearer of `token` may speak for `device`, renewing the lease.
    pub(crate) fn admit(
        &mut self,
        token: &str,
        device: &DeviceId,
        now: Instant,
    ) -> Result<(), Denied> {
        let name = self.renew(token, now)?;
        match self.owners.get(device) {
            Some(owner) if *owner != name => Err(Denied::Owner(owner.clone())),
            _ => Ok(()),
        }
    }

    /// The mappers whose time is over.
    pub(crate) fn ended(&self, now: Instant) -> Vec<MapperName> {
        let over = |lease: &Lease| lease.until.is_some_and(|until| until < now);
        self.mappers.iter().filter(|(_, lease)| over(lease)).map(|(name, _)| name.clone()).collect()
    }

    /// Gives `device` a mapper of `protocol`: the one that has it, else the one with the fewest.
    pub(crate) fn assign(&mut self, device: &DeviceId, protocol: &str) -> Option<MapperName> {
        if let Some(owner) = self.owners.get(device) {
            if self.mappers.get(owner).is_some_and(|lease| lease.protocol == protocol) {
                return Some(owner.clone());
            }
            self.release(device);
        }
        let (name, lease) = self
            .mappers
            .iter_mut()
            .filter(|(_, lease)| lease.protocol == protocol)
            .min_by_key(|(_, lease)| lease.devices)?;
        lease.devices += 1;
        self.owners.insert(device.clone(), name.clone());
        Some(name.clone())
    }

    /// Gives `device` to the mapper `name` of `protocol`, unless somebody has it.
    pub(crate) fn entrust(&mut self, device: &DeviceId, protocol: &str, name: &MapperName) {
        if !self.owners.contains_key(device)
            && let Some(lease) = self.mappers.get_mut(name)
            && lease.protocol == protocol
        {
            lease.devices += 1;
            self.owners.insert(device.clone(), name.clone());
        }
    }

    /// A device is gone, or needs another mapper.
    pub(crate) fn release(&mut self, device: &DeviceId) {
        if let Some(owner) = self.owners.remove(device)
            && let Some(lease) = self.mappers.get_mut(&owner)
        {
            lease.devices -= 1;
        }
    }

    /// The mapper that has `device`.
    pub(crate) fn owner(&self, device: &DeviceId) -> Option<&MapperName> {
        self.owners.get(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn id(name: &str) -> DeviceId {
        DeviceId::new("demo", name).unwrap()
    }

    fn two_mappers(now: Instant) -> Leases {
        let mut leases = Leases::new(TTL);
        for name in ["a", "b"] {
            leases.register(&name.into(), "modbus", &format!("token-{name}").into(), true, now);
        }
        leases
    }

    #[test]
    fn devices_go_to_the_mapper_with_the_fewest_and_stay() {
        let mut leases = two_mappers(Instant::now());
        let owners: Vec<_> = ["p", "q", "r", "s"]
            .iter()
            .map(|name| leases.assign(&id(name), "modbus").unwrap().to_string())
            .collect();
        assert_eq!(owners, ["a", "b", "a", "b"]);
        assert_eq!(leases.assign(&id("p"), "modbus").as_deref(), Some("a"));
        assert_eq!(leases.assign(&id("x"), "opcua"), None);
        leases.release(&id("p"));
        leases.release(&id("r"));
        assert_eq!(leases.assign(&id("t"), "modbus").as_deref(), Some("a"));
    }

    #[test]
    fn a_call_renews_and_silence_ends() {
        let start = Instant::now();
        let mut leases = two_mappers(start);
        leases.assign(&id("p"), "modbus");
        assert_eq!(leases.admit("token-a", &id("p"), start + TTL / 2), Ok(()));
        assert_eq!(leases.ended(start + TTL + TTL / 4), ["b".into()]);
        assert_eq!(leases.renew("token-b", start + TTL * 2), Err(Denied::Token));
        assert_eq!(leases.end(&"b".into()), []);
        assert_eq!(leases.end(&"a".into()), [id("p")]);
        assert_eq!(leases.owner(&id("p")), None);
    }

    #[test]
    fn the_wrong_owner_is_denied_and_so_is_an_old_token() {
        let now = Instant::now();
        let mut leases = two_mappers(now);
        leases.assign(&id("p"), "modbus");
        assert_eq!(leases.admit("token-b", &id("p"), now), Err(Denied::Owner("a".into())));
        leases.register(&"a".into(), "modbus", &"token-a2".into(), true, now);
        assert_eq!(leases.admit("token-a", &id("p"), now), Err(Denied::Token));
        assert_eq!(leases.admit("token-a2", &id("p"), now), Ok(()), "a restart keeps its devices");
    }
}
