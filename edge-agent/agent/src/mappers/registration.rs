//! What the store keeps of a mapper that knows no leases.
//!
//! Such a mapper registers once, at its start, serves its own socket from then on and never notices that the agent
//! restarted. So its registration outlives the agent, and with it what it was told: a device that is known to it
//! as it stands is not told again, since KubeEdge's mappers start a device anew, and write what is desired of it,
//! with each UpdateDevice; and RegisterDevice for a device that they know does nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use device_model::DeviceId;
use device_twin::store::{Object, ObjectKey};
use dmi::convert::Peer;
use serde::{Deserialize, Serialize};

use super::MapperInfo;

/// The kind of the store's objects.
pub(crate) const KIND: &str = "Mapper";

/// What a mapper was told of each device: a fingerprint of it, [`FIRST`] or [`OTHER`].
pub(crate) type Noted = BTreeMap<DeviceId, u64>;

/// It is told of the device for the first time.
pub(super) const FIRST: u64 = 0;
/// It knows the device, but not as it stands: no device has this fingerprint.
pub(super) const OTHER: u64 = 1;

/// One registration of an earlier run.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(super) info: MapperInfo,
    pub(super) noted: Noted,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    protocol: String,
    address: PathBuf,
    /// Whether it reads numbers with all their bits.
    exact: bool,
    told: Noted,
}

pub(super) fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: KIND.into(), namespace: "".into(), name: name.into() }
}

/// The object for a mapper that was told `noted`.
#[expect(clippy::expect_used, reason = "texts and numbers, and a path that came in as text")]
pub(super) fn object(info: &MapperInfo, noted: &Noted) -> Object {
    let body = Body {
        protocol: info.protocol.clone(),
        address: info.address.clone(),
        exact: info.peer == Peer::Edgetwin,
        told: noted.clone(),
    };
    Object {
        key: key(&info.name),
        uid: String::new(),
        resource_version: String::new(),
        body: serde_json::to_vec(&body).expect("a registration can be said in JSON"),
    }
}

/// The registration that an object holds. What an earlier run began to tell may have arrived.
pub(super) fn read(object: &Object) -> Result<Registration, serde_json::Error> {
    let Body { protocol, address, exact, told } = serde_json::from_slice(&object.body)?;
    let peer = if exact { Peer::Edgetwin } else { Peer::KubeEdge };
    let name = object.key.name.clone();
    let noted = told.into_iter().map(|(id, fingerprint)| (id, fingerprint.max(OTHER))).collect();
    Ok(Registration { info: MapperInfo { name, protocol, address, peer, leased: false }, noted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read_as_it_was_kept() {
        let info = MapperInfo {
            name: "go-1".into(),
            protocol: "modbus".into(),
            address: "/run/go-1.sock".into(),
            peer: Peer::KubeEdge,
            leased: false,
        };
        let noted = Noted::from([(DeviceId::new("demo", "pump").unwrap(), u64::MAX)]);
        let mut kept = object(&info, &noted);
        let Registration { info: again, noted: told } = read(&kept).unwrap();
        assert_eq!(
            (again.name, again.protocol, again.address),
            (info.name, info.protocol, info.address)
        );
        assert_eq!((again.peer, again.leased, told), (info.peer, false, noted));
        kept.body.truncate(10);
        assert!(read(&kept).is_err());
    }
}
