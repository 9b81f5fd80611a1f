//! What is printed, and how: a table for people, JSON and YAML for programs.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Row, Table};
use device_model::{DataType, DeviceState, Quality, QualityCode};
use edge_agent::api::view::AckView;
use serde::Serialize;

/// The form of the output: a table for people, JSON and YAML for programs. Streams print one item at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // No doc comments: the help lists the names on one line then.
    #[default]
    Table,
    Json,
    Yaml,
}

/// `--output`, for the commands that have it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: Format,
}

/// Prints `text` and a line end, at once.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints `data` as one whole: JSON and YAML from its fields, the table by `table`.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn print<T: Serialize>(
    format: Format,
    data: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => table(data),
        Format::Json => serde_json::to_string_pretty(data)?,
        Format::Yaml => serde_saphyr::to_string(data)?,
    };
    Ok(say(text.trim_end())?)
}

/// Prints `item` as one of many: a line of JSON, a YAML document, or the line that `line` makes.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn print_item<T: Serialize>(
    format: Format,
    item: &T,
    line: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => line(item),
        Format::Json => serde_json::to_string(item)?,
        Format::Yaml => format!("---\n{}", serde_saphyr::to_string(item)?.trim_end()),
    };
    Ok(say(&text)?)
}

/// Whether to colour what goes to standard output: on a terminal, unless `NO_COLOR` says no.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// An empty table of the house's looks: no lines, two spaces between columns.
pub(crate) fn table(headings: &[&str]) -> Table {
    let colours = colours();
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_truncation_indicator("…");
    if !colours {
        let width = table.width();
        table.force_no_tty();
        if let Some(width) = width {
            table.set_width(width);
        }
    }
    let mut header = Row::from(
        headings
            .iter()
            .map(|heading| Cell::new(heading).add_attribute(Attribute::Bold))
            .collect::<Vec<_>>(),
    );
    header.max_height(1);
    table.set_header(header);
    let last = headings.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
    }
    table
}

/// Adds a row of one line; what does not fit is cut with an ellipsis.
pub(crate) fn add(table: &mut Table, cells: Vec<Cell>) {
    let mut row = Row::from(cells);
    row.max_height(1);
    table.add_row(row);
}

/// The text of a table, without spaces at the ends of lines.
pub(crate) fn text(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A cell whose text matters less than its neighbours'.
pub(crate) fn faint(text: impl ToString) -> Cell {
    Cell::new(text).add_attribute(Attribute::Dim)
}

/// The cell of a device's state.
pub(crate) fn state_cell(state: DeviceState) -> Cell {
    let colour = match state {
        DeviceState::Online => Color::Green,
        DeviceState::Unknown => Color::DarkGrey,
        _ => Color::Red,
    };
    Cell::new(state).fg(colour)
}

/// The cell of a quality: the word, and the reason where it is not simply good.
pub(crate) fn quality_cell(quality: Quality, code: QualityCode) -> Cell {
    match quality {
        Quality::Good => Cell::new("good").fg(Color::Green),
        Quality::Uncertain => Cell::new(format!("uncertain {code}")).fg(Color::Yellow),
        Quality::Bad => Cell::new(format!("bad {code}")).fg(Color::Red),
    }
}

/// The cell of an acknowledgement: the word, and what the mapper adds.
pub(crate) fn ack_cell(ack: Option<&AckView>) -> Cell {
    let Some(ack) = ack else { return Cell::new("") };
    let text = match ack.detail.as_str() {
        "" => ack.word.clone(),
        detail => format!("{}: {detail}", ack.word),
    };
    let colour = match ack.code {
        code if code.is_success() => Color::Green,
        code if code.is_final() => Color::Red,
        _ => Color::Yellow,
    };
    Cell::new(text).fg(colour)
}

/// A reported value for a table: floats to six digits, whole ones whole. Programs get every digit.
pub(crate) fn concise(value: &str, data_type: DataType) -> Cow<'_, str> {
    let number = match data_type {
        DataType::Float | DataType::Double => value.parse::<f64>().ok(),
        _ => None,
    };
    let Some(number) = number.filter(|number| number.is_finite()) else { return value.into() };
    if number.abs() >= 1e5 {
        return if number.fract() == 0.0 { value.into() } else { format!("{number:.0}").into() };
    }
    let rounded = format!("{number:.5e}").parse::<f64>().map(|rounded| rounded.to_string());
    // What is shorter as it stands keeps its own way of writing.
    rounded.ok().filter(|rounded| rounded.len() < value.len()).map_or(value.into(), Cow::Owned)
}

/// `value` with its unit.
pub(crate) fn with_unit(value: &str, unit: &str) -> String {
    if unit.is_empty() { value.to_owned() } else { format!("{value} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_six_digits_of_a_float_and_all_of_anything_else() {
        for (value, data_type, shown) in [
            ("49.98765", DataType::Float, "49.9877"),
            ("49.98765182495117", DataType::Double, "49.9877"),
            ("-0.000123456789", DataType::Double, "-0.000123457"),
            ("21.5", DataType::Float, "21.5"),
            ("0.1", DataType::Float, "0.1"),
            ("1", DataType::Float, "1"),
            ("99999.96", DataType::Double, "100000"),
            ("12345678.91", DataType::Double, "12345679"),
            ("123456789", DataType::Double, "123456789"),
            ("NaN", DataType::Float, "NaN"),
            ("123456789", DataType::Int, "123456789"),
            ("1.23456789", DataType::String, "1.23456789"),
        ] {
            assert_eq!(concise(value, data_type), shown);
        }
    }
}
