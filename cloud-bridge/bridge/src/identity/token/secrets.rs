//! Tokens in Secrets, one each: deleting it revokes the token, and its resourceVersion counts its uses right.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};

use super::store::{Kept, Listed, TokenError, TokenStore, Version};
use super::{Grant, TokenId};

/// How long the API server may take for one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The Secrets' type.
const TYPE: &str = "edgetwin.io/join-token";
/// Their label, by which they are listed.
const LABEL: (&str, &str) = ("edgetwin.io/kind", "join-token");
/// What their names begin with.
const PREFIX: &str = "edgetwin-token-";
/// Their one key.
const KEY: &str = "grant";

/// The tokens of one namespace.
#[derive(Clone)]
pub struct TokenSecrets {
    api: Api<Secret>,
    namespace: String,
}

impl std::fmt::Debug for TokenSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSecrets").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl TokenSecrets {
    /// Those of `namespace`.
    pub fn new(client: kube::Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.into() }
    }

    fn secret(
        &self,
        id: &TokenId,
        grant: &Grant,
        version: Option<&Version>,
    ) -> Result<Secret, TokenError> {
        let text = grant.write().map_err(|error| TokenError::Store(error.to_string()))?;
        Ok(Secret {
            metadata: ObjectMeta {
                name: Some(name(id)),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([(LABEL.0.into(), LABEL.1.into())])),
                resource_version: version.map(|version| version.0.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(TYPE.into()),
            data: Some(BTreeMap::from([(KEY.into(), ByteString(text))])),
            ..Secret::default()
        })
    }
}

impl TokenStore for TokenSecrets {
    fn load<'a>(&'a self, id: &'a TokenId) -> BoxFuture<'a, Result<Option<Kept>, TokenError>> {
        async move {
            let Some(secret) = ask(self.api.get_opt(&name(id))).await? else { return Ok(None) };
            let version = Version(secret.metadata.resource_version.clone().unwrap_or_default());
            Ok(Some(Kept { grant: grant(&secret)?, version }))
        }
        .boxed()
    }

    fn insert<'a>(
        &'a self,
        id: &'a TokenId,
        grant: &'a Grant,
    ) -> BoxFuture<'a, Result<(), TokenError>> {
        async move {
            let secret = self.secret(id, grant, None)?;
            ask(self.api.create(&PostParams::default(), &secret)).await.map(drop)
        }
        .boxed()
    }

    fn replace<'a>(
        &'a self,
        id: &'a TokenId,
        grant: &'a Grant,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, TokenError>> {
        async move {
            let secret = self.secret(id, grant, Some(version))?;
            let (name, params) = (name(id), PostParams::default());
            ask(async {
                match self.api.replace(&name, &params, &secret).await {
                    Ok(_) => Ok(true),
                    // Another version, or revoked.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await
        }
        .boxed()
    }

    fn revoke<'a>(&'a self, id: &'a TokenId) -> BoxFuture<'a, Result<bool, TokenError>> {
        async move {
            let name = name(id);
            let params = DeleteParams::default();
            ask(async {
                match self.api.delete(&name, &params).await {
                    Ok(_) => Ok(true),
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, TokenError>> {
        async move {
            let params = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
            let secrets = ask(self.api.list(&params)).await?;
            let mut listed = Vec::new();
            for secret in &secrets {
                let name = secret.metadata.name.as_deref().unwrap_or_default();
                let Some(Ok(id)) = name.strip_prefix(PREFIX).map(str::parse) else { continue };
                listed.push(Listed { id, grant: grant(secret)? });
            }
            listed.sort_by(|one, other| one.id.cmp(&other.id));
            Ok(listed)
        }
        .boxed()
    }
}

fn name(id: &TokenId) -> String {
    format!("{PREFIX}{id}")
}

fn grant(secret: &Secret) -> Result<Grant, TokenError> {
    let octets = secret.data.as_ref().and_then(|data| data.get(KEY)).map(|octets| &octets.0[..]);
    Grant::read(octets.unwrap_or_default()).map_err(|error| {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        TokenError::Store(format!(
            "secret {name}, key {KEY}: {error}; delete it, and make a new token"
        ))
    })
}

async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, TokenError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| TokenError::Store(error.to_string())),
        Err(_) => Err(TokenError::Store(format!("the API server took longer than {PATIENCE:?}"))),
    }
}
