//! The client's octets, frame by frame.
//!
//! ```text
//!            24 octets         9 octets, another frame
//!   Preface ───────────▶ Head ──────────────────────────▶ Payload (passes)
//!                        │  ▲ ◀──────────────────────────────┘ at its end
//!                 HEADERS│  │ block ends, authority replaced
//!                        ▼  │
//!                        Block ──▶ Open (passes for ever): block ends, first authority fine
//! ```

use super::block::Blocks;
use super::frame::{HEAD, Head};
use super::refused::{BLOCK_LIMIT, Refused};

/// Octets of the text with which a client begins.
const PREFACE: usize = 24;
/// No frame that carries a part of an acceptable block is longer: pad length, priority and padding around it.
const FRAME_LIMIT: usize = BLOCK_LIMIT + 1 + 5 + 255;

/// Replaces an `:authority` that h2 would refuse in the octets that a client sends; see the [module](super).
///
/// However the octets are cut into pieces, the output is the same.
#[derive(Debug)]
pub struct Rewriter {
    state: State,
    blocks: Blocks,
    /// Whether a block was changed; if so all that follow must be.
    rewriting: bool,
    /// The octets of an incomplete head, or of the frame that is part of a block.
    held: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// So many octets of the client's opening are to come.
    Preface(usize),
    /// A frame begins; `held` has the beginning of its head.
    Head,
    /// So many octets of a payload are to come that does not matter here.
    Payload(usize),
    /// Within a header block.
    Block(Block),
    /// Nothing matters any longer.
    Open,
}

#[derive(Debug)]
struct Block {
    first: Head,
    priority: Vec<u8>,
    fragments: Vec<u8>,
    /// The frame being held, once its head is complete.
    frame: Option<Head>,
}

impl Default for Rewriter {
    fn default() -> Self {
        Self::new()
    }
}

impl Rewriter {
    /// At the beginning of a connection.
    pub fn new() -> Self {
        Self {
            state: State::Preface(PREFACE),
            blocks: Blocks::new(),
            rewriting: false,
            held: Vec::new(),
        }
    }

    /// Goes over the octets at the beginning of `input` that stay as they are, and returns their number. What follows
    /// must be given to [`Rewriter::feed`].
    pub fn pass(&mut self, input: &[u8]) -> usize {
        let mut passed = 0;
        loop {
            let rest = &input[passed..];
            match &mut self.state {
                State::Open => return input.len(),
                State::Preface(left) | State::Payload(left) => {
                    let count = rest.len().min(*left);
                    *left -= count;
                    passed += count;
                    if *left > 0 {
                        return passed;
                    }
                    self.state = State::Head;
                }
                State::Head if self.held.is_empty() => {
                    let Some(octets) = rest.first_chunk() else { return passed };
                    let head = Head::parse(*octets);
                    if head.is_headers() {
                        return passed;
                    }
                    passed += HEAD;
                    self.state = State::Payload(head.length);
                }
                State::Head | State::Block(_) => return passed,
            }
        }
    }

    /// Appends to `out` what h2 is to read of `input`; holds back what is incomplete.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        loop {
            let (passed, rest) = input.split_at(self.pass(input));
            out.extend_from_slice(passed);
            if rest.is_empty() {
                return Ok(());
            }
            input = &rest[self.hold(rest, out)?..];
        }
    }

    /// Takes octets that may not simply pass, and returns their number.
    fn hold(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Refused> {
        let frame = match &self.state {
            State::Block(block) => block.frame,
            _ => None,
        };
        let wanted = frame.map_or(HEAD, |frame| HEAD + frame.length);
        let count = input.len().min(wanted - self.held.len());
        self.held.extend_from_slice(&input[..count]);
        if self.held.len() == wanted {
            match frame {
                None => self.head_complete(out)?,
                Some(frame) => self.frame_complete(frame, out)?,
            }
        }
        Ok(count)
    }

    fn head_complete(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
        let Some(octets) = self.held.first_chunk() else { return Ok(()) };
        let head = Head::parse(*octets);
        match &mut self.state {
            State::Block(block) if head.continues(block.first) => block.frame = Some(head),
            State::Block(_) => return Err(Refused::BrokenOff),
            _ if head.is_headers() => {
                self.state = State::Block(Block {
                    first: head,
                    priority: Vec::new(),
                    fragments: Vec::new(),
                    frame: Some(head),
                });
            }
            _ => {
                out.append(&mut self.held);
                self.state = State::Payload(head.length);
                return Ok(());
            }
        }
        if head.length > FRAME_LIMIT {
            return Err(Refused::TooLarge);
        }
        if head.length == 0 {
            self.frame_complete(head, out)?;
        }
        Ok(())
    }

    fn frame_complete(&mut self, head: Head, out: &mut Vec<u8>) -> Result<(), Refused> {
        let State::Block(block) = &mut self.state else { return Ok(()) };
        let payload = &self.held[HEAD..];
        if head.is_headers() {
            let (priority, fragment) = head.split(payload).ok_or(Refused::Padding)?;
            block.priority.extend_from_slice(priority);
            block.fragments.extend_from_slice(fragment);
        } else {
            block.fragments.extend_from_slice(payload);
        }
        block.frame = None;
        if block.fragments.len() > BLOCK_LIMIT {
            return Err(Refused::TooLarge);
        }
        self.held.clear();
        if !head.ends_block() {
            return Ok(());
        }
        let rewritten = self.blocks.rewrite(&block.fragments)?;
        self.rewriting |= rewritten.replaced;
        if self.rewriting {
            block.first.write(&block.priority, &rewritten.block, out);
            self.state = State::Head;
        } else {
            block.first.write(&block.priority, &block.fragments, out);
            self.state = State::Open;
        }
        Ok(())
    }
}
