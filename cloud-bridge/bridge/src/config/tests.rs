use std::path::Path;

use super::*;
use crate::join::KubeEdgeTokens;

#[test]
fn an_empty_file_is_all_defaults_and_listens_on_loopback_alone() {
    let config = BridgeConfig::parse("apiVersion: edgetwin.io/v1\nkind: BridgeConfig\n").unwrap();
    assert_eq!(config, BridgeConfig::default());
    assert_eq!(BridgeConfig::parse("").unwrap(), config);
    assert_eq!(config.hub.listen.to_string(), "127.0.0.1:10000");
    for listen in [config.join.listen, config.metrics.listen] {
        assert!(listen.unwrap().ip().is_loopback());
    }
    assert_eq!(config.webhook.listen, None);
    assert_eq!(config.join.tokens_of_kubeedge(), KubeEdgeTokens::Never);
}

#[test]
fn what_is_written_reads_back() {
    let mut config = BridgeConfig::default();
    config.hub.max_message = Octets(100 << 10);
    config.join.advertise = vec!["bridge.example.com".into(), "2001:db8::1".into()];
    config.webhook.listen = "0.0.0.0:9443".parse().ok();
    let text = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(BridgeConfig::parse(&text).unwrap(), config, "{text}");
}

#[test]
fn an_unknown_key_is_named_with_line_and_what_was_meant() {
    let error =
        BridgeConfig::parse("kind: BridgeConfig\nhub:\n  listn: 127.0.0.1:1\n").unwrap_err();
    assert!(error.starts_with("line 3, column 3: unknown field"), "{error}");
    assert!(error.contains("did you mean \"listen\"?"), "{error}");
}

