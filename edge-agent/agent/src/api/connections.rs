//! Connections of a listener: so many at a time, each of which has so long to say what it wants.
//!
//! Who may ask is known with the head of a request alone, and beyond loopback anybody can connect: what comes before
//! that must cost little, and end by itself.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at a time. Others wait with the system until one ends.
const MOST: usize = 256;
/// How long a handshake may take, and then the head of a request, also of the next one.
const HEAD: Duration = Duration::from_secs(10);
/// Rest after the system has no connection to give, such as for want of file descriptors.
const REST: Duration = Duration::from_secs(1);

/// Answers what is asked by `routes` over each connection that `accept` gives and `greet` finds right, until `stop`. Then
/// what is under way is brought to its end.
pub(super) async fn serve<Raw, Io, Greeted>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<Raw>>,
    greet: impl Fn(Raw) -> Greeted,
    routes: Router,
    stop: &CancellationToken,
) where
    Greeted: Future<Output = io::Result<Io>> + Send + 'static,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connections = JoinSet::new();
    // Each is told once.
    let (mut full, mut starved) = (false, false);
    loop {
        let room = connections.len() < MOST;
        full = full && connections.len() > MOST / 2;
        if !room && !std::mem::replace(&mut full, true) {
            warn!(connections = MOST, "the API has no room for further connections; they wait");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = poll_fn(&mut accept), if room => match accepted {
                Ok(raw) => {
                    starved = false;
                    connections.spawn(connection(greet(raw), routes.clone(), stop.clone()));
                }
                Err(error) => {
                    if !std::mem::replace(&mut starved, true) {
                        warn!(%error, "no connection to be had for the API");
                    }
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
    // Nobody new is let in.
    drop(accept);
    while connections.join_next().await.is_some() {}
}

async fn connection<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    greeted: impl Future<Output = io::Result<Io>>,
    routes: Router,
    stop: CancellationToken,
) {
    let greeted = tokio::select! {
        () = stop.cancelled() => return,
        greeted = timeout(HEAD, greeted) => greeted.unwrap_or_else(|late| Err(late.into())),
    };
    let io = match greeted {
        Ok(io) => io,
        // Whoever knocks without TLS knows it already.
        Err(error) => return debug!(%error, "TLS handshake"),
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = http.serve_connection(TokioIo::new(io), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection to the API");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    /// What a client says to have the word of the house.
    const ASK: &[u8] = b"GET /word HTTP/1.1\r\nhost: agent\r\n\r\n";

    /// How long an answer takes that is not ready at once.
    const LATE: Duration = Duration::from_millis(300);

    /// A house that answers, and its door.
    struct House {
        door: mpsc::UnboundedSender<io::Result<DuplexStream>>,
        stop: CancellationToken,
        tasks: JoinSet<()>,
    }

    impl House {
        fn open() -> Self {
            let late = async || {
                tokio::time::sleep(LATE).await;
                "late word"
            };
            let routes =
                Router::new().route("/word", get(async || "word")).route("/late", get(late));
            let (door, mut knocks) = mpsc::unbounded_channel();
            let stop = CancellationToken::new();
            let mut tasks = JoinSet::new();
            let stopped = stop.clone();
            tasks.spawn(async move {
                let accept = move |cx: &mut Context<'_>| {
                    knocks.poll_recv(cx).map(|knock| knock.expect("the door is there"))
                };
                serve(accept, async |io| Ok(io), routes, &stopped).await;
            });
            Self { door, stop, tasks }
        }

        fn knock(&self) -> DuplexStream {
            let (ours, theirs) = duplex(64 * 1024);
            self.door.send(Ok(theirs)).unwrap();
            ours
        }
    }

    /// Whether a request over `stream` is answered now.
    async fn asks(stream: &mut DuplexStream) -> bool {
        stream.write_all(ASK).await.unwrap();
        let mut answer = [0; 1024];
        match timeout(Duration::from_millis(1), stream.read(&mut answer)).await {
            Ok(read) => answer[..read.unwrap()].ends_with(b"word"),
            Err(_) => false,
        }
    }

    /// How long until the other side ends `stream`.
    async fn ends(stream: &mut DuplexStream) -> Duration {
        let begin = Instant::now();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        begin.elapsed()
    }

    fn at_the_limit(took: Duration) -> bool {
        (HEAD..HEAD + Duration::from_millis(100)).contains(&took)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_left_after_a_while() {
        let house = House::open();
        let took = ends(&mut house.knock()).await;
        assert!(at_the_limit(took), "{took:?}");
        // One that asked has as long for what it asks next.
        let mut stream = house.knock();
        for _ in 0..3 {
            assert!(asks(&mut stream).await);
            tokio::time::sleep(HEAD / 2).await;
        }
        let took = ends(&mut stream).await;
        assert!(took < HEAD, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_it_octet_by_octet_is_left_too() {
        let house = House::open();
        let (mut reading, mut writing) = tokio::io::split(house.knock());
        let begin = Instant::now();
        let slowly = async {
            for octet in ASK {
                if writing.write_all(&[*octet]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let ended = async {
            let _ = reading.read_to_end(&mut Vec::new()).await;
            begin.elapsed()
        };
        let ((), took) = tokio::join!(slowly, ended);
        assert!(at_the_limit(took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_there_is_room_for_wait_and_are_served_afterwards() {
        let house = House::open();
        let mut inside: Vec<_> = (0..MOST).map(|_| house.knock()).collect();
        for stream in &mut inside {
            assert!(asks(stream).await);
        }
        let mut waiting = house.knock();
        assert!(!asks(&mut waiting).await, "there is no room");
        drop(inside.pop());
        let mut answer = [0; 1024];
        let read = waiting.read(&mut answer).await.unwrap();
        assert!(answer[..read].ends_with(b"word"));
        // Nor do those who are silent keep it: nobody else ends here.
        let mut waiting = house.knock();
        assert!(!asks(&mut waiting).await);
        let read = waiting.read(&mut answer).await.unwrap();
        assert!(answer[..read].ends_with(b"word"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_system_without_connections_to_give_is_asked_again() {
        let house = House::open();
        house.door.send(Err(io::ErrorKind::OutOfMemory.into())).unwrap();
        let mut stream = house.knock();
        stream.write_all(ASK).await.unwrap();
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].ends_with(b"word"));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_who_waits_is_answered_and_who_asked_nothing_holds_up_nobody() {
        let mut house = House::open();
        let (mut silent, mut idle, mut waiting) = (house.knock(), house.knock(), house.knock());
        assert!(asks(&mut idle).await);
        waiting.write_all(b"GET /late HTTP/1.1\r\nhost: agent\r\n\r\n").await.unwrap();
        tokio::time::sleep(LATE / 3).await;
        house.stop.cancel();
        for stream in [&mut silent, &mut idle] {
            assert_eq!(ends(stream).await, Duration::ZERO);
        }
        let mut answer = Vec::new();
        waiting.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"late word"));
        house.tasks.join_next().await.unwrap().unwrap();
    }
}
