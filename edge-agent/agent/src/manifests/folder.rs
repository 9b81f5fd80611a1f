//! What the files of a folder define, all together.
//!
//! A file counts with what it last held when it could be read: a broken one changes nothing but says so. A device
//! that does not resolve keeps what it was, for as long as some file holds it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use device_model::{Device, DeviceId, DeviceInstance, DeviceModel, Manifest, parse_manifests};

use crate::catalogue::{Definitions, ModelId};

/// A file that changed within this time may be half written.
pub(super) const SETTLE: Duration = Duration::from_millis(50);
/// Larger than any manifest that a person or a generator writes.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The file's name, or the device's where no file is known.
    pub(crate) file: String,
    /// The device that it concerns, where that is known.
    pub(crate) device: Option<DeviceId>,
    /// What is wrong: field, value and remedy.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn of_device(id: &DeviceId, message: String) -> Self {
        Self { file: id.to_string(), device: Some(id.clone()), message }
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
    /// Its last good text: a tenth of the memory of what it says.
    good: String,
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

/// What a look into the folder found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether anything is other than before.
    pub(crate) changed: bool,
    /// Whether a file counts as it was, since it may be half written: look again after [`SETTLE`].
    pub(crate) unsettled: bool,
}

impl Folder {
    /// Reads what changed in `dir`, at `now`.
    pub(crate) fn read(&mut self, dir: &Path, now: SystemTime) -> Look {
        let paths = match list(dir) {
            Ok(paths) => paths,
            Err(error) => {
                let reason = Some(error.to_string());
                let changed = self.unreadable != reason;
                self.unreadable = reason;
                return Look { changed, unsettled: false };
            }
        };
        let first = self.files.is_empty() && paths.is_empty();
        let mut changed = self.unreadable.take().is_some() || first;
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        changed |= self.files.len() != before;
        let mut unsettled = false;
        for path in paths {
            let look = self.read_file(path, now);
            changed |= look.changed;
            unsettled |= look.unsettled;
        }
        Look { changed, unsettled }
    }

    fn read_file(&mut self, path: PathBuf, now: SystemTime) -> Look {
        let Ok(stamp) = stamp(&path) else {
            // It vanished since it was listed.
            let changed = self.files.remove(&path).is_some();
            return Look { changed, unsettled: false };
        };
        if let Some(known) = self.files.get(&path) {
            let unsettled = stamp.is_younger_than(SETTLE, now);
            if known.stamp == stamp || unsettled {
                return Look { changed: false, unsettled: unsettled && known.stamp != stamp };
            }
        }
        let checked = text(&path, stamp.length).and_then(check);
        let file = self.files.entry(path).or_insert(File {
            stamp,
            good: String::new(),
            fault: None,
            read: false,
        });
        file.stamp = stamp;
        match checked {
            Ok(text) => {
                file.good = text;
                file.fault = None;
                file.read = true;
            }
            Err(fault) => file.fault = Some(fault),
        }
        Look { changed: true, unsettled: false }
    }

    /// Whether some file could not be read since the start, so that what it holds is unknown.
    pub(crate) fn has_unread(&self) -> bool {
        self.unreadable.is_some() || self.files.values().any(|file| !file.read)
    }

    /// Everything that the files define; `before` is what was defined until now.
    ///
    /// What did not change is the very object that it was.
    pub(crate) fn resolve(&self, before: &Definitions) -> (Definitions, Vec<Fault>) {
        if let Some(reason) = &self.unreadable {
            let message = format!("cannot read the folder: {reason}; what was defined stays");
            return (before.clone(), vec![Fault { file: ".".into(), device: None, message }]);
        }
        let mut faults = Vec::new();
        for (path, file) in &self.files {
            if let Some(fault) = &file.fault {
                let kept = if file.read { "; what it held before stays" } else { "" };
                faults.push(Fault {
                    file: name(path),
                    device: None,
                    message: format!("{fault}{kept}"),
                });
            }
        }
        let mut definitions =
            Definitions { models: self.models(before, &mut faults), ..Definitions::default() };
        self.devices(before, &mut definitions, &mut faults);
        (definitions, faults)
    }

