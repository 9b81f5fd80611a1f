//! Private keys on the curve P-256 in the two forms that are about: SEC1 (RFC 5915), which KubeEdge writes, and PKCS#8
//! (RFC 5958), which our libraries read.
//!
//! With a curve whose numbers have a fixed length both are a fixed frame around the same two numbers.

use x509_parser::asn1_rs::{Any, FromDer, Sequence};

/// SEC1: version 1, 32 octets of the key, \[0\] the curve, \[1\] the 65 octets of its point.
const SEC1_HEAD: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
const SEC1_CURVE: [u8; 12] =
    [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// Between the key and the point, in both forms: \[1\] a bit string without odd bits.
const POINT_HEAD: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];
/// PKCS#8: version 0, an elliptic key on P-256, and in it SEC1 without the curve.
const PKCS8_HEAD: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
    0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02,
    0x01, 0x01, 0x04, 0x20,
];
/// Octets of the secret number.
const SECRET: usize = 32;
/// Octets of the point: a mark and two coordinates.
const POINT: usize = 65;

/// A private key on P-256, in SEC1 DER exactly as KubeEdge writes it: 121 octets.
#[derive(Clone, PartialEq, Eq)]
pub struct Sec1(Vec<u8>);

/// Why octets are no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a private key on the curve P-256; make one with: openssl ecparam -name prime256v1 -genkey -noout"
)]
pub struct KeyError;

impl std::fmt::Debug for Sec1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sec1(..)")
    }
}

impl Sec1 {
    /// Reads SEC1 in DER, with the point and with or without the curve.
    ///
    /// # Errors
    /// It is something else, or a key on another curve.
    pub fn parse(der: &[u8]) -> Result<Self, KeyError> {
        let (rest, sequence) = Sequence::from_der(der).map_err(|_| KeyError)?;
        let mut fields = sequence.content.as_ref();
        let mut next = || {
            let (after, field) = Any::from_der(fields).ok()?;
            fields = after;
            Some(field)
        };
        let version = next().filter(|field| field.data == [1]).ok_or(KeyError)?;
        let secret = next().filter(|field| field.data.len() == SECRET).ok_or(KeyError)?;
        let mut point = None;
        for _ in 0..2 {
            let Some(field) = next() else { break };
            match field.tag().0 {
                0 if field.data == &SEC1_CURVE[2..] => {}
                1 => point = field.data.strip_prefix(&POINT_HEAD[2..]),
                _ => return Err(KeyError),
            }
        }
        let point = point.filter(|point| point.len() == POINT).ok_or(KeyError)?;
        if !rest.is_empty() || version.tag().0 != 2 || secret.tag().0 != 4 {
            return Err(KeyError);
        }
        Ok(Self::of(secret.data, point))
    }

    /// Reads PKCS#8 in DER as our libraries write it.
    ///
    /// # Errors
    /// It is a key of another kind.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let rest = der.strip_prefix(&PKCS8_HEAD).ok_or(KeyError)?;
        let (secret, rest) = rest.split_at_checked(SECRET).ok_or(KeyError)?;
        let point = rest.strip_prefix(&POINT_HEAD).filter(|point| point.len() == POINT);
        Ok(Self::of(secret, point.ok_or(KeyError)?))
    }

    fn of(secret: &[u8], point: &[u8]) -> Self {
        Self([&SEC1_HEAD, secret, &SEC1_CURVE, &POINT_HEAD, point].concat())
    }

    /// The key in SEC1 DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// The same key in PKCS#8 DER.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        let secret = &self.0[SEC1_HEAD.len()..][..SECRET];
        let point = &self.0[self.0.len() - POINT..];
        [&PKCS8_HEAD[..], secret, &POINT_HEAD, point].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_in_both_forms() {
        let pkcs8 = rcgen::KeyPair::generate().unwrap().serialize_der();
        let key = Sec1::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(key.der().len(), 121);
        assert_eq!(key.to_pkcs8(), pkcs8);
        assert_eq!(Sec1::parse(key.der()).unwrap(), key);
    }

    #[test]
    fn other_keys_and_broken_ones_are_refused() {
        let key = Sec1::from_pkcs8(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap();
        for length in 0..key.der().len() {
            assert_eq!(Sec1::parse(&key.der()[..length]), Err(KeyError));
        }
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert_eq!(Sec1::from_pkcs8(&other.serialize_der()), Err(KeyError));
        assert_eq!(Sec1::parse(&other.serialize_der()), Err(KeyError));
        assert!(!format!("{key:?}").contains(char::is_numeric) || format!("{key:?}") == "Sec1(..)");
    }
}
