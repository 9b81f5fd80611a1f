//! Writes sections of a configuration file, and leaves the rest of its text as it stands, comments included.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use edge_agent::config::{API_VERSION, KIND};
use serde_json::{Map, Value as Json};

/// The keys of a file's text.
///
/// # Errors
/// It is no YAML, or holds something else.
pub(crate) fn keys(text: &str) -> Result<Map<String, Json>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str(text).map_err(|error| error.to_string())? {
        Json::Object(keys) => Ok(keys),
        Json::Null => Ok(Map::new()),
        _ => Err("it holds no keys".into()),
    }
}

/// `text` with those sections in place of its own of the same names; an empty one is taken out.
///
/// # Errors
/// The text is written in a way that this cannot change; the sections to write by hand are in the error.
pub(crate) fn replaced(
    text: &str,
    sections: &[(&str, Map<String, Json>)],
) -> Result<String, String> {
    let mut wanted = keys(text)?;
    for (name, section) in sections {
        match section.is_empty() {
            true => drop(wanted.remove(*name)),
            false => drop(wanted.insert((*name).into(), Json::Object(section.clone()))),
        }
    }
    let mut changed = String::new();
    if text.trim().is_empty() {
        changed = format!("apiVersion: {API_VERSION}\nkind: {KIND}\n");
        wanted.insert("apiVersion".into(), API_VERSION.into());
        wanted.insert("kind".into(), KIND.into());
    } else if text.trim_start().starts_with('{') {
        // One line of JSON has no comments to lose.
        return yaml(&wanted);
    } else {
        changed.push_str(text);
    }
    for (name, section) in sections {
        let one = match section.is_empty() {
            true => String::new(),
            false => yaml(&Map::from_iter([((*name).to_owned(), section.clone().into())]))?,
        };
        changed = with_block(&changed, name, &one);
    }
    match keys(&changed) {
        Ok(found) if found == wanted => Ok(changed),
        _ => {
            let by_hand = sections.iter().filter(|(_, section)| !section.is_empty());
            let by_hand =
                by_hand.map(|(name, section)| ((*name).to_owned(), section.clone().into()));
            Err(format!(
                "its sections are not written one key below the other, so they cannot be changed; write yourself:\n{}",
                yaml(&by_hand.collect())?
            ))
        }
    }
}

fn yaml(keys: &Map<String, Json>) -> Result<String, String> {
    serde_saphyr::to_string(&keys).map_err(|error| error.to_string())
}

/// `text` with `block` in place of the lines of `key`, or at its end.
fn with_block(text: &str, key: &str, block: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_key = |line: &&str| {
        line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
            || line.strip_prefix(&format!("\"{key}\"")).is_some_and(|rest| rest.starts_with(':'))
    };
    let Some(first) = lines.iter().position(is_key) else {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return format!("{text}{end}{block}");
    };
    // Up to the next key; what stands right above that, blank lines and comments, is that one's.
    let below = &lines[first + 1..];
    let inside = |line: &&str| line.starts_with([' ', '\t', '}', ']', '-']);
    let blank = |line: &&str| line.trim().is_empty() || line.starts_with('#');
    let until = below.iter().position(|line| !inside(line) && !blank(line)).unwrap_or(below.len());
    let own = below[..until].iter().rposition(|line| inside(line) && !line.trim().is_empty());
    let after = first + 1 + own.map_or(0, |last| last + 1);
    format!("{}{block}{}", lines[..first].concat(), lines[after..].concat())
}

/// Puts `text` into the place of `path`, as a whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir)?;
    let mode = fs::metadata(path).map_or(0o644, |found| found.permissions().mode());
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn section(json: Json) -> Map<String, Json> {
        match json {
            Json::Object(keys) => keys,
            _ => Map::new(),
        }
    }

    #[test]
    fn what_else_stands_in_the_file_is_kept_to_the_letter() {
        let text = "\
# ours
apiVersion: edgetwin.io/v1
cloud:
  # was there
  addresses: [old:1]

  heartbeat: 5s

# what apps hear
mqtt: {listen: \"127.0.0.1:1884\"} # beside another
";
        let cloud = section(json!({"addresses": ["new:2"], "heartbeat": "5s"}));
        let node = section(json!({"name": "edge-1"}));
        let changed = replaced(text, &[("cloud", cloud), ("node", node)]).unwrap();
        let (before, after) = changed.split_once("cloud:\n").unwrap();
        assert_eq!(before, "# ours\napiVersion: edgetwin.io/v1\n");
        let kept = "\n# what apps hear\nmqtt: {listen: \"127.0.0.1:1884\"} # beside another\n";
        assert!(after.contains(kept) && !after.contains("old:1"), "{changed}");
        assert_eq!(keys(&changed).unwrap()["node"]["name"], "edge-1");

        let without = replaced(&changed, &[("cloud", Map::new())]).unwrap();
        assert!(without.contains(kept) && !without.contains("cloud"), "{without}");
        assert_eq!(replaced(&without, &[("cloud", Map::new())]).unwrap(), without);
    }

    #[test]
    fn a_file_that_is_not_there_begins_with_its_kind_and_json_becomes_yaml() {
        let cloud = || section(json!({"addresses": ["new:2"]}));
        let text = replaced("", &[("cloud", cloud())]).unwrap();
        assert!(
            text.starts_with("apiVersion: edgetwin.io/v1\nkind: AgentConfig\ncloud:\n"),
            "{text}"
        );
        let text = replaced(r#"{"log": {"level": "debug"}}"#, &[("cloud", cloud())]).unwrap();
        assert_eq!(keys(&text).unwrap()["log"]["level"], "debug");
        assert_eq!(keys(&text).unwrap()["cloud"]["addresses"][0], "new:2");
    }

    #[test]
    fn a_text_that_cannot_be_changed_is_left_and_it_is_said_what_to_write() {
        let text = "? cloud\n: {addresses: [old:1]}\n";
        let cloud = section(json!({"addresses": ["new:2"]}));
        let error = replaced(text, &[("cloud", cloud)]).unwrap_err();
        assert!(error.contains("write yourself:\ncloud:") && error.contains("new:2"), "{error}");
    }
}
