//! What the small world's objects, lives and states are called on the wire.

use std::sync::LazyLock;

use edge_link::{Kind, ObjectKey, Uid, Version};

const OBJECTS: usize = 4;
pub const LIVES: u8 = 32;
const STATES: u8 = 40;

/// Names are made once, and cheap to clone.
static KEYS: LazyLock<[ObjectKey; OBJECTS]> = LazyLock::new(|| {
    ["a", "b", "c", "d"].map(|name| ObjectKey::new(Some("demo"), Kind::DEVICE, name).unwrap())
});
static UIDS: LazyLock<[[Uid; LIVES as usize]; OBJECTS]> = LazyLock::new(|| {
    std::array::from_fn(|object| {
        std::array::from_fn(|life| Uid::new(&format!("{object}-{life}")).unwrap())
    })
});
/// Every other state has another `spec`; resource versions tell nothing to those who compare them.
static VERSIONS: LazyLock<Vec<Version>> = LazyLock::new(|| {
    let version =
        |state: u8| Version::new(&(99 - state).to_string()).of_generation((state / 2).into());
    (0..STATES).map(version).collect()
});
pub fn key(object: usize) -> ObjectKey {
    KEYS[object].clone()
}

pub fn uid(object: usize, life: u8) -> Uid {
    UIDS[object][usize::from(life)].clone()
}

pub fn version(state: u8) -> Version {
    VERSIONS[usize::from(state)].clone()
}

pub fn object_of(uid: &Uid) -> (usize, u8) {
    let (object, life) = uid.as_str().split_once('-').unwrap();
    (object.parse().unwrap(), life.parse().unwrap())
}

pub fn state_of(of: &Version) -> u8 {
    99 - of.resource_version.parse::<u8>().unwrap()
}
