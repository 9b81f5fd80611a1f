//! SIGHUP: tokens, passwords, keys and certificates are read again; a file that is wrong leaves the former one in force.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::future::pending;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_agent::config::{ApiTls, MqttMode, ServerTls, Span};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use world::bus::Bus;
use world::papers::Papers;
use world::program::{BUS, Program, folder, signal};
use world::{World, eventually, within};

const FIRST: &str = "11111111111111111111111111111111";
const SECOND: &str = "22222222222222222222222222222222";
/// `ann`, whose password is `apple`, as `mosquitto_passwd` 2.0 writes it.
const ANN: &str = "ann:$7$101$c2FsdHNhbHRzYWx0$ksdkdPSdKQB5Miwr26n2uOQVjEB6vNSjIGY/bP5EN+q5odcHnNcrdoaCros6t5P4o6tMADxgbUxkVZu/yFizqg==\n";

fn tokens(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

/// The status of a request over TCP with this token.
async fn status(address: SocketAddr, token: &str) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = Request::builder().uri("/healthz").header("host", "agent");
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request.body(Full::new(Bytes::new())).unwrap();
    tokio::select! {
        answer = sender.send_request(request) => answer.unwrap().status().as_u16(),
        // Who bears no token is left with the answer.
        never = async { connection.await.unwrap(); pending::<Infallible>().await } => match never {},
    }
}

#[tokio::test]
async fn another_token_opens_the_api_and_the_former_one_does_not() {
    let mut file = PathBuf::new();
    let mut world = World::start(&[], |config| {
        file = config.store.dir.with_file_name("tokens");
        tokens(&file, FIRST);
        config.api.listen = Some("127.0.0.1:0".parse().unwrap());
        config.api.token_file = Some(file.clone());
    })
    .await;
    let address = world.addresses.api_tcp.unwrap();
    assert_eq!((status(address, FIRST).await, status(address, SECOND).await), (200, 401));
    assert_eq!(world.reload(|_| {}).applied, Vec::<String>::new(), "nothing changed");

    tokens(&file, SECOND);
    let reloaded = world.reload(|_| {});
    assert_eq!((reloaded.applied, reloaded.kept), (vec!["api.tokenFile".to_owned()], vec![]));
    assert_eq!((status(address, FIRST).await, status(address, SECOND).await), (401, 200));

    tokens(&file, "short");
    let kept = world.reload(|_| {}).kept;
    assert!(
        kept[0].starts_with("api.tokenFile = ") && kept[0].contains("openssl rand"),
        "{kept:?}"
    );
    fs::remove_file(&file).unwrap();
    let kept = world.reload(|_| {}).kept;
    assert!(kept[0].contains("No such file"), "{kept:?}");
    assert!(!file.exists(), "none is made while the agent runs");
    assert_eq!(status(address, SECOND).await, 200);

    let other = file.with_file_name("others");
    tokens(&other, FIRST);
    let reloaded = world.reload(|config| config.api.token_file = Some(other));
    assert_eq!((reloaded.applied, reloaded.at_next_start.len()), (vec!["api.tokenFile".into()], 0));
    assert_eq!((status(address, FIRST).await, status(address, SECOND).await), (200, 401));
}

