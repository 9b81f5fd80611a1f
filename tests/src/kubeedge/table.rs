//! What came out, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use comfy_table::presets::NOTHING;
use serde::Serialize;

use super::cell::Cell;
use super::step::Step;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "text")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Not as it should be, by one of KubeEdge's programs, and known.
    Differs(&'static str),
    /// Not as it should be.
    Failed(String),
    /// Not tried.
    Skipped(String),
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Who is at each place.
    pub cell: Cell,
    /// What was done; none: the whole cell.
    pub step: Option<Step>,
    /// How long it took.
    pub seconds: f64,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// All lines, in the order in which they came about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    /// What CloudCore and EdgeCore say they are, where they ran.
    pub versions: BTreeMap<String, String>,
    /// The lines.
    pub rows: Vec<Row>,
}

impl Table {
    /// Whether something was not as it should be, and not known either.
    pub fn has_failures(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)))
    }

    /// Whether a cell was skipped.
    pub fn has_gaps(&self) -> bool {
        let whole = |row: &Row| row.step.is_none() && matches!(row.outcome, Outcome::Skipped(_));
        self.rows.iter().any(whole)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Differs(text) => write!(f, "differs: {text}"),
            Self::Failed(text) => write!(f, "FAILED: {text}"),
            Self::Skipped(text) => write!(f, "skipped: {text}"),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_header(["CELL", "STEP", "TIME", "RESULT"]);
        let mut last = None;
        for row in &self.rows {
            let cell = match last == Some(row.cell) {
                true => String::new(),
                false => format!("{} {}", row.cell.number(), row.cell.title()),
            };
            last = Some(row.cell);
            let step = row.step.map_or("all", Step::title);
            let time = format!("{:.1} s", row.seconds);
            table.add_row([cell, step.into(), time, row.outcome.to_string()]);
        }
        for (program, version) in &self.versions {
            writeln!(f, "{program} {version}")?;
        }
        write!(f, "{table}")
    }
}
