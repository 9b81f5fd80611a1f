//! What a device taught us about its address map: registers that spoil a request that touches them.
//!
//! Data sheets are wrong, and some devices refuse a request over two blocks though each alone can be read. Such
//! places are remembered for the unit's quarantine time, so that the neighbours keep their shared requests.

use std::time::Duration;

use tokio::time::Instant;

use crate::exception::Exception;
use crate::plan::{Hole, Span};
use crate::visitor::Visitor;

/// More places than this are not remembered: a device that refuses so much is not the one described.
const MOST: usize = 256;

/// The places of all units of one session.
#[derive(Default)]
pub(crate) struct Learned {
    lessons: Vec<Lesson>,
}

struct Lesson {
    unit: u8,
    hole: Hole,
    exception: Exception,
    until: Instant,
}

impl Learned {
    /// Forgets what is older than its quarantine.
    pub(crate) fn forget_old(&mut self) {
        if !self.lessons.is_empty() {
            let now = Instant::now();
            self.lessons.retain(|lesson| lesson.until > now);
        }
    }

    /// Whether nothing is known about the unit.
    pub(crate) fn nothing_about(&self, unit: u8) -> bool {
        self.lessons.iter().all(|lesson| lesson.unit != unit)
    }

    /// What no request to the unit may touch or cross.
    pub(crate) fn holes(&self, unit: u8) -> Vec<Hole> {
        self.about(unit).map(|lesson| lesson.hole).collect()
    }

    /// The exception that reading `visitor` alone gave.
    pub(crate) fn refusal(&self, unit: u8, visitor: &Visitor) -> Option<Exception> {
        let hole = hole_of(visitor);
        self.about(unit).find(|lesson| lesson.hole == hole).map(|lesson| lesson.exception)
    }

    /// The visitor alone was refused.
    pub(crate) fn refuse(
        &mut self,
        unit: u8,
        visitor: &Visitor,
        exception: Exception,
        quarantine: Duration,
    ) {
        self.learn(unit, hole_of(visitor), exception, quarantine);
    }

    /// A request over `span` was refused, though its parts on both sides of `border` were not.
    pub(crate) fn divide(
        &mut self,
        unit: u8,
        span: &Span,
        border: u32,
        exception: Exception,
        quarantine: Duration,
    ) {
        let (table, start) = (span.start.table, u32::from(span.start.address));
        let hurt = |lesson: &Lesson| lesson.hole.hurts(table, start, span.end());
        if !self.about(unit).any(hurt) {
            let hole = Hole { table, start: border, end: border };
            self.learn(unit, hole, exception, quarantine);
        }
    }

    /// The visitor can be read after all.
    pub(crate) fn absolve(&mut self, unit: u8, visitor: &Visitor) {
        if !self.lessons.is_empty() {
            let hole = hole_of(visitor);
            self.lessons.retain(|lesson| lesson.unit != unit || lesson.hole != hole);
        }
    }

    fn about(&self, unit: u8) -> impl Iterator<Item = &Lesson> {
        self.lessons.iter().filter(move |lesson| lesson.unit == unit)
    }

    fn learn(&mut self, unit: u8, hole: Hole, exception: Exception, quarantine: Duration) {
        if self.lessons.len() < MOST {
            let until = Instant::now() + quarantine;
            self.lessons.push(Lesson { unit, hole, exception, until });
        }
    }
}

fn hole_of(visitor: &Visitor) -> Hole {
    Hole { table: visitor.read.table, start: visitor.read.address.into(), end: visitor.end() }
}
