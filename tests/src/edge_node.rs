//! An edge node of the tests' own, which speaks the channel and nothing else: what a cloud says can be looked at message
//! by message, and hundreds of them fit into one process.
//!
//! It is written on `edge-link`, as agent and bridge are; what real EdgeCores and CloudCores make of the channel is shown
//! by the interop tests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use cloud_bridge::identity::{Pair, Sec1};
use device_model::Timestamp;
use edge_link::content::{self, Hello, Welcome};
use edge_link::words::{group, operation, source};
use edge_link::{Message, MessageId, Resource, Route, frame};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivateSec1KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// How long a cloud may take to say something that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a node says that it lives, as EdgeCore does; a cloud ends the link of one that did not for twice as long.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The project that every EdgeCore names unless it is told another.
const PROJECT: &str = "e632aba927ea4ac2b575ec1603d56f10";

/// Whose words a node uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As our agent.
    Ours,
    /// As KubeEdge's EdgeCore.
    EdgeCore,
}

/// By what a node is known and knows its cloud.
#[derive(Clone, Debug)]
pub struct Papers {
    /// The cloud's certificate authority.
    pub authority: CertificateDer<'static>,
    /// The node's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key, PKCS#8.
    pub key: Vec<u8>,
}

impl Papers {
    /// A certificate for `common_name`, issued by the authority whose files a bridge has in `folder`.
    ///
    /// # Errors
    /// The authority is not there.
    pub fn by(folder: &Path, common_name: &str) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let certificate = CertificateDer::from_pem_slice(read("rootCA.crt")?.as_bytes())?;
        let key = PrivateSec1KeyDer::from_pem_slice(read("rootCA.key")?.as_bytes())?;
        let key = key.secret_sec1_der().to_vec();
        Self::of(&Pair { certificate: certificate.to_vec(), key }, common_name)
    }

    /// The same by `authority`, whose key is SEC1, as bridge and CloudCore have it.
    ///
    /// # Errors
    /// It is no certificate authority.
    pub fn of(authority: &Pair, common_name: &str) -> Result<Self> {
        let key = Sec1::parse(&authority.key)?.to_pkcs8();
        let authority = CertificateDer::from(authority.certificate.clone());
        Self::issue(&authority, &key, common_name)
    }

    /// The same by that authority with its key, PKCS#8.
    ///
    /// # Errors
    /// They are no certificate authority.
    pub fn issue(
        authority: &CertificateDer<'static>,
        key: &[u8],
        common_name: &str,
    ) -> Result<Self> {
        let issuer = Issuer::from_ca_cert_der(authority, KeyPair::try_from(key)?)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let authority = authority.clone();
        Ok(Self { authority, certificate: certificate.der().clone(), key: key.serialize_der() })
    }
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// One link to a cloud.
#[derive(Debug)]
pub struct EdgeNode {
    /// Its name.
    pub name: String,
    /// Whether the cloud said that it is ours.
    pub cloud_is_ours: bool,
    sink: Arc<Mutex<SplitSink<Socket, Frame>>>,
    stream: SplitStream<Socket>,
    /// Says that the node lives, whatever the test does meanwhile.
    alive: JoinSet<()>,
}

impl EdgeNode {
    /// Connects `name` to the cloud at `address` and says that it lives, from then on.
    ///
    /// # Errors
    /// It is refused; the error says with which status and words.
    pub async fn connect(
        address: SocketAddr,
        papers: &Papers,
        name: &str,
        kind: Kind,
    ) -> Result<Self> {
        let mut node = Self::dial(address, Some(papers), &papers.authority, name, kind).await?;
        node.send(&Message::keepalive(MessageId::random(), now())).await?;
        let sink = node.sink.clone();
        node.alive.spawn(async move {
            loop {
                sleep(KEEPALIVE).await;
                let keepalive = frame::write(&Message::keepalive(MessageId::random(), now()));
                if sink.lock().await.send(Frame::Binary(keepalive.into())).await.is_err() {
                    return;
                }
            }
        });
        Ok(node)
    }

