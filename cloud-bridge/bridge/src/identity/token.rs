//! Tokens: what a machine shows that is no node yet.
//!
//! A token's text is `<SHA-256 of the authority's certificate>.<bearer>`. Its first part tells the machine whom to trust; the
//! bearer is what it sends. Ours is `et1.<id>.<secret>`: good for one node or for names of one form, until a time, so many
//! times ([`Grant`]), and nobody can make it again from what is kept of it. KubeEdge's is a JWT ([`jwt`]).

mod files;
mod grant;
pub mod jwt;
mod secrets;
mod store;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

pub use files::TokenFiles;
pub use grant::{Grant, Scope, ScopeError, TokenRefusal};
pub use secrets::TokenSecrets;
pub use store::{Kept, Listed, TokenError, TokenStore, Version, create, take};

/// What the bearer of ours begins with: its form, so that there can be another.
const FORM: &str = "et1";
/// Octets of an id, and of a secret: none is ever guessed.
const ID: usize = 8;
const SECRET: usize = 32;
/// Longer than any token.
const LIMIT: usize = 4096;

/// Which token: 16 lower-case hexadecimal digits. It is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(String);

/// What only the bearer knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A bearer of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Which token it says it is.
    pub id: TokenId,
    /// What shall prove it.
    pub secret: Secret,
}

/// What a machine sends after `Authorization: Bearer`.
#[derive(Clone, PartialEq, Eq)]
pub enum Bearer {
    /// `et1.<id>.<secret>`.
    Ours(Ours),
    /// Three parts, as of KubeEdge's JWT.
    KubeEdge(String),
}

/// Why a text is no token. It does not hold the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no token; copy all of it, as `edgetwin token create` printed it")]
pub struct TokenShape;

impl Ours {
    /// A new one, that nobody knows yet.
    ///
    /// # Errors
    /// The system gives no random octets.
    pub fn random() -> Result<Self, ring::error::Unspecified> {
        let (mut id, mut secret) = ([0; ID], [0; SECRET]);
        let system = SystemRandom::new();
        system.fill(&mut id)?;
        system.fill(&mut secret)?;
        Ok(Self { id: TokenId(hex(&id)), secret: Secret(URL_SAFE_NO_PAD.encode(secret)) })
    }

    /// What the machine sends: `et1.<id>.<secret>`. Whoever reads it can use it.
    pub fn bearer(&self) -> String {
        format!("{FORM}.{}.{}", self.id, self.secret.0)
    }

    /// The whole token, as a user copies it; `fingerprint` is the authority's.
    pub fn text(&self, fingerprint: &str) -> String {
        format!("{fingerprint}.{}", self.bearer())
    }
}

impl Secret {
    /// What is kept of it: its SHA-256. It has 256 random bits, so that nobody finds it again.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        hash
    }
}

impl FromStr for TokenId {
    type Err = TokenShape;

    fn from_str(text: &str) -> Result<Self, TokenShape> {
        let digits = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
        if text.len() == 2 * ID && text.bytes().all(digits) {
            return Ok(Self(text.into()));
        }
        Err(TokenShape)
    }
}

impl FromStr for Bearer {
    type Err = TokenShape;

    fn from_str(text: &str) -> Result<Self, TokenShape> {
        let word = |part: &&str| !part.is_empty() && part.bytes().all(is_base64url);
        let parts: Vec<&str> = text.split('.').take(4).collect();
        let [first, second, third] = parts.as_slice() else { return Err(TokenShape) };
        if text.len() > LIMIT || ![first, second, third].into_iter().all(word) {
            return Err(TokenShape);
        }
        if *first != FORM {
            return Ok(Self::KubeEdge(text.into()));
        }
        // 32 octets in base64.
        if third.len() != (SECRET * 4).div_ceil(3) {
            return Err(TokenShape);
        }
        Ok(Self::Ours(Ours { id: second.parse()?, secret: Secret((*third).into()) }))
    }
}

fn is_base64url(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_'
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(ours) => f.debug_tuple("Ours").field(&ours.id).finish(),
            Self::KubeEdge(_) => f.write_str("KubeEdge(..)"),
        }
    }
}

/// `octets` as lower-case hexadecimal digits.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
