//! What somebody who looked found: each thing with a number, and with what to do where it is not well.

use comfy_table::{Cell, Color};
use serde::Serialize;

use crate::outcome::Outcome;
use crate::output::{add, table, text};

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or may; not as it should.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    number: usize,
    what: String,
    verdict: Verdict,
    said: String,
    /// What to do; else empty.
    remedy: String,
}

/// All of them, in the order in which they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// `what` is as it should be.
    pub(crate) fn ok(&mut self, what: impl Into<String>, said: impl Into<String>) {
        self.add(what, Verdict::Ok, said, "");
    }

    /// `what` is not as it should be.
    pub(crate) fn warning(
        &mut self,
        what: impl Into<String>,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(what, Verdict::Warning, said, remedy);
    }

    /// `what` does not work.
    pub(crate) fn problem(
        &mut self,
        what: impl Into<String>,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(what, Verdict::Problem, said, remedy);
    }

    fn add(
        &mut self,
        what: impl Into<String>,
        verdict: Verdict,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (number, what) = (self.0.len() + 1, what.into());
        self.0.push(Finding { number, what, verdict, said: said.into(), remedy: remedy.into() });
    }

    /// Exit code 3 where one thing is not well.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.0.iter().all(|finding| finding.verdict == Verdict::Ok) {
            true => Outcome::Done,
            false => Outcome::Degraded,
        }
    }

    /// A table; under it, in full, what is not well and what to do.
    pub(crate) fn show(&self) -> String {
        let mut rows = table(&["#", "WHAT", "VERDICT", "FOUND"]);
        for Finding { number, what, verdict, said, .. } in &self.0 {
            let verdict = match verdict {
                Verdict::Ok => Cell::new("ok").fg(Color::Green),
                Verdict::Warning => Cell::new("warning").fg(Color::Yellow),
                Verdict::Problem => Cell::new("problem").fg(Color::Red),
            };
            add(&mut rows, vec![(*number).into(), what.into(), verdict, said.into()]);
        }
        let mut shown = text(&rows);
        for Finding { number, what, said, remedy, .. } in
            self.0.iter().filter(|finding| finding.verdict != Verdict::Ok)
        {
            shown.push_str(&format!("\n\n{number}. {what}: {said}\n   {remedy}"));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_is_told_in_full_with_its_number_and_makes_exit_code_3() {
        let mut findings = Findings::default();
        findings.ok("clock", "set");
        assert_eq!(findings.outcome(), Outcome::Done);
        findings.problem("cloud", "no connection", "look at the network");
        assert_eq!(findings.outcome(), Outcome::Degraded);
        let shown = findings.show();
        assert!(shown.ends_with("\n\n2. cloud: no connection\n   look at the network"), "{shown}");
        assert!(!shown.contains("1. clock"), "{shown}");
    }
}
