//! The certificate that the bridge shows: made by the authority, kept where that lies, renewed by itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, Entry, IdentityError, Pair, Place, Sec1};

/// The longest time until the next look at what lies there: another replica may have renewed it.
const LOOK: Duration = Duration::from_secs(3600);
/// The shortest.
const REST: Duration = Duration::from_secs(60);

/// What a server's certificate is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// Names.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub ips: BTreeSet<IpAddr>,
}

/// The certificate that the bridge shows. Each handshake takes the newest.
#[derive(Debug)]
pub struct Served {
    authority: Arc<Authority>,
    place: Place,
    names: ServerNames,
    life: Duration,
    shown: RwLock<Shown>,
}

#[derive(Clone, Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// When it is to be renewed.
    due: SystemTime,
}

impl Served {
    /// The certificate that lies at `place`, or a new one that lives for `life`, if that one lacks a name of `names` or two
    /// thirds of its life are over.
    ///
    /// # Errors
    /// The place cannot be read or written, or holds a certificate that another authority signed: it is never overwritten.
    pub async fn open(
        authority: Arc<Authority>,
        place: Place,
        names: ServerNames,
        life: Duration,
    ) -> Result<Arc<Self>, IdentityError> {
        let shown = current(&authority, &place, &names, life).await?;
        Ok(Arc::new(Self { authority, place, names, life, shown: RwLock::new(shown) }))
    }

    /// Renews it in time, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let due = self.shown.read().unwrap_or_else(PoisonError::into_inner).due;
            let until = due.duration_since(SystemTime::now()).unwrap_or_default();
            let rest = until.clamp(REST.min(self.life / 10), LOOK);
            if stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
                return;
            }
            match self.renew().await {
                Ok(()) => failing = false,
                // Once; it is tried again after a rest.
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    warn!(%error, "cannot renew the server's certificate");
                }
                Err(_) => {}
            }
        }
    }

    /// Takes what lies there by now; renews it if it is time.
    ///
    /// # Errors
    /// See [`Served::open`]; the former certificate stays.
    pub async fn renew(&self) -> Result<(), IdentityError> {
        let shown = current(&self.authority, &self.place, &self.names, self.life).await?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

async fn current(
    authority: &Authority,
    place: &Place,
    names: &ServerNames,
    life: Duration,
) -> Result<Shown, IdentityError> {
    for _ in 0..3 {
        let now = SystemTime::now();
        let name = place.name(Entry::Server);
        let placed = place.load(Entry::Server).await?;
        if let Some(placed) = &placed {
            let (shown, lacking) = judge(authority, &placed.pair, names, &name)?;
            if !lacking && now < shown.due {
                return Ok(shown);
            }
        }
        let made = authority.sign_server(names, life, now)?;
        let taken = match &placed {
            Some(placed) => place.replace(Entry::Server, &made, &placed.version).await?,
            None => place.create(Entry::Server, &made).await?,
        };
        if taken {
            info!(place = name, "made a new certificate for the server");
            return judge(authority, &made, names, &name).map(|(shown, _)| shown);
        }
    }
    let reason = "others replace it all the time; give all replicas the same join.advertise";
    Err(IdentityError::content(place.name(Entry::Server), reason))
}

/// The pair as it is shown, and whether it lacks a name.
fn judge(
    authority: &Authority,
    pair: &Pair,
    names: &ServerNames,
    place: &str,
) -> Result<(Shown, bool), IdentityError> {
    let wrong = |reason: String| IdentityError::content(place, reason);
    let (_, parsed) = X509Certificate::from_der(&pair.certificate)
        .map_err(|error| wrong(format!("no certificate: {error}; remove it for a new one")))?;
    if !authority.signed(&parsed) {
        return Err(wrong(
            "another authority signed it, which no node trusts; remove it for a new one".into(),
        ));
    }
    let pkcs8 = Sec1::parse(&pair.key).map_or_else(|_| pair.key.clone(), |key| key.to_pkcs8());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8));
    let chain = vec![CertificateDer::from(pair.certificate.clone())];
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        wrong(format!("its key does not fit: {error}; remove both for new ones"))
    })?;
    let moment =
        |time: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or(0));
    let begins = moment(parsed.validity().not_before.timestamp());
    let ends = moment(parsed.validity().not_after.timestamp());
    let due = begins + ends.duration_since(begins).unwrap_or_default() / 3 * 2;
    let lacking = !covers(&parsed, names);
    Ok((Shown { key: Arc::new(key), due }, lacking))
}

/// Whether the certificate is good for all of `names`; it may be for others, too.
fn covers(certificate: &X509Certificate<'_>, names: &ServerNames) -> bool {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return names.dns.is_empty() && names.ips.is_empty();
    };
    let (mut dns, mut ips) = (BTreeSet::new(), BTreeSet::new());
    for name in &alternatives.value.general_names {
        match name {
            GeneralName::DNSName(name) => {
                dns.insert(name.to_ascii_lowercase());
            }
            GeneralName::IPAddress(octets) => {
                let four = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
                ips.extend(four.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from)).ok());
            }
            _ => {}
        }
    }
    names.dns.iter().all(|name| dns.contains(&name.to_ascii_lowercase()))
        && names.ips.is_subset(&ips)
}
