//! The reports of one device between its node and the API server.

use std::collections::BTreeMap;

use device_model::Timestamp;
use edge_link::content::{Confirmation, Point, Progress};
use edge_link::up::{self, Judged, Report, Sample};
use edge_link::{MessageId, Uid};

use super::document::Change;
use super::{Part, Said};

/// What is to be answered to reports.
pub(crate) type Answers = Vec<(MessageId, Confirmation)>;

/// The reports of one life of one device.
#[derive(Debug)]
pub(crate) enum Intake {
    /// From an agent of ours, which says how far each report goes.
    Ours(up::Intake<Part, Said>),
    /// From an EdgeCore.
    EdgeCore(Foreign),
}

/// Reports that say nothing of how far they go.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    writing: Option<Pending>,
    pending: Option<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    said: BTreeMap<Part, (Sample, Said)>,
    reports: Vec<MessageId>,
}

impl Intake {
    /// For an agent of ours; `written` is how far the API server has that life.
    pub(crate) fn of_ours(uid: Uid, written: Option<&Point>) -> Self {
        Self::Ours(up::Intake::new(uid, written))
    }

    /// For an EdgeCore.
    pub(crate) fn of_edgecore() -> Self {
        Self::EdgeCore(Foreign::default())
    }

    /// Takes a report, made at `at` by the node's clock. An agent of ours says how far it goes; without that, as EdgeCore
    /// sends them, there is only the time. `None`: it is confirmed when it is written.
    pub(crate) fn take(
        &mut self,
        id: MessageId,
        progress: Option<Progress>,
        at: Timestamp,
        changed: BTreeMap<Part, Said>,
    ) -> Option<Confirmation> {
        match (self, progress) {
            (Self::Ours(intake), Some(progress)) => {
                match intake.take(Report { id, progress, changed }) {
                    Judged::Accepted => None,
                    Judged::Answer(answer) => Some(answer),
                }
            }
            // Nobody can tell where it belongs: the whole twin is asked for.
            (Self::Ours(intake), None) => Some(intake.has()),
            (Self::EdgeCore(intake), _) => {
                intake.take(id, at, changed);
                None
            }
        }
    }

    /// What to write now, if anything. One write at a time.
    pub(crate) fn write(&mut self) -> Option<Change> {
        match self {
            Self::Ours(intake) => {
                let up::Write { point, whole, changed } = intake.write()?;
                Some(Change { point: Some(point), whole, said: changed })
            }
            Self::EdgeCore(intake) => {
                let said = intake.write()?;
                Some(Change { point: None, whole: false, said })
            }
        }
    }

    /// Whether something waits for the next write.
    pub(crate) fn is_waiting(&self) -> bool {
        match self {
            Self::Ours(intake) => intake.is_waiting(),
            Self::EdgeCore(intake) => intake.pending.is_some(),
        }
    }

    /// How far the API server has it, as far as that is known.
    pub(crate) fn written(&self) -> Option<Point> {
        match self {
            Self::Ours(intake) => intake.written(),
            Self::EdgeCore(_) => None,
        }
    }

    /// The API server has taken the write.
    pub(crate) fn done(&mut self) -> Answers {
        match self {
            Self::Ours(intake) => intake.done(),
            Self::EdgeCore(intake) => intake.done(),
        }
    }

    /// The API server has not taken the write; `recorded` is how far it has the device. What still counts is in the next
    /// write.
    pub(crate) fn refused(&mut self, recorded: Option<&Point>) -> Answers {
        match self {
            Self::Ours(intake) => intake.refused(recorded),
            Self::EdgeCore(intake) => {
                intake.refused();
                Vec::new()
            }
        }
    }
}

impl Foreign {
    fn take(&mut self, id: MessageId, at: Timestamp, changed: BTreeMap<Part, Said>) {
        let pending = self.pending.get_or_insert_default();
        pending.reports.push(id);
        for (part, said) in changed {
            let sample = match &said {
                Said::Property(twin) => Sample::of(twin, at),
                Said::State(..) => Sample { version: 0, at },
            };
            let known = pending.said.get(&part);
            let known = known.or_else(|| self.writing.as_ref()?.said.get(&part));
            if !known.is_some_and(|(known, _)| sample.is_before(known)) {
                pending.said.insert(part, (sample, said));
            }
        }
    }

    fn write(&mut self) -> Option<BTreeMap<Part, Said>> {
        if self.writing.is_some() {
            return None;
        }
        self.writing = self.pending.take();
        let said = |(part, (_, said)): (&Part, &(Sample, Said))| (part.clone(), said.clone());
        Some(self.writing.as_ref()?.said.iter().map(said).collect())
    }

    fn done(&mut self) -> Answers {
        let written = self.writing.take().unwrap_or_default();
        written.reports.into_iter().map(|id| (id, Confirmation::Taken)).collect()
    }

    fn refused(&mut self) {
        let Some(mut before) = self.writing.take() else { return };
        if let Some(after) = self.pending.take() {
            before.said.extend(after.said);
            before.reports.extend(after.reports);
        }
        self.pending = Some(before);
    }
}
