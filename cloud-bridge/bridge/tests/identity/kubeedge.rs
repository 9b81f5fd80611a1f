//! What KubeEdge's CloudCore left behind works here.

use std::fs;
use std::time::Duration;

use cloud_bridge::identity::token::{Bearer, jwt};
use cloud_bridge::identity::{Authority, Files, NodeName, Pair, Place, Sec1, node_of};
use jiff::Timestamp;

use crate::vectors::{CA, CA_KEY, CSR, JWT, TOKEN, octets};

fn authority() -> Authority {
    Authority::of(&Pair { certificate: octets(CA), key: octets(CA_KEY) }, "vectors").unwrap()
}

#[test]
fn the_authority_of_a_cloudcore_signs_what_edgecore_asks_for() {
    let node: NodeName = "edge-1".parse().unwrap();
    let certificate = authority().sign(&octets(CSR), &node, Duration::from_secs(60)).unwrap();
    assert_eq!(node_of(&certificate).unwrap(), node);
    let other = "edge-2".parse().unwrap();
    let error = authority().sign(&octets(CSR), &other, Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().contains("write CN=system:node:edge-2"), "{error}");
}

#[test]
fn a_token_of_a_cloudcore_is_true_until_its_end() {
    let (fingerprint, bearer) = TOKEN.split_once('.').unwrap();
    assert_eq!(authority().fingerprint(), fingerprint);
    assert_eq!(bearer, JWT);
    assert_eq!(JWT.parse::<Bearer>().unwrap(), Bearer::KubeEdge(JWT.into()));
    let key = Sec1::parse(&octets(CA_KEY)).unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(jwt::verify(JWT, &key, at(1_899_999_999)), Ok(()));
    assert_eq!(jwt::verify(JWT, &key, at(1_900_000_000)), Err(jwt::JwtError::Expired));
}

#[test]
fn a_token_that_was_changed_or_made_with_another_key_is_none() {
    let key = Sec1::parse(&octets(CA_KEY)).unwrap();
    let now = Timestamp::from_second(1).unwrap();
    let parts: Vec<&str> = JWT.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{JWT}") };
    // {"alg":"none"}, {"exp":9999999999}
    for other in [
        format!("eyJhbGciOiJub25lIn0.{claims}.{signature}"),
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        format!("{header}.eyJleHAiOjk5OTk5OTk5OTl9.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        String::new(),
    ] {
        assert_eq!(jwt::verify(&other, &key, now), Err(jwt::JwtError::Unknown), "{other}");
    }
    let own = rcgen::KeyPair::generate().unwrap();
    let own = Sec1::from_pkcs8(own.serialized_der()).unwrap();
    assert_eq!(jwt::verify(JWT, &own, now), Err(jwt::JwtError::Unknown));
}

#[tokio::test]
async fn its_files_are_read_as_pem_and_as_der() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::within(dir.path());
    fs::write(&files.ca, octets(CA)).unwrap();
    fs::write(&files.ca_key, octets(CA_KEY)).unwrap();
    let place = Place::Files(files.clone());
    let fingerprint = Authority::open(&place).await.unwrap().fingerprint();
    assert_eq!(fingerprint, authority().fingerprint());

    let pem = |label: &str, der: Vec<u8>| {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    fs::write(&files.ca, pem("CERTIFICATE", octets(CA))).unwrap();
    fs::write(&files.ca_key, pem("EC PRIVATE KEY", octets(CA_KEY))).unwrap();
    assert_eq!(Authority::open(&place).await.unwrap().fingerprint(), fingerprint);

    fs::remove_file(&files.ca_key).unwrap();
    let error = Authority::open(&place).await.unwrap_err().to_string();
    assert!(error.contains("rootCA.key") && error.contains("put it back"), "{error}");
}
