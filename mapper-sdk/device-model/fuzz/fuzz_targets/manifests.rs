//! Any text, read as manifests and resolved: it ends in devices or in errors, never in a panic, and what
//! resolves once resolves to the same again.
#![no_main]

use device_model::{Device, Manifest, parse_manifests};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(manifests) = parse_manifests(text) else { return };
    for manifest in &manifests {
        let Manifest::Device(instance) = manifest else { continue };
        for model in &manifests {
            let Manifest::Model(model) = model else { continue };
            match Device::resolve(model, instance) {
                Ok(device) => {
                    let again = Device::resolve(model, &device.to_instance());
                    // Compared as text, since NaN is not equal to itself.
                    assert_eq!(format!("{again:?}"), format!("Ok({device:?})"));
                }
                Err(problems) => assert!(!problems.to_string().is_empty()),
            }
        }
    }
});
