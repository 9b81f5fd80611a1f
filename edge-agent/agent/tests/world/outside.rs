//! What stands outside of the agent: a broker, and a gate on the way to it.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge_agent::config::MqttMode;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::{BrokerConfig, MqttBroker};
use mqtt5::packet::connect::ConnectPacket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::mapper::FakeMapper;
use super::{World, eventually};

/// A broker of its own; gone when dropped, with all sessions.
pub(crate) struct Outside {
    pub(crate) address: SocketAddr,
    refused: Arc<Mutex<Vec<String>>>,
    router: Arc<MessageRouter>,
    _tasks: JoinSet<()>,
}

/// How long single reports took.
#[derive(Debug, Default)]
pub(crate) struct Pace(Vec<Duration>);

impl Pace {
    /// That of an agent of its own that knows no broker.
    pub(crate) async fn alone() -> Self {
        let world = World::start(&[("pump", "")], |config| config.mqtt.mode = MqttMode::Off).await;
        let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
        let mut pace = Self::default();
        for number in 0..200 {
            let speed = number.to_string();
            pace.note(mapper.report("pump", &[("speed", &speed, &[])])).await.unwrap();
        }
        pace
    }

    /// Waits for one that must not wait for a broker, on however busy a machine: whoever waited for one that is not there,
    /// or does not answer, would wait longer.
    pub(crate) async fn note<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        let begin = Instant::now();
        match tokio::time::timeout(Duration::from_secs(5), waiting).await {
            Ok(value) => {
                self.0.push(begin.elapsed());
                value
            }
            Err(_) => panic!("it waited for the broker"),
        }
    }

    /// Half of them took no longer.
    fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }

    /// That they took about as long as without a broker: what waited, if only for a little, would be far behind.
    pub(crate) fn keeps_up_with(&self, alone: &Self) {
        let (here, alone) = (self.median(), alone.median());
        let most = 10 * alone + Duration::from_millis(50);
        assert!(here <= most, "{here:?}, and {alone:?} without a broker");
    }
}

/// Lets everybody do anything, but for some filters.
struct Rules(Arc<Mutex<Vec<String>>>);

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Rules {
    fn authenticate<'a>(
        &'a self,
        _: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Answer<'a, mqtt5::error::Result<AuthResult>> {
        Box::pin(ready(Ok(AuthResult::success())))
    }

    fn authorize_publish<'a>(
        &'a self,
        _: &str,
        _: Option<&'a str>,
        _: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(ready(true))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _: &str,
        _: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let refused = self.0.lock().unwrap().iter().any(|one| one == filter);
        Box::pin(ready(!refused))
    }
}

impl Outside {
    /// How many filters somebody is subscribed to.
    pub(crate) async fn filters(&self) -> usize {
        self.router.topic_count().await
    }

    /// Refuses these filters from now on, and no others.
    pub(crate) fn refuse(&self, filters: &[&str]) {
        *self.refused.lock().unwrap() = filters.iter().map(ToString::to_string).collect();
    }

    /// On a free port.
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let storage_config =
            StorageConfig { backend: StorageBackend::Memory, ..StorageConfig::default() };
        let config = BrokerConfig {
            bind_addresses: vec![address],
            storage_config,
            session_expiry_interval: Duration::from_secs(3600),
            sys_topics_enabled: false,
            ..BrokerConfig::default()
        };
        let started = async || MqttBroker::with_config(config.clone()).await.ok();
        let broker = eventually("the address of the broker", started).await;
        let refused = Arc::default();
        let mut broker = broker.with_auth_provider(Arc::new(Rules(Arc::clone(&refused))));
        let address = broker.local_addr().unwrap();
        let router = broker.router();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // It ends with the test.
            let _ = broker.run().await;
        });
        Self { address, refused, router, _tasks: tasks }
    }

    /// An address where nobody listens.
    pub(crate) async fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }
}

/// What becomes of what comes through a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Open,
    /// Connections stand, and nothing moves.
    Frozen,
    /// Connections end.
    Cut,
}

/// What becomes of what comes from the near side with some octets in it.
#[derive(Clone, Copy, Debug)]
enum Offence {
    None,
    /// It ends the connection.
    Ends(&'static [u8]),
    /// It goes nowhere.
    Swallowed(&'static [u8]),
}

/// A way to a broker that can be closed.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    offence: Arc<watch::Sender<Offence>>,
    tries: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let mut tasks = JoinSet::new();
        let ways = way.clone();
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let offence = Arc::new(watch::Sender::new(Offence::None));
        let offences = offence.subscribe();
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                let (ways, offences) = (ways.clone(), offences.clone());
                // Where one direction ends, so does the other.
                streams.spawn(async move {
                    let none = watch::Sender::new(Offence::None).subscribe();
                    tokio::select! {
                        () = pass(near_in, far_out, ways.subscribe(), offences) => {}
                        () = pass(far_in, near_out, ways.subscribe(), none) => {}
                    }
                });
            }
        });
        Self { address, way, offence, tries, _tasks: tasks }
    }

    /// Connections that were made to it, whatever became of them.
    pub(crate) fn tries(&self) -> usize {
        self.tries.load(Ordering::Relaxed)
    }

    /// Ends each connection over which these octets come from the near side, as a broker does that takes offence at them.
    pub(crate) fn take_offence(&self, at: &'static [u8]) {
        self.offence.send_replace(Offence::Ends(at));
    }

    /// Swallows each packet with these octets that comes from the near side.
    pub(crate) fn swallow(&self, octets: &'static [u8]) {
        self.offence.send_replace(Offence::Swallowed(octets));
    }

    pub(crate) fn freeze(&self) {
        self.way.send_replace(Way::Frozen);
    }

    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub(crate) fn open(&self) {
        self.way.send_replace(Way::Open);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    offence: watch::Receiver<Offence>,
) {
    let mut buffer = vec![0; 4096];
    loop {
        let present = *way.borrow_and_update();
        match present {
            Way::Cut => return,
            Way::Frozen => {
                if way.changed().await.is_err() {
                    return;
                }
            }
            Way::Open => tokio::select! {
                changed = way.changed() => if changed.is_err() { return },
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        let octets = &buffer[..count];
                        let present = *offence.borrow();
                        match present {
                            Offence::Ends(words) if holds(octets, words) => return,
                            Offence::Swallowed(words) if holds(octets, words) => continue,
                            _ => if to.write_all(octets).await.is_err() { return },
                        }
                    }
                },
            },
        }
    }
}

/// A short packet comes in one piece.
fn holds(octets: &[u8], words: &[u8]) -> bool {
    octets.windows(words.len()).any(|window| window == words)
}
