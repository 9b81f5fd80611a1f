//! Where tokens are kept, so that all replicas together never give out more uses than there are.

use std::fmt;

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Grant, Ours, Scope, Secret, TokenId, TokenRefusal};
use crate::identity::NodeName;

/// How often a use is tried anew, when others change the same token at the same time.
const TRIES: usize = 32;

/// A place for grants. A change names the version that it follows, so that of two at once one fails.
pub trait TokenStore: fmt::Debug + Send + Sync {
    /// The grant of `id`; `None`: unknown.
    fn load<'a>(&'a self, id: &'a TokenId) -> BoxFuture<'a, Result<Option<Kept>, TokenError>>;

    /// Keeps a new grant. An id that is there already is an error.
    fn insert<'a>(
        &'a self,
        id: &'a TokenId,
        grant: &'a Grant,
    ) -> BoxFuture<'a, Result<(), TokenError>>;

    /// Puts `grant` in the place of that `version`; whether it did.
    fn replace<'a>(
        &'a self,
        id: &'a TokenId,
        grant: &'a Grant,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, TokenError>>;

    /// Forgets it; whether it was there.
    fn revoke<'a>(&'a self, id: &'a TokenId) -> BoxFuture<'a, Result<bool, TokenError>>;

    /// All of them, by id.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, TokenError>>;
}

/// Changes with each change of a grant; means something to its store alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub(super) String);

/// A grant as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What the token is good for.
    pub grant: Grant,
    /// Of which version that is.
    pub version: Version,
}

/// One token of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub id: TokenId,
    /// What it is good for.
    pub grant: Grant,
}

/// Why a token was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is not good for that.
    #[error(transparent)]
    Refused(#[from] TokenRefusal),
    /// It is not known whether it is good; ask again.
    #[error("tokens cannot be read or written: {0}")]
    Store(String),
}

/// Makes a token for `scope`, good for `uses` certificates until `expires`.
///
/// # Errors
/// It cannot be kept.
pub async fn create(
    store: &dyn TokenStore,
    scope: Scope,
    uses: u32,
    expires: Timestamp,
    now: Timestamp,
) -> Result<Ours, TokenError> {
    let ours = Ours::random()
        .map_err(|_| TokenError::Store("the system gives no random octets".into()))?;
    let grant = Grant { hash: ours.secret.hash(), scope, expires, uses, created: now };
    store.insert(&ours.id, &grant).await?;
    Ok(ours)
}

/// Lets `node` use the token once at `now`.
///
/// # Errors
/// It may not, or the store is not to be had.
pub async fn take(
    store: &dyn TokenStore,
    id: &TokenId,
    secret: &Secret,
    node: &NodeName,
    now: Timestamp,
) -> Result<(), TokenError> {
    for _ in 0..TRIES {
        let Some(kept) = store.load(id).await? else { return Err(TokenRefusal::Unknown.into()) };
        let left = kept.grant.used(secret, node, now)?;
        if store.replace(id, &left, &kept.version).await? {
            return Ok(());
        }
    }
    Err(TokenError::Store("too many nodes use this token at the same time; try again".into()))
}
