//! KubeEdge's tokens: a JWT whose key is the authority's own, with nothing in it but its end. It names no node and can be
//! used as often as one likes, so that the bridge takes it only where it is told to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde::Deserialize;

use crate::identity::Sec1;

/// Why such a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no JWT with an HMAC, or not made with this authority's key.
    #[error("the token was not made by this authority; get a new one")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired; get a new one")]
    Expired,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970.
    exp: i64,
}

/// Whether `jwt` was made with `key`, and is not over at `now`.
///
/// # Errors
/// It was not, or it is.
pub fn verify(jwt: &str, key: &Sec1, now: Timestamp) -> Result<(), JwtError> {
    let (signed, signature) = jwt.rsplit_once('.').ok_or(JwtError::Unknown)?;
    let (header, claims) = signed.split_once('.').ok_or(JwtError::Unknown)?;
    let header: Header = part(header)?;
    // Any HMAC, as CloudCore does; never "none".
    let algorithm = match header.alg.as_str() {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => return Err(JwtError::Unknown),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtError::Unknown)?;
    let key = hmac::Key::new(algorithm, key.der());
    hmac::verify(&key, signed.as_bytes(), &signature).map_err(|_| JwtError::Unknown)?;
    let claims: Claims = part(claims)?;
    if now.as_second() >= claims.exp {
        return Err(JwtError::Expired);
    }
    Ok(())
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, JwtError> {
    let octets = URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::Unknown)?;
    serde_json::from_slice(&octets).map_err(|_| JwtError::Unknown)
}
