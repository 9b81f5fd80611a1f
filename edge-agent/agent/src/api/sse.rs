//! Server-sent events, taken apart: for whoever follows `/v1/events`.

/// Finds the data of events in bytes that come in any pieces. Comments, which keep a connection awake, and
/// fields other than `data` are passed over.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    data: String,
}

impl Parser {
    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The data of the next event that has arrived whole.
    pub fn data(&mut self) -> Option<String> {
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
                while let Some(data) = parser.data() {
                    found.push(data);
                }
            }
            assert_eq!(found, ["{\"a\":1}", "x\ny"], "in pieces of {piece}");
        }
    }
}
