//! The webhook over HTTPS, as the API server asks it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud_bridge::identity::{Authority, Files, Place, Served, ServerNames};
use cloud_bridge::webhook::{PATH, serve};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::{Cluster, pump, review};

#[tokio::test]
async fn the_api_server_is_answered_over_https() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Files(Files::within(dir.path()));
    let authority = Arc::new(Authority::open(&place).await.unwrap());
    let names =
        ServerNames { dns: ["cloud-bridge.edgetwin.svc".into()].into(), ..ServerNames::default() };
    let life = Duration::from_secs(3600);
    let served = Served::open(authority.clone(), place, names, life).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let stopped = stop.clone();
    tasks.spawn(async move {
        serve(listener, &served, Arc::new(Cluster::default()), stopped).await.unwrap();
    });

    let ask = async |body: Vec<u8>| {
        let mut roots = RootCertStore::empty();
        roots.add(authority.ca_der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("cloud-bridge.edgetwin.svc").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut connections = JoinSet::new();
        connections.spawn(connection);
        let request = hyper::Request::post(PATH)
            .header("host", "bridge")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Json>(&body).unwrap_or_default())
    };

    let good = review("Device", "CREATE", pump(|_| {}), Json::Null);
    let (status, answer) = ask(serde_json::to_vec(&good).unwrap()).await;
    assert_eq!((status, &answer["response"]["allowed"]), (200, &json!(true)), "{answer}");
    assert_eq!(answer["response"]["uid"], "705ab4f5");
    assert_eq!(answer["kind"], "AdmissionReview");

    let bad = pump(|pump| pump["spec"]["properties"][0]["name"] = "sped".into());
    let bad = review("Device", "CREATE", bad, Json::Null);
    let (_, answer) = ask(serde_json::to_vec(&bad).unwrap()).await;
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("use one of speed, level"), "{message}");

    let early = pump(|pump| pump["spec"]["deviceModelRef"]["name"] = "later".into());
    let early = review("Device", "CREATE", early, Json::Null);
    let (_, answer) = ask(serde_json::to_vec(&early).unwrap()).await;
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
    assert_eq!(answer["response"]["warnings"].as_array().unwrap().len(), 1);

    for nonsense in [&b"{"[..], b"{}", b"[]", b""] {
        let (status, _) = ask(nonsense.to_vec()).await;
        assert!((400..500).contains(&status), "{status}");
    }
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
}
