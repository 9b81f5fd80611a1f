//! RTU frames, on a serial line or in a TCP stream. Nothing in a frame says which request it answers, so order and
//! silence must.
//!
//! ```text
//!            request             right answer
//!   quiet ───────────▶ waiting ──────────────────▶ quiet
//!     ▲                   │ time out, damaged answer
//!     │ nothing comes     ▼
//!     └────────────── draining ──▶ lost, if it never gets quiet
//! ```
//!
//! Three rules keep a late answer from being taken for the next one:
//! 1. After a time-out or a damaged answer the line must be quiet for a while before the next request to anybody.
//! 2. A frame of another unit, of another function or length, is dropped and counted.
//! 3. A unit that did not answer is not asked again before its answer came late, or could have come: twice its
//!    time-out ([`owing_time`]). Other units are, since their frames carry their own number.
//!
//! Noise is no answer: it is passed over, and the answer that may stand behind it is still waited for, and owed. Damaged
//! or cut is what begins as the answer must, and is not whole or has a wrong checksum.
//!
//! An RS-485 adapter that hears itself gives back the request first; that is dropped, except after functions 5 and 6,
//! whose answer is the request again.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use mapper_sdk::FrameTap;
use rmodbus::ModbusProto;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{Answer, LONGEST_FRAME, NoAnswer, frame, lost, receive};
use crate::frame::{Ask, Verdict, checksum_is_right, rtu_length};
use crate::serial_line::SerialLine;

/// Least silence after a time-out or a damaged answer. Lines on which the longest answer takes longer get that much.
const SETTLE: Duration = Duration::from_millis(100);
/// A line that is not quiet after this time has another master on it, or a broken transceiver.
const NEVER_QUIET: Duration = Duration::from_secs(3);
/// Unit and checksum around function and data.
const FRAMING: usize = 3;

/// How long after its time-out a unit may still come with the answer.
fn owing_time(patience: Duration) -> Duration {
    (patience * 2).clamp(Duration::from_millis(500), Duration::from_secs(10))
}

/// Times of a line.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    line: Option<SerialLine>,
    /// Silence before a request.
    gap: Duration,
}

impl Pace {
    /// A serial line; `gap` in place of 3.5 characters.
    pub(crate) fn of(line: &SerialLine, gap: Option<Duration>) -> Self {
        Self { gap: gap.unwrap_or_else(|| line.silence()), line: Some(line.clone()) }
    }

    /// A stream behind which a line may be; how fast, nobody knows.
    pub(crate) fn of_stream(gap: Duration) -> Self {
        Self { line: None, gap }
    }

    /// How long `bytes` are on the line.
    fn time_of(&self, bytes: usize) -> Duration {
        let characters = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.line.as_ref().map_or(Duration::ZERO, |line| line.time_of(characters))
    }
}

/// What the inbox holds.
enum Found {
    /// A frame of this length with a right checksum, at the front.
    Frame(usize),
    /// The answer, with a wrong checksum.
    Damaged,
    /// The beginning of the answer.
    Beginning,
    /// Nothing, noise, or too little to tell.
    Nothing,
}

