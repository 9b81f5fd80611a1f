//! Which requests read a set of visitors: neighbours share one. Pure.
//!
//! A request never reads more than the unit's cap, never a register inside a forbidden range, and over a gap only
//! as far as `maxFill` allows. A value is never torn between two requests.

use crate::place::Place;
use crate::table::Table;
use crate::visitor::Visitor;

/// What a unit allows in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most registers in one request, 1 to 125.
    pub max_words: u16,
    /// Most bits in one request, 1 to 2000.
    pub max_bits: u16,
    /// Most registers or bits that nobody asked for between two that somebody did.
    pub max_fill: u16,
    /// Ranges that no request may touch.
    pub forbidden: Vec<Hole>,
}

impl Default for Limits {
    /// The specification's caps, and no register that nobody asked for.
    fn default() -> Self {
        Self { max_words: 125, max_bits: 2000, max_fill: 0, forbidden: Vec::new() }
    }
}

impl Limits {
    /// Most registers or bits of `table` in one request.
    pub fn cap(&self, table: Table) -> u16 {
        if table.is_bits() { self.max_bits } else { self.max_words }
    }
}

/// A range that no request may touch. An empty one is a border that no request may cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Of which table.
    pub table: Table,
    /// First address.
    pub start: u32,
    /// Address after the last.
    pub end: u32,
}

impl Hole {
    /// Whether a request for these addresses would hurt it.
    pub fn hurts(&self, table: Table, start: u32, end: u32) -> bool {
        let hurts = if self.start == self.end {
            start < self.start && self.start < end
        } else {
            start < self.end && self.start < end
        };
        hurts && table == self.table
    }
}

/// One read request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First register or bit.
    pub start: Place,
    /// How many, at least 1.
    pub count: u16,
}

impl Span {
    /// Address after the last.
    pub fn end(&self) -> u32 {
        u32::from(self.start.address) + u32::from(self.count)
    }

    /// The smallest request that reads all of `visitors`; `None` if they lie in two tables, are further apart than
    /// any request reaches, or are none.
    pub fn over<'a>(visitors: impl IntoIterator<Item = &'a Visitor>) -> Option<Self> {
        let mut visitors = visitors.into_iter();
        let first = visitors.next()?;
        let (mut start, mut end) = (first.read, first.end());
        for visitor in visitors {
            if visitor.read.table != start.table {
                return None;
            }
            start.address = start.address.min(visitor.read.address);
            end = end.max(visitor.end());
        }
        let count = u16::try_from(end - u32::from(start.address)).ok()?;
        Some(Self { start, count })
    }
}

/// One request and whom it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is read.
    pub span: Span,
    /// Indices of the visitors that it serves, by address.
    pub members: Vec<usize>,
}

/// The fewest requests that read all of `visitors`, by table and address. `learned` are further holes.
pub fn plan(limits: &Limits, learned: &[Hole], visitors: &[&Visitor]) -> Vec<Request> {
    let mut order: Vec<usize> = (0..visitors.len()).collect();
    order.sort_by_key(|index| {
        let visitor = visitors[*index];
        (visitor.read.table, visitor.read.address, visitor.width)
    });
    let mut requests: Vec<Request> = Vec::new();
    for index in order {
        let visitor = visitors[index];
        if let Some(request) = requests.last_mut()
            && let Some(count) = extended(limits, learned, &request.span, visitor)
        {
            request.span.count = count;
            request.members.push(index);
        } else {
            let span = Span { start: visitor.read, count: visitor.width };
            requests.push(Request { span, members: vec![index] });
        }
    }
    requests
}

/// Length of `span` once it also covers `visitor`, which starts at or behind its start; `None` if it must not.
fn extended(limits: &Limits, learned: &[Hole], span: &Span, visitor: &Visitor) -> Option<u16> {
    let Place { table, address } = visitor.read;
    let (start, end) = (u32::from(span.start.address), span.end().max(visitor.end()));
    let gap = u32::from(address).saturating_sub(span.end());
    let count = u16::try_from(end - start).ok()?;
    let fits = table == span.start.table
        && gap <= u32::from(limits.max_fill)
        && count <= limits.cap(table)
        && !limits.forbidden.iter().chain(learned).any(|hole| hole.hurts(table, start, end));
    fits.then_some(count)
}

#[cfg(test)]
mod tests;
