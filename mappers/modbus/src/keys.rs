//! Keys that nobody reads: most are misspelt.

use device_model::{Config, Device};

/// Unknown keys of a device and its properties, each as one phrase. Keys of the simulator (`sim…`) are none.
pub(crate) fn unknown(device: &Device) -> Vec<String> {
    let mut phrases = Vec::new();
    strangers(&device.driver_config(), crate::endpoint::KEYS, &mut phrases);
    for property in &device.properties {
        strangers(&property.driver_config(), crate::visitor::KEYS, &mut phrases);
    }
    phrases
}

fn strangers(config: &Config, known: &[&str], phrases: &mut Vec<String>) {
    let is_known = |key: &str| known.iter().any(|one| one.eq_ignore_ascii_case(key));
    let is_simulators = |key: &str| key.to_ascii_lowercase().starts_with("sim");
    for (key, _) in config.iter().filter(|(key, _)| !is_known(key) && !is_simulators(key)) {
        let nearest = known.iter().min_by_key(|one| distance(key, one));
        phrases.push(match nearest.filter(|one| distance(key, one) <= 2.max(one.len() / 3)) {
            Some(nearest) => format!("{}.{key} (did you mean {nearest}?)", config.path()),
            None => format!("{}.{key}", config.path()),
        });
    }
}

/// How many letters must be put in, taken out or changed to make one word of the other, in any case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.to_ascii_lowercase().into_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_ascii_lowercase().bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::device;

    #[test]
    fn a_misspelt_key_is_named_with_the_nearest_that_exists() {
        let device = device(
            "{ip: h, slaveid: 1, baudrat: 9600, simDelay: 5, nonsense: 1}",
            "INT",
            "ReadOnly",
            "{register: holding, offset: 0, ofset: 1, simWave: sine, max: 5}",
        );
        assert_eq!(
            unknown(&device),
            [
                "spec.protocol.configData.baudrat (did you mean baudRate?)",
                "spec.protocol.configData.nonsense",
                "spec.properties[it].visitors.configData.ofset (did you mean offset?)",
            ]
        );
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("SLAVEID", "slaveID"), 0);
    }
}
