//! Any text as the bridge's configuration, in our words and in CloudCore's: it ends in a configuration, which reads the same
//! when it is written, or in an error, never in a panic.
#![no_main]

use cloud_bridge::config::{BridgeConfig, File};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    for text in
        [text.to_owned(), format!("apiVersion: cloudcore.config.kubeedge.io/v1alpha1\n{text}")]
    {
        match File::parse(&text) {
            Ok(file) => {
                let names = file.config.server_names();
                assert!(!names.dns.is_empty() || !names.ips.is_empty());
                let written = file.config.to_yaml().expect("what was read can be written");
                assert_eq!(BridgeConfig::parse(&written).as_ref(), Ok(&file.config), "{written}");
            }
            Err(error) => assert!(!error.is_empty()),
        }
    }
});
