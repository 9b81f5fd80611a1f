//! Keys and certificates in Secrets, exactly as KubeEdge's CloudCore keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};

use super::{Entry, Pair, Placed};
use crate::identity::IdentityError;

/// How long the API server may take for one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Secrets of one namespace.
#[derive(Clone)]
pub struct Secrets {
    api: Api<Secret>,
    namespace: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The Secret's name, and the keys of certificate and private key in it.
fn names(entry: Entry) -> [&'static str; 3] {
    match entry {
        Entry::Authority => ["casecret", "cadata", "cakeydata"],
        Entry::Server => ["cloudcoresecret", "cloudcoredata", "cloudcorekeydata"],
    }
}

impl Secrets {
    /// Those of `namespace`.
    pub fn new(client: kube::Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.into() }
    }

    pub(super) fn name(&self, entry: Entry) -> String {
        format!("secret {}/{}", self.namespace, names(entry)[0])
    }

    pub(super) async fn load(&self, entry: Entry) -> Result<Option<Placed>, IdentityError> {
        let [name, certificate, key] = names(entry);
        let Some(secret) = self.ask(name, self.api.get_opt(name)).await? else { return Ok(None) };
        let mut data = secret.data.unwrap_or_default();
        let mut take = |part: &str| {
            data.remove(part).map(|octets| octets.0).filter(|octets| !octets.is_empty()).ok_or_else(
                || {
                    let place = format!("secret {}/{name}, key {part}", self.namespace);
                    IdentityError::content(
                        place,
                        "it is missing; put it back, or delete the Secret for a new one",
                    )
                },
            )
        };
        let pair = Pair { certificate: take(certificate)?, key: take(key)? };
        Ok(Some(Placed { pair, version: secret.metadata.resource_version.unwrap_or_default() }))
    }

    pub(super) async fn create(&self, entry: Entry, pair: &Pair) -> Result<bool, IdentityError> {
        let secret = self.secret(entry, pair, None);
        self.unless_taken(names(entry)[0], self.api.create(&PostParams::default(), &secret)).await
    }

    pub(super) async fn replace(
        &self,
        entry: Entry,
        pair: &Pair,
        version: &str,
    ) -> Result<bool, IdentityError> {
        let secret = self.secret(entry, pair, Some(version.to_owned()));
        let name = names(entry)[0];
        self.unless_taken(name, self.api.replace(name, &PostParams::default(), &secret)).await
    }

    fn secret(&self, entry: Entry, pair: &Pair, version: Option<String>) -> Secret {
        let [name, certificate, key] = names(entry);
        let data = [(certificate, &pair.certificate), (key, &pair.key)];
        let data = data.map(|(part, octets)| (part.to_owned(), ByteString(octets.clone())));
        Secret {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some(self.namespace.clone()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".into()),
            data: Some(BTreeMap::from(data)),
            ..Secret::default()
        }
    }

    /// False where somebody else was faster.
    async fn unless_taken<T>(
        &self,
        name: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<bool, IdentityError> {
        let answered = async {
            match request.await {
                Ok(_) => Ok(true),
                // AlreadyExists, or another version; or it was deleted.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.ask(name, answered).await
    }

    async fn ask<T>(
        &self,
        name: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, IdentityError> {
        let failed = |reason: String| IdentityError::Secret {
            namespace: self.namespace.clone(),
            name: name.into(),
            reason,
        };
        match tokio::time::timeout(PATIENCE, request).await {
            Ok(answer) => answer.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed(format!("the API server took longer than {PATIENCE:?}"))),
        }
    }
}
