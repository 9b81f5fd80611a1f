//! A running simulation: its units and the servers in front of them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::blueprint::Blueprint;
use crate::counters::Counters;
use crate::handle::Handle;
use crate::pty::Pty;
use crate::server::line::{End, Line, LineOptions};
use crate::server::tcp::{self, Framing};
use crate::units::Units;

/// Simulated units and the servers that they answer on.
///
/// All servers show the same units. Dropping the simulation ends them at once, [`Simulation::stop`] in order.
#[derive(Debug)]
pub struct Simulation {
    units: Arc<Units>,
    handle: Handle,
    servers: JoinSet<()>,
    stop: CancellationToken,
}

impl Simulation {
    /// Starts the clock of the units; nothing is served yet.
    pub fn new(blueprint: Blueprint) -> Self {
        let Blueprint { layouts, places, seed } = blueprint;
        let units = Arc::new(Units::new(layouts, places, seed));
        let handle = Handle::new(units.clone());
        Self { units, handle, servers: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// Registers, faults and counters, also after the simulation has moved elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves Modbus TCP on `listener`; answers with its address.
    ///
    /// # Errors
    /// The listener does not know its address.
    pub fn serve_tcp(&mut self, listener: TcpListener) -> io::Result<SocketAddr> {
        self.listen(listener, Framing::Mbap)
    }

    /// Serves RTU frames on TCP connections, as serial device servers carry them; answers with the listener's address.
    ///
    /// # Errors
    /// The listener does not know its address.
    pub fn serve_rtu_over_tcp(&mut self, listener: TcpListener) -> io::Result<SocketAddr> {
        self.listen(listener, Framing::Rtu(LineOptions::default()))
    }

    /// Serves RTU on a serial device or anything else that carries bytes both ways.
    pub fn serve_rtu<P>(&mut self, port: P, options: LineOptions)
    where
        P: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut line = Line::new(self.units.clone(), port, options);
        let stop = self.stop.clone();
        self.servers.spawn(async move {
            loop {
                let ended = tokio::select! {
                    () = stop.cancelled() => return,
                    ended = line.run() => ended,
                };
                match ended {
                    // There is no connection to reset: the answer is lost and the line goes on.
                    Ok(End::Reset) => {}
                    Ok(End::Closed) => return warn!("serial line closed"),
                    Err(error) => return warn!(%error, "serial line lost"),
                }
            }
        });
    }

    /// Serves RTU on a new pseudo-terminal; answers with the device that clients open.
    ///
    /// # Errors
    /// The system has no pseudo-terminal left.
    pub fn serve_pty(&mut self, options: LineOptions) -> io::Result<PathBuf> {
        let pty = Pty::open()?;
        let path = pty.path().to_owned();
        self.serve_rtu(pty, options);
        Ok(path)
    }

    /// Serves until `stop`, or until every server ended by itself; answers with what was counted.
    pub async fn run(mut self, stop: CancellationToken) -> Counters {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.all_ended() => {}
        }
        self.stop().await
    }

    /// Closes every connection and line, waits for their tasks, and answers with what was counted.
    pub async fn stop(mut self) -> Counters {
        self.stop.cancel();
        self.all_ended().await;
        self.handle.counters()
    }

    fn listen(&mut self, listener: TcpListener, framing: Framing) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let (units, stop) = (self.units.clone(), self.stop.clone());
        self.servers.spawn(tcp::listen(units, listener, address, framing, stop));
        Ok(address)
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.servers.join_next().await {
            if let Err(error) = ended {
                warn!(%error, "server ended");
            }
        }
    }
}
