use device_model::{Quality, Value};

use super::*;
use crate::fake::{Fake, device, manifests};

#[tokio::test(start_paused = true)]
async fn one_cycle_is_read_without_an_agent_and_each_failure_says_why() {
    let fake = Fake::new();
    fake.set(1, "speed", 5);
    fake.plant().silent.insert(2);
    fake.plant().down.insert("far".into());
    let devices = vec![
        device(&manifests("pump", "a", 1, &[("speed", "", "{value: '9'}"), ("none", "", "")])),
        device(&manifests("mute", "a", 2, &[("p", "", "")])),
        device(&manifests("away", "far", 1, &[("p", "", "")])),
        device(&manifests("odd", "a", 1, &[("p", "", "")]).replace("line: a, ", "")),
    ];
    let readings = once(&fake, devices).await;
    let of = |device: &str, property: &str| {
        let found = readings.iter().find(|reading| {
            reading.device.name() == device && reading.property.as_str() == property
        });
        let found = found.unwrap_or_else(|| panic!("{device} {property} in {readings:#?}"));
        (found.reading.quality, found.reading.code, found.problem.clone().unwrap_or_default())
    };
    assert_eq!(of("pump", "speed"), (Quality::Good, QualityCode::Ok, String::new()));
    assert!(of("pump", "none").2.contains("exception 2"));
    assert_eq!(of("mute", "p").1, QualityCode::NoCommunication);
    assert!(of("away", "p").2.contains("connection refused"));
    assert!(of("odd", "p").2.contains("spec.protocol.configData.line"));
    assert_eq!(readings.len(), 5);
    assert_eq!((fake.writes(), fake.get(1, "speed")), (0, Some(Value::Int(5))));
}
