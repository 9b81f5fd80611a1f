//! The local API over TCP: off unless asked for, with a token, and with TLS beyond this machine.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use edge_agent::config::{Api, ApiTls};
use edge_agent::{Agent, AgentConfig};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use procfs::process::{FDTarget, Process};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use world::{World, eventually};

const LOOPBACK: &str = "127.0.0.1:0";
const WISH: &str = r#"{"properties":{"speed":{"value":"1"}}}"#;

/// An agent with TCP, and its token.
async fn with_tcp(change: impl FnOnce(&mut Api, &Path)) -> (World, SocketAddr, String) {
    let world = World::start(&[("pump", "")], |config| {
        let dir = config.api.socket.parent().unwrap().to_owned();
        config.api.listen = Some(LOOPBACK.parse().unwrap());
        config.api.token_file = Some(dir.join("tokens"));
        change(&mut config.api, &dir);
    })
    .await;
    let token = std::fs::read_to_string(world.dir.path().join("tokens")).unwrap();
    let address = world.addresses.api_tcp.unwrap();
    (world, address, format!("Bearer {}", token.trim()))
}

/// One request over `stream`.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    headers: &[(&str, &str)],
    method: Method,
    path: &str,
) -> (u16, HeaderMap, Json) {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut request = Request::builder().method(method).uri(path).header("host", "agent");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(WISH))).unwrap();
    let answer = async {
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        (head.status.as_u16(), head.headers, body)
    };
    tokio::select! {
        answer = answer => answer,
        ended = async { connection.await.unwrap(); std::future::pending::<()>().await } => {
            panic!("{ended:?}")
        }
    }
}

