//! What a demo prints while it runs: a live table, snapshots of it, or a line for each twin change.

use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::bail;
use device_model::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{Client, Events};
use crate::demo::board::{Applied, Board};
use crate::demo::table::render;
use crate::output::{Format, print_item, say};
use crate::screen::Screen;

/// Shortest time between two frames of the live table.
const FRAME: Duration = Duration::from_millis(100);
/// Longest time between two frames, for the ages.
const AGES: Duration = Duration::from_millis(500);
/// How often all devices are fetched. Events tell what is new; a reading that says the same again moves its time alone.
const FETCH: Duration = Duration::from_secs(1);
/// Time between two snapshots where the output is no terminal.
const SNAPSHOT: Duration = Duration::from_secs(2);

/// How to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A table that is drawn over itself.
    Live,
    /// A table now and then, each below the last.
    Snapshots,
    /// One item for each change of a property.
    Changes(Format),
}

impl Form {
    /// The form for `--output` and what standard output is.
    pub(crate) fn of(format: Format) -> Self {
        match format {
            Format::Table if std::io::stdout().is_terminal() => Self::Live,
            Format::Table => Self::Snapshots,
            format => Self::Changes(format),
        }
    }
}

/// Shows until `end` is over, and gives what was known last.
///
/// # Errors
/// The agent cannot be asked, or nobody reads any more.
pub(crate) async fn show(
    client: &Client,
    mut events: Events,
    form: Form,
    intro: &str,
    end: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Board> {
    let mut view = View::open(form, intro)?;
    view.board.load(client.devices().await?);
    let (mut ticks, mut fetches) = (interval(FRAME), interval(FETCH));
    for timer in [&mut ticks, &mut fetches] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            ended = &mut end => {
                ended?;
                view.close()?;
                return Ok(view.board);
            }
            event = events.next() => {
                let Some(event) = event? else { bail!("the agent ended the stream of events") };
                if let Form::Changes(format) = form
                    && event.property.is_some()
                {
                    print_item(format, &event, |_| String::new())?;
                }
                if view.board.apply(&event) == Applied::Unknown {
                    view.board.load(client.devices().await?);
                }
                view.changed = true;
            }
            _ = fetches.tick(), if matches!(form, Form::Live | Form::Snapshots) => {
                view.board.load(client.devices().await?);
            }
            _ = ticks.tick() => view.tick()?,
        }
    }
}

/// The board and where it is shown.
struct View {
    form: Form,
    board: Board,
    intro: String,
    screen: Option<Screen>,
    began: Instant,
    shown: Option<Instant>,
    changed: bool,
}

impl View {
    fn open(form: Form, intro: &str) -> anyhow::Result<Self> {
        if form == Form::Live || form == Form::Snapshots {
            say(intro)?;
        }
        Ok(Self {
            form,
            board: Board::default(),
            intro: intro.to_owned(),
            screen: if form == Form::Live { Some(Screen::open()?) } else { None },
            began: Instant::now(),
            shown: None,
            changed: true,
        })
    }

    /// Shows what there is, if it is time to.
    fn tick(&mut self) -> anyhow::Result<()> {
        let age = self.shown.map(|shown| shown.elapsed());
        match self.form {
            Form::Live if self.changed || age.is_none_or(|age| age >= AGES) => self.draw(),
            // The first snapshot comes when it says something.
            Form::Snapshots
                if age.map_or(self.board.is_complete(), |age| age >= SNAPSHOT)
                    || (age.is_none() && self.began.elapsed() >= SNAPSHOT) =>
            {
                self.draw()
            }
            _ => Ok(()),
        }
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let now = Timestamp::from(std::time::SystemTime::now());
        let frame = render(&self.board, now, self.began.elapsed());
        match &mut self.screen {
            Some(screen) => screen.draw(&self.intro, &frame)?,
            None => say(&format!("{frame}\n"))?,
        }
        self.shown = Some(Instant::now());
        self.changed = false;
        Ok(())
    }

    /// Shows the last state.
    fn close(&mut self) -> anyhow::Result<()> {
        if matches!(self.form, Form::Live | Form::Snapshots) { self.draw() } else { Ok(()) }
    }
}