    fn models(
        &self,
        before: &Definitions,
        faults: &mut Vec<Fault>,
    ) -> HashMap<ModelId, Arc<DeviceModel>> {
        let mut holders: HashMap<ModelId, String> = HashMap::new();
        let mut models = HashMap::new();
        for (path, file) in &self.files {
            for manifest in manifests(&file.good, |document| document.contains("DeviceModel")) {
                let Manifest::Model(model) = manifest else { continue };
                let id = (model.metadata.namespace.clone(), model.metadata.name.clone());
                if let Some(holder) = holders.get(&id) {
                    faults.push(twice("DeviceModel", &id, holder, path));
                    continue;
                }
                holders.insert(id.clone(), name(path));
                let known = before.models.get(&id).filter(|known| ***known == model);
                models.insert(id, known.cloned().unwrap_or_else(|| Arc::new(model)));
            }
        }
        models
    }

    /// One device at a time, so that the largest folder needs little memory.
    fn devices(
        &self,
        before: &Definitions,
        definitions: &mut Definitions,
        faults: &mut Vec<Fault>,
    ) {
        let mut holders: HashMap<ModelId, String> = HashMap::new();
        // The last device of each model: the next one mostly has the same properties.
        let mut examples: HashMap<String, Arc<Device>> = HashMap::new();
        for (path, file) in &self.files {
            for manifest in manifests(&file.good, |_| true) {
                let Manifest::Device(instance) = manifest else { continue };
                let id = (instance.metadata.namespace.clone(), instance.metadata.name.clone());
                if let Some(holder) = holders.get(&id) {
                    faults.push(twice("Device", &id, holder, path));
                    continue;
                }
                holders.insert(id, name(path));
                let known = |id: &DeviceId| before.devices.get(id).cloned();
                match resolve(&instance, definitions, known, &examples) {
                    Ok(device) => {
                        examples.insert(device.model.clone(), device.clone());
                        definitions.devices.insert(device.id.clone(), device);
                    }
                    Err((message, kept)) => {
                        let stays = if kept.is_some() { "; it stays as it was" } else { "" };
                        let message = format!("{message}{stays}");
                        let device = instance.metadata.id().ok();
                        faults.push(Fault { file: name(path), device, message });
                        definitions.devices.extend(kept.map(|device| (device.id.clone(), device)));
                    }
                }
            }
        }
    }
}

impl Stamp {
    /// A time to come is that of another clock.
    fn is_younger_than(&self, age: Duration, now: SystemTime) -> bool {
        let elapsed = self.modified.and_then(|modified| now.duration_since(modified).ok());
        elapsed.is_some_and(|elapsed| elapsed < age)
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first of two objects of one name counts.
fn twice(kind: &str, (namespace, object): &ModelId, holder: &str, path: &Path) -> Fault {
    let message = format!(
        "{kind} {namespace}/{object} stands in {holder} already, which counts; remove one of them"
    );
    Fault { file: name(path), device: None, message }
}

/// The text, if all of it can be read.
fn check(text: String) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(
            "is empty, as a file is that is being written; write manifests, or remove it".into()
        );
    }
    if documents(&text).all(|document| parse_manifests(document).is_ok()) {
        return Ok(text);
    }
    // As a whole, so that line and document are counted from the file's beginning.
    match parse_manifests(&text) {
        Ok(_) => Err("holds a %YAML or %TAG directive; remove it".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a checked text says, document by document, where `of_interest`.
fn manifests(text: &str, of_interest: impl Fn(&str) -> bool) -> impl Iterator<Item = Manifest> {
    let documents = documents(text).filter(move |document| of_interest(document));
    documents.flat_map(|document| parse_manifests(document).unwrap_or_default())
}

/// The documents of a YAML stream. A line that begins with `---` begins one, wherever it stands.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let marker = text
            .match_indices("\n---")
            .map(|(at, _)| at + 1)
            .find(|at| text[at + 3..].chars().next().is_none_or(|c| c.is_ascii_whitespace()));
        let (document, others) = match marker {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text, None),
        };
        rest = others;
        Some(document)
    })
}

/// The device, or why not and what stands in its place.
fn resolve(
    instance: &DeviceInstance,
    definitions: &Definitions,
    known: impl Fn(&DeviceId) -> Option<Arc<Device>>,
    examples: &HashMap<String, Arc<Device>>,
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
        Ok(mut device) => match known {
            Some(known) if *known == device => Ok(known),
            _ => {
                if let Some(example) = examples.get(&device.model) {
                    device.share(example);
                }
                Ok(Arc::new(device))
            }
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
