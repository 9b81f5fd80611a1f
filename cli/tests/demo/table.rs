//! Demand 39 (`docs/compatibility.md`) as people see it: the live table, on a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{PATIENCE, edgetwin};

/// What is promised from the start of the program to good values of all devices. It takes less than one with nothing else
/// to do (slow properties of the room are read once a second): the rest is for the tests that run beside this one.
const PROMISED: Duration = Duration::from_secs(5);

const FRAME_ENDS: &str = "\x1b[?2026l";

/// A demo on a terminal of its own.
struct Terminal {
    child: Child,
    screens: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    fn start(home: &std::path::Path) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ptsname(&master, Vec::new()).unwrap();
        let slave = open(slave, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).unwrap();
        let child = edgetwin(home)
            .args(["demo", "--mqtt", "127.0.0.1:0"])
            .env("TERM", "xterm-256color")
            .stdout(slave)
            .spawn()
            .unwrap();
        Self { child, screens: read_all(master), shown: Vec::new() }
    }

    /// The next frame as text, without colours; none when the program is gone.
    fn frame(&mut self, deadline: Instant) -> Option<String> {
        let end = FRAME_ENDS.as_bytes();
        loop {
            let found = self.shown.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                let frame = self.shown.drain(..at + end.len()).collect::<Vec<_>>();
                return Some(plain(&String::from_utf8(frame).unwrap()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.shown.extend(self.screens.recv_timeout(left).ok()?);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(master: OwnedFd) -> Receiver<Vec<u8>> {
    let (sender, pieces) = channel();
    std::thread::spawn(move || {
        let (mut master, mut buffer) = (File::from(master), [0; 8192]);
        // Once nobody has the terminal open any more, reading fails.
        while let Ok(length @ 1..) = master.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    pieces
}

/// `text` without control sequences.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|letter: char| ('@'..='~').contains(&letter)).unwrap();
        plain.push_str(&piece[end + 1..]);
    }
    plain
}

/// One row of a frame: device, property, and what stands behind it.
type Row<'a> = (&'a str, &'a str, Vec<&'a str>);

/// The rows of a frame. The device's name stands in its first row, its state in the second.
fn rows(frame: &str) -> Vec<Row<'_>> {
    let mut lines = frame.lines().skip_while(|line| !line.starts_with("DEVICE"));
    let column = lines.next().and_then(|heading| heading.find("PROPERTY")).unwrap_or_default();
    let mut device = "";
    let row = |line| {
        let (left, right) = str::split_at_checked(line, column)?;
        device = if left.contains('/') { left.trim() } else { device };
        let mut cells = right.split_whitespace();
        Some((device, cells.next()?, cells.collect()))
    };
    lines.filter_map(row).collect()
}

/// The reading in a row that says that it is good: the word before its unit or its quality.
fn reading<'a>(rows: &[Row<'a>], device: &str, property: &str) -> Option<&'a str> {
    let (.., cells) = rows.iter().find(|row| (row.0, row.1) == (device, property))?;
    let good = cells.iter().position(|cell| *cell == "good")?;
    // A unit begins with a letter or a sign; `true` and `false` have none.
    let number = cells[..good].iter().rfind(|cell| cell.parse::<f64>().is_ok());
    number.or_else(|| cells[..good].last()).copied()
}

#[test]
fn row_39_the_live_table_shows_good_values_of_all_devices_within_five_seconds() {
    let home = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut terminal = Terminal::start(home.path());
    let mut last = String::new();
    let full = loop {
        let Some(frame) = terminal.frame(start + PROMISED) else {
            panic!("not all good within {PROMISED:?}; the last frame:\n{last}");
        };
        let rows = rows(&frame);
        let good = |(device, property, _): &Row<'_>| reading(&rows, device, property).is_some();
        // The pump has seven properties, the meter and the room have four each.
        if rows.len() == 15 && rows.iter().all(good) {
            break frame;
        }
        last = frame;
    };
    assert!(full.contains("3 of 3 devices online"), "{full}");
    // Each within the range of its waveform.
    for (device, property, low, high) in [
        ("demo/pump", "pressure", 2.4, 3.1),
        ("demo/pump", "temperature", -2.5, 8.0),
        ("demo/meter", "voltage", 228.5, 231.5),
        ("demo/room", "temperature", 19.5, 23.0),
        ("demo/room", "setpoint", 21.5, 21.5),
    ] {
        let shown = reading(&rows(&full), device, property).unwrap().to_owned();
        let value: f64 = shown.parse().unwrap();
        assert!((low - 0.06..=high + 0.06).contains(&value), "{device} {property} {value}");
    }

    // It lives: the shaft speeds up towards 1200, in a frame drawn over the last.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let frame = terminal.frame(deadline).unwrap();
        let rows = rows(&frame);
        assert_eq!(rows.len(), 15, "{frame}");
        let speed = reading(&rows, "demo/pump", "measured-speed").unwrap();
        if speed.parse::<f64>().unwrap() > 600.0 {
            break;
        }
    }

    let pid = Pid::from_raw(terminal.child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    while terminal.frame(deadline).is_some() {}
    let rest = String::from_utf8(terminal.shown.clone()).unwrap();
    assert!(rest.contains("\x1b[?25h"), "the cursor is back: {rest:?}");
}
