//! The stream of twin changes: server-sent events, taken apart.

use anyhow::Context;
use edge_agent::api::view::Event;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinSet;

/// An open stream of events. Ends with the agent.
pub(crate) struct Events {
    body: Incoming,
    parser: Parser,
    /// Moves the bytes of the connection while this stream lives.
    _driver: JoinSet<()>,
}

impl Events {
    pub(super) fn new(body: Incoming, driver: JoinSet<()>) -> Self {
        Self { body, parser: Parser::default(), _driver: driver }
    }

    /// The next event; `None` when the agent ended the stream. Cancel safe: what has arrived is kept.
    ///
    /// # Errors
    /// The connection broke, or an event is not understood.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(data) = self.parser.next() {
                let event = serde_json::from_str(&data).context(
                    "an event is not understood; are the agent and this command of one version?",
                )?;
                return Ok(Some(event));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.context("the agent's event stream broke")?;
                    if let Some(bytes) = frame.data_ref() {
                        self.parser.push(bytes);
                    }
                }
            }
        }
    }
}

/// Finds the data of events in bytes that come in any pieces. Comments, which keep a connection awake, and
/// fields other than `data` are passed over.
#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
    data: String,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The data of the next complete event.
    fn next(&mut self) -> Option<String> {
        let mut used = 0;
        let mut found = None;
        while let Some(length) = self.bytes[used..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.bytes[used..used + length]);
            let line = line.trim_end_matches('\r');
            used += length + 1;
            if line.is_empty() && !self.data.is_empty() {
                found = Some(std::mem::take(&mut self.data));
                break;
            }
            if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        self.bytes.drain(..used);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let text =
            ": hello\n\nid: 1\ndata: {\"a\":1}\n\nid: 2\r\ndata:x\r\ndata: y\r\n\r\ndata: rest";
        for piece in 1..text.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for bytes in text.as_bytes().chunks(piece) {
                parser.push(bytes);
                while let Some(data) = parser.next() {
                    found.push(data);
                }
            }
            assert_eq!(found, ["{\"a\":1}", "x\ny"], "in pieces of {piece}");
        }
    }
}
