//! `cloud`: the border to a cloud, ours or KubeEdge's.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Secret, Span};

/// The port of a cloud's join server, KubeEdge's.
pub const JOIN_PORT: u16 = 10002;
/// The port of a cloud's hub, KubeEdge's.
pub const HUB_PORT: u16 = 10000;
/// What every EdgeCore says unless it is told otherwise.
const PROJECT: &str = "e632aba927ea4ac2b575ec1603d56f10";

/// `cloud`: which cloud this node belongs to. Without an address it belongs to none, and its manifests folder counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cloud {
    /// Where nodes connect, `host:port` each; the first that answers is taken. Default none.
    pub addresses: Vec<String>,
    /// Where nodes get their certificates, `https://host:port`. Default: the hosts of `addresses`, port 10002.
    pub join: Option<String>,
    /// The file with the token for the first certificate. Needed as long as there is none.
    pub token_file: Option<PathBuf>,
    /// The token itself, from a file of KubeEdge's, where it stands in clear. Ours name a file.
    #[serde(skip)]
    pub token: Option<Secret>,
    /// The authority of the cloud's certificates, PEM; written when the node joins. Default `/var/lib/edgetwin/cloud/ca.crt`.
    pub ca: PathBuf,
    /// The node's certificate, PEM; written when the node joins, and at each renewal. Default `/var/lib/edgetwin/cloud/node.crt`.
    pub cert: PathBuf,
    /// Its private key, PEM. Default `/var/lib/edgetwin/cloud/node.key`.
    pub key: PathBuf,
    /// Whether the certificate is renewed before it ends. Default true.
    pub rotate: bool,
    /// An HTTP proxy on the way to the cloud, `http://host:port`. Default none.
    pub proxy: Option<String>,
    /// How often the node says that it lives; a cloud gives it up after twice as long. Default 15 s.
    pub heartbeat: Span,
    /// The first part of the path that is asked for; no cloud looks at it.
    pub project: String,
}

impl Default for Cloud {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            join: None,
            token_file: None,
            token: None,
            ca: "/var/lib/edgetwin/cloud/ca.crt".into(),
            cert: "/var/lib/edgetwin/cloud/node.crt".into(),
            key: "/var/lib/edgetwin/cloud/node.key".into(),
            rotate: true,
            proxy: None,
            heartbeat: Span::secs(15),
            project: PROJECT.into(),
        }
    }
}

impl Cloud {
    /// Whether the node belongs to a cloud.
    pub fn is_joined(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Where certificates are asked for, `host:port` each.
    pub fn join_servers(&self) -> Vec<String> {
        match self.join.as_deref().and_then(|url| url.strip_prefix("https://")) {
            Some(server) => vec![with_port(server.trim_end_matches('/'), JOIN_PORT)],
            None => {
                let hosts = self.addresses.iter().filter_map(|address| address.rsplit_once(':'));
                hosts.map(|(host, _)| format!("{host}:{JOIN_PORT}")).collect()
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for address in &self.addresses {
            if !is_address(address) {
                return Err(format!(
                    "cloud.addresses: \"{address}\" is no host and port; write \"bridge.example.org:10000\""
                ));
            }
        }
        if let Some(url) = &self.join
            && !url
                .strip_prefix("https://")
                .is_some_and(|rest| is_address(&with_port(rest.trim_end_matches('/'), JOIN_PORT)))
        {
            return Err(format!(
                "cloud.join = \"{url}\": no URL of a join server; write \"https://bridge.example.org:10002\""
            ));
        }
        if let Some(url) = &self.proxy
            && !url
                .strip_prefix("http://")
                .is_some_and(|rest| is_address(rest.trim_end_matches('/')))
        {
            return Err(format!(
                "cloud.proxy = \"{url}\": no URL of a proxy; write \"http://proxy.example.org:3128\""
            ));
        }
        let least = Duration::from_secs(1);
        if *self.heartbeat < least {
            return Err("cloud.heartbeat: too short; write a length such as \"15s\"".into());
        }
        Ok(())
    }
}

/// `host:port`, with an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match literal {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', ' ', '@', '[', ']']),
        };
        is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// `host:port` of an address that may have no port, and may be an IPv6 address alone.
pub fn with_port(server: &str, port: u16) -> String {
    if server.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{server}]:{port}");
    }
    let after_host = server.rsplit_once(']').map_or(server, |(_, rest)| rest);
    if after_host.contains(':') { server.to_owned() } else { format!("{server}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(addresses: &[&str]) -> Cloud {
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        Cloud { addresses, ..Cloud::default() }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for right in ["bridge:10000", "10.0.0.1:1", "[::1]:10000"] {
            assert_eq!(cloud(&[right]).check(), Ok(()), "{right}");
        }
        for wrong in ["bridge", "wss://bridge:10000", "::1:10000", "bridge:0", ":1", "a b:1"] {
            assert!(cloud(&[wrong]).check().unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_written_without_its_usual_port() {
        for (text, full) in [
            ("bridge", "bridge:10000"),
            ("bridge:1", "bridge:1"),
            ("::1", "[::1]:10000"),
            ("[::1]", "[::1]:10000"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(with_port(text, 10000), full);
        }
    }

    #[test]
    fn certificates_come_from_beside_the_hub_unless_it_is_said_from_where() {
        let mut cloud = cloud(&["bridge:10000", "[::1]:443"]);
        assert_eq!(cloud.join_servers(), ["bridge:10002", "[::1]:10002"]);
        for (url, server) in [
            ("https://join", "join:10002"),
            ("https://join:1/", "join:1"),
            ("https://[::1]", "[::1]:10002"),
        ] {
            cloud.join = Some(url.into());
            assert_eq!(cloud.check(), Ok(()), "{url}");
            assert_eq!(cloud.join_servers(), [server]);
        }
        cloud.join = Some("http://join:10002".into());
        assert!(cloud.check().unwrap_err().starts_with("cloud.join = \"http://join:10002\""));
    }
}
