//! Where a device's property stands, by its name.
//!
//! A report names its properties by text, and thousands of devices do not fit into a processor's cache. One small table
//! of hashes is searched, then one name compared.

use device_model::Device;

/// Hash of each name and its place, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(std::sync::Arc<[(u32, u16)]>);

impl Places {
    pub(crate) fn of(device: &Device) -> Self {
        let names = device.properties.iter().map(|property| property.name.as_str());
        let mut places: Vec<_> = names.map(hash).zip(0..u16::MAX).collect();
        places.sort_unstable();
        Self(places.into())
    }

    /// The place of `name`, where `name_at` tells the name at each.
    pub(crate) fn find<'a>(&self, name: &str, name_at: impl Fn(usize) -> &'a str) -> Option<usize> {
        let wanted = hash(name);
        let first = self.0.partition_point(|(hash, _)| *hash < wanted);
        (self.0[first..].iter())
            .take_while(|(hash, _)| *hash == wanted)
            .map(|(_, at)| usize::from(*at))
            .find(|at| name_at(*at) == name)
    }
}

/// FNV-1a: good enough for a few names, and two equal ones are told apart by the names.
fn hash(name: &str) -> u32 {
    const START: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    name.bytes().fold(START, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_one_hash_are_told_apart() {
        // A known pair of equal FNV-1a hashes.
        let names = ["costarring", "liquid", "speed"];
        assert_eq!(hash(names[0]), hash(names[1]));
        let mut table: Vec<_> = names.into_iter().map(hash).zip(0..u16::MAX).collect();
        table.sort_unstable();
        let places = Places(table.into());
        for (at, name) in names.into_iter().enumerate() {
            assert_eq!(places.find(name, |at| names[at]), Some(at));
        }
        assert_eq!(places.find("other", |at| names[at]), None);
    }
}
