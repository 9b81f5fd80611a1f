//! Tokens, passwords, keys and certificates: what stands in files of its own, and is read again with the configuration.
//!
//! A file that is wrong leaves in force what was read before. What is taken away is in force until the next start: where
//! the agent listens stays as it is so long, too, and nobody shall come in there without being asked.

use ring::digest::{SHA256, digest};
use tokio::sync::watch;

use crate::AgentConfig;
use crate::api::{Certificate, Tokens};
use crate::broker::{Credentials, Passwords};
use crate::config::ServerTls;

/// Where each of them is in force; none where the agent does not need it.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    pub(crate) tokens: Option<watch::Sender<Tokens>>,
    pub(crate) certificate: Option<watch::Sender<Certificate>>,
    pub(crate) passwords: Option<watch::Sender<Option<Passwords>>>,
    pub(crate) credentials: Option<watch::Sender<Credentials>>,
    /// The embedded broker's certificate and key, which it takes at its start alone.
    pub(crate) fixed: Option<Fixed>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// What came of reading them again.
#[derive(Debug, Default)]
pub(super) struct Reread {
    /// Keys whose content is another, and in force.
    pub(super) applied: Vec<String>,
    /// Keys whose content is another, and comes into force with the next start.
    pub(super) at_next_start: Vec<String>,
    /// What is wrong in a file, while its former content is in force.
    pub(super) kept: Vec<String>,
    /// Keys that are taken while the agent runs, as things are.
    live: Vec<&'static str>,
}

impl Reread {
    /// Whether this key of the configuration is taken care of.
    pub(super) fn covers(&self, key: &str) -> bool {
        self.live.iter().any(|live| {
            key.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn note<T: PartialEq>(
        &mut self,
        key: &'static str,
        place: &watch::Sender<T>,
        read: Result<T, String>,
    ) {
        self.live.push(key);
        match read {
            Ok(content) => {
                let changed = place.send_if_modified(|former| {
                    let changed = *former != content;
                    *former = content;
                    changed
                });
                self.applied.extend(changed.then(|| key.to_owned()));
            }
            Err(reason) => self.kept.push(reason),
        }
    }
}

impl Secrets {
    /// Reads all of them as `config` names them; `started` is what the agent began with.
    pub(super) fn reread(&self, started: &AgentConfig, config: &AgentConfig) -> Reread {
        let mut reread = Reread::default();
        if let (Some(place), Some(file)) = (&self.tokens, &config.api.token_file) {
            reread.note("api.tokenFile", place, Tokens::reread(file));
        }
        if let (Some(place), Some(files)) = (&self.certificate, &config.api.tls) {
            reread.note("api.tls", place, Certificate::read(files));
        }
        if let (Some(place), Some(file)) = (&self.passwords, &config.mqtt.password_file) {
            reread.note("mqtt.passwordFile", place, Passwords::read(file).map(Some));
        }
        // A new password is not shown to the former broker.
        if let Some(place) = &self.credentials
            && started.mqtt.external.url == config.mqtt.external.url
        {
            reread.live.extend([
                "mqtt.external.username",
                "mqtt.external.passwordFile",
                "mqtt.external.tls",
            ]);
            match Credentials::read(&config.mqtt.external) {
                Ok(credentials) => {
                    let keys = place.borrow().differing(&credentials);
                    reread.applied.extend(keys.into_iter().map(str::to_owned));
                    place.send_replace(credentials);
                }
                Err(reason) => reread.kept.push(reason),
            }
        }
        if let (Some(fixed), Some(tls)) = (&self.fixed, &started.mqtt.tls) {
            let keys = Fixed::of(tls).differing(fixed);
            reread.at_next_start.extend(keys.into_iter().map(str::to_owned));
        }
        reread
    }
}

/// What stands in files that are read once, as digests; none of one that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fixed([(&'static str, Option<Vec<u8>>); 3]);

impl Fixed {
    /// Of the embedded broker.
    pub(crate) fn of(tls: &ServerTls) -> Self {
        let files = [
            ("mqtt.tls.cert", Some(&tls.cert)),
            ("mqtt.tls.key", Some(&tls.key)),
            ("mqtt.tls.clientCa", tls.client_ca.as_ref()),
        ];
        let content = |file| std::fs::read(file).ok();
        Self(files.map(|(key, file)| {
            let content = file.and_then(content);
            (key, content.map(|content| digest(&SHA256, &content).as_ref().to_vec()))
        }))
    }

    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(one, other)| one != other).map(|((key, _), _)| *key).collect()
    }
}
