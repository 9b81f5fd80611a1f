//! What a refusal may say: its text travels in a header, and a peer takes only so much of those.

use std::fmt::{Display, Write};

use tonic::Status;

/// Largest text, in octets. On the wire each may become three, and grpcio for Python takes 8 KiB of headers.
const LIMIT: usize = 2048;
/// Room for saying how many problems were left out.
const MORE: usize = 32;

/// `INVALID_ARGUMENT` with every problem on a line of its own, or as many as a header carries.
pub fn invalid(problems: impl ExactSizeIterator<Item: Display>) -> Status {
    let count = problems.len();
    let mut text = String::new();
    for (index, problem) in problems.enumerate() {
        let line = problem.to_string();
        if index > 0 {
            if text.len() + line.len() >= LIMIT - MORE {
                let _ = write!(text, "\nand {} more", count - index);
                break;
            }
            text.push('\n');
        }
        text.push_str(&line);
    }
    fitting(Status::invalid_argument(text))
}

/// The same refusal; the end of its text is left out if that is longer than a header carries.
pub fn fitting(status: Status) -> Status {
    let text = status.message();
    if text.len() <= LIMIT {
        return status;
    }
    let end = (0..=LIMIT).rev().find(|end| text.is_char_boundary(*end));
    let kept = text.get(..end.unwrap_or_default()).unwrap_or_default();
    Status::new(status.code(), format!("{kept}…"))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn as_many_problems_are_named_as_a_header_carries() {
        let few = invalid(["a", "b"].iter());
        assert_eq!((few.code(), few.message()), (Code::InvalidArgument, "a\nb"));
        let many = invalid(vec!["no such property"; 500].iter());
        assert!(many.message().len() <= LIMIT, "{many}");
        let named = many.message().lines().count() - 1;
        assert!(named > 100, "{many}");
        assert!(many.message().ends_with(&format!("\nand {} more", 500 - named)), "{many}");
    }

    #[test]
    fn a_long_text_keeps_its_beginning() {
        let long = format!("twins[0].reported.value = \"{}\"", "é".repeat(LIMIT));
        for status in [invalid([&long].into_iter()), fitting(Status::not_found(&long))] {
            let text = status.message();
            assert!(text.starts_with("twins[0].reported.value = \"é") && text.ends_with("é…"));
            assert!(text.len() < LIMIT + 8, "{}", text.len());
        }
        assert_eq!(fitting(Status::not_found("short")).message(), "short");
    }
}
