//! Lengths of time as people write them.

use std::time::Duration;

/// Reads `500ms`, `5s`, `2m`, `1h30m`. A bare number is refused: nobody knows its unit.
///
/// # Errors
/// What to write instead.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let advice = "write it with a unit, such as 500ms, 5s or 2m";
    let span: jiff::SignedDuration = text.parse().map_err(|_| advice.to_owned())?;
    Duration::try_from(span).map_err(|_| "it must not be negative".to_owned())
}

/// An age, in steps that do not flicker: `0.4 s`, and from 10 s on as [`short`].
pub(crate) fn age(span: Duration) -> String {
    if span < Duration::from_secs(10) {
        format!("{:.1} s", span.as_secs_f64())
    } else {
        short(span)
    }
}

/// A time taken, short: `85 ms`, `3.2 s`, `45 s`, `12 min`, `3 h`, `5 d`.
pub(crate) fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..10 => format!("{:.1} s", span.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_needs_its_unit() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(parse("5").unwrap_err().contains("unit"));
        assert!(parse("-5s").is_err());
        assert!(parse("soon").is_err());
    }

    #[test]
    fn ages_are_short() {
        let text = |millis| short(Duration::from_millis(millis));
        assert_eq!(age(Duration::from_millis(85)), "0.1 s");
        assert_eq!(age(Duration::from_millis(45_900)), "45 s");
        assert_eq!(text(85), "85 ms");
        assert_eq!(text(3_210), "3.2 s");
        assert_eq!(text(45_900), "45 s");
        assert_eq!(text(720_000), "12 min");
        assert_eq!(text(10_800_000), "3 h");
        assert_eq!(text(432_000_000), "5 d");
    }
}
