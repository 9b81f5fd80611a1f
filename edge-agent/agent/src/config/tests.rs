use std::path::Path;

use super::*;

#[test]
fn an_empty_file_is_all_defaults() {
    let config = AgentConfig::parse("apiVersion: edgetwin.io/v1\nkind: AgentConfig\n").unwrap();
    assert_eq!(config, AgentConfig::default());
    assert_eq!(config.devices.dmi_socket, Path::new("/run/edgetwin/dmi.sock"));
    assert_eq!(config.mqtt.listen.to_string(), "127.0.0.1:1883");
    assert_eq!(AgentConfig::parse("").unwrap(), AgentConfig::default());
}

#[test]
fn what_is_written_reads_back() {
    let config = AgentConfig::within(Path::new("/tmp/x"));
    let text = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(AgentConfig::parse(&text).unwrap(), config, "{text}");
}

#[test]
fn an_unknown_key_is_named_with_line_and_what_was_meant() {
    let error =
        AgentConfig::parse("kind: AgentConfig\nmqtt:\n  listn: 127.0.0.1:1883\n").unwrap_err();
    assert!(error.starts_with("line 3, column 3: unknown field"), "{error}");
    assert!(error.contains("did you mean \"listen\"?"), "{error}");
    let error = AgentConfig::parse("stoer: {dir: /x}\n").unwrap_err();
    assert!(error.contains("did you mean \"store\"?"), "{error}");
    let error = AgentConfig::parse("zzzzzzz: 1\n").unwrap_err();
    assert!(!error.contains("did you mean"), "{error}");
}

#[test]
fn wrong_values_say_what_would_do() {
    for (text, part) in [
        ("store: {sync: 10}", "with a unit"),
        ("store: {sync: soon}", "with a unit"),
        ("kind: EdgeCore", "write AgentConfig"),
        ("devices: {leaseTtl: 0s}", "devices.leaseTtl"),
        ("devices: {queue: 0}", "devices.queue"),
        ("mqtt: {listen: localhost}", "line 1"),
    ] {
        let error = AgentConfig::parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn each_setting_tells_its_source() {
    let text = "mqtt: {mode: off}\n";
    let settings = File::parse(text).unwrap().settings();
    let of = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap();
    assert_eq!(
        (of("mqtt.mode").value.as_str(), of("mqtt.mode").source),
        (Some("off"), Source::File)
    );
    assert_eq!(of("store.sync").source, Source::Default);
}
