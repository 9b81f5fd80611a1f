//! Manifest files named on the command line, as devices.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use device_model::{Device, DeviceInstance, DeviceModel, Manifest, parse_manifests};

use crate::client::suggest;

/// What the files hold.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Every device that resolves, in the order of the files.
    pub(crate) devices: Vec<Device>,
    /// One paragraph for each device that does not.
    pub(crate) problems: Vec<String>,
}

/// Reads DeviceModels and Devices from `paths`: files, or folders with files that end in `.yaml` or `.yml`.
///
/// # Errors
/// A file cannot be read or is no manifest, or there is no device in them.
pub(crate) fn load(paths: &[PathBuf]) -> anyhow::Result<Loaded> {
    let (mut models, mut instances) = (BTreeMap::new(), Vec::new());
    for path in files(paths)? {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("read {}; name a manifest file", path.display()))?;
        let manifests = parse_manifests(&text).with_context(|| path.display().to_string())?;
        for manifest in manifests {
            match manifest {
                Manifest::Model(model) => {
                    let key = (model.metadata.namespace.clone(), model.metadata.name.clone());
                    if models.insert(key, model).is_some() {
                        bail!("{}: a DeviceModel of this name was there already", path.display());
                    }
                }
                Manifest::Device(instance) => instances.push(*instance),
            }
        }
    }
    if instances.is_empty() {
        bail!("no Device in these files; name the file with `kind: Device` too");
    }
    let mut loaded = Loaded { devices: Vec::new(), problems: Vec::new() };
    for instance in &instances {
        match resolve(&models, instance) {
            Ok(device) => loaded.devices.push(device),
            Err(problem) => loaded.problems.push(problem),
        }
    }
    Ok(loaded)
}

type Models = BTreeMap<(String, String), DeviceModel>;

fn resolve(models: &Models, instance: &DeviceInstance) -> Result<Device, String> {
    let namespace = &instance.metadata.namespace;
    let name = instance.spec.device_model_ref.as_ref().map_or("", |reference| &reference.name);
    let Some(model) = models.get(&(namespace.clone(), name.to_owned())) else {
        let known: Vec<String> =
            models.keys().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
        return Err(format!(
            "Device {namespace}/{}: its DeviceModel {namespace}/{name} is not in these files{}",
            instance.metadata.name,
            suggest(&format!("{namespace}/{name}"), &known)
        ));
    };
    Device::resolve(model, instance).map_err(|problems| problems.to_string())
}

/// The files of `paths`, those of a folder by name.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let is_yaml = |path: &Path| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file() && is_yaml(path))
            .collect();
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "\
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: m, namespace: demo}
spec: {properties: [{name: p, type: INT, accessMode: ReadOnly}]}
";
    const DEVICE: &str = "\
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: d, namespace: demo}
spec:
  deviceModelRef: {name: m}
  protocol: {protocolName: modbus}
  properties: [{name: p}]
";

    #[test]
    fn model_and_device_may_stand_in_two_files_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b.yaml"), MODEL).unwrap();
        fs::write(dir.path().join("a.yml"), DEVICE).unwrap();
        fs::write(dir.path().join("notes.txt"), "not YAML: [").unwrap();
        let loaded = load(&[dir.path().to_owned()]).unwrap();
        assert_eq!(loaded.devices.len(), 1);
        assert_eq!(loaded.problems, Vec::<String>::new());
    }

    #[test]
    fn a_device_without_its_model_is_a_problem_that_names_both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.yaml");
        fs::write(&path, DEVICE).unwrap();
        let loaded = load(std::slice::from_ref(&path)).unwrap();
        assert!(loaded.problems[0].contains("demo/d") && loaded.problems[0].contains("demo/m"));
        fs::write(&path, MODEL).unwrap();
        assert!(load(&[path]).unwrap_err().to_string().contains("kind: Device"));
    }
}
