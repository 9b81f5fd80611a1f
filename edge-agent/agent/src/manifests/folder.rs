//! What the files of a folder define, all together.
//!
//! A file counts with what it last held when it could be read: a broken one changes nothing but says so. A device
//! that does not resolve keeps what it was, for as long as some file holds it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use device_model::{Device, DeviceId, DeviceInstance, DeviceModel, Manifest, parse_manifests};

use crate::catalogue::{Definitions, ModelId};

/// Larger than any manifest that a person or a generator writes.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Fault {
    /// The file's name, or the device's where no file is known.
    pub(crate) file: String,
    /// What is wrong: field, value and remedy.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn of_device(id: &DeviceId, message: String) -> Self {
        Self { file: id.to_string(), message }
    }
}

/// The files, as they were read last.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    files: BTreeMap<PathBuf, File>,
    /// Why the folder itself cannot be read.
    unreadable: Option<String>,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    good: Vec<Manifest>,
    fault: Option<String>,
    /// Whether it was ever read without a fault.
    read: bool,
}

/// Changes whenever the content does, as far as the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Folder {
    /// Reads what changed in `dir`; whether anything did.
    pub(crate) fn read(&mut self, dir: &Path) -> bool {
        let paths = match list(dir) {
            Ok(paths) => paths,
            Err(error) => {
                let reason = Some(error.to_string());
                let changed = self.unreadable != reason;
                self.unreadable = reason;
                return changed;
            }
        };
        let first = self.files.is_empty() && paths.is_empty();
        let mut changed = self.unreadable.take().is_some() || first;
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        changed |= self.files.len() != before;
        for path in paths {
            changed |= self.read_file(path);
        }
        changed
    }

    fn read_file(&mut self, path: PathBuf) -> bool {
        let Ok(stamp) = stamp(&path) else {
            // It vanished since it was listed.
            return self.files.remove(&path).is_some();
        };
        if self.files.get(&path).is_some_and(|file| file.stamp == stamp) {
            return false;
        }
        let parsed = text(&path, stamp.length)
            .and_then(|text| parse_manifests(&text).map_err(|error| error.to_string()));
        let file = self.files.entry(path).or_insert(File {
            stamp,
            good: Vec::new(),
            fault: None,
            read: false,
        });
        file.stamp = stamp;
        match parsed {
            Ok(manifests) => {
                file.good = manifests;
                file.fault = None;
                file.read = true;
            }
            Err(fault) => file.fault = Some(fault),
        }
        true
    }

    /// Whether some file could not be read since the start, so that what it holds is unknown.
    pub(crate) fn has_unread(&self) -> bool {
        self.unreadable.is_some() || self.files.values().any(|file| !file.read)
    }

    /// Everything that the files define; `before` is what was defined until now.
    ///
    /// What did not change is the very object that it was.
    pub(crate) fn resolve(&self, before: &Definitions) -> (Definitions, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut models: HashMap<ModelId, (Arc<DeviceModel>, String)> = HashMap::new();
        let mut instances: BTreeMap<(String, String), (&DeviceInstance, String)> = BTreeMap::new();
        if let Some(reason) = &self.unreadable {
            let message = format!("cannot read the folder: {reason}; what was defined stays");
            return (before.clone(), vec![Fault { file: ".".into(), message }]);
        }
        for (path, file) in &self.files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(fault) = &file.fault {
                let kept = if file.read { "; what it held before stays" } else { "" };
                faults.push(Fault { file: name.clone(), message: format!("{fault}{kept}") });
            }
            for manifest in &file.good {
                let twice = match manifest {
                    Manifest::Model(model) => {
                        let id = (model.metadata.namespace.clone(), model.metadata.name.clone());
                        let known = before.models.get(&id).filter(|known| known.as_ref() == model);
                        let model = known.cloned().unwrap_or_else(|| Arc::new(model.clone()));
                        insert_first(&mut models, id, model, &name)
                    }
                    Manifest::Device(device) => {
                        let id = (device.metadata.namespace.clone(), device.metadata.name.clone());
                        match instances.get(&id) {
                            Some((_, holder)) => Some(("Device", id, holder.clone())),
                            None => {
                                instances.insert(id, (device, name.clone()));
                                None
                            }
                        }
                    }
                };
                if let Some((kind, (namespace, object), holder)) = twice {
                    let message = format!(
                        "{kind} {namespace}/{object} stands in {holder} already, which counts; remove one of them"
                    );
                    faults.push(Fault { file: name.clone(), message });
                }
            }
        }
        let mut definitions = Definitions {
            models: models.into_iter().map(|(id, (model, _))| (id, model)).collect(),
            devices: HashMap::with_capacity(instances.len()),
        };
        for (instance, file) in instances.into_values() {
            let known = |id: &DeviceId| before.devices.get(id).cloned();
            match resolve(instance, &definitions, known) {
                Ok(device) => {
                    definitions.devices.insert(device.id.clone(), device);
                }
                Err((message, kept)) => {
                    let stays = if kept.is_some() { "; it stays as it was" } else { "" };
                    faults.push(Fault { file, message: format!("{message}{stays}") });
                    definitions.devices.extend(kept.map(|device| (device.id.clone(), device)));
                }
            }
        }
        (definitions, faults)
    }
}

/// Keeps the first of two objects of one name; the second is told with the file that holds the first.
fn insert_first(
    models: &mut HashMap<ModelId, (Arc<DeviceModel>, String)>,
    id: ModelId,
    model: Arc<DeviceModel>,
    file: &str,
) -> Option<(&'static str, ModelId, String)> {
    if let Some((_, holder)) = models.get(&id) {
        return Some(("DeviceModel", id, holder.clone()));
    }
    models.insert(id, (model, file.into()));
    None
}

/// The device, or why not and what stands in its place.
fn resolve(
    instance: &DeviceInstance,
    definitions: &Definitions,
    known: impl Fn(&DeviceId) -> Option<Arc<Device>>,
) -> Result<Arc<Device>, (String, Option<Arc<Device>>)> {
    let known = instance.metadata.id().ok().and_then(|id| known(&id));
    let namespace = &instance.metadata.namespace;
    let reference = instance.spec.device_model_ref.as_ref().map_or("", |model| &model.name);
    let id = (namespace.clone(), reference.to_owned());
    let Some(model) = definitions.models.get(&id) else {
        let device = &instance.metadata.name;
        let message = format!(
            "Device {namespace}/{device}: spec.deviceModelRef.name = \"{reference}\": no such DeviceModel in namespace {namespace}; add its manifest to the folder"
        );
        return Err((message, known));
    };
    match Device::resolve(model, instance) {
        Ok(device) => match known {
            Some(known) if *known == device => Ok(known),
            _ => Ok(Arc::new(device)),
        },
        Err(problems) => Err((problems.to_string(), known)),
    }
}

fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let manifest = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"));
        if manifest && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let file = fs::metadata(path)?;
    Ok(Stamp { modified: file.modified().ok(), length: file.len(), inode: file.ino() })
}

fn text(path: &Path, length: u64) -> Result<String, String> {
    if length > FILE_LIMIT {
        return Err(format!("larger than {FILE_LIMIT} bytes; split it"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))
}

#[cfg(test)]
mod tests;
