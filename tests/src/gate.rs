//! A gate in front of a TCP server that can break connections in each way that a network does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// What is wrong with the way to the server, until [`Gate::mend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The server was killed: its connections are reset, new ones refused.
    Reset,
    /// The server says goodbye: its connections are closed, and new ones as soon as they are open.
    Close,
    /// Nothing comes through and nobody says so: what is sent is swallowed, and a new connection never opens,
    /// because its first packet is dropped.
    BlackHole,
    /// The server lost its memory without a word: old connections stay open and are never answered; new ones are
    /// served at once.
    HalfOpen,
}

/// Connections that may wait to be accepted; the kernel lets one more in.
const BACKLOG: u32 = 1;
/// After so long without an answer the queue is full.
const STUFFED: Duration = Duration::from_millis(200);
/// Octets that pass at once; fewer where the way is narrow.
const PIECE: (usize, usize) = (16 * 1024, 1024);
/// Octets that wait in the kernel at a narrow way.
const NARROW_BUFFER: u32 = 8 * 1024;

/// The gate. Dropping it closes everything.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    orders: mpsc::Sender<(Order, oneshot::Sender<Result<()>>)>,
    accepted: Arc<AtomicU64>,
    _keeper: JoinSet<()>,
}

#[derive(Debug)]
enum Order {
    LeadTo(SocketAddr),
    Break(Outage),
    Narrow(Option<u32>),
    Mend,
}

impl Gate {
    /// A gate on a free port that leads nowhere yet.
    ///
    /// # Errors
    /// No port is free.
    pub fn open() -> Result<Self> {
        // Bound and never listening: nobody else gets the port while the gate refuses connections.
        let reserve = TcpSocket::new_v4()?;
        reserve.set_reuseaddr(true)?;
        reserve.bind("127.0.0.1:0".parse()?)?;
        let address = reserve.local_addr()?;
        let (orders, inbox) = mpsc::channel(1);
        let accepted = Arc::<AtomicU64>::default();
        let keeper = Keeper {
            _reserve: reserve,
            address,
            target: None,
            listener: None,
            blocked: false,
            closing: false,
            stuffing: Vec::new(),
            ways: JoinSet::new(),
            ends: watch::Sender::new(End::None),
            width: watch::Sender::new(None),
            accepted: accepted.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run(inbox));
        Ok(Self { address, orders, accepted, _keeper: tasks })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that clients opened so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Opens the way to `server`.
    ///
    /// # Errors
    /// The gate cannot listen.
    pub async fn lead_to(&self, server: SocketAddr) -> Result<()> {
        self.order(Order::LeadTo(server)).await
    }

    /// Lets so many octets a second through each connection and direction, or all of them again. Connections that are
    /// opened after the next [`Gate::mend`] have small buffers, too, as those of a slow link have.
    ///
    /// # Errors
    /// The gate is gone.
    pub async fn narrow(&self, width: Option<u32>) -> Result<()> {
        self.order(Order::Narrow(width)).await
    }

    /// Breaks the way; it is broken when this returns.
    ///
    /// # Errors
    /// A black hole could not be made.
    pub async fn interrupt(&self, outage: Outage) -> Result<()> {
        self.order(Order::Break(outage)).await
    }

    /// Everything is as it was, but for connections that are lost.
    ///
    /// # Errors
    /// The gate cannot listen again.
    pub async fn mend(&self) -> Result<()> {
        self.order(Order::Mend).await
    }

    async fn order(&self, order: Order) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send((order, done)).await.ok().context("the gate is gone")?;
        answer.await.context("the gate is gone")?
    }
}

/// What becomes of the connections that are open.
#[derive(Clone, Copy, Debug)]
enum End {
    None,
    Reset,
    Close,
    Abandon,
}

struct Keeper {
    _reserve: TcpSocket,
    address: SocketAddr,
    target: Option<SocketAddr>,
    listener: Option<TcpListener>,
    /// Connections wait in the listener's queue, which is full: the kernel drops the first packet of others.
    blocked: bool,
    closing: bool,
    stuffing: Vec<TcpStream>,
    ways: JoinSet<()>,
    ends: watch::Sender<End>,
    /// Octets a second, where the way is narrow.
    width: watch::Sender<Option<u32>>,
    accepted: Arc<AtomicU64>,
}

