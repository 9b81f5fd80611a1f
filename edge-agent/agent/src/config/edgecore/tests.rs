use serde_json::json;

use super::super::{Dialect, File, MqttMode, Span};

const HEAD: &str = "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\n";

fn file(rest: &str) -> File {
    File::parse(&format!("{HEAD}{rest}")).unwrap()
}

fn refused(rest: &str) -> String {
    File::parse(&format!("{HEAD}{rest}")).unwrap_err()
}

#[test]
fn what_is_left_out_is_as_kubeedge_has_it() {
    let file = file("");
    assert_eq!((file.dialect, &file.unused), (Dialect::EdgeCore, &vec![]));
    let config = &file.config;
    assert_eq!(config.store.dir.to_str(), Some("/var/lib/kubeedge"));
    assert_eq!(config.devices.dmi_socket.to_str(), Some("/etc/kubeedge/dmi.sock"));
    assert_eq!(config.mqtt.mode, MqttMode::External);
    assert_eq!(config.mqtt.external.url, "tcp://127.0.0.1:1883");
    assert_eq!(config.mqtt.listen.to_string(), "127.0.0.1:1884");
    assert_eq!((config.mqtt.qos, config.mqtt.limits.session_messages), (0, 100));
    assert_eq!(config.api.socket.to_str(), Some("/run/edgetwin/api.sock"));
}

#[test]
fn its_keys_mean_ours_and_those_under_edgetwin_win() {
    let file = file(
        "database: {dataSource: /data/edge/edgecore.db}
modules:
  edged: {hostnameOverride: pi-3, enable: true}
  deviceTwin: {enable: true, dmiSockPath: /run/kube/any.sock}
  eventBus:
    enable: true
    mqttMode: 1
    mqttQOS: 2
    mqttRetain: true
    mqttSessionQueueSize: 7
    mqttServerInternal: tcp://127.0.0.1:2884
    mqttServerExternal: ssl://10.0.0.9:8883
    mqttSubClientID: line-3
    mqttUsername: edge
    mqttPassword: not told
    eventBusTLS: {enable: true, tlsMqttCAFile: /tls/ca.crt}
edgetwin:
  store: {sync: 3s}
  mqtt: {qos: 1}
",
    );
    let config = &file.config;
    assert_eq!(
        (config.node.name.as_str(), config.store.dir.to_str()),
        ("pi-3", Some("/data/edge"))
    );
    // EdgeCore looks at the directory of whatever ends so.
    assert_eq!(config.devices.dmi_socket.to_str(), Some("/run/kube/dmi.sock"));
    let mqtt = &config.mqtt;
    assert_eq!((mqtt.mode, mqtt.qos, mqtt.retain), (MqttMode::Both, 1, true));
    assert_eq!((mqtt.limits.session_messages, mqtt.listen.port()), (7, 2884));
    let external = &mqtt.external;
    assert_eq!(external.url, "ssl://10.0.0.9:8883");
    assert_eq!(
        (external.client_id.as_deref(), external.username.as_deref()),
        (Some("line-3"), Some("edge"))
    );
    assert_eq!(external.password.as_ref().map(|secret| secret.expose()), Some("not told"));
    let tls = external.tls.as_ref().unwrap();
    assert_eq!(tls.ca.as_deref().and_then(|path| path.to_str()), Some("/tls/ca.crt"));
    assert_eq!(
        tls.cert.as_deref().and_then(|path| path.to_str()),
        Some("/etc/kubeedge/certs/server.crt")
    );
    assert_eq!(config.store.sync, Span::secs(3));
    assert_eq!(file.unused, ["modules.edged.enable"]);
    assert!(!format!("{config:?}").contains("not told"));
}

#[test]
fn modes_and_a_bus_that_is_off_are_told_apart() {
    let mode = |text: &str| file(&format!("modules: {{eventBus: {text}}}")).config.mqtt.mode;
    assert_eq!(mode("{mqttMode: 0}"), MqttMode::Embedded);
    assert_eq!(mode("{mqttMode: 2}"), MqttMode::External);
    assert_eq!(mode("{enable: false, mqttMode: 0}"), MqttMode::Off);
    assert_eq!(mode("{MQTTMODE: 0}"), MqttMode::Embedded, "Go reads any letter case");
}

