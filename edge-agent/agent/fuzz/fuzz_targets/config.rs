//! Any text as a configuration file, of ours or of KubeEdge's: it is read or refused with a reason, and what was read is
//! the same when it is written again, in either dialect.
#![no_main]

use agent::config::{AgentConfig, Dialect, File};
use libfuzzer_sys::fuzz_target;

// The rest of the agent would take minutes to build with a sanitizer.
#[allow(dead_code, unused_imports)]
#[path = "../../src"]
mod agent {
    pub mod config;
}

/// `text`, which was written by the agent, reads as `expected`.
fn reads_as(expected: &AgentConfig, text: &str) {
    match AgentConfig::parse(text) {
        Ok(config) => assert_eq!(&config, expected, "{text}"),
        Err(error) => panic!("{error}: {text}"),
    }
}

fuzz_target!(|octets: &[u8]| {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let file = match File::parse(text) {
        Ok(file) => file,
        Err(reason) => return assert!(!reason.is_empty()),
    };
    assert!(!file.settings().is_empty());
    assert!(file.dialect == Dialect::EdgeCore || file.unused.is_empty());
    // A secret that stands in the file is never written anywhere.
    let secrets = [&file.config.mqtt.external.password, &file.config.cloud.token];
    if secrets.iter().all(|secret| secret.is_none()) {
        reads_as(&file.config, &serde_saphyr::to_string(&file.config).unwrap());
    }
    if let Ok(other) = file.converted() {
        reads_as(&file.config, &other);
    }
});
