//! `docs/twin.md` against the tests that are there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, text: &mut String) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

fn functions(text: &str) -> BTreeSet<&str> {
    let names = text.split("fn ").skip(1);
    names.filter_map(|rest| rest.split_once('(').map(|(name, _)| name)).collect()
}

#[test]
fn the_table_of_rules_names_every_test_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../../docs/twin.md")).unwrap();
    let mut text = String::new();
    sources(&root.join("tests"), &mut text);
    sources(&root.join("src"), &mut text);
    let functions = functions(&text);
    // Between backticks, a name of several words: a test of this crate. Those of others stand as `test: name`, and
    // tests/tidy.rs looks for them; a metric begins with our name.
    let named: BTreeSet<&str> = (table.split('`').skip(1).step_by(2))
        .filter(|word| word.matches('_').count() >= 3)
        .filter(|word| !word.starts_with("test: ") && !word.starts_with("edgetwin_"))
        .collect();
    let absent: Vec<_> = named.difference(&functions).collect();
    assert!(absent.is_empty(), "docs/twin.md names tests that are not there: {absent:?}");

    let is_rule = |name: &&&str| {
        name.starts_with('r') && name.get(1..3).is_some_and(|number| number.parse::<u8>().is_ok())
    };
    let unnamed: Vec<_> =
        functions.iter().filter(is_rule).filter(|name| !named.contains(**name)).collect();
    assert!(unnamed.is_empty(), "docs/twin.md does not name {unnamed:?}");
    for rule in (1..=12).chain(14..=20).chain(23..=28) {
        assert!(table.contains(&format!("| R{rule} |")), "docs/twin.md has no row for R{rule}");
        let prefix = format!("r{rule:02}_");
        assert!(named.iter().any(|name| name.starts_with(&prefix)), "R{rule} has no test");
    }
}
