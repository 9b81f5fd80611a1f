//! The certificate authority: made once, loaded ever after; signs what nodes and the bridge itself show.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::name::NODES;
use super::request::{CsrError, Request};
use super::{Entry, IdentityError, NodeName, Pair, Place, Sec1, ServerNames};

/// The authority's common name, and that of the server's certificate: KubeEdge's.
pub const CA_NAME: &str = "KubeEdge";
/// How long an authority lives: as KubeEdge's, since nobody can exchange it under running nodes.
const CA_LIFE: Duration = Duration::from_secs(100 * 364 * 24 * 3600);
/// Clocks of the replicas may differ by so much: a certificate is valid so long before it was made, but for a tenth of its
/// life at most.
const SKEW: Duration = Duration::from_secs(60);
/// Octets of a serial number; RFC 5280 4.1.2.2 allows 20.
const SERIAL: usize = 16;

/// The certificate authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// The key in KubeEdge's form, which keys its tokens; other kinds of keys have none.
    sec1: Option<Sec1>,
    ends: SystemTime,
}

/// Why a certificate is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] CsrError),
    /// The authority is at its end, or the library refuses.
    #[error(transparent)]
    Authority(#[from] IdentityError),
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads the authority from `place`, or makes one there. Several that do so at once end with the same one.
    ///
    /// # Errors
    /// The place cannot be read or written, or holds something that is no authority.
    pub async fn open(place: &Place) -> Result<Self, IdentityError> {
        // Whoever finds it taken reads what was put there; once it may be deleted between.
        for _ in 0..3 {
            if let Some(placed) = place.load(Entry::Authority).await? {
                return Self::of(&placed.pair, &place.name(Entry::Authority));
            }
            let made = make(SystemTime::now())?;
            if place.create(Entry::Authority, &made).await? {
                tracing::info!(place = %place.name(Entry::Authority), "made a certificate authority");
                return Self::of(&made, &place.name(Entry::Authority));
            }
        }
        let reason = "it comes and goes; leave it in peace and start again";
        Err(IdentityError::content(place.name(Entry::Authority), reason))
    }

    /// The authority of a certificate and its key, which lie at `place`.
    ///
    /// # Errors
    /// They are not an authority's, or not of each other.
    pub fn of(pair: &Pair, place: &str) -> Result<Self, IdentityError> {
        let wrong = |reason: String| IdentityError::content(place, reason);
        let (_, parsed) = X509Certificate::from_der(&pair.certificate)
            .map_err(|error| wrong(format!("no certificate: {error}")))?;
        if !parsed.is_ca() {
            return Err(wrong(
                "the certificate is no authority's; its basic constraints must say CA".into(),
            ));
        }
        let ends = SystemTime::UNIX_EPOCH
            + Duration::from_secs(
                u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0),
            );
        let sec1 = Sec1::parse(&pair.key).or_else(|_| Sec1::from_pkcs8(&pair.key)).ok();
        let pkcs8 = sec1.as_ref().map_or_else(|| pair.key.clone(), Sec1::to_pkcs8);
        let pkcs8 = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8));
        let key = KeyPair::try_from(&pkcs8).map_err(|error| {
            wrong(format!("the key is of no kind that signs here ({error}); write ECDSA P-256 as SEC1, or PKCS#8"))
        })?;
        if key.der_bytes() != parsed.public_key().subject_public_key.as_ref() {
            return Err(wrong(
                "the key is not the certificate's; put the two that belong together there".into(),
            ));
        }
        let certificate = CertificateDer::from(pair.certificate.clone());
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| wrong(format!("the certificate cannot sign: {error}")))?;
        Ok(Self { certificate, issuer, sec1, ends })
    }

    /// Its certificate in DER.
    pub fn ca_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a join token begins with: the SHA-256 of the certificate in DER, 64 lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        super::token::hex(digest(&SHA256, &self.certificate).as_ref())
    }

    /// The key of KubeEdge's tokens.
    pub(crate) fn token_key(&self) -> Option<&Sec1> {
        self.sec1.as_ref()
    }

    /// Signs `csr`, a request in DER that `node` made, for `life` from now: a certificate in DER that names the node and is
    /// good for clients alone.
    ///
    /// # Errors
    /// The request is broken or for somebody else, or the authority is at its end.
    pub fn sign(&self, csr: &[u8], node: &NodeName, life: Duration) -> Result<Vec<u8>, SignError> {
        let request = Request::parse(csr, node)?;
        let mut params = self.params(life, SystemTime::now())?;
        params.distinguished_name.push(DnType::OrganizationName, NODES);
        params.distinguished_name.push(DnType::CommonName, request.node().subject());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params.signed_by(request.key(), &self.issuer);
        let signed =
            signed.map_err(|error| IdentityError::library("certificate of a node", error))?;
        Ok(signed.der().to_vec())
    }

    /// A new key and its certificate for a server of those names.
    pub(super) fn sign_server(
        &self,
        names: &ServerNames,
        life: Duration,
        now: SystemTime,
    ) -> Result<Pair, IdentityError> {
        let failed =
            |error: rcgen::Error| IdentityError::library("certificate of the server", error);
        let mut params = self.params(life, now)?;
        params.distinguished_name.push(DnType::OrganizationName, CA_NAME);
        params.distinguished_name.push(DnType::CommonName, CA_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let dns = names.dns.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
        let ips = names.ips.iter().map(|ip| Ok(SanType::IpAddress(*ip)));
        params.subject_alt_names = dns.chain(ips).collect::<Result<_, _>>().map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Pair { certificate: certificate.der().to_vec(), key: stored(&key)? })
    }

    fn params(&self, life: Duration, now: SystemTime) -> Result<CertificateParams, IdentityError> {
        if now >= self.ends {
            let remedy = "put a new one in its place, and let every node join again";
            return Err(IdentityError::content(
                "the certificate authority",
                format!("it has expired; {remedy}"),
            ));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - SKEW.min(life / 10));
        params.not_after = date_time_ymd(1970, 1, 1) + since_1970((now + life).min(self.ends));
        params.serial_number = Some(serial()?);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    /// Whether it signed that certificate.
    pub(super) fn signed(&self, certificate: &X509Certificate<'_>) -> bool {
        X509Certificate::from_der(&self.certificate)
            .is_ok_and(|(_, own)| certificate.verify_signature(Some(own.public_key())).is_ok())
    }
}

/// A new authority.
fn make(now: SystemTime) -> Result<Pair, IdentityError> {
    let failed = |error: rcgen::Error| IdentityError::library("certificate authority", error);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - SKEW);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now + CA_LIFE);
    params.serial_number = Some(serial()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.der().to_vec(), key: stored(&key)? })
}

/// In the form that KubeEdge reads.
fn stored(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    let key = Sec1::from_pkcs8(key.serialized_der());
    let key = key.map_err(|error| IdentityError::library("key on the curve P-256", error))?;
    Ok(key.der().to_vec())
}

fn serial() -> Result<SerialNumber, IdentityError> {
    let mut octets = [0; SERIAL];
    let filled = SystemRandom::new().fill(&mut octets);
    filled.map_err(|_| {
        IdentityError::library("serial number", "the system gives no random octets")
    })?;
    // Positive, and of full length.
    octets[0] = (octets[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

/// Since 1970; what lies before it is 1970.
fn since_1970(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(since.as_secs())
}
