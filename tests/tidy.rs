//! Holds `ARCHITECTURE.md` to its word: who may import whom, which words stay in which files, and that every
//! test named in the documentation exists.

#![expect(clippy::unwrap_used, reason = "a test file; its helpers are no test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// A crate of ours, what it may import of ours, and foreign crates that it must not have.
/// The reasons stand in `ARCHITECTURE.md`, "Who may import whom".
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("device-model", &[], &["tokio", "rusqlite", "tonic"]),
    ("dmi", &["device-model"], &["rusqlite", "mqtt5"]),
    ("exposition", &[], &["tokio", "tonic", "axum"]),
    ("settings", &[], &["tokio", "tonic", "axum"]),
    ("mapper-sdk", &["device-model", "dmi", "exposition"], &["rusqlite", "mqtt5", "axum"]),
    ("mapper-modbus", &["device-model", "mapper-sdk"], &["rusqlite", "mqtt5", "axum", "tonic"]),
    ("sim-modbus", &[], &["tonic", "rusqlite", "mqtt5"]),
    ("device-twin", &["device-model"], &["tokio", "tonic", "mqtt5"]),
    ("edge-link", &["device-model"], &["tokio", "tonic", "rusqlite", "kube"]),
    (
        "cloud-bridge",
        &["device-model", "edge-link", "exposition", "settings"],
        &["rusqlite", "mqtt5", "tonic", "tokio-modbus"],
    ),
    (
        "edge-agent",
        &["device-model", "device-twin", "dmi", "edge-link", "exposition", "settings"],
        &["tokio-modbus", "tokio-serial", "kube"],
    ),
    (
        "edgetwin",
        &[
            "device-model",
            "dmi",
            "exposition",
            "settings",
            "mapper-sdk",
            "mapper-modbus",
            "sim-modbus",
            "device-twin",
            "edge-agent",
            "cloud-bridge",
        ],
        &["rusqlite", "mqtt5"],
    ),
];

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn workspace() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

#[test]
fn imports_follow_the_arrows() {
    let metadata = workspace();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let arrows: BTreeMap<_, _> =
        ARROWS.iter().map(|(name, may, never)| (*name, (*may, *never))).collect();
    for package in metadata.packages.iter().filter(|package| package.name.as_str() != "e2e") {
        let name = &package.name;
        let (may, never) = arrows
            .get(name.as_str())
            .unwrap_or_else(|| panic!("say in tidy.rs what {name} may import"));
        for import in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let allowed = !ours.contains(&import.name) || may.contains(&import.name.as_str());
            assert!(allowed, "{name} must not import {}", import.name);
            let banned = never.contains(&import.name.as_str());
            assert!(!banned, "{name} must not import {}", import.name);
        }
    }
}

/// A build script that links something says so under `links`; those of other systems and of build tools do not run, and
/// k8s-openapi's only tells which version of Kubernetes it is for.
#[test]
fn of_foreign_code_there_is_sqlite_and_ring_alone() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().unwrap();
    let linked: BTreeSet<_> = metadata
        .packages
        .iter()
        .filter(|package| package.links.is_some())
        .map(|package| package.name.to_string())
        .filter(|name| {
            !["k8s-openapi", "prettyplease", "wasm-bindgen-shared"].contains(&name.as_str())
        })
        .collect();
    assert_eq!(linked, ["libsqlite3-sys", "ring"].map(str::to_owned).into());
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for package in workspace().packages {
        let text = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} has lints of its own",
            package.name
        );
    }
}

/// Every file below `dir` whose name ends with one of `endings`; build output and hidden folders are left out.
fn files(dir: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// Names of all functions in the workspace's Rust sources that are marked as tests, properties among them.
fn tests_in_sources() -> BTreeSet<String> {
    let mut sources = Vec::new();
    files(&root(), &[".rs"], &mut sources);
    let mut names = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                marked |= line.contains("test]") || line.contains("::test");
            } else if let Some((_, rest)) = line.split_once("fn ") {
                if marked {
                    names.extend(rest.split(['(', '<']).next().map(str::to_owned));
                }
                marked = false;
            }
        }
    }
    names
}

/// Documentation names a test as `` `test: name` ``.
#[test]
fn every_test_named_in_the_documentation_exists() {
    let tests = tests_in_sources();
    let mut pages = vec![root().join("ARCHITECTURE.md")];
    files(&root().join("docs"), &[".md"], &mut pages);
    let mut missing = Vec::new();
    let mut named = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for part in text.split("`test: ").skip(1) {
            let name = part.split('`').next().unwrap_or_default().to_owned();
            named += 1;
            if !tests.contains(&name) {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
    assert!(named > 0, "the documentation names no test at all");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut pages = Vec::new();
    files(&root(), &[".md"], &mut pages);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().unwrap().join(target);
            assert!(path.exists(), "{} links to {target}, which is not there", page.display());
        }
    }
}

/// KubeEdge's MQTT words for desired and reported stay in the module that speaks its topics.
#[test]
fn the_words_expected_and_actual_stay_at_the_mqtt_border() {
    let mut sources = Vec::new();
    for folder in ["edge-agent", "mapper-sdk", "mappers"] {
        files(&root().join(folder), &[".rs"], &mut sources);
    }
    for source in sources {
        let border = source.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name.starts_with("eventbus") || name.starts_with("tests")
        });
        let text = fs::read_to_string(&source).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let speaks = code.contains("\"expected\"") || code.contains("\"actual\"");
        assert!(border || !speaks, "{} speaks MQTT's words", source.display());
    }
}

#[test]
fn no_source_file_holds_two_ideas() {
    let mut sources = Vec::new();
    files(&root(), &[".rs"], &mut sources);
    for source in sources {
        let lines = fs::read_to_string(&source).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines; split it", source.display());
    }
}

/// The README's commands are the ones that exist.
#[test]
fn the_readme_names_scripts_that_exist() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    for script in text.split("`./").skip(1).filter_map(|part| part.split(['`', ' ']).next()) {
        assert!(root().join(script).exists(), "README.md names ./{script}");
    }
}
