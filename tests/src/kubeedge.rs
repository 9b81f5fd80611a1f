//! The matrix of our programs with KubeEdge's own: `./test interop`, docs/kubeedge.md.
//!
//! Every cell goes through the same steps, whoever is at which place.

mod cell;
pub mod cloudcore;
pub mod edgecore;
pub mod ends;
pub mod field;
mod known;
pub mod objects;
pub mod scene;
mod step;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

pub use self::cell::{Cell, Side};
pub use self::step::Step;
pub use self::table::{Outcome, Row, Table};

use self::scene::Scene;

/// Where KubeEdge's programs are.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// CloudCore.
    pub cloudcore: Option<PathBuf>,
    /// EdgeCore.
    pub edgecore: Option<PathBuf>,
    /// A file or a folder with the custom resource definitions that CloudCore gets; ours where there is none.
    pub crds: Option<PathBuf>,
}

impl Programs {
    /// Those that the environment names: `EDGETWIN_CLOUDCORE`, `EDGETWIN_EDGECORE` and `EDGETWIN_KUBEEDGE_CRDS`.
    pub fn named() -> Self {
        let path = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self {
            cloudcore: path("EDGETWIN_CLOUDCORE"),
            edgecore: path("EDGETWIN_EDGECORE"),
            crds: path("EDGETWIN_KUBEEDGE_CRDS"),
        }
    }

    /// What a cell lacks.
    pub fn lack(&self, cell: Cell) -> Option<&'static str> {
        match (cell.cloud(), cell.edge()) {
            (Side::KubeEdge, _) if self.cloudcore.is_none() => {
                Some("--cloudcore PATH is not given")
            }
            (_, Side::KubeEdge) if self.edgecore.is_none() => Some("--edgecore PATH is not given"),
            (_, Side::KubeEdge) if !rustix::process::geteuid().is_root() => {
                Some("EdgeCore wants root for mounts of its own")
            }
            _ => None,
        }
    }
}

/// Runs one cell, step by step, into `table`; `told` hears of each row as it comes about.
pub async fn run(cell: Cell, programs: &Programs, table: &mut Table, mut told: impl FnMut(&Row)) {
    let Table { versions, rows } = table;
    let mut add = |step, start: Instant, outcome| {
        let row = Row { cell, step, seconds: start.elapsed().as_secs_f64(), outcome };
        told(&row);
        rows.push(row);
    };
    let start = Instant::now();
    if let Some(lack) = programs.lack(cell) {
        return add(None, start, Outcome::Skipped(lack.into()));
    }
    let mut scene = match Scene::start(cell, programs).await {
        Ok(scene) => scene,
        Err(error) => {
            return add(None, start, Outcome::Failed(format!("{error:#}")));
        }
    };
    for step in Step::ALL {
        let start = Instant::now();
        let outcome = match step.lacks(cell) {
            None => outcome(cell, step, step.perform(&mut scene).await),
            Some(why) => Outcome::Skipped(why.into()),
        };
        add(Some(step), start, outcome);
    }
    let logs = [("CloudCore", scene.cloud.log()), ("EdgeCore", scene.edge.log())];
    for (program, log) in logs {
        versions.extend(version(&log).map(|version| (program.to_owned(), version)));
    }
    keep_logs(cell, &scene);
}

/// What a program of KubeEdge's says it is at its start.
fn version(log: &str) -> Option<String> {
    let (_, said) = log.split_once("] Version: ")?;
    said.lines().next().map(str::to_owned)
}

fn outcome(cell: Cell, step: Step, result: Result<()>) -> Outcome {
    match (result, known::difference(cell, step)) {
        (Ok(()), _) => Outcome::Pass,
        (Err(_), Some(known)) => Outcome::Differs(known),
        (Err(error), None) => Outcome::Failed(format!("{error:#}")),
    }
}

/// Puts the logs of a scene where `EDGETWIN_INTEROP_LOGS` says, for whoever wants to know why.
fn keep_logs(cell: Cell, scene: &Scene) {
    let Some(folder) = std::env::var_os("EDGETWIN_INTEROP_LOGS").map(PathBuf::from) else { return };
    let _ = std::fs::create_dir_all(&folder);
    let file = |end: &str| folder.join(format!("{}-{end}.log", cell.number()));
    let _ = std::fs::write(file("cloud"), scene.cloud.log());
    let _ = std::fs::write(file("edge"), scene.edge.log());
    if let Some(log) = scene.field.log() {
        let _ = std::fs::copy(log, file("mapper"));
    }
}
