//! RTU on a line of bytes: a serial device, a pseudo-terminal, or a TCP connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tracing::debug;

use super::effects::{self, LateAnswers};
use crate::codec::rtu::{self, Scan};
use crate::fault::Effects;
use crate::units::{Link, Units, Verdict};

/// How much later than asked for a timer may wake: its grain of a millisecond, and the way to the processor.
const TICK: Duration = Duration::from_millis(2);

/// How an RTU line behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineOptions {
    /// Let frames take the time that they take at this baud rate, 11 bits a character, and answers begin 3.5
    /// characters after the request. `None` answers at once.
    pub pace: Option<u32>,
    /// How long the line must be silent before bytes that make no frame are thrown away.
    pub silence: Duration,
}

impl Default for LineOptions {
    /// Answers at once; 10 ms of silence end a broken frame.
    fn default() -> Self {
        Self { pace: None, silence: Duration::from_millis(10) }
    }
}

impl LineOptions {
    /// Paced to `baud`.
    pub fn paced(baud: u32) -> Self {
        Self { pace: Some(baud.max(1)), ..Self::default() }
    }

    /// What `characters` take on the line.
    fn time(&self, characters: f64) -> Duration {
        self.pace.map_or(Duration::ZERO, |baud| {
            Duration::from_secs_f64(characters * 11.0 / f64::from(baud.max(1)))
        })
    }

    /// Silence between frames (serial line specification, section 2.5.1.1: fixed above 19200 baud).
    fn gap(&self) -> Duration {
        match self.pace {
            Some(baud) if baud > 19_200 => Duration::from_micros(1750),
            _ => self.time(3.5),
        }
    }
}

/// Why a connection or line ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed it.
    Closed,
    /// A fault wants it reset.
    Reset,
}

/// One RTU line with all its units.
pub(crate) struct Line<P> {
    units: Arc<Units>,
    port: P,
    options: LineOptions,
    input: Vec<u8>,
    late: LateAnswers,
    /// When the first byte in `input` came.
    begun: Instant,
    /// When the last byte in `input` came.
    heard: Instant,
    /// When the last frame left the line; none before the first.
    quiet_since: Option<Instant>,
}

impl<P: AsyncRead + AsyncWrite + Unpin> Line<P> {
    pub(crate) fn new(units: Arc<Units>, port: P, options: LineOptions) -> Self {
        let now = Instant::now();
        Self {
            units,
            port,
            options,
            input: Vec::with_capacity(2 * rtu::MAX_FRAME),
            late: LateAnswers::default(),
            begun: now,
            heard: now,
            quiet_since: None,
        }
    }

    pub(crate) fn into_port(self) -> P {
        self.port
    }

