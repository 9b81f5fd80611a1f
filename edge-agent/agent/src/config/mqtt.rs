//! `mqtt`: the border to local apps.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::Span;

/// `mqtt.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MqttMode {
    /// A broker inside the agent. KubeEdge's mode 0.
    #[default]
    Embedded,
    /// A broker inside the agent and one outside; nothing is passed from one to the other. KubeEdge's mode 1.
    Both,
    /// A broker outside. KubeEdge's mode 2.
    External,
    /// No MQTT.
    Off,
}

impl MqttMode {
    /// Whether there is a broker inside the agent.
    pub fn has_embedded(self) -> bool {
        matches!(self, Self::Embedded | Self::Both)
    }

    /// Whether there is a broker outside.
    pub fn has_external(self) -> bool {
        matches!(self, Self::External | Self::Both)
    }
}

/// `mqtt`: the event bus for local apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mqtt {
    /// `embedded` (default), `both`, `external` or `off`.
    pub mode: MqttMode,
    /// Address of the embedded broker. Default 127.0.0.1:1883; port 0 takes a free one. Beyond this machine only with
    /// `passwordFile` or `tls.clientCa`.
    pub listen: SocketAddr,
    /// Quality of service of what the agent publishes: 0, 1 (default) or 2.
    pub qos: u8,
    /// Whether brokers keep what the agent publishes for those who subscribe later. Default false.
    pub retain: bool,
    /// Who may connect to the embedded broker: lines as `mosquitto_passwd` writes them. Default: everybody.
    pub password_file: Option<PathBuf>,
    /// TLS of the embedded broker. Default: none.
    pub tls: Option<ServerTls>,
    /// What the embedded broker bears.
    pub limits: BrokerLimits,
    /// The broker outside, for the modes `both` and `external`.
    pub external: ExternalBroker,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            mode: MqttMode::Embedded,
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            qos: 1,
            retain: false,
            password_file: None,
            tls: None,
            limits: BrokerLimits::default(),
            external: ExternalBroker::default(),
        }
    }
}

/// `mqtt.tls`: PEM files of the embedded broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerTls {
    /// Its certificate, with those between it and the root.
    pub cert: PathBuf,
    /// The private key of it.
    pub key: PathBuf,
    /// Who signs the certificates of clients; with it nobody connects without one.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// `mqtt.limits`: what the embedded broker bears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BrokerLimits {
    /// Most clients at a time. Default 100.
    pub clients: usize,
    /// Largest packet, in bytes. Default 262144.
    pub packet: usize,
    /// Most messages that wait for one client; the oldest go first. Default 1000.
    pub session_messages: usize,
    /// Most bytes that wait for one client. Default 4194304.
    pub session_octets: usize,
    /// Most sessions that outlive their connections, connected or not. Default 100.
    pub sessions: usize,
    /// Most subscriptions of one client. Default 1000.
    pub subscriptions: usize,
    /// Most retained messages. Default 10000.
    pub retained: usize,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            clients: 100,
            packet: 256 * 1024,
            session_messages: 1000,
            session_octets: 4 * 1024 * 1024,
            sessions: 100,
            subscriptions: 1000,
            retained: 10_000,
        }
    }
}

/// `mqtt.external`: the broker outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExternalBroker {
    /// `mqtt://` or `tcp://` (plain, port 1883), `mqtts://`, `ssl://` or `tls://` (TLS, port 8883). Default
    /// `tcp://127.0.0.1:1883`.
    pub url: String,
    /// What this agent calls itself there; no two clients of a broker may share it. Default `edgetwin-<node>`.
    pub client_id: Option<String>,
    /// Default: none.
    pub username: Option<String>,
    /// The file that holds the password alone.
    pub password_file: Option<PathBuf>,
    /// Files for a TLS address. Default: whom this system trusts.
    pub tls: Option<ClientTls>,
    /// The password of an `edgecore.yaml`, where it stands in clear. Never written.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// A broker that says nothing for twice as long is given up. Whole seconds; default 15 s.
    pub keep_alive: Span,
}

