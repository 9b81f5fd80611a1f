//! Prometheus' text form, version 0.0.4.

use std::fmt::{Display, Write};

use crate::histogram::Histogram;

/// A text in the making. Every name in it begins with `edgetwin_`.
#[derive(Debug)]
pub struct Page(String);

/// One family of a page: samples that differ in their labels.
#[derive(Debug)]
pub struct Family<'p> {
    name: String,
    page: &'p mut String,
}

impl Default for Page {
    fn default() -> Self {
        Self(String::with_capacity(4096))
    }
}

impl Page {
    /// What a page is, as HTTP says it.
    pub const MEDIA_TYPE: &'static str = "text/plain; version=0.0.4";

    /// A family of numbers that only grow; its name gets `_total` at its end.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(&format!("{name}_total"), help, "counter")
    }

    /// A family of numbers that go up and down.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// A family of times, in seconds.
    pub fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, "histogram")
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) -> Family<'_> {
        let name = format!("edgetwin_{name}");
        // Writing into a String cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { name, page: &mut self.0 }
    }
}

impl Family<'_> {
    /// Adds one sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, &value);
    }

    /// Adds the buckets, the sum and the number of `times`.
    pub fn times(&mut self, labels: &[(&str, &str)], times: &Histogram) {
        let mut sum = 0;
        for (end, count) in times.buckets() {
            sum += count;
            let end = end.map_or_else(|| "+Inf".into(), seconds);
            self.line("_bucket", labels, Some(("le", &end)), &sum);
        }
        self.line("_sum", labels, None, &seconds(times.micros()));
        self.line("_count", labels, None, &sum);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        last: Option<(&str, &str)>,
        value: &dyn Display,
    ) {
        let _ = write!(self.page, "{}{suffix}", self.name);
        let mut open = '{';
        for (label, text) in labels.iter().copied().chain(last) {
            let _ = write!(self.page, "{open}{label}=\"{}\"", Escaped(text));
            open = ',';
        }
        let close = if open == ',' { "}" } else { "" };
        let _ = writeln!(self.page, "{close} {value}");
    }
}

/// A label's value between its quotes.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Without the noise of binary fractions.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_family_is_written_once_with_a_line_for_each_sample() {
        let mut page = Page::default();
        let mut errors = page.counter("errors", "what went wrong");
        errors.sample(&[("wire", "a"), ("class", "lost")], 3);
        errors.sample(&[("wire", "b"), ("class", "lost")], 0);
        page.gauge("waiting", "who waits").sample(&[], 7);
        assert_eq!(
            page.into_text(),
            "# HELP edgetwin_errors_total what went wrong\n\
             # TYPE edgetwin_errors_total counter\n\
             edgetwin_errors_total{wire=\"a\",class=\"lost\"} 3\n\
             edgetwin_errors_total{wire=\"b\",class=\"lost\"} 0\n\
             # HELP edgetwin_waiting who waits\n\
             # TYPE edgetwin_waiting gauge\n\
             edgetwin_waiting 7\n"
        );
    }

    #[test]
    fn a_label_may_say_anything() {
        let mut page = Page::default();
        page.gauge("up", "whether").sample(&[("wire", "C:\\\"x\"\n")], 1);
        let text = page.into_text();
        assert!(text.ends_with("edgetwin_up{wire=\"C:\\\\\\\"x\\\"\\n\"} 1\n"), "{text}");
    }

    #[test]
    fn a_time_is_in_its_bucket_and_in_all_above() {
        let histogram = Histogram::default();
        for millis in [1, 2, 40, 1_000_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        page.histogram("commit_seconds", "how long").times(&[], &histogram);
        page.histogram("of_wire_seconds", "how long").times(&[("wire", "a")], &histogram);
        let text = page.into_text();
        for line in [
            "# TYPE edgetwin_commit_seconds histogram",
            "edgetwin_commit_seconds_bucket{le=\"0.0003\"} 0",
            "edgetwin_commit_seconds_bucket{le=\"0.001\"} 1",
            "edgetwin_commit_seconds_bucket{le=\"0.003\"} 2",
            "edgetwin_commit_seconds_bucket{le=\"0.1\"} 3",
            "edgetwin_commit_seconds_bucket{le=\"100\"} 3",
            "edgetwin_commit_seconds_bucket{le=\"+Inf\"} 4",
            "edgetwin_commit_seconds_sum 1000.043",
            "edgetwin_commit_seconds_count 4",
            "edgetwin_of_wire_seconds_bucket{wire=\"a\",le=\"0.001\"} 1",
            "edgetwin_of_wire_seconds_count{wire=\"a\"} 4",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
