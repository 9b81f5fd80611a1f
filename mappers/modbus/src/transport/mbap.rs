//! Modbus TCP: every frame carries a transaction id, so a late answer is known and dropped, and the connection
//! stays. One request is in flight; the id would carry several.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mapper_sdk::FrameTap;
use rmodbus::ModbusProto;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Answer, LONGEST_FRAME, NoAnswer, frame, lost, receive};
use crate::frame::{Ask, tcp_length};

/// Header before the function code: transaction, protocol, length, unit.
const HEADER: usize = 7;
/// Requests without an answer that are remembered. A device that never answers fills it and nothing is lost: an id
/// comes again only after 65,536 requests.
const OWED: usize = 256;

/// A Modbus TCP connection over any stream.
pub(crate) struct Mbap<S> {
    stream: S,
    pause: Duration,
    quiet_since: Instant,
    transaction: u16,
    /// Ids of requests that were given up; not used again before their answer came.
    owed: VecDeque<u16>,
    /// A request is on its way out: if the call is dropped then, half of it may be in the stream.
    sending: bool,
    outbox: Vec<u8>,
    inbox: BytesMut,
    /// Length of the answer that the last exchange returned, still at the front of the inbox.
    answered: usize,
    discarded: u64,
    frames: FrameTap,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Mbap<S> {
    /// `pause`: silence that is kept before each request.
    pub(crate) fn new(stream: S, pause: Duration) -> Self {
        Self {
            stream,
            pause,
            quiet_since: Instant::now(),
            transaction: 0,
            owed: VecDeque::new(),
            sending: false,
            outbox: Vec::with_capacity(LONGEST_FRAME),
            inbox: BytesMut::with_capacity(1024),
            answered: 0,
            discarded: 0,
            frames: FrameTap::default(),
        }
    }

    pub(crate) fn show(&mut self, frames: FrameTap) {
        self.frames = frames;
    }

    pub(crate) fn discarded(&self) -> u64 {
        self.discarded
    }

    pub(crate) async fn exchange(
        &mut self,
        unit: u8,
        patience: Duration,
        ask: &Ask<'_>,
    ) -> Result<Answer<'_>, NoAnswer> {
        if self.sending {
            return Err(NoAnswer::Lost("a call was dropped with half a request sent".into()));
        }
        self.inbox.advance(std::mem::take(&mut self.answered));
        if !self.pause.is_zero() {
            sleep_until(self.quiet_since + self.pause).await;
        }
        let transaction = self.next_transaction();
        frame(ask, ModbusProto::TcpUdp, transaction, unit, &mut self.outbox)?;
        self.frames.sent(&self.outbox);
        let before = self.discarded;
        let answer = timeout(patience, async {
            self.sending = true;
            self.stream.write_all(&self.outbox).await.map_err(|error| lost("send", &error))?;
            self.sending = false;
            loop {
                if let Some(length) = self.answer_to(transaction, unit)? {
                    return Ok(length);
                }
                receive(&mut self.stream, &mut self.inbox).await?;
            }
        })
        .await;
        self.quiet_since = Instant::now();
        match answer {
            Ok(length) => {
                let length = length?;
                self.answered = length;
                self.frames.received(&self.inbox[..length]);
                Ok(ask.judge(&self.inbox[HEADER..length]).into())
            }
            Err(_) => {
                if self.owed.len() == OWED {
                    self.owed.pop_front();
                }
                self.owed.push_back(transaction);
                let others = match self.discarded - before {
                    0 => String::new(),
                    n => format!(" ({n} answers to other requests were dropped)"),
                };
                Err(NoAnswer::Silent(format!("unit {unit} said nothing for {patience:?}{others}")))
            }
        }
    }

    fn next_transaction(&mut self) -> u16 {
        loop {
            self.transaction = self.transaction.wrapping_add(1);
            if !self.owed.contains(&self.transaction) {
                return self.transaction;
            }
        }
    }

    /// Length of the answer at the front of the inbox, once it is there; what is no answer is dropped.
    fn answer_to(&mut self, transaction: u16, unit: u8) -> Result<Option<usize>, NoAnswer> {
        loop {
            let length = tcp_length(&self.inbox).map_err(|_| {
                self.frames.discarded(&self.inbox);
                NoAnswer::Lost("received bytes that are no Modbus TCP frame".into())
            })?;
            let Some(length) = length.filter(|length| *length <= self.inbox.len()) else {
                return Ok(None);
            };
            let id = u16::from_be_bytes([self.inbox[0], self.inbox[1]]);
            if id == transaction && self.inbox[HEADER - 1] == unit {
                return Ok(Some(length));
            }
            self.owed.retain(|owed| *owed != id);
            self.discarded += 1;
            self.frames.discarded(&self.inbox[..length]);
            self.inbox.advance(length);
        }
    }
}

#[cfg(test)]
mod tests;