    pub(crate) async fn run(&mut self) -> io::Result<End> {
        loop {
            if let Some(end) = self.answer_all().await? {
                return Ok(end);
            }
            let broken = (!self.input.is_empty()).then(|| self.heard + self.options.silence);
            let mut bytes = [0; rtu::MAX_FRAME];
            tokio::select! {
                read = self.port.read(&mut bytes) => {
                    let count = read?;
                    if count == 0 {
                        return Ok(End::Closed);
                    }
                    self.hear(bytes.get(..count).unwrap_or_default());
                }
                () = effects::until(broken) => self.silence_fell().await?,
                () = effects::until(self.late.due()) => {
                    while let Some(frame) = self.late.take() {
                        self.transmit(&frame, Instant::now()).await?;
                    }
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        if self.input.is_empty() {
            self.begun = now;
            if let Some(since) = self.quiet_since {
                self.units.tally.gap(now.saturating_duration_since(since));
                if now < since {
                    self.units.tally.overlapping_frame();
                }
            }
        }
        self.heard = now;
        self.input.extend_from_slice(bytes);
    }

    async fn answer_all(&mut self) -> io::Result<Option<End>> {
        let mut end = None;
        let mut taken = 0;
        while end.is_none() {
            let rest = self.input.get(taken..).unwrap_or_default();
            let Scan::Frame { unit, size, .. } = rtu::scan(rest) else { break };
            let frame = rest.get(..size).unwrap_or_default().to_vec();
            taken += size;
            if self.input.len() > taken {
                // The next request is there before this one could be answered.
                self.units.tally.overlapping_frame();
            }
            let pdu = frame.get(1..size - 2).unwrap_or_default();
            end = self.answer(unit, pdu, size).await?;
        }
        self.input.drain(..taken.min(self.input.len()));
        Ok(end)
    }

    /// The line is silent, so what was heard is one frame, whatever it looks like.
    async fn silence_fell(&mut self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.input);
        match rtu::check(&frame) {
            // A function that the simulation does not know, and so not how long its request is.
            Some((unit, pdu)) => drop(self.answer(unit, pdu, frame.len()).await?),
            None => {
                debug!(bytes = frame.len(), "bad frame");
                self.quiet_since = Some(self.heard);
                self.units.tally.bad_frame();
            }
        }
        Ok(())
    }

    /// Answers a request of `size` characters.
    async fn answer(&mut self, unit: u8, pdu: &[u8], size: usize) -> io::Result<Option<End>> {
        let mut answer = Vec::with_capacity(rtu::MAX_FRAME);
        let verdict = self.units.answer(Link::Rtu, unit, pdu, &mut answer);
        let asked = (self.begun + self.options.time(characters(size))).max(self.heard);
        self.quiet_since = Some(asked);
        if let Verdict::Answer(effects) = verdict {
            if effects.reset {
                self.units.tally.notify();
                return Ok(Some(End::Reset));
            }
            let mut request = Vec::with_capacity(rtu::MAX_FRAME);
            rtu::encode(unit, pdu, &mut request);
            let (mut frame, lead) = effects::before(&request, &effects);
            if !lead.is_zero() {
                self.transmit(&frame, asked + self.options.gap()).await?;
                frame.clear();
            }
            rtu::encode(unit ^ u8::from(effects.misaddressed), &answer, &mut frame);
            self.send(frame, &effects, asked + lead).await?;
        }
        self.units.tally.notify();
        Ok(None)
    }

    async fn send(
        &mut self,
        mut frame: Vec<u8>,
        effects: &Effects,
        asked: Instant,
    ) -> io::Result<()> {
        let weak_spot = frame.len() - 1;
        effects::damage(&mut frame, effects, weak_spot);
        let delay = effects.delay.unwrap_or_default();
        match (effects.late, effects.merge) {
            (Some(after), _) => self.late.push(delay + after, frame),
            (None, Some(at_most)) => self.late.hold(delay + at_most, &frame),
            (None, None) => {
                let frame = [self.late.held(), frame].concat();
                self.transmit(&frame, asked + self.options.gap() + delay).await?;
            }
        }
        Ok(())
    }

    /// Puts `frame` on the line from `start` on, at the pace of the line.
    async fn transmit(&mut self, frame: &[u8], start: Instant) -> io::Result<()> {
        if start > Instant::now() {
            tokio::time::sleep_until(start).await;
        }
        if self.options.pace.is_none() {
            self.quiet_since = Some(Instant::now());
            return self.port.write_all(frame).await;
        }
        // A timer wakes up to a tick late; a real line would have begun in time.
        let now = Instant::now();
        let start = if now.saturating_duration_since(start) > TICK { now } else { start };
        let mut sent = 0;
        while sent < frame.len() {
            tokio::time::sleep_until(start + self.options.time(characters(sent + 1))).await;
            let elapsed = start.elapsed();
            let mut due = sent + 1;
            while due < frame.len() && self.options.time(characters(due + 1)) <= elapsed {
                due += 1;
            }
            if due == frame.len() {
                self.overheard()?;
                self.quiet_since = Some(Instant::now());
            }
            self.port.write_all(frame.get(sent..due).unwrap_or_default()).await?;
            sent = due;
        }
        Ok(())
    }

    /// Counts what came while an answer was on the line: on a real one both would be lost.
    fn overheard(&mut self) -> io::Result<()> {
        let mut bytes = [0; rtu::MAX_FRAME];
        if let Some(read) = self.port.read(&mut bytes).now_or_never() {
            let now = Instant::now();
            if self.input.is_empty() {
                self.begun = now;
            }
            self.heard = now;
            self.input.extend_from_slice(bytes.get(..read?).unwrap_or_default());
            self.units.tally.overlapping_frame();
        }
        Ok(())
    }
}

fn characters(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
