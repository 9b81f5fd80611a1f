//! The matrix with KubeEdge's own CloudCore and EdgeCore.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use e2e::kubeedge::{self, Cell, Outcome, Programs, Row, Step, Table};

/// Runs our programs with KubeEdge's own, step by step, and prints what came out.
///
/// Each cell has a real Kubernetes control plane, one of the clouds (CloudCore or our bridge), one of the edges (EdgeCore
/// or our agent), and a mapper. What a cell lacks a program for is skipped with one line.
#[derive(Parser)]
#[command(name = "./test interop", after_help = HELP)]
struct Interop {
    /// KubeEdge's CloudCore, 1.22 or newer
    #[arg(long, value_name = "PATH", env = "EDGETWIN_CLOUDCORE")]
    cloudcore: Option<PathBuf>,
    /// KubeEdge's EdgeCore, of the same release; wants root
    #[arg(long, value_name = "PATH", env = "EDGETWIN_EDGECORE")]
    edgecore: Option<PathBuf>,
    /// A file or a folder with KubeEdge's custom resource definitions, for CloudCore; default: those of `cloud-bridge crds`
    #[arg(long, value_name = "PATH", env = "EDGETWIN_KUBEEDGE_CRDS")]
    crds: Option<PathBuf>,
    /// Only the cell of that number, more than once for several: 1, 2, 4, 5; the third is part of 2 and 4
    #[arg(long, value_name = "NUMBER")]
    cell: Vec<u8>,
    /// How the rows are printed
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

const HELP: &str = "\
Where to get the programs: both come with each release of KubeEdge, https://github.com/kubeedge/kubeedge/releases:
  kubeedge-v1.22.0-linux-amd64.tar.gz holds cloud/cloudcore/cloudcore and edge/edgecore.
Or from its sources, with Go: make all WHAT=\"cloudcore edgecore\"; they are in _output/local/bin, and the definitions in
build/crds.

  ./test interop --cloudcore ~/kubeedge/cloudcore --edgecore ~/kubeedge/edgecore
  ./test interop --cloudcore … --edgecore … --cell 2 --output json

Every program listens on loopback alone. EdgeCore runs in a mount namespace of its own, and changes nothing of this
machine. EDGETWIN_INTEROP_LOGS=FOLDER keeps the logs. What was found: docs/compatibility.md.

Exit codes: 0 every cell ran, and nothing failed that is not known of KubeEdge; 1 something failed; 2 wrong usage;
3 a cell was skipped.";

#[tokio::main]
async fn main() -> ExitCode {
    let Interop { cloudcore, edgecore, crds, cell, output } = Interop::parse();
    let known = |number: &u8| Cell::ALL.iter().any(|cell| cell.number() == *number);
    if let Some(stranger) = cell.iter().find(|number| !known(number)) {
        say(&format!("--cell {stranger}: no such cell; there are 1, 2, 4 and 5"));
        return ExitCode::from(2);
    }
    let programs = Programs { cloudcore, edgecore, crds };
    let mut table = Table::default();
    for chosen in Cell::ALL {
        if cell.is_empty() || cell.contains(&chosen.number()) {
            kubeedge::run(chosen, &programs, &mut table, tell).await;
        }
    }
    #[expect(clippy::print_stdout, reason = "the table is this program's output")]
    match output {
        Output::Table => println!("{table}"),
        Output::Json => println!("{:#}", serde_json::json!(table)),
    }
    match (table.has_failures(), table.has_gaps()) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// Says a row as soon as it is there.
fn tell(row: &Row) {
    let (number, title) = (row.cell.number(), row.cell.title());
    match (&row.outcome, row.step) {
        (Outcome::Skipped(why), None) => {
            say(&format!("!! SKIPPED: cell {number} ({title}): {why}"))
        }
        (outcome, step) => {
            let step = step.map_or("all", Step::title);
            say(&format!("cell {number}, {step}, {:.1} s: {outcome}", row.seconds));
        }
    }
}

#[expect(clippy::print_stderr, reason = "progress is for whoever waits")]
fn say(text: &str) {
    eprintln!("{text}");
}
