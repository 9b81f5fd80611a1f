//! Which log lines of which process belong to one desired change: W3C Trace Context, level 1.

use std::fmt;

/// The number of one desired change, in every process that it goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// One that nothing else has.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }

    /// Reads the header `traceparent` (section 3.2); `None` if it is not one.
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            (text.len() == length && digits).then(|| u128::from_str_radix(text, 16).ok()).flatten()
        };
        let (version, span) = (hex(version, 2)?, hex(span, 16)?);
        hex(flags, 2)?;
        // Later versions may add parts; 0 knows none.
        if version == 0xff || (version == 0 && parts.next().is_some()) || span == 0 {
            return None;
        }
        hex(trace, 32).filter(|trace| *trace != 0).map(Self)
    }

    /// As that header, with a span of its own.
    pub fn traceparent(self) -> String {
        let span = uuid::Uuid::new_v4().as_u64_pair().0;
        format!("00-{self}-{span:016x}-01")
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_specification_is_read_and_what_is_no_header_is_not() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceId::from_traceparent(given).unwrap();
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::from_traceparent(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = TraceId::from_traceparent(&text);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let trace = TraceId::random();
        assert_eq!(TraceId::from_traceparent(&trace.traceparent()), Some(trace));
        assert_ne!(trace, TraceId::random());
    }
}
