//! `api`: the border to people and scripts.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `api`: HTTP over a Unix socket, and over TCP where somebody asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Api {
    /// Default `/run/edgetwin/api.sock`.
    pub socket: PathBuf,
    /// Address of TCP. Default none: nothing listens. Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// The tokens that TCP asks for, one a line; made with one token if it is not there. Needed with `listen`.
    pub token_file: Option<PathBuf>,
    /// TLS of TCP. Needed where `listen` is not loopback.
    pub tls: Option<ApiTls>,
    /// Whether nothing can be written, over any way. Default false.
    pub read_only: bool,
    /// Changes that are kept of each property, in memory, as far as 1.5 MiB for all of them hold them. Default 64;
    /// 0: none; at most 10000.
    pub history: usize,
}

/// `api.tls`: PEM files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiTls {
    /// The certificate, and those that lead to its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            socket: "/run/edgetwin/api.sock".into(),
            listen: None,
            token_file: None,
            tls: None,
            read_only: false,
            history: 64,
        }
    }
}

impl Api {
    /// Whoever can connect over TCP needs a token, and nobody beyond this machine sees one in the clear.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.history > 10_000 {
            return Err(format!("api.history = {}: too large; write 10000 or less", self.history));
        }
        let Some(listen) = self.listen else {
            let unused = [("tokenFile", self.token_file.is_some()), ("tls", self.tls.is_some())];
            return match unused.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(format!(
                    "api.{key} is for TCP, and there is none; write api.listen: \"127.0.0.1:10550\", or leave api.{key} out"
                )),
                None => Ok(()),
            };
        };
        if self.token_file.is_none() {
            return Err(format!(
                "api.listen = \"{listen}\": every user of this machine could connect; write api.tokenFile: /etc/edgetwin/api.tokens (it is made if it is not there)"
            ));
        }
        if !listen.ip().is_loopback() && self.tls.is_none() {
            return Err(format!(
                "api.listen = \"{listen}\": the token would go over the network in the clear; write api.tls: {{cert: FILE, key: FILE}}, or listen on 127.0.0.1"
            ));
        }
        Ok(())
    }
}