#[test]
fn a_key_without_effect_is_named_and_a_slip_told_with_what_was_meant() {
    let file = file(
        "database: {aliasName: default, dataSurce: /x/y}
edgecoreVersion: v1.23.0
featureGates: {}
modules:
  edgeHub: {enable: true, heartbeat: 15, quic: {enable: false}}
  eventBus: {mqttMod: 0, mqttPubClientID: pub, mqttSubClientID: \"\"}
  serviceBus:
",
    );
    assert_eq!(
        file.unused,
        [
            "database.aliasName",
            "database.dataSurce (did you mean dataSource?)",
            "edgecoreVersion",
            "modules.edgeHub.quic",
            "modules.eventBus.mqttMod (did you mean mqttMode?)",
            "modules.eventBus.mqttPubClientID",
        ]
    );
}

#[test]
fn certificates_for_a_plain_address_are_not_used_and_that_is_said() {
    let file = file(
        "modules: {eventBus: {mqttServerExternal: 'tcp://b:1883', eventBusTLS: {enable: true}}}",
    );
    assert_eq!(file.config.mqtt.external.tls, None);
    let plain = "modules.eventBus.eventBusTLS.enable (write modules.eventBus.mqttServerExternal with ssl:// for it)";
    assert_eq!(file.unused, [plain]);
}

#[test]
fn a_wrong_value_names_key_value_and_remedy() {
    for (text, part) in [
        (
            "modules: {eventBus: {mqttMode: 3}}",
            "modules.eventBus.mqttMode = 3: no such mode; write 0",
        ),
        ("modules: {eventBus: {mqttMode: \"0\"}}", "modules.eventBus.mqttMode = \"0\""),
        (
            "modules: {eventBus: {mqttServerInternal: ws://127.0.0.1:1}}",
            "write tcp:// and an address",
        ),
        ("modules: {eventBus: {mqttQOS: 3}}", "mqtt.qos = 3: write 0, 1 or 2"),
        ("modules: {eventBus: {mqttRetain: 7}}", "mqtt.retain: invalid type"),
        ("database: {dataSource: edgecore.db}", "write the whole path of a file"),
        ("edgetwin:\n  stoer: {sync: 3s}\n", "line 4, column 3: unknown field"),
        ("edgetwin: {store: {snyc: 3s}}", "did you mean \"sync\"?"),
        ("edgetwin: {store: {sync: 3}}", "with a unit"),
        ("modules: [", "line 3"),
    ] {
        let error = refused(text);
        assert!(error.contains(part), "{text}: {error}");
    }
    let old = File::parse("apiVersion: edgecore.config.kubeedge.io/v1alpha1\n").unwrap_err();
    assert!(
        old.contains("v1alpha1 is not read here; write edgecore.config.kubeedge.io/v1alpha2"),
        "{old}"
    );
}

#[test]
fn a_file_goes_into_the_other_dialect_and_back() {
    let ours = "apiVersion: edgetwin.io/v1
kind: AgentConfig
node: {name: pi-3}
store: {dir: /data/edge, sync: 3s}
devices: {dmiSocket: /run/edge/dmi.sock}
mqtt: {mode: both, external: {url: \"mqtts://b:8883\", username: u, passwordFile: /p, tls: {ca: /ca, cert: /cert, key: /key}}}
log: {level: debug}
";
    let first = File::parse(ours).unwrap();
    let text = first.converted().unwrap();
    let second = File::parse(&text).unwrap();
    assert_eq!((second.dialect, &second.config), (Dialect::EdgeCore, &first.config), "{text}");
    assert_eq!(second.unused, Vec::<String>::new(), "{text}");
    let raw: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(raw["modules"]["eventBus"]["mqttMode"], json!(1), "{text}");
    assert_eq!(raw["modules"]["edged"]["hostnameOverride"], json!("pi-3"));
    assert_eq!(raw["edgetwin"]["log"]["level"], json!("debug"));
    let third = File::parse(&second.converted().unwrap()).unwrap();
    assert_eq!((third.dialect, third.config), (Dialect::Ours, first.config));
}

#[test]
fn the_defaults_of_either_survive_the_way_into_the_other() {
    for text in
        ["", HEAD, "devices: {dmiSocket: /run/edge/other.sock}", "mqtt: {mode: off}", PARTLY]
    {
        let first = File::parse(text).unwrap();
        let second = File::parse(&first.converted().unwrap()).unwrap();
        assert_eq!(second.config, first.config, "{text}");
        assert_ne!(second.dialect, first.dialect);
    }
}

/// KubeEdge knows no TLS without a client's certificate, and no packet limit.
const PARTLY: &str =
    "mqtt: {mode: both, limits: {packet: 2048}, external: {url: \"mqtts://b:1\", tls: {ca: /ca}}}";

#[test]
fn the_cloud_of_an_edgecore_is_ours_with_its_certificates_and_its_token() {
    let file = file(
        "modules:
  edged: {nodeLabels: {site: plant-a}}
  edgeHub:
    enable: true
    heartbeat: 20
    httpServer: https://10.0.0.2:10002
    token: hash.a.b.c
    rotateCertificates: false
    websocket: {enable: true, server: \"10.0.0.2:10000\"}
",
    );
    let cloud = &file.config.cloud;
    assert_eq!(cloud.addresses, ["10.0.0.2:10000"]);
    assert_eq!(cloud.join_servers(), ["10.0.0.2:10002"]);
    assert_eq!(cloud.ca.to_str(), Some("/etc/kubeedge/ca/rootCA.crt"));
    assert_eq!(cloud.cert.to_str(), Some("/etc/kubeedge/certs/server.crt"));
    assert_eq!(cloud.token.as_ref().map(|token| token.expose()), Some("hash.a.b.c"));
    assert_eq!((cloud.rotate, cloud.heartbeat), (false, Span::secs(20)));
    assert_eq!(file.config.node.labels, [("site".into(), "plant-a".into())].into());
    assert_eq!(file.config.mqtt.mode, MqttMode::External, "as the file has it");
    let refused = file.converted().unwrap_err();
    assert!(refused.contains("edgeHub.token") && refused.contains("tokenFile"), "{refused}");
}

#[test]
fn an_edgehub_that_is_off_has_no_cloud() {
    let file = file("modules: {edgeHub: {enable: false, websocket: {server: \"a:1\"}}}");
    assert!(!file.config.cloud.is_joined());
}

#[test]
fn a_node_of_a_cloud_has_no_broker_unless_it_is_asked_for() {
    let mode = |text: &str| File::parse(text).unwrap().config.mqtt.mode;
    assert_eq!(mode("cloud: {addresses: [\"bridge:10000\"]}"), MqttMode::Off);
    let asked = "cloud: {addresses: [\"bridge:10000\"]}\nmqtt: {mode: embedded}";
    assert_eq!(mode(asked), MqttMode::Embedded);
    assert_eq!(mode("node: {name: a}"), MqttMode::Embedded);
}

#[test]
fn a_password_in_clear_is_not_converted() {
    let file = file("modules: {eventBus: {mqttMode: 2, mqttPassword: p}}");
    let refused = file.converted().unwrap_err();
    assert!(refused.contains("mqttPassword") && refused.contains("passwordFile"), "{refused}");
}

#[test]
fn what_is_said_of_a_broker_outside_survives_while_there_is_none() {
    let text = "mqtt: {mode: embedded, external: {url: 'mqtts://b:8883', clientId: gw, \
                tls: {ca: /a, cert: /c, key: /k}}}";
    let file = File::parse(text).unwrap();
    let other = file.converted().unwrap();
    assert_eq!(File::parse(&other).unwrap().config, file.config, "{other}");
}
