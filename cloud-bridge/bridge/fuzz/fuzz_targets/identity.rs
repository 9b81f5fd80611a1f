//! Any octets as what a machine sends that wants to be a node: a request for a certificate, a token, a certificate. The
//! first octet says as which. They end in what they are or in an error, never in a panic, and what is shown of a token never
//! holds its secret.
#![no_main]

use cloud_bridge::identity::token::{Bearer, Grant, Scope, TokenId, TokenShape, jwt};
use cloud_bridge::identity::{NodeName, Request, Sec1, node_of};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

/// A key that is no secret: 0x0102…20, with its point.
const KEY: &[u8] = b"\x30\x77\x02\x01\x01\x04\x20\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\
    \x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\xa1\x44\
    \x03\x42\x00\x04\x51\x5c\x3d\x6e\xb9\xe3\x96\xb9\x04\xd3\xfe\xca\x7f\x54\xfd\xcd\x0c\xc1\xe9\x97\xbf\x37\x5d\xca\x51\
    \x5a\xd0\xa6\xc3\xb4\x03\x5f\x45\x36\xbe\x3a\x50\xf3\x18\xfb\xf9\xa5\x47\x59\x02\xa2\x21\x50\x2b\xef\x0d\x57\xe0\x8c\
    \x53\xb2\xcc\x0a\x56\xf1\x7d\x9f\x93\x54";

fn text(text: &str) {
    if let Ok(name) = text.parse::<NodeName>() {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 253 && !text.contains(['/', ' ', '\n']));
    }
    if let Ok(scope) = text.parse::<Scope>() {
        assert_eq!(scope.to_string(), text);
    }
    if let Ok(id) = text.parse::<TokenId>() {
        assert_eq!(id.to_string(), text);
    }
    match text.parse::<Bearer>() {
        Ok(Bearer::Ours(ours)) => {
            assert_eq!(ours.bearer(), text);
            let secret = text.rsplit('.').next().unwrap_or_default();
            assert!(!format!("{ours:?}").contains(secret));
        }
        Ok(Bearer::KubeEdge(jwt)) => assert_eq!(jwt.split('.').count(), 3),
        // It is one sentence, whatever was sent.
        Err(TokenShape) => {}
    }
    if let Ok(key) = Sec1::parse(KEY) {
        let now = Timestamp::UNIX_EPOCH;
        // Nobody finds a signature by chance, but the one that stands in the corpus.
        let _ = jwt::verify(text, &key, now);
    }
}

fuzz_target!(|octets: &[u8]| {
    let Some((kind, octets)) = octets.split_first() else { return };
    match kind % 4 {
        0 => {
            let Ok(node) = "edge-1".parse::<NodeName>() else { return };
            match Request::parse(octets, &node) {
                Ok(request) => assert_eq!(request.node(), &node),
                Err(error) => assert!(error.to_string().len() < 2000),
            }
        }
        1 => {
            if let Ok(node) = node_of(octets) {
                assert_eq!(node.subject(), format!("system:node:{node}"));
            }
            if let Ok(key) = Sec1::parse(octets) {
                assert_eq!(Sec1::parse(key.der()).as_ref(), Ok(&key));
                assert_eq!(Sec1::from_pkcs8(&key.to_pkcs8()), Ok(key));
            }
        }
        2 => {
            if let Ok(written) = std::str::from_utf8(octets) {
                text(written);
            }
        }
        // What is kept of a token, as it lies in a file or a Secret.
        _ => {
            if let Ok(grant) = Grant::read(octets) {
                let again = grant.write().and_then(|text| Grant::read(&text));
                assert_eq!(again.ok(), Some(grant));
            }
        }
    }
});
