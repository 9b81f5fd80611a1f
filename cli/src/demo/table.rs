//! The demo's table: one row for each property of each device.

use std::time::Duration;

use comfy_table::{ColumnConstraint, Width};
use device_model::{DeviceState, Timestamp};
use edge_agent::api::view::DeviceView;

use crate::commands::get::property_cells;
use crate::demo::board::Board;
use crate::duration::short;
use crate::output::{add, faint, state_cell, table, text};

const HEADINGS: [&str; 7] =
    ["DEVICE", "PROPERTY", "DESIRED", "REPORTED", "QUALITY", "AGE", "ACKNOWLEDGED"];
/// Least width of each column with its gap, so that columns stand still while values change: where there is room,
/// and on a terminal of 80 columns. A narrower one lets each column have what it needs now.
const WIDE: [u16; 7] = [13, 17, 10, 20, 12, 8, 12];
const NARROW: [u16; 7] = [12, 16, 9, 15, 9, 7, 12];

/// The table, under a line that sums it up.
pub(crate) fn render(board: &Board, now: Timestamp, uptime: Duration) -> String {
    let mut rows = table(&HEADINGS);
    let width = rows.width().unwrap_or(u16::MAX);
    let least = [WIDE, NARROW].into_iter().find(|widths| widths.iter().sum::<u16>() <= width);
    for (column, width) in rows.column_iter_mut().zip(least.into_iter().flatten()) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
    }
    for device in board.devices() {
        for (index, property) in device.properties.iter().enumerate() {
            // The device's name stands in its first row, its state in the second.
            let mut cells = vec![match index {
                0 => device.id().into(),
                1 => state_cell(device.state),
                _ => faint(""),
            }];
            cells.extend(property_cells(property, now));
            add(&mut rows, cells);
        }
    }
    format!("{}\n{}", summary(board, uptime), text(&rows))
}

fn summary(board: &Board, uptime: Duration) -> String {
    let online = |device: &&DeviceView| device.state == DeviceState::Online;
    let devices = board.devices();
    let up = devices.iter().filter(online).count();
    let online = format!("{up} of {} devices online", devices.len());
    match uptime.as_secs() {
        0 => online,
        seconds => {
            let rate = board.changes() / seconds;
            format!("{online}, {rate} new values/s, running for {}", short(uptime))
        }
    }
}