impl Default for ExternalBroker {
    fn default() -> Self {
        Self {
            url: "tcp://127.0.0.1:1883".into(),
            client_id: None,
            username: None,
            password_file: None,
            tls: None,
            password: None,
            keep_alive: Span::secs(15),
        }
    }
}

/// `mqtt.external.tls`: PEM files. The broker's certificate is always verified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientTls {
    /// Who signed the broker's certificate. Default: whom this system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate, if the broker asks for one.
    pub cert: Option<PathBuf>,
    /// The private key of it.
    pub key: Option<PathBuf>,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Where the broker outside is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl ExternalBroker {
    /// Takes [`ExternalBroker::url`] apart.
    pub(crate) fn address(&self) -> Result<BrokerAddress, String> {
        let url = &self.url;
        let wrong = |why: &str| {
            format!(
                "mqtt.external.url = \"{url}\": {why}, such as \"tcp://127.0.0.1:1883\" or \"mqtts://broker.example:8883\""
            )
        };
        let uri: Uri =
            url.parse().map_err(|_| wrong("not understood; write scheme, host and port"))?;
        let tls = match uri.scheme_str() {
            Some("mqtt" | "tcp") => false,
            Some("mqtts" | "ssl" | "tls") => true,
            Some(_) => {
                return Err(wrong("its scheme is none of mqtt, tcp, mqtts, ssl, tls; write one"));
            }
            None => return Err(wrong("without a scheme; write it in front")),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let remedy = "write mqtt.external.username and mqtt.external.passwordFile";
            return Err(format!(
                "mqtt.external.url holds a name or a password, which logs would show; {remedy}"
            ));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("without a host; write it"));
        }
        if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/")) {
            return Err(wrong(
                "with a path, which MQTT has none; write scheme, host and port alone",
            ));
        }
        let port = uri.port_u16().unwrap_or(if tls { 8883 } else { 1883 });
        Ok(BrokerAddress { host, port, tls })
    }
}

impl Mqtt {
    /// What does not go together.
    pub(super) fn check(&self) -> Result<(), String> {
        let limits = &self.limits;
        let counts = [
            ("clients", limits.clients, 1),
            ("packet", limits.packet, 1024),
            ("sessionMessages", limits.session_messages, 1),
            ("sessionOctets", limits.session_octets, 1024),
            ("sessions", limits.sessions, 1),
            ("subscriptions", limits.subscriptions, 1),
            ("retained", limits.retained, 1),
        ];
        if self.qos > 2 {
            return Err(format!("mqtt.qos = {}: write 0, 1 or 2", self.qos));
        }
        for (name, number, least) in counts {
            if number < least {
                return Err(format!(
                    "mqtt.limits.{name} = {number}: too small; write {least} or more"
                ));
            }
        }
        if self.mode.has_embedded() {
            self.check_listen()?;
        }
        if self.mode.has_external() { self.check_external() } else { Ok(()) }
    }

    fn check_listen(&self) -> Result<(), String> {
        let known = self.password_file.is_some()
            || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if self.listen.ip().is_loopback() || known {
            return Ok(());
        }
        Err(format!(
            "mqtt.listen = \"{}\": whoever reaches this machine could write to its devices; set mqtt.passwordFile or \
             mqtt.tls with clientCa, or listen on 127.0.0.1",
            self.listen
        ))
    }

