use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, IsCa, Issuer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

fn places(dir: &Path) -> Places {
    Places { ca: dir.join("ca.crt"), cert: dir.join("node.crt"), key: dir.join("node.key") }
}

/// An authority, and papers of `node` by it.
fn papers(node: &str) -> Papers {
    let (ca, issuer) = authority();
    let (key, _) = request(node).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Papers::new(ca, certificate.der().clone(), &key, node).unwrap()
}

fn authority() -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    (ca.der().clone(), Issuer::new(params, key))
}

#[test]
fn papers_read_back_from_their_files_and_the_key_is_for_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(&dir.path().join("new/folder"));
    assert!(Papers::read(&places, "edge-1").unwrap().is_none());
    let papers = papers("edge-1");
    fs::create_dir_all(places.key.parent().unwrap()).unwrap();
    fs::write(dir.path().join("new/folder/node.key.new"), "left, and readable by all").unwrap();
    papers.write(&places).unwrap();
    let read = Papers::read(&places, "edge-1").unwrap().unwrap();
    assert_eq!(read.expires_at(), papers.expires_at());
    assert_eq!(fs::metadata(&places.key).unwrap().permissions().mode() & 0o777, 0o600);
    let other = Papers::read(&places, "edge-2").unwrap_err().to_string();
    assert!(
        other.contains("for \"system:node:edge-1\", this node is \"system:node:edge-2\""),
        "{other}"
    );
    fs::write(&places.key, "nonsense").unwrap();
    let wrong = Papers::read(&places, "edge-1").unwrap_err().to_string();
    assert!(wrong.contains("node.key: no private key in PEM"), "{wrong}");
}

#[test]
fn a_power_cut_in_the_middle_of_a_renewal_leaves_papers_that_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    papers("edge-1").write(&places).unwrap();
    let old = fs::read(&places.cert).unwrap();
    papers("edge-1").write(&places).unwrap();
    // The new key took its place, the new certificate did not.
    fs::rename(&places.cert, dir.path().join("node.crt.new")).unwrap();
    fs::write(&places.cert, old).unwrap();
    assert!(Papers::read(&places, "edge-1").unwrap().is_some());
    fs::remove_file(dir.path().join("node.crt.new")).unwrap();
    let error = Papers::read(&places, "edge-1").unwrap_err().to_string();
    assert!(error.contains("do not go together"), "{error}");
}

#[test]
fn a_certificate_is_renewed_in_the_last_third_of_its_life_and_not_by_all_at_once() {
    let papers = papers("edge-1");
    let life = papers.expires_at().since(papers.not_before_for_tests());
    let at = |share| papers.renew_at(share).since(papers.not_before_for_tests()).as_secs_f64();
    assert!((at(0.0) / life.as_secs_f64() - 0.7).abs() < 1e-6);
    assert!((at(1.0) / life.as_secs_f64() - 0.9).abs() < 1e-6);
}

/// A server that shows another authority than the token says, and what it is asked after that.
#[tokio::test]
async fn nothing_is_said_to_whoever_has_another_authority() {
    let (ca, issuer) = authority();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream =
            TlsAcceptor::from(std::sync::Arc::new(config)).accept(stream).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", ca.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(&ca).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let servers = JoinServers { addresses: vec!["127.0.0.1:1".into(), address], proxy: None };
    let dir = tempfile::tempdir().unwrap();
    let token = format!("{}.et1.id.secret", "0".repeat(64));
    let places = places(dir.path());
    let (joined, _stream) = tokio::join!(join(&servers, &token, "edge-1", &places), serving);
    let error = joined.unwrap_err();
    assert!(matches!(&error, JoinError::Authority { .. }), "{error}");
    assert!(!error.may_pass() && !error.to_string().contains("secret"), "{error}");
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_token_in_parts_is_no_token_and_nobody_there_is_tried_again() {
    let servers = JoinServers { addresses: vec!["127.0.0.1:1".into()], proxy: None };
    let dir = tempfile::tempdir().unwrap();
    let error = join(&servers, "a.b.c", "edge-1", &places(dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("3 parts, not four"), "{error}");
    let error = join(&servers, "a.b.c.d", "edge-1", &places(dir.path())).await.unwrap_err();
    assert!(error.may_pass() && error.to_string().starts_with("127.0.0.1:1: "), "{error}");
}