/// A stream of events over TCP with this token, that stands.
async fn watching(
    address: SocketAddr,
    token: &str,
    path: &str,
    tasks: &mut JoinSet<()>,
) -> Incoming {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = Request::builder().uri(path).header("host", "agent");
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request.body(Full::new(Bytes::new())).unwrap();
    tasks.spawn(async move {
        // A stream that the agent ends is fine here.
        let _ = connection.await;
    });
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    // It lasts as long as the connection does.
    tasks.spawn(async move {
        let _sender = sender;
        std::future::pending().await
    });
    answer.into_body()
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let mut file = PathBuf::new();
    let mut world = World::start(&[], |config| {
        file = config.store.dir.with_file_name("tokens");
        tokens(&file, &format!("{FIRST}\n{SECOND}\n"));
        config.api.listen = Some("127.0.0.1:0".parse().unwrap());
        config.api.token_file = Some(file.clone());
    })
    .await;
    world.subscription(Method::PUT, "a").await;
    let address = world.addresses.api_tcp.unwrap();
    let mut tasks = JoinSet::new();
    let mut ends = Vec::new();
    for path in ["/v1/events", "/v1/messages"] {
        ends.push(watching(address, FIRST, path, &mut tasks).await);
    }
    let mut stays = watching(address, SECOND, "/v1/messages?since=0", &mut tasks).await;
    tokens(&file, SECOND);
    assert_eq!(world.reload(|_| {}).applied, ["api.tokenFile"]);
    for mut body in ends {
        let rest = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
        within("the end of the stream", rest).await;
    }
    let app = Bus::join(world.mqtt(), "app").await;
    app.publish("a", "heard").await;
    let mut said = String::new();
    while !said.contains("heard") {
        let frame = within("a message", stays.frame()).await.unwrap().unwrap();
        said.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
}

/// Whether the API shows a certificate that `papers` vouch for.
async fn vouched(address: SocketAddr, papers: &Papers) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(papers.file("ca.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
}

#[tokio::test]
async fn another_certificate_is_shown_from_the_next_handshake_on() {
    let (first, second) = (Papers::new(), Papers::new());
    let files = |papers: &Papers, key: &Papers| ApiTls {
        cert: papers.file("server.pem"),
        key: key.file("server.key"),
    };
    let mut world = World::start(&[], |config| {
        config.api.listen = Some("127.0.0.1:0".parse().unwrap());
        config.api.token_file = Some(config.store.dir.with_file_name("tokens"));
        config.api.tls = Some(files(&first, &first));
    })
    .await;
    let address = world.addresses.api_tcp.unwrap();
    assert!(vouched(address, &first).await && !vouched(address, &second).await);

    let reloaded = world.reload(|config| config.api.tls = Some(files(&second, &first)));
    let [kept] = reloaded.kept.as_slice() else { panic!("{reloaded:?}") };
    assert!(kept.starts_with("api.tls.key = "), "they do not go together: {kept}");
    assert!(vouched(address, &first).await);

    let reloaded = world.reload(|config| config.api.tls = Some(files(&second, &second)));
    assert_eq!((reloaded.applied, reloaded.at_next_start), (vec!["api.tls".to_owned()], vec![]));
    assert!(!vouched(address, &first).await && vouched(address, &second).await);

    let reloaded = world.reload(|config| config.api.tls = None);
    assert_eq!(reloaded.at_next_start, ["api.tls"], "nothing goes over it in the clear");
    assert!(vouched(address, &second).await);
}

async fn comes_in(address: SocketAddr, user: &str, password: &str) -> bool {
    let mut options = MqttOptions::new("app", address.ip().to_string(), address.port());
    options.set_credentials(user, password);
    let (_client, mut events) = AsyncClient::new(options, 8);
    let first = within("an answer to a connection", events.poll()).await;
    matches!(first, Ok(Event::Incoming(Packet::ConnAck(_))))
}

#[tokio::test]
async fn who_may_connect_to_the_embedded_broker_changes_with_its_file() {
    let mut file = PathBuf::new();
    let mut world = World::start(&[], |config| {
        file = config.store.dir.with_file_name("passwords");
        fs::write(&file, ANN).unwrap();
        config.mqtt.password_file = Some(file.clone());
    })
    .await;
    let address = world.mqtt();
    assert!(comes_in(address, "ann", "apple").await && !comes_in(address, "bob", "apple").await);
    fs::write(&file, ANN.replace("ann", "bob")).unwrap();
    assert_eq!(world.reload(|_| {}).applied, ["mqtt.passwordFile"]);
    assert!(!comes_in(address, "ann", "apple").await && comes_in(address, "bob", "apple").await);
    fs::write(&file, "bob:plain\n").unwrap();
    let kept = world.reload(|_| {}).kept;
    assert!(kept[0].contains("line 1") && !kept[0].contains("plain"), "{kept:?}");
    assert!(comes_in(address, "bob", "apple").await);
    let reloaded = world.reload(|config| config.mqtt.password_file = None);
    assert_eq!(reloaded.at_next_start, ["mqtt.passwordFile"], "nobody comes in unasked");
    assert!(!comes_in(address, "eve", "apple").await);
}

#[tokio::test]
async fn the_certificate_of_the_embedded_broker_is_named_for_the_next_start() {
    let papers = Papers::new();
    let mut world = World::start(&[], |config| {
        config.mqtt.tls = Some(ServerTls {
            cert: papers.file("server.pem"),
            key: papers.file("server.key"),
            client_ca: None,
        });
    })
    .await;
    assert_eq!(world.reload(|_| {}).at_next_start, Vec::<String>::new());
    for name in ["server.pem", "server.key"] {
        fs::copy(Papers::new().file(name), papers.file(name)).unwrap();
    }
    assert_eq!(world.reload(|_| {}).at_next_start, ["mqtt.tls.cert", "mqtt.tls.key"]);
}

#[tokio::test]
async fn the_broker_outside_is_shown_the_newest_password_at_the_next_connection() {
    let papers = Papers::new();
    let broker = World::start(&[], |config| {
        let file = config.store.dir.with_file_name("passwords");
        fs::write(&file, ANN).unwrap();
        config.mqtt.password_file = Some(file);
        config.mqtt.tls = Some(ServerTls {
            cert: papers.file("server.pem"),
            key: papers.file("server.key"),
            client_ca: Some(papers.file("ca.pem")),
        });
    })
    .await;
    let stranger = Papers::new();
    let mut file = PathBuf::new();
    let mut world = World::start(&[], |config| {
        file = config.store.dir.with_file_name("password");
        fs::write(&file, "pear\n").unwrap();
        config.mqtt.mode = MqttMode::External;
        let external = &mut config.mqtt.external;
        external.url = format!("mqtts://localhost:{}", broker.mqtt().port());
        external.keep_alive = Span::secs(1);
        external.username = Some("ann".into());
        external.password_file = Some(file.clone());
        external.tls = Some(stranger.of_client());
    })
    .await;
    let part = async |world: &World, status: &str| {
        let (_, body) = world.request(Method::GET, "/readyz", "").await;
        let ready: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let mut parts = ready["parts"].as_array().unwrap().iter();
        parts.find(|part| part["name"] == "mqtt" && part["status"] == status).cloned()
    };
    let until = async |world: &World, status: &str, word: &str| {
        let so = async || {
            part(world, status).await.filter(|part| part["reason"].as_str().unwrap().contains(word))
        };
        eventually(status, so).await
    };
    until(&world, "degraded", "certificate").await;

    let mut tls = papers.of_client();
    tls.key = stranger.of_client().key;
    let kept = world.reload(|config| config.mqtt.external.tls = Some(tls)).kept;
    assert!(kept[0].starts_with("mqtt.external.tls.cert = "), "they do not go together: {kept:?}");
    let tls = papers.of_client();
    let reloaded = world.reload(|config| config.mqtt.external.tls = Some(tls));
    assert_eq!(
        (reloaded.applied, reloaded.at_next_start.len()),
        (vec!["mqtt.external.tls".into()], 0)
    );
    until(&world, "degraded", "BadUserNamePassword").await;

    fs::write(&file, "\n").unwrap();
    let kept = world.reload(|_| {}).kept;
    assert!(
        kept[0].contains("mqtt.external.passwordFile") && kept[0].contains("empty"),
        "{kept:?}"
    );
    fs::write(&file, "apple\n").unwrap();
    assert_eq!(world.reload(|_| {}).applied, ["mqtt.external.passwordFile"]);
    until(&world, "ok", "").await;

    // A new password is for the new place alone, which comes with the next start.
    fs::write(&file, "secret\n").unwrap();
    let reloaded = world.reload(|config| config.mqtt.external.url = "mqtts://other".into());
    assert_eq!(reloaded.applied, Vec::<String>::new());
    assert!(reloaded.at_next_start.contains(&"mqtt.external.url".into()), "{reloaded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_the_files_again_and_says_once_what_is_wrong_in_one() {
    let dir = folder();
    let file = dir.path().join("tokens");
    tokens(&file, FIRST);
    let api = format!("listen: '127.0.0.1:0', tokenFile: {}", file.display());
    let mut program = Program::start_with_api(dir, &api, BUS).await;
    let address = program.api_tcp();
    tokens(&file, SECOND);
    signal(&program.process, "HUP");
    let said = program.says("the configuration was read again").await;
    assert!(said.contains("applied=api.tokenFile at_next_start="), "{said}");
    assert_eq!((status(address, FIRST).await, status(address, SECOND).await), (401, 200));
    fs::write(&file, "short").unwrap();
    signal(&program.process, "HUP");
    let said = program.says("a file is wrong").await;
    assert!(said.contains("api.tokenFile = ") && said.contains("line 1"), "{said}");
    let said = program.says("the configuration was read again").await;
    assert!(said.trim_end().ends_with("applied= at_next_start="), "{said}");
    assert_eq!(status(address, SECOND).await, 200);
    signal(&program.process, "TERM");
    let (status, said, _dir) = program.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
}
