//! Every form of message that was seen between KubeEdge's programs, from `vectors.txt`.

use edge_link::{Message, frame};

/// Who sends it, whether it is acknowledged, what it is about, why it is here; and the line.
struct Vector {
    heading: &'static str,
    line: &'static str,
}

fn vectors() -> Vec<Vector> {
    let mut lines = include_str!("vectors.txt").lines().filter(|line| !line.starts_with('#'));
    let mut vectors = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("== ") {
            vectors.push(Vector { heading, line: lines.next().unwrap() });
        }
    }
    vectors
}

impl Vector {
    fn message(&self) -> Message {
        let octets = format!("{}\n", self.line);
        frame::read(octets.as_bytes(), frame::FRAME_LIMIT).unwrap()
    }

    fn word(&self, place: usize) -> &str {
        self.heading.split([' ', ':']).nth(place).unwrap()
    }
}

/// The message with that id.
pub fn vector(id: &str) -> Message {
    let messages = vectors().into_iter().map(|vector| vector.message());
    messages
        .into_iter()
        .find(|message| message.header.id.as_ref().is_some_and(|known| known.as_str() == id))
        .unwrap()
}

#[test]
fn every_message_of_the_real_programs_is_written_as_it_was_read() {
    let vectors = vectors();
    assert!(vectors.len() > 25);
    for vector in vectors {
        let written = String::from_utf8(frame::write(&vector.message())).unwrap();
        assert_eq!(written, format!("{}\n", vector.line), "{}", vector.heading);
    }
}

#[test]
fn every_resource_of_the_real_programs_is_known_and_reads_back() {
    for vector in vectors() {
        let message = vector.message();
        let known = message.resource();
        match vector.word(2) {
            "-" => assert!(known.is_err(), "{}", vector.heading),
            form => {
                let resource = known.unwrap();
                assert!(format!("{resource:?}").starts_with(form), "{}", vector.heading);
                assert_eq!(Some(resource.to_string()), message.route.resource);
            }
        }
    }
}

#[test]
fn an_edge_acknowledges_what_edgecore_acknowledges() {
    for vector in vectors().iter().filter(|vector| vector.word(0) == "down") {
        let wanted = vector.word(1) == "ack";
        assert_eq!(vector.message().wants_acknowledgement(), wanted, "{}", vector.heading);
    }
}
