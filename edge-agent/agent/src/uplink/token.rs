//! The token for the first certificate.

use std::fs;

use crate::config::{Cloud, Secret};

/// The token that the configuration holds or names.
///
/// # Errors
/// There is none; the text says what to do.
pub(super) fn read(cloud: &Cloud) -> Result<Secret, String> {
    if let Some(token) = &cloud.token {
        return Ok(token.clone());
    }
    let Some(path) = &cloud.token_file else {
        return Err(
            "there is no certificate and no token; write cloud.tokenFile: FILE with what `edgetwin token create` prints, or run `edgetwin join`"
                .into(),
        );
    };
    let text = fs::read_to_string(path).map_err(|error| {
        format!("cloud.tokenFile {}: {error}; put a token there", path.display())
    })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(format!("cloud.tokenFile {} is empty; put a token there", path.display()));
    }
    Ok(Secret::new(token))
}