#[test]
fn wrong_values_say_what_would_do() {
    for (text, part) in [
        ("kind: AgentConfig", "write BridgeConfig"),
        ("apiVersion: edgetwin.io/v2", "write edgetwin.io/v1"),
        (
            "apiVersion: cloudcore.config.kubeedge.io/v1alpha2",
            "write cloudcore.config.kubeedge.io/v1alpha1",
        ),
        ("namespace: Edge_Twin", "namespace = \"Edge_Twin\""),
        ("hub: {keepalive: 30}", "with a unit"),
        ("hub: {keepalive: 0s}", "hub.keepalive"),
        ("hub: {nodes: 0}", "hub.nodes = 0"),
        ("hub: {maxMessage: 32MB}", "write it as \"32Mi\""),
        ("hub: {maxMessage: 1Ki}", "write 64Ki or more"),
        ("join: {advertise: ['https://x:1']}", "leave away scheme and port"),
        ("join: {kubeedgeTokensForKnownNodes: true}", "set join.kubeedgeTokens"),
        ("join: {certificateLife: 0s}", "join.certificateLife"),
        ("status: {rate: 0}", "status.rate = 0"),
        ("identity: {dir: /x, secrets: y}", "keep one of them"),
        ("identity: {files: {ca: x}}", "missing field"),
    ] {
        let error = BridgeConfig::parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn the_certificate_is_good_for_what_is_advertised_and_for_the_webhook() {
    let names = |text: &str| BridgeConfig::parse(text).unwrap().server_names();
    let loopback = names("");
    assert!(loopback.dns.contains("localhost") && loopback.ips.len() == 2, "{loopback:?}");
    let both = names(
        "join: {advertise: [bridge.example.com, 203.0.113.10]}\nwebhook: {listen: '0.0.0.0:1'}",
    );
    assert_eq!(
        both.dns,
        ["bridge.example.com".into(), "cloud-bridge-webhook.edgetwin.svc".into()].into()
    );
    assert_eq!(both.ips, [[203, 0, 113, 10].into()].into());
}

/// The file that `cloudcore --defaultconfig` writes, with what an administrator fills in.
const CLOUDCORE: &str = "
apiVersion: cloudcore.config.kubeedge.io/v1alpha1
kind: CloudCore
commonConfig:
  monitorServer: {bindAddress: 127.0.0.1:9092, enableProfiling: true}
  tunnelPort: 10351
kubeAPIConfig: {burst: 10000, contentType: application/vnd.kubernetes.protobuf, kubeConfig: /root/kc, master: '', qps: 5000}
modules:
  cloudHub:
    advertiseAddress: [203.0.113.10]
    authorization: {debug: true, enable: false, modes: [{node: {enable: true}}]}
    dnsNames: ['', bridge.example.com]
    edgeCertSigningDuration: 30
    https: {address: 0.0.0.0, enable: true, port: 10012}
    keepaliveInterval: 40
    nodeLimt: 7
    tlsCAFile: /etc/kubeedge/ca/rootCA.crt
    tlsCAKeyFile: /etc/kubeedge/ca/rootCA.key
    tlsCertFile: /etc/kubeedge/certs/edge.crt
    tlsPrivateKeyFile: /etc/kubeedge/certs/edge.key
    tokenRefreshDuration: 12
    websocket: {address: '::', enable: true, port: 10010}
  cloudStream: {enable: false, streamPort: 10003}
  deviceController: {enable: true, buffer: {deviceEvent: 1}}
  edgeController: {enable: false}
edgetwin:
  join: {kubeedgeTokens: true}
";

#[test]
fn a_cloudcore_yaml_says_here_what_it_says_there() {
    let file = File::parse(CLOUDCORE).unwrap();
    assert_eq!(file.dialect, Dialect::CloudCore);
    let config = file.config;
    assert_eq!(config.namespace, "kubeedge");
    assert_eq!(config.kubeconfig.as_deref(), Some(Path::new("/root/kc")));
    assert_eq!(config.api_server, None);
    assert_eq!(config.metrics.listen.unwrap().to_string(), "127.0.0.1:9092");
    assert_eq!(config.hub.listen.to_string(), "[::]:10010");
    assert_eq!(config.join.listen.unwrap().to_string(), "0.0.0.0:10012");
    assert_eq!(config.join.advertise, ["203.0.113.10", "bridge.example.com"]);
    assert_eq!(config.join.certificate_life, Span::secs(30 * 24 * 3600));
    assert_eq!(config.join.tokens_of_kubeedge(), KubeEdgeTokens::ForNewNodes);
    assert_eq!((config.hub.keepalive, config.hub.write_timeout), (Span::secs(40), Span::secs(30)));
    assert_eq!(config.hub.nodes, 500, "KubeEdge's own default");
    let files = config.identity.files.unwrap();
    assert_eq!(files.ca, Path::new("/etc/kubeedge/ca/rootCA.crt"));
    assert_eq!(files.key, Path::new("/etc/kubeedge/certs/edge.key"));
    assert_eq!(
        file.unused,
        [
            "commonConfig.monitorServer.enableProfiling",
            "commonConfig.tunnelPort",
            "kubeAPIConfig.burst",
            "kubeAPIConfig.contentType",
            "kubeAPIConfig.qps",
            "modules.cloudHub.authorization",
            "modules.cloudHub.nodeLimt (did you mean nodeLimit?)",
            "modules.cloudHub.tokenRefreshDuration",
            "modules.cloudStream",
            "modules.deviceController.buffer",
            "modules.edgeController.enable",
        ]
    );
}

#[test]
fn what_a_cloudcore_yaml_gets_wrong_is_named_in_its_own_words() {
    for (text, part) in [
        ("modules: {cloudHub: {websocket: {enable: false}}}", "nodes come by nothing else"),
        ("modules: {cloudHub: {websocket: {port: 70000}}}", "from 1 to 65535"),
        (
            "modules: {cloudHub: {https: {address: here}}}",
            "modules.cloudHub.https.address = \"here\"",
        ),
        ("modules: {cloudHub: {keepaliveInterval: soon}}", "write a whole number"),
        ("modules: {cloudHub: {advertiseAddress: 1.2.3.4}}", "write a list"),
        ("edgetwin: {hubb: {}}", "did you mean \"hub\"?"),
    ] {
        let text = format!("apiVersion: cloudcore.config.kubeedge.io/v1alpha1\n{text}\n");
        let error = BridgeConfig::parse(&text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_directory_of_our_own_takes_the_place_of_kubeedges_files() {
    let text = "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\nedgetwin: {identity: {dir: /x}}\n";
    let identity = BridgeConfig::parse(text).unwrap().identity;
    assert_eq!((identity.dir.as_deref(), identity.files), (Some(Path::new("/x")), None));
    let off = "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nmodules: {cloudHub: {https: {enable: false}}}\n";
    assert_eq!(BridgeConfig::parse(off).unwrap().join.listen, None);
}