impl Keeper {
    async fn run(mut self, mut inbox: mpsc::Receiver<(Order, oneshot::Sender<Result<()>>)>) {
        loop {
            let accept = async {
                match &self.listener {
                    Some(listener) if !self.blocked => listener.accept().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                order = inbox.recv() => {
                    let Some((order, done)) = order else { return };
                    let _ = done.send(self.obey(order).await);
                }
                accepted = accept => {
                    if let Ok((client, _)) = accepted {
                        self.admit(client);
                    }
                }
                Some(_) = self.ways.join_next(), if !self.ways.is_empty() => {}
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<()> {
        match order {
            Order::LeadTo(server) => {
                self.target = Some(server);
                self.listen()
            }
            Order::Narrow(width) => {
                self.width.send_replace(width);
                Ok(())
            }
            Order::Break(Outage::Reset) => {
                self.listener = None;
                self.end_all(End::Reset);
                Ok(())
            }
            Order::Break(Outage::Close) => {
                self.closing = true;
                self.end_all(End::Close);
                Ok(())
            }
            Order::Break(Outage::HalfOpen) => {
                self.end_all(End::Abandon);
                Ok(())
            }
            Order::Break(Outage::BlackHole) => {
                self.blocked = true;
                self.end_all(End::Abandon);
                self.stuff().await
            }
            Order::Mend => {
                self.closing = false;
                self.blocked = false;
                // Whoever waited in the queue of a dead server is not served by the living one.
                self.listener = None;
                self.stuffing.clear();
                self.listen()
            }
        }
    }

    fn listen(&mut self) -> Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        if self.width.borrow().is_some() {
            socket.set_recv_buffer_size(NARROW_BUFFER)?;
        }
        self.listener = Some(socket.listen(BACKLOG)?);
        Ok(())
    }

    /// Fills the queue of the listener.
    async fn stuff(&mut self) -> Result<()> {
        for _ in 0..=BACKLOG {
            let connect = tokio::time::timeout(STUFFED, TcpStream::connect(self.address));
            match connect.await {
                Ok(stream) => self.stuffing.push(stream?),
                // Somebody else was faster: the queue is full.
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn end_all(&mut self, end: End) {
        self.ends.send_replace(end);
        self.ends = watch::Sender::new(End::None);
    }

    fn admit(&mut self, client: TcpStream) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        if let (Some(server), false) = (self.target, self.closing) {
            let (ends, width) = (self.ends.subscribe(), self.width.subscribe());
            self.ways.spawn(serve(client, server, ends, width));
        }
    }
}

async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    mut ends: watch::Receiver<End>,
    width: watch::Receiver<Option<u32>>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        () = carry(&mut client, &mut server, width) => return,
        _ = ends.changed() => {}
    }
    drop(server);
    let end = *ends.borrow();
    match end {
        End::Reset => {
            let _ = client.set_zero_linger();
        }
        End::Abandon => {
            // The kernel acknowledges, nobody answers.
            let _ = tokio::io::copy(&mut client, &mut sink()).await;
        }
        End::Close => {
            let _ = client.shutdown().await;
            let _ = client.read(&mut [0; 260]).await;
        }
        End::None => {}
    }
}

/// Carries what comes from either side to the other, until both have said all or one is gone.
async fn carry(
    client: &mut TcpStream,
    server: &mut TcpStream,
    width: watch::Receiver<Option<u32>>,
) {
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let up = one_way(from_client, to_server, width.clone());
    // It was broken, or closed: either way it is over.
    let _ = tokio::try_join!(up, one_way(from_server, to_client, width));
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    width: watch::Receiver<Option<u32>>,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE.0];
    // Until then a narrow way is taken by what went through it.
    let mut taken = Instant::now();
    loop {
        let wide = width.borrow().is_none();
        let count = from.read(&mut piece[..if wide { PIECE.0 } else { PIECE.1 }]).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..count]).await?;
        let width = *width.borrow();
        if let Some(width) = width {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            taken = taken.max(Instant::now()) + Duration::from_secs(1) * count / width.max(1);
            sleep_until(taken).await;
        }
    }
}
