//! The demo's manifests: the profiles of `device-profiles/demo`, with this run's addresses put in.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

/// File name and text of each profile.
const PROFILES: [(&str, &str); 3] = [
    ("pump-skid.yaml", include_str!("../../../device-profiles/demo/pump-skid.yaml")),
    ("energy-meter.yaml", include_str!("../../../device-profiles/demo/energy-meter.yaml")),
    ("room-controller.yaml", include_str!("../../../device-profiles/demo/room-controller.yaml")),
];

/// Where the simulated devices are in this run.
#[derive(Clone, Debug)]
pub(crate) struct Wires {
    /// Of the devices on TCP.
    pub(crate) tcp: SocketAddr,
    /// Of the devices on the serial line.
    pub(crate) tty: String,
}

/// Puts the manifests into `dir`, and gives their texts. A file that is there already is kept, edits and all;
/// only its addresses become this run's.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn place(dir: &Path, wires: &Wires) -> anyhow::Result<Vec<String>> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut texts = Vec::new();
    for (name, profile) in PROFILES {
        let path = dir.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(kept) => wired(&kept, wires),
            Err(_) => wired(profile, wires),
        };
        fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
        texts.push(text);
    }
    Ok(texts)
}

/// `text` with the addresses of its Devices replaced; comments and DeviceModels stay as they are.
fn wired(text: &str, wires: &Wires) -> String {
    let mut in_device = false;
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match line.trim_end() {
            "---" => in_device = false,
            "kind: Device" => in_device = true,
            _ => {}
        }
        let address = in_device.then(|| address(line, wires)).flatten();
        out.push_str(address.as_deref().unwrap_or(line));
        out.push('\n');
    }
    out
}

/// The line with its address replaced, if it holds one.
fn address(line: &str, wires: &Wires) -> Option<String> {
    let (key, rest) = line.split_once(':')?;
    let value = match key.trim() {
        "ip" => wires.tcp.ip().to_string(),
        "port" => format!("\"{}\"", wires.tcp.port()),
        "serialName" => wires.tty.clone(),
        _ => return None,
    };
    let comment = rest.find(" #").map_or("", |at| &rest[at..]);
    Some(format!("{key}: {value}{comment}"))
}

#[cfg(test)]
mod tests {
    use device_model::{Device, Manifest, parse_manifests};

    use super::*;

    fn wires(port: u16) -> Wires {
        Wires { tcp: ([127, 0, 0, 1], port).into(), tty: "/dev/pts/7".into() }
    }

    fn devices(texts: &[String]) -> Vec<Device> {
        let resolve = |text: &String| {
            let manifests = parse_manifests(text).unwrap();
            let [Manifest::Model(model), Manifest::Device(device)] = manifests.as_slice() else {
                panic!("a model and a device: {text}");
            };
            Device::resolve(model, device).unwrap()
        };
        texts.iter().map(resolve).collect()
    }

    #[test]
    fn every_profile_resolves_with_this_runs_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let devices = devices(&place(dir.path(), &wires(4711)).unwrap());
        let names: Vec<String> = devices.iter().map(|device| device.id.to_string()).collect();
        assert_eq!(names, ["demo/pump", "demo/meter", "demo/room"]);
        assert_eq!(devices[0].config.integer("port", 0..=65535), Ok(Some(4711)));
        assert_eq!(devices[1].config.text("serialName").as_deref(), Some("/dev/pts/7"));
        assert_eq!(devices[2].config.text("serialName").as_deref(), Some("/dev/pts/7"));
        assert_eq!(devices[2].config.integer("slaveID", 0..=255), Ok(Some(2)));
    }

    #[test]
    fn a_second_start_keeps_edits_and_moves_addresses() {
        let dir = tempfile::tempdir().unwrap();
        place(dir.path(), &wires(1)).unwrap();
        let pump = dir.path().join("pump-skid.yaml");
        let edited = fs::read_to_string(&pump).unwrap().replace("\"1200\"", "\"900\"");
        fs::write(&pump, &edited).unwrap();
        let devices = devices(&place(dir.path(), &wires(2)).unwrap());
        assert_eq!(devices[0].config.integer("port", 0..=65535), Ok(Some(2)));
        let desired = devices[0].property("speed").unwrap().desired.as_ref().unwrap();
        assert_eq!(desired.value.to_string(), "900");
        let text = fs::read_to_string(&pump).unwrap();
        assert!(text.contains("port: \"502\""), "the model's own port stays");
        assert!(text.contains("port: \"2\" # over"), "and so do comments: {text}");
    }
}
