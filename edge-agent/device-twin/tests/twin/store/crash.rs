//! `kill -9` in the midst of commits: what was acknowledged is there.
//!
//! The child is this test binary again, told by its environment to write until it dies. It says each revision on its
//! standard output after `apply` returned, and is killed at another point each time.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use device_model::Value;
use device_twin::{Command, Settings, SqliteStore};

use crate::fixture::{Bench, at, pump};

const FILE: &str = "EDGETWIN_CRASH_TEST_FILE";

fn open(path: &Path) -> Bench<SqliteStore> {
    Bench::over(SqliteStore::open(path).unwrap(), Settings::default())
}

/// Not a test of its own: without the variable, which only the test below sets, there is nothing to do.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let mut bench = open(Path::new(&file));
    bench.outcome(at(0), Command::Load(pump()));
    let first = bench.pump().rev();
    for number in first.. {
        let number = i64::try_from(number).unwrap();
        let report = bench.reads("patient", Value::Int(number), at(number));
        let desire = bench.wants("locked", &number.to_string());
        let commands = vec![Command::Report(report), Command::Desire(desire)];
        // Every other commit is a report alone, which is not synced.
        let commands: Vec<_> =
            commands.into_iter().take(if number % 2 == 0 { 1 } else { 2 }).collect();
        bench.twins.apply(commands, at(number)).unwrap();
        let desired = bench.property("locked").desired.map(|desired| desired.value.to_string());
        println!("\nacknowledged {} {number} {}", bench.pump().rev(), desired.unwrap_or_default());
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("twins.db");
    let mut last = 0;
    for round in 0..20 {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::crash::child_that_writes_until_it_is_killed", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        for line in lines {
            if let Some(words) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged.push(words.to_owned());
            }
            if acknowledged.len() == 10 + round * 7 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "killed, not done");
        let words: Vec<_> = acknowledged.last().unwrap().split(' ').collect();
        let (rev, number): (u64, i64) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        let desired: i64 = words[2].parse().unwrap();

        let mut bench = open(&file);
        bench.nothing(at(0), Command::Load(pump()));
        let found = bench.pump().rev();
        // At most one commit was on its way when the child died.
        assert!((rev..=rev + 2).contains(&found), "acknowledged {rev}, found {found}");
        assert!(found > last, "each round goes on where the last one ended");
        last = found;
        let value = |value: Option<Value>| match value {
            Some(Value::Int(number)) => number,
            other => panic!("{other:?}"),
        };
        assert!(value(bench.property("patient").reported.unwrap().value) >= number);
        assert!(value(Some(bench.property("locked").desired.unwrap().value.clone())) >= desired);
    }
}
