//! A configuration file: ours or KubeEdge's, told apart by its `apiVersion`.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::explain::explain;
use super::{API_VERSION, AgentConfig, ConfigError, KIND, MqttMode, Secret, edgecore, tree};

/// Whose words a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `edgetwin.io/v1`, kind `AgentConfig`.
    Ours,
    /// KubeEdge's `edgecore.config.kubeedge.io/v1alpha2`, kind `EdgeCore`.
    EdgeCore,
}

/// A configuration, and what its file said.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Every key with its effective value.
    pub config: AgentConfig,
    /// How the file is written.
    pub dialect: Dialect,
    /// KubeEdge's keys in it that have no effect here, each with what was probably meant.
    pub unused: Vec<String>,
    /// The keys that it sets, in our words.
    given: Json,
}

impl File {
    /// No file: every key has its default.
    pub fn none() -> Self {
        let given = Json::Object(Map::new());
        Self { config: AgentConfig::default(), dialect: Dialect::Ours, unused: Vec::new(), given }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read or says something wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Content { path: path.into(), message })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// A sentence with key, value and remedy; for keys of ours also line and column.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::none());
        }
        let raw: Json = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
        let said = raw.get("apiVersion").and_then(Json::as_str).unwrap_or(API_VERSION);
        let file = match said.split_once('/') {
            _ if said == edgecore::API_VERSION => Self::of_edgecore(text)?,
            Some(("edgecore.config.kubeedge.io", version)) => {
                let known = edgecore::API_VERSION;
                return Err(format!(
                    "apiVersion: EdgeCore's {version} is not read here; write {known}"
                ));
            }
            _ => {
                let config = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
                let mut file =
                    Self { config, dialect: Dialect::Ours, unused: Vec::new(), given: raw };
                // What serves the cloud has no port of its own here, unless somebody asks for it.
                if file.config.cloud.is_joined() && !file.gives("mqtt.mode") {
                    file.config.mqtt.mode = MqttMode::Off;
                }
                file
            }
        };
        file.config.check()?;
        Ok(file)
    }

    fn of_edgecore(text: &str) -> Result<Self, String> {
        let edgecore::Read { given, password, token, unused } = edgecore::read(text)?;
        let given = Json::Object(given);
        let mut config: AgentConfig = serde_path_to_error::deserialize(&given)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
        config.mqtt.external.password = password.map(Secret::new);
        config.cloud.token = token.map(Secret::new);
        Ok(Self { config, dialect: Dialect::EdgeCore, unused, given })
    }

    /// Whether the file says something about the key at `path`.
    pub(super) fn gives(&self, path: &str) -> bool {
        tree::find(&self.given, path).is_some_and(|value| !value.is_null())
    }

    /// The same configuration in the other dialect, as YAML. KubeEdge's keys that have no effect here are left out.
    ///
    /// # Errors
    /// What cannot be said in the other dialect, and where to put it instead.
    pub fn converted(&self) -> Result<String, String> {
        let (version, kind, keys) = match self.dialect {
            Dialect::Ours => (edgecore::API_VERSION, edgecore::KIND, edgecore::write(&self.config)),
            Dialect::EdgeCore => {
                if self.config.mqtt.external.password.is_some() {
                    return Err(
                        "modules.eventBus.mqttPassword: a password stands in no file of ours; write it into a file of \
                         its own, name that in edgetwin.mqtt.external.passwordFile, and empty mqttPassword"
                            .into(),
                    );
                }
                if self.config.cloud.token.is_some() {
                    return Err(
                        "modules.edgeHub.token: a token stands in no file of ours; write it into a file of its own, \
                         name that in edgetwin.cloud.tokenFile, and empty token"
                            .into(),
                    );
                }
                (API_VERSION, KIND, tree::difference(&self.config, &AgentConfig::default()))
            }
        };
        let keys =
            serde_saphyr::to_string(&Json::Object(keys)).map_err(|error| error.to_string())?;
        Ok(format!("apiVersion: {version}\nkind: {kind}\n{keys}"))
    }
}
