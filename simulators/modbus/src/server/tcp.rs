//! Servers on TCP: Modbus TCP, and the loop that accepts connections for both framings.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::effects::{self, LateAnswers};
use super::line::{End, Line, LineOptions};
use crate::codec::mbap;
use crate::units::{Link, Units, Verdict};

/// What is spoken on the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Mbap,
    Rtu(LineOptions),
}

/// Serves connections until `stop`. While the simulation reboots, nobody listens.
pub(crate) async fn listen(
    units: Arc<Units>,
    mut listener: TcpListener,
    address: SocketAddr,
    framing: Framing,
    stop: CancellationToken,
) {
    while let Some(back) = accept(&units, listener, framing, &stop).await {
        let reopened = stop.run_until_cancelled(async {
            tokio::time::sleep_until(back).await;
            reopen(address).await
        });
        let Some(reopened) = reopened.await else { return };
        listener = reopened;
    }
}

async fn reopen(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            // Somebody took the port meanwhile, and may give it back.
            Err(error) => warn!(%address, %error, "listen again after a reboot"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Serves connections until `stop` or a reboot; says when that will be over.
async fn accept(
    units: &Arc<Units>,
    listener: TcpListener,
    framing: Framing,
    stop: &CancellationToken,
) -> Option<Instant> {
    let mut connections = JoinSet::new();
    let mut reboots = units.reboots();
    let back = loop {
        tokio::select! {
            () = stop.cancelled() => break None,
            back = reboots.next() => break Some(back),
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    warn!(%error, "connection ended");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if units.faults.one_connection() && units.tally.current() > 0 {
                        units.tally.refused();
                        debug!(%peer, "refused a second connection");
                        reset(stream);
                        continue;
                    }
                    units.tally.accepted();
                    connections.spawn(serve(units.clone(), stream, framing, stop.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: others must end before this can go on.
                    warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    drop(listener);
    while connections.join_next().await.is_some() {}
    back
}

/// Counts a connection out, however its task ends.
struct Counted(Arc<Units>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.tally.closed();
    }
}

async fn serve(units: Arc<Units>, stream: TcpStream, framing: Framing, stop: CancellationToken) {
    let _counted = Counted(units.clone());
    let mut reboots = units.reboots();
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY");
    }
    match framing {
        Framing::Mbap => {
            let mut connection = Connection {
                units,
                stream,
                input: Vec::with_capacity(INPUT),
                output: Vec::with_capacity(INPUT),
                late: LateAnswers::default(),
            };
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                _ = reboots.next() => Ok(End::Reset),
                ended = connection.run() => ended,
            };
            match ended {
                Ok(End::Reset) => reset(connection.stream),
                Ok(End::Closed) => {}
                Err(error) => debug!(%error, "connection lost"),
            }
        }
        Framing::Rtu(options) => {
            let mut line = Line::new(units, stream, options);
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                _ = reboots.next() => Ok(End::Reset),
                ended = line.run() => ended,
            };
            match ended {
                Ok(End::Reset) => reset(line.into_port()),
                Ok(End::Closed) => {}
                Err(error) => debug!(%error, "connection lost"),
            }
        }
    }
}

/// Closes with RST in place of FIN.
fn reset(stream: TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        debug!(%error, "SO_LINGER");
    }
    drop(stream);
}

/// Room for several requests or answers at once; a frame has at most 260 bytes.
const INPUT: usize = 2048;

/// One Modbus TCP connection.
struct Connection {
    units: Arc<Units>,
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    late: LateAnswers,
}

impl Connection {
    async fn run(&mut self) -> io::Result<End> {
        loop {
            if let Some(end) = self.answer_all().await? {
                return Ok(end);
            }
            tokio::select! {
                read = self.stream.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Ok(End::Closed);
                    }
                }
                () = effects::until(self.late.due()) => {
                    while let Some(frame) = self.late.take() {
                        self.output.extend(frame);
                    }
                    self.flush().await?;
                }
            }
        }
    }

    /// Answers every whole frame that was received, with one write where no fault interferes.
    async fn answer_all(&mut self) -> io::Result<Option<End>> {
        let mut taken = 0;
        let end = loop {
            let frame = match mbap::decode(self.input.get(taken..).unwrap_or_default()) {
                Ok(Some(frame)) => frame,
                Ok(None) => break None,
                Err(error) => {
                    debug!(%error, "bad frame");
                    self.units.tally.bad_frame();
                    break Some(End::Closed);
                }
            };
            let (transaction, unit, size) = (frame.transaction, frame.unit, frame.size);
            taken += size;
            let begin = self.output.len();
            self.output.extend([0; mbap::HEADER]);
            let verdict = self.units.answer(Link::Tcp, unit, frame.pdu, &mut self.output);
            let Verdict::Answer(effects) = verdict else {
                self.output.truncate(begin);
                continue;
            };
            let length = self.output.len() - begin - mbap::HEADER;
            let header = mbap::header(transaction, unit, length);
            if let Some(place) = self.output.get_mut(begin..begin + mbap::HEADER) {
                place.copy_from_slice(&header);
            }
            if effects.is_none() {
                continue;
            }
            let mut frame = self.output.split_off(begin);
            self.flush().await?;
            if effects.reset {
                break Some(End::Reset);
            }
            if effects.misaddressed {
                let header = mbap::header(transaction.wrapping_add(1000), unit, length);
                frame.splice(..mbap::HEADER, header);
            }
            // There is no CRC; a wrong protocol identifier is the damage that a client can see.
            effects::damage(&mut frame, &effects, 2);
            let request = self.input.get(taken - size..taken).unwrap_or_default();
            let (before, lead) = effects::before(request, &effects);
            if !lead.is_zero() {
                self.stream.write_all(&before).await?;
                tokio::time::sleep(lead).await;
            }
            let frame = if lead.is_zero() { [before, frame].concat() } else { frame };
            if let Some(delay) = effects.delay {
                tokio::time::sleep(delay).await;
            }
            match (effects.late, effects.merge) {
                (Some(after), _) => self.late.push(after, frame),
                (None, Some(at_most)) => self.late.hold(at_most, &frame),
                (None, None) => self.output = frame,
            }
        };
        self.input.drain(..taken);
        self.flush().await?;
        if taken > 0 {
            self.units.tally.notify();
        }
        Ok(end)
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.output.splice(..0, self.late.held());
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }
}
