//! A configuration file: ours or KubeEdge's, told apart by its `apiVersion`.

use std::path::Path;

use serde_json::{Map, Value as Json};
use settings::explain::explain;

use super::{API_VERSION, BridgeConfig, ConfigError, cloudcore};

/// Whose words a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `edgetwin.io/v1`, kind `BridgeConfig`.
    Ours,
    /// KubeEdge's `cloudcore.config.kubeedge.io/v1alpha1`, kind `CloudCore`.
    CloudCore,
}

/// A configuration, and what its file said.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Every key with its effective value.
    pub config: BridgeConfig,
    /// How the file is written.
    pub dialect: Dialect,
    /// KubeEdge's keys in it that have no effect here, each with what was probably meant: for one warning.
    pub unused: Vec<String>,
}

impl File {
    /// No file: every key has its default.
    pub fn none() -> Self {
        Self { config: BridgeConfig::default(), dialect: Dialect::Ours, unused: Vec::new() }
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
            _ if said == cloudcore::API_VERSION => Self::of_cloudcore(text)?,
            Some(("cloudcore.config.kubeedge.io", version)) => {
                let known = cloudcore::API_VERSION;
                return Err(format!(
                    "apiVersion: CloudCore's {version} is not read here; write {known}"
                ));
            }
            _ => {
                let config = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
                Self { config, dialect: Dialect::Ours, unused: Vec::new() }
            }
        };
        file.config.check()?;
        Ok(file)
    }

    fn of_cloudcore(text: &str) -> Result<Self, String> {
        let cloudcore::Read { given, unused } = cloudcore::read(text)?;
        let config = config_of(given)?;
        Ok(Self { config, dialect: Dialect::CloudCore, unused })
    }
}

fn config_of(given: Map<String, Json>) -> Result<BridgeConfig, String> {
    serde_path_to_error::deserialize(Json::Object(given))
        .map_err(|error| format!("{}: {}", error.path(), error.inner()))
}