    fn check_external(&self) -> Result<(), String> {
        let external = &self.external;
        let address = external.address()?;
        let own = address.host == self.listen.ip().to_string() || address.host == "localhost";
        if self.mode == MqttMode::Both && own && address.port == self.listen.port() {
            return Err(format!(
                "mqtt.external.url = \"{}\" is the embedded broker itself; give mqtt.listen another port, or set \
                 mqtt.mode to embedded",
                external.url
            ));
        }
        let tls = external.tls.clone().unwrap_or_default();
        match (&tls.cert, &tls.key) {
            (Some(_), None) => {
                return Err("mqtt.external.tls.key is missing; name the key of cert".into());
            }
            (None, Some(_)) => {
                return Err("mqtt.external.tls.cert is missing; name the certificate of key".into());
            }
            _ => {}
        }
        if tls.cert.is_some() && tls.ca.is_none() {
            let remedy = "name the file with whom to trust there";
            return Err(format!("mqtt.external.tls.ca is missing beside cert; {remedy}"));
        }
        if !address.tls && external.tls.is_some() {
            return Err(format!(
                "mqtt.external.tls is set, and mqtt.external.url = \"{}\" is plain; write mqtts://, or leave tls out",
                external.url
            ));
        }
        if external.password_file.is_some() && external.username.is_none() {
            return Err(
                "mqtt.external.passwordFile without mqtt.external.username; write both".into()
            );
        }
        if external.client_id.as_ref().is_some_and(String::is_empty) {
            return Err("mqtt.external.clientId = \"\": write a name, or leave it out".into());
        }
        let seconds = *external.keep_alive;
        if seconds.subsec_nanos() != 0 || seconds.is_zero() || seconds > Duration::from_secs(3600) {
            return Err(format!(
                "mqtt.external.keepAlive = \"{}\": write whole seconds, 1s to 3600s",
                external.keep_alive
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::AgentConfig;
    use super::*;

    #[test]
    fn addresses_of_brokers_are_taken_apart() {
        let address =
            |url: &str| ExternalBroker { url: url.into(), ..Default::default() }.address();
        let is = |url: &str, host: &str, port: u16, tls: bool| {
            assert_eq!(address(url), Ok(BrokerAddress { host: host.into(), port, tls }), "{url}");
        };
        is("tcp://127.0.0.1:1884", "127.0.0.1", 1884, false);
        is("mqtt://broker", "broker", 1883, false);
        is("mqtts://broker.example/", "broker.example", 8883, true);
        is("ssl://[::1]:9", "::1", 9, true);
        is("tls://b:1", "b", 1, true);
        for (url, part) in [
            ("ws://broker", "its scheme"),
            ("broker:1883", "such as"),
            ("127.0.0.1", "without a scheme"),
            ("tcp://user:secret@broker", "holds a name or a password"),
            ("tcp://broker/topic", "with a path"),
            ("", "such as"),
        ] {
            let error = address(url).unwrap_err();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_a_remedy() {
        for (text, part) in [
            ("listen: '0.0.0.0:1883'", "set mqtt.passwordFile"),
            ("listen: '0.0.0.0:1883', tls: {cert: c, key: k}", "set mqtt.passwordFile"),
            ("qos: 3", "write 0, 1 or 2"),
            ("limits: {clients: 0}", "mqtt.limits.clients = 0"),
            ("limits: {packet: 100}", "mqtt.limits.packet = 100"),
            ("mode: both", "is the embedded broker itself"),
            ("mode: external, external: {url: 'http://x'}", "its scheme"),
            ("mode: external, external: {tls: {ca: x}}", "is plain; write mqtts://"),
            ("mode: external, external: {url: 'mqtts://x', tls: {cert: x}}", "tls.key is missing"),
            (
                "mode: external, external: {url: 'mqtts://x', tls: {cert: x, key: y}}",
                "tls.ca is missing",
            ),
            ("mode: external, external: {passwordFile: x}", "without mqtt.external.username"),
            ("mode: external, external: {clientId: ''}", "write a name"),
            ("mode: external, external: {keepAlive: 500ms}", "whole seconds"),
            ("mode: external, external: {insecure: true}", "unknown field"),
        ] {
            let error = AgentConfig::parse(&format!("mqtt: {{{text}}}\n")).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in [
            "listen: '0.0.0.0:1883', passwordFile: x",
            "listen: '[::]:8883', tls: {cert: c, key: k, clientCa: a}",
            "mode: off, listen: '0.0.0.0:1883'",
            "mode: both, listen: '127.0.0.1:1884'",
            "mode: external, qos: 0, retain: true",
        ] {
            AgentConfig::parse(&format!("mqtt: {{{text}}}\n")).unwrap();
        }
    }
}