    /// Connects under `name` with these papers, or none, and says nothing.
    ///
    /// # Errors
    /// It is refused; the error says with which status and words.
    pub async fn dial(
        address: SocketAddr,
        papers: Option<&Papers>,
        authority: &CertificateDer<'static>,
        name: &str,
        kind: Kind,
    ) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match papers {
            Some(papers) => builder.with_client_auth_cert(
                vec![papers.certificate.clone()],
                PrivateKeyDer::Pkcs8(papers.key.clone().into()),
            )?,
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
        let url = format!("wss://{address}/{PROJECT}/{name}/events");
        let mut request = url.into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("node_id", name.parse()?);
        headers.insert("project_id", PROJECT.parse()?);
        headers.insert("ConnectionUse", "msg".parse()?);
        if kind == Kind::Ours {
            headers.insert("Edgetwin-Link", "1".parse()?);
        }
        let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(0);
        let upgrading = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let (socket, response) = match timeout(PATIENCE, upgrading).await? {
            Ok(upgraded) => upgraded,
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                bail!("{}: {}", response.status(), String::from_utf8_lossy(&body));
            }
            Err(error) => return Err(error.into()),
        };
        let cloud_is_ours = response.headers().contains_key("Edgetwin-Link");
        let (sink, stream) = socket.split();
        let sink = Arc::new(Mutex::new(sink));
        Ok(Self { name: name.to_owned(), cloud_is_ours, sink, stream, alive: JoinSet::new() })
    }

    /// Says `message`.
    ///
    /// # Errors
    /// The link is over.
    pub async fn send(&mut self, message: &Message) -> Result<()> {
        self.send_octets(frame::write(message)).await
    }

    /// Sends octets that may be no message.
    ///
    /// # Errors
    /// The link is over.
    pub async fn send_octets(&mut self, octets: Vec<u8>) -> Result<()> {
        Ok(self.sink.lock().await.send(Frame::Binary(octets.into())).await?)
    }

    /// What the cloud says next; pings are answered meanwhile.
    ///
    /// # Errors
    /// The link is over, or nothing comes.
    pub async fn next(&mut self) -> Result<Message> {
        timeout(PATIENCE, self.read()).await.context("the cloud says nothing")?
    }

    /// The same, however long it takes.
    ///
    /// # Errors
    /// The link is over.
    pub async fn next_whenever(&mut self) -> Result<Message> {
        self.read().await
    }

    async fn read(&mut self) -> Result<Message> {
        loop {
            let octets = match self.stream.next().await.context("the cloud ended the link")?? {
                Frame::Text(text) => bytes::Bytes::from(text),
                Frame::Binary(octets) => octets,
                Frame::Close(_) => bail!("the cloud ended the link"),
                _ => continue,
            };
            return Ok(frame::read(&octets, frame::FRAME_LIMIT)?);
        }
    }

    /// The first message for which `wanted` is true; those before it are acknowledged where that is due, and left.
    ///
    /// # Errors
    /// The link is over, or it does not come.
    pub async fn wait_for(&mut self, wanted: impl Fn(&Message) -> bool) -> Result<Message> {
        let waiting = async {
            loop {
                let message = self.read().await?;
                if wanted(&message) {
                    return Ok(message);
                }
                self.acknowledge(&message).await?;
            }
        };
        timeout(PATIENCE, waiting).await.context("the cloud does not say it")?
    }

    /// Acknowledges `message`, if that is due.
    ///
    /// # Errors
    /// The link is over.
    pub async fn acknowledge(&mut self, message: &Message) -> Result<()> {
        let due = message.wants_acknowledgement();
        match message.acknowledgement(MessageId::random(), now()).filter(|_| due) {
            Some(acknowledgement) => self.send(&acknowledgement).await,
            None => Ok(()),
        }
    }

    /// Says what it has, as our agent does, and waits for the welcome.
    ///
    /// # Errors
    /// The link is over, or no welcome comes.
    pub async fn hello(&mut self, hello: &Hello) -> Result<Welcome> {
        let answer = self
            .ask(
                source::EDGETWIN,
                group::RESOURCE,
                operation::QUERY,
                "edgetwin/hello",
                content::json(hello),
            )
            .await?;
        Ok(content::read(&answer.content)?)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The link is over, or no answer comes.
    pub async fn ask(
        &mut self,
        source: &str,
        group: &str,
        operation: &str,
        resource: &str,
        content: serde_json::Value,
    ) -> Result<Message> {
        let mut route = Route::new(source, group, operation, &Resource::Node);
        route.resource = Some(resource.to_owned());
        let message = Message::new(MessageId::random(), now(), route, content);
        self.send(&message).await?;
        let id = message.header.id;
        self.wait_for(|answer| answer.header.parent == id).await
    }

    /// Waits until the cloud ends the link.
    ///
    /// # Errors
    /// It does not.
    pub async fn ended(&mut self) -> Result<()> {
        let ended = async { while self.read().await.is_ok() {} };
        timeout(PATIENCE * 2, ended).await.context("the cloud does not end the link")
    }
}

/// The time of this machine.
pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