/// An RTU line over any stream.
pub(crate) struct Rtu<S> {
    stream: S,
    pace: Pace,
    /// When the last byte went or came, or the last wait ended.
    quiet_since: Instant,
    /// Whether a request is on its way. Still so at the next one: its call was dropped.
    asking: bool,
    /// How long the line must be quiet before the next request.
    settle: Duration,
    /// Units that may still come with a late answer, and until when.
    owing: Vec<(u8, Instant)>,
    outbox: Vec<u8>,
    inbox: BytesMut,
    /// Length of the answer that the last exchange returned, still at the front of the inbox.
    answered: usize,
    discarded: u64,
    frames: FrameTap,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Rtu<S> {
    pub(crate) fn new(stream: S, pace: Pace) -> Self {
        Self {
            stream,
            pace,
            quiet_since: Instant::now(),
            asking: false,
            settle: Duration::ZERO,
            owing: Vec::new(),
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
        self.inbox.advance(std::mem::take(&mut self.answered));
        if std::mem::take(&mut self.asking) {
            self.quiet_since = Instant::now();
        }
        self.quieten(unit).await?;
        frame(ask, ModbusProto::Rtu, 0, unit, &mut self.outbox)?;
        let longest = FRAMING + ask.answer_length();
        // The kernel takes the bytes at once; the line needs its time for them, both ways.
        let patience_here = patience + self.pace.time_of(self.outbox.len() + longest);
        // Until the answer is here it is owed, also if this call is dropped on the way.
        self.settle = SETTLE.max(self.pace.time_of(longest));
        self.owing.push((unit, Instant::now() + patience_here + owing_time(patience)));
        self.asking = true;
        self.frames.sent(&self.outbox);
        let answer = timeout(patience_here, async {
            self.stream.write_all(&self.outbox).await.map_err(|error| lost("send", &error))?;
            loop {
                if let Some(length) = self.answer_of(unit, ask)? {
                    return Ok(length);
                }
                receive(&mut self.stream, &mut self.inbox).await?;
            }
        })
        .await;
        self.asking = false;
        self.quiet_since = Instant::now();
        let fault = match answer {
            Ok(Ok(length)) => {
                self.answered = length;
                self.frames.received(&self.inbox[..length]);
                self.owes_nothing(unit);
                self.settle = Duration::ZERO;
                return Ok(ask.judge(&self.inbox[1..length - 2]).into());
            }
            Ok(Err(NoAnswer::Lost(cause))) => return Err(NoAnswer::Lost(cause)),
            Ok(Err(fault)) => {
                self.owes_nothing(unit);
                fault
            }
            Err(_) => match self.find(Some(ask)) {
                Found::Beginning => {
                    self.owes_nothing(unit);
                    NoAnswer::Garbled("received half an answer".into())
                }
                _ if self.inbox.is_empty() => {
                    NoAnswer::Silent(format!("unit {unit} said nothing for {patience:?}"))
                }
                _ => {
                    let text = format!("unit {unit} sent nothing but noise for {patience:?}");
                    NoAnswer::Silent(text)
                }
            },
        };
        self.frames.discarded(&self.inbox);
        self.inbox.clear();
        Err(fault)
    }

    /// Length of the answer at the front of the inbox, once it is there; frames that answer something else are dropped.
    fn answer_of(&mut self, unit: u8, ask: &Ask<'_>) -> Result<Option<usize>, NoAnswer> {
        loop {
            match self.find(Some(ask)) {
                Found::Frame(length) => {
                    let frame = &self.inbox[..length];
                    if frame[0] != unit {
                        self.owes_nothing(frame[0]);
                    } else if ask.judge(&frame[1..length - 2]) != Verdict::Foreign {
                        return Ok(Some(length));
                    }
                    // An older frame of this unit: the answer that is waited for is still owed.
                    self.drop_late(length);
                }
                Found::Damaged => {
                    let text = "received an answer with a wrong checksum";
                    return Err(NoAnswer::Garbled(text.into()));
                }
                Found::Beginning | Found::Nothing => return Ok(None),
            }
        }
    }

    /// Looks for a whole frame in the inbox and drops what is before it. Noise has no end, so a frame may begin at any
    /// byte; but nothing is sought within what begins as the answer to `awaited` must.
    fn find(&mut self, awaited: Option<&Ask<'_>>) -> Found {
        let mut at = 0;
        while at < self.inbox.len() {
            let rest = &self.inbox[at..];
            if self.echo_is_known() {
                if rest.starts_with(&self.outbox) {
                    self.inbox.advance(at + self.outbox.len());
                    at = 0;
                    continue;
                }
                if self.outbox.starts_with(rest) {
                    return Found::Nothing;
                }
            }
            if let Ok(Some(length)) = rtu_length(rest) {
                let whole = length <= rest.len();
                if whole && checksum_is_right(&rest[..length]) {
                    self.inbox.advance(at);
                    return Found::Frame(length);
                }
                if awaited.is_some_and(|ask| self.begins_answer(rest, ask)) {
                    return if whole { Found::Damaged } else { Found::Beginning };
                }
            }
            at += 1;
        }
        // A frame that began before these would be whole.
        self.inbox.advance(self.inbox.len().saturating_sub(LONGEST_FRAME));
        Found::Nothing
    }

    /// Whether an echo of the last request is none of its answers.
    fn echo_is_known(&self) -> bool {
        self.outbox.get(1).is_some_and(|function| !matches!(function, 5 | 6))
    }

    /// Whether `bytes` begin as the answer to `ask` must: unit, function, and then the length, or the address; or as an
    /// exception.
    fn begins_answer(&self, bytes: &[u8], ask: &Ask<'_>) -> bool {
        if let ([unit, function], [asked, with, ..]) =
            (bytes.get(..2).unwrap_or_default(), &self.outbox[..])
            && (unit, *function) == (asked, with | 0x80)
        {
            return true;
        }
        if !ask.is_read() {
            return bytes.starts_with(&self.outbox[..4]);
        }
        bytes.starts_with(&self.outbox[..2])
            && bytes.get(2).is_some_and(|count| usize::from(*count) + 2 == ask.answer_length())
    }

    /// Drops the frame at the front of the inbox.
    fn drop_late(&mut self, length: usize) {
        self.discarded += 1;
        self.frames.discarded(&self.inbox[..length]);
        self.inbox.advance(length);
    }

    /// Waits until the line was quiet for long enough and `unit` owes nothing; drops and counts what comes meanwhile.
    async fn quieten(&mut self, unit: u8) -> Result<(), NoAnswer> {
        let mut noisy_since = None;
        loop {
            // First what came while nobody listened.
            let until = self.quiet_until(unit);
            let received = match receive(&mut self.stream, &mut self.inbox).now_or_never() {
                Some(received) => received,
                None if until <= Instant::now() => break,
                None => match timeout_at(until, receive(&mut self.stream, &mut self.inbox)).await {
                    Ok(received) => received,
                    Err(_) => continue,
                },
            };
            received?;
            if self.quiet_since.elapsed() >= self.settle {
                noisy_since = None;
            }
            self.quiet_since = Instant::now();
            self.settle = self.settle.max(SETTLE);
            while let Found::Frame(length) = self.find(None) {
                // Whoever sent it owes nothing any more.
                self.owes_nothing(self.inbox[0]);
                self.drop_late(length);
            }
            if noisy_since.get_or_insert(self.quiet_since).elapsed() > NEVER_QUIET {
                return Err(NoAnswer::Lost("the line never gets quiet: another master?".into()));
            }
        }
        // A broken piece counts as one.
        self.discarded += u64::from(!self.inbox.is_empty());
        self.frames.discarded(&self.inbox);
        self.inbox.clear();
        self.owes_nothing(unit);
        self.settle = Duration::ZERO;
        sleep_until(self.quiet_since + self.pace.gap).await;
        Ok(())
    }

    fn owes_nothing(&mut self, unit: u8) {
        self.owing.retain(|(owing, _)| *owing != unit);
    }

    /// When the next request to `unit` may go, if nothing comes.
    fn quiet_until(&self, unit: u8) -> Instant {
        let owing = self.owing.iter().filter(|(owing, _)| *owing == unit).map(|(_, until)| *until);
        owing.max().unwrap_or(self.quiet_since).max(self.quiet_since + self.settle)
    }
}

#[cfg(test)]
mod tests;
