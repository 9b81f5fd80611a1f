//! A page in Prometheus' text form.

use anyhow::{Context, Result};

/// The whole text.
#[derive(Clone, Debug)]
pub struct Page(pub(super) String);

impl Page {
    /// The value of one series, such as `edgetwin_mapper_reads_total` or `…{wire="tcp://plc:502"}`.
    ///
    /// # Errors
    /// There is no such series.
    pub fn value(&self, series: &str) -> Result<f64> {
        let mut lines = self.0.lines();
        let found = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(found.with_context(|| format!("no {series} in\n{}", self.0))?.parse()?)
    }

    /// Every series, without its value.
    pub fn series(&self) -> Vec<&str> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series).collect()
    }
}