#[tokio::test]
async fn over_tcp_every_request_needs_a_token() {
    let (world, address, token) = with_tcp(|_, _| {}).await;
    let connect = async || TcpStream::connect(address).await.unwrap();
    let path = "/v1/devices/demo/pump";
    for path in [path, "/v1/devices", "/v1/events", "/healthz", "/readyz", "/metrics", "/nothing"] {
        let wrong = [("authorization", "Bearer 0123456789abcdef0123456789abcdef")];
        for headers in [&[][..], &wrong] {
            let (status, headers, body) = ask(connect().await, headers, Method::GET, path).await;
            assert_eq!((status, &body["code"]), (401, &json!(401)), "{path}: {body}");
            assert_eq!(headers["www-authenticate"], "Bearer realm=\"edgetwin\"");
            assert_eq!(body["field"], "Authorization");
            assert!(body["remedy"].as_str().unwrap().contains("api.tokenFile"), "{body}");
        }
    }
    let bearing = [("authorization", &*token)];
    let (status, _, body) = ask(connect().await, &bearing, Method::GET, path).await;
    assert_eq!((status, &body["name"]), (200, &json!("pump")));
    let desired = format!("{path}/desired");
    let (status, _, body) = ask(connect().await, &bearing, Method::PATCH, &desired).await;
    assert_eq!((status, &body["properties"]["speed"]["value"]), (200, &json!("1")));
    // On the socket, its mode decides.
    assert_eq!(world.request(Method::GET, path, "").await.0, 200);
    let mode = std::fs::metadata(&world.addresses.api).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn with_tls_the_token_goes_encrypted_and_a_plain_request_gets_nothing() {
    let made = rcgen::generate_simple_self_signed(["agent".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let (_world, address, token) = with_tcp(|api, dir| {
        let tls = ApiTls { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
        std::fs::write(&tls.cert, &pem).unwrap();
        std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
        api.tls = Some(tls);
    })
    .await;
    // One that never finishes its handshake holds nobody up.
    let _silent = TcpStream::connect(address).await.unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("agent").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let bearing = [("authorization", &*token)];
    let (status, _, body) = ask(stream, &bearing, Method::GET, "/v1/devices").await;
    assert_eq!((status, &body["devices"][0]["name"]), (200, &json!("pump")));

    let plain = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(plain)).await.unwrap();
    let request = Request::builder().uri("/healthz").body(Full::new(Bytes::new())).unwrap();
    let (answer, _) = tokio::join!(sender.send_request(request), connection);
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn a_page_in_a_browser_is_refused_everywhere() {
    let (world, address, token) = with_tcp(|_, _| {}).await;
    let headers = [("authorization", &*token), ("origin", "http://evil.example")];
    let stream = TcpStream::connect(address).await.unwrap();
    let (status, _, body) = ask(stream, &headers, Method::GET, "/v1/devices").await;
    assert_eq!((status, &body["field"]), (403, &json!("Origin")), "{body}");
    let page = [("origin", "null")];
    let path = "/v1/devices/demo/pump/desired";
    let (status, _) = world.request_with(&page, Method::PATCH, path, WISH).await;
    assert_eq!(status, 403);
    assert_eq!(world.device("pump").await.unwrap().rev, 1);
}

#[tokio::test]
async fn a_read_only_agent_takes_no_wish_from_anywhere() {
    let (world, address, token) = with_tcp(|api, _| api.read_only = true).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let bearing = [("authorization", &*token)];
    let path = "/v1/devices/demo/pump/desired";
    let (status, _, body) = ask(stream, &bearing, Method::PATCH, path).await;
    assert_eq!((status, &body["field"]), (403, &json!("method")), "{body}");
    assert!(body["remedy"].as_str().unwrap().contains("api.readOnly"), "{body}");
    assert_eq!(world.set("pump", "", WISH).await.0, 403);
    assert_eq!(world.device("pump").await.unwrap().rev, 1);
}

#[tokio::test]
async fn a_border_that_cannot_be_opened_safely_is_refused_with_a_remedy() {
    for (text, remedy) in [
        ("{listen: '127.0.0.1:10550'}", "api.tokenFile"),
        ("{listen: '0.0.0.0:10550', tokenFile: /t}", "api.tls"),
        ("{listen: '[::]:10550', tokenFile: /t}", "api.tls"),
        ("{tokenFile: /t}", "api.listen"),
        ("{tls: {cert: /c, key: /k}}", "api.listen"),
    ] {
        let text = format!("apiVersion: edgetwin.io/v1\nkind: AgentConfig\napi: {text}\n");
        let said = AgentConfig::parse(&text).unwrap_err();
        assert!(said.contains(remedy), "{text}: {said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut config = AgentConfig::within(dir.path());
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o644)).unwrap();
    config.api.listen = Some(LOOPBACK.parse().unwrap());
    config.api.token_file = Some(tokens);
    let said = Agent::bind(config).await.unwrap_err().to_string();
    assert!(said.contains("tokens") && said.contains("chmod 600"), "{said}");
}

/// Killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the process listens: TCP and UDP, both families.
fn listening(child: &Running) -> Vec<SocketAddr> {
    let process = Process::new(i32::try_from(child.0.id()).unwrap()).unwrap();
    let mut sockets = Vec::new();
    for file in process.fd().unwrap().flatten() {
        if let FDTarget::Socket(inode) = file.target {
            sockets.push(inode);
        }
    }
    let tcp = process.tcp().unwrap().into_iter().chain(process.tcp6().unwrap());
    let tcp = tcp.filter(|entry| entry.state == procfs::net::TcpState::Listen);
    let tcp = tcp.map(|entry| (entry.inode, entry.local_address));
    let udp = process.udp().unwrap().into_iter().chain(process.udp6().unwrap());
    let udp = udp.map(|entry| (entry.inode, entry.local_address));
    tcp.chain(udp).filter(|(inode, _)| sockets.contains(inode)).map(|(_, at)| at).collect()
}

#[tokio::test]
async fn row_41_a_default_install_listens_on_loopback_for_mqtt_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    // The defaults but for the places, which belong to root, and for a port that is free.
    let text = format!(
        "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nstore: {{dir: {path}/store}}\n\
         manifests: {{dir: {path}/manifests}}\ndevices: {{dmiSocket: {path}/dmi.sock}}\n\
         api: {{socket: {path}/api.sock}}\nmqtt: {{listen: '{LOOPBACK}'}}\n"
    );
    let file = dir.path().join("agent.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    command.arg("--config").arg(&file).stderr(Stdio::null());
    let agent = Running(command.spawn().unwrap());
    let socket = dir.path().join("api.sock");
    eventually("its API", async || {
        let stream = tokio::net::UnixStream::connect(&socket).await.ok()?;
        let (status, _, _) = ask(stream, &[], Method::GET, "/readyz").await;
        (status == 200).then_some(())
    })
    .await;
    let at = listening(&agent);
    assert_eq!(at.len(), 1, "{at:?}");
    assert!(at[0].ip().is_loopback(), "{at:?}");
    assert_eq!(AgentConfig::default().mqtt.listen.to_string(), "127.0.0.1:1883");
}
