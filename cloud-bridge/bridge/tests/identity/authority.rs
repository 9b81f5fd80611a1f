//! What is signed, and what the bridge itself shows.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use cloud_bridge::identity::{Authority, Files, NodeName, Served, ServerNames, node_of};
use rcgen::{DnType, SanType};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::world::{Machine, loopback, place};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

async fn authority(dir: &std::path::Path) -> Arc<Authority> {
    Arc::new(Authority::open(&place(dir)).await.unwrap())
}

#[tokio::test]
async fn a_node_gets_its_name_and_the_use_of_a_client_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority(dir.path()).await;
    let node: NodeName = "edge-1".parse().unwrap();
    let machine = Machine::with("edge-1", |params| {
        params.distinguished_name.push(DnType::LocalityName, "Hangzhou");
    });
    let one = authority.sign(&machine.csr, &node, HOUR).unwrap();
    let two = authority.sign(&machine.csr, &node, HOUR).unwrap();
    let (_, parsed) = X509Certificate::from_der(&one).unwrap();
    let (_, again) = X509Certificate::from_der(&two).unwrap();
    assert_eq!(parsed.subject().to_string(), "O=system:nodes, CN=system:node:edge-1");
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert!(parsed.subject_alternative_name().unwrap().is_none());
    assert!(!parsed.is_ca());
    assert_ne!(parsed.serial, again.serial);
    let validity = parsed.validity();
    let life = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert!((3600..=3660).contains(&life), "{life}");
    assert_eq!(node_of(&one).unwrap(), node);
}

#[tokio::test]
async fn a_request_that_says_anything_wrong_is_refused_with_what_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority(dir.path()).await;
    let node: NodeName = "edge-1".parse().unwrap();
    let refused = |csr: &[u8], part: &str| {
        let error = authority.sign(csr, &node, HOUR).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(b"", "cannot be read");
    refused(b"nonsense", "cannot be read");
    refused(&Machine::named("edge-2").csr, "write CN=system:node:edge-1");
    refused(&Machine::named("edge-1\n").csr, "write CN=system:node:edge-1");
    let alien = Machine::with("edge-1", |params| {
        params.distinguished_name.remove(DnType::OrganizationName);
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    });
    refused(&alien.csr, "O=system:nodes");
    let named = Machine::with("edge-1", |params| {
        params.subject_alt_names =
            vec![SanType::DnsName("kubernetes.default.svc".try_into().unwrap())];
    });
    refused(&named.csr, "asks for alternative names");
    // Another key's signature: somebody asks for a key that he does not have.
    let mut forged = Machine::named("edge-1").csr;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    refused(&forged, "not signed with its own key");
    let mut longer = Machine::named("edge-1").csr;
    longer.push(0);
    refused(&longer, "octets follow it");
}

/// What stands in the file of the server's certificate.
fn shown(dir: &std::path::Path) -> String {
    fs::read_to_string(Files::within(dir).certificate).unwrap()
}

#[tokio::test]
async fn a_servers_certificate_is_kept_until_it_lacks_a_name_or_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority(dir.path()).await;
    let open = async |names: ServerNames, life| {
        Served::open(authority.clone(), place(dir.path()), names, life).await.unwrap();
        shown(dir.path())
    };
    let first = open(loopback(), YEAR).await;
    assert_eq!(open(loopback(), YEAR).await, first);
    let mut more = loopback();
    more.dns.insert("bridge.example".into());
    let second = open(more.clone(), YEAR).await;
    assert_ne!(second, first);
    // A name that is not asked for any more does no harm, and two replicas do not quarrel over it.
    assert_eq!(open(loopback(), YEAR).await, second);
    more.dns.insert("other.example".into());
    // Two thirds of no time at all are over at once.
    let third = open(more.clone(), Duration::ZERO).await;
    assert_ne!(open(more, YEAR).await, third);
}

#[tokio::test]
async fn what_another_authority_signed_is_never_overwritten() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Served::open(authority(one.path()).await, place(one.path()), loopback(), YEAR).await.unwrap();
    let (theirs, ours) = (Files::within(one.path()), Files::within(two.path()));
    let authority = authority(two.path()).await;
    fs::copy(&theirs.certificate, &ours.certificate).unwrap();
    fs::copy(&theirs.key, &ours.key).unwrap();
    let opened = Served::open(authority, place(two.path()), loopback(), YEAR).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("another authority signed it"), "{error}");
    assert_eq!(shown(two.path()), shown(one.path()));
}

#[tokio::test]
async fn keys_are_for_their_owner_alone_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let names = ServerNames { dns: BTreeSet::from(["b.example".into()]), ..ServerNames::default() };
    let pki = dir.path().join("pki");
    let authority = authority(&pki).await;
    Served::open(authority, place(&pki), names, YEAR).await.unwrap();
    let files = Files::within(&pki);
    for path in [&files.ca_key, &files.key] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&pki).unwrap().permissions().mode() & 0o777, 0o700);
}
