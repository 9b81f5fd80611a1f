//! `edgetwin top`: how busy and how well each device is, live.

mod rates;

use std::io::IsTerminal;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{Cell, Color, ColumnConstraint, Width};
use device_model::Timestamp;
use mapper_sdk::signal;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{Client, ConnectArgs};
use crate::duration::age;
use crate::outcome::Outcome;
use crate::output::{Format, OutputArgs, add, print_item, say, state_cell, table, text};
use crate::screen::Screen;
use rates::{Rates, Row, Sample};

/// Show rates, ages and quality of each device, live, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin top
  edgetwin top --sort age --interval 5s
  edgetwin top --samples 1 -o json

VALUES/S counts readings, also those that only say the same again. OLDEST is the age of the value that was read the
longest time ago. GOOD, UNSURE and BAD count properties; OPEN counts desired values without a final acknowledgement.")]
pub(crate) struct TopArgs {
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::duration::parse)]
    interval: Duration,
    /// What comes first
    #[arg(long, value_name = "KEY", default_value = "name")]
    sort: Sort,
    /// Stop after so many looks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the devices are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    // No doc comments: the help lists the names on one line then.
    Name,
    Rate,
    Age,
    Quality,
}

/// Looks, and shows what changed between two looks, until it is over.
///
/// # Errors
/// No agent answers, or it went away.
pub(crate) async fn run(args: TopArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let format = args.output.output;
    let live = format == Format::Table && std::io::stdout().is_terminal();
    let mut screen = if live { Some(Screen::open()?) } else { None };
    let stop = signal::stop_requested()?;
    tokio::pin!(stop);
    let mut ticks = interval(args.interval.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = look(&client).await?;
    let mut shown = 0;
    while args.samples.is_none_or(|samples| shown < samples) {
        tokio::select! {
            () = &mut stop => break,
            _ = ticks.tick() => {}
        }
        let sample = look(&client).await?;
        let mut rates = Rates::between(&before, &sample);
        rates.sort(args.sort);
        match &mut screen {
            Some(screen) => screen.draw("", &render(&rates))?,
            None if format == Format::Table => say(&format!("{}\n", render(&rates)))?,
            None => print_item(format, &rates, |_| String::new())?,
        }
        before = sample;
        shown += 1;
    }
    Ok(Outcome::Done)
}

async fn look(client: &Client) -> anyhow::Result<Sample> {
    let devices = client.devices().await?;
    let now = Timestamp::from(std::time::SystemTime::now());
    Ok(Sample { devices, at: Instant::now(), now })
}

const HEADINGS: [&str; 9] =
    ["DEVICE", "STATE", "MAPPER", "VALUES/S", "OLDEST", "GOOD", "UNSURE", "BAD", "OPEN"];
/// Least width of the columns before the last, so that they stand still while numbers change.
const WIDTHS: [u16; 8] = [16, 9, 15, 10, 9, 6, 8, 5];
/// For the last column, and for names that are longer.
const ROOM: u16 = 12;

fn render(rates: &Rates) -> String {
    let mut rows = table(&HEADINGS);
    // A narrow terminal lets each column have what it needs now.
    let room = rows.width().is_none_or(|width| width > WIDTHS.iter().sum::<u16>() + ROOM);
    for (column, width) in rows.column_iter_mut().zip(WIDTHS).filter(|_| room) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
    }
    for row in &rates.devices {
        add(&mut rows, cells(row));
    }
    let Rates { online, values_per_second, open, .. } = rates;
    let devices = rates.devices.len();
    format!(
        "{online} of {devices} devices online, {values_per_second:.1} values/s, {open} wishes open\n{}",
        text(&rows)
    )
}

fn cells(row: &Row) -> Vec<Cell> {
    let marked = |count: usize, colour| match count {
        0 => Cell::new("0"),
        some => Cell::new(some).fg(colour),
    };
    vec![
        Cell::new(&row.device),
        state_cell(row.state),
        Cell::new(row.mapper.as_deref().unwrap_or("-")),
        Cell::new(format!("{:.1}", row.values_per_second)),
        Cell::new(row.oldest_ms.map_or_else(|| "-".into(), |ms| age(Duration::from_millis(ms)))),
        Cell::new(row.good),
        marked(row.uncertain + row.silent, Color::Yellow),
        marked(row.bad, Color::Red),
        marked(row.open, Color::Yellow),
    ]
}
