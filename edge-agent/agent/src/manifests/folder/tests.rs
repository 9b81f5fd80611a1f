use std::fs;

use device_model::DeviceId;

use super::*;

const MODEL: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump, namespace: demo}
spec:
  protocol: modbus
  properties:
    - {name: speed, type: INT, accessMode: ReadWrite, minimum: '0', maximum: '3000'}
";

fn device(name: &str, desired: &str) -> String {
    format!(
        "
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: {name}, namespace: demo}}
spec:
  deviceModelRef: {{name: pump}}
  protocol: {{protocolName: modbus}}
  properties:
    - {{name: speed, desired: {{value: '{desired}'}}}}
"
    )
}

/// When all that was written is settled.
fn later() -> SystemTime {
    SystemTime::now() + SETTLE
}

/// A folder on disk, and what it means.
struct World {
    dir: tempfile::TempDir,
    folder: Folder,
    definitions: Definitions,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world =
            Self { dir, folder: Folder::default(), definitions: Definitions::default() };
        world.write("model.yaml", MODEL);
        world
    }

    fn write(&mut self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Reads the folder; the faults.
    fn read(&mut self) -> Vec<Fault> {
        assert!(self.folder.read(self.dir.path(), later()).changed, "something changed");
        let (definitions, faults) = self.folder.resolve(&self.definitions);
        self.definitions = definitions;
        faults
    }

    fn desired(&self, name: &str) -> Option<String> {
        let device = self.definitions.devices.get(&DeviceId::new("demo", name).unwrap())?;
        device.property("speed").unwrap().desired.as_ref().map(|desire| desire.value.to_string())
    }
}

#[test]
fn a_broken_file_keeps_what_it_held_and_says_where() {
    let mut world = World::new();
    world.write("pump.yaml", &device("pump", "1450"));
    assert_eq!(world.read(), []);
    world.write("pump.yaml", "kind: [");
    let faults = world.read();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].file, "pump.yaml");
    assert!(faults[0].message.contains("line"), "{}", faults[0].message);
    assert!(faults[0].message.contains("what it held before stays"), "{}", faults[0].message);
    assert_eq!(world.desired("pump").as_deref(), Some("1450"));
    world.write("pump.yaml", &device("pump", "900"));
    assert_eq!(world.read(), []);
    assert_eq!(world.desired("pump").as_deref(), Some("900"));
}

#[test]
fn a_device_out_of_range_keeps_what_it_was_and_harms_no_other() {
    let mut world = World::new();
    world.write("a.yaml", &device("a", "10"));
    world.write("b.yaml", &device("b", "10"));
    assert_eq!(world.read(), []);
    world.write("a.yaml", &device("a", "99999"));
    world.write("b.yaml", &device("b", "20"));
    let faults = world.read();
    assert_eq!(faults.len(), 1);
    let message = &faults[0].message;
    assert!(message.contains("spec.properties[speed].desired.value = \"99999\""), "{message}");
    assert_eq!(world.desired("a").as_deref(), Some("10"));
    assert_eq!(world.desired("b").as_deref(), Some("20"));
}

#[test]
fn what_no_file_holds_is_gone_and_what_did_not_change_is_the_same_object() {
    let mut world = World::new();
    world.write("a.yaml", &device("a", "10"));
    world.write("b.yaml", &device("b", "10"));
    world.read();
    let before = world.definitions.clone();
    fs::remove_file(world.dir.path().join("a.yaml")).unwrap();
    assert_eq!(world.read(), []);
    let id = DeviceId::new("demo", "b").unwrap();
    assert_eq!(world.definitions.devices.len(), 1);
    assert!(Arc::ptr_eq(&before.devices[&id], &world.definitions.devices[&id]));
    assert!(!world.folder.read(world.dir.path(), later()).changed, "nothing changed since");
}

#[test]
fn a_changed_model_reaches_its_devices() {
    let mut world = World::new();
    world.write("a.yaml", &device("a", "10"));
    world.read();
    world.write("model.yaml", &MODEL.replace("'3000'", "'2000'"));
    assert_eq!(world.read(), []);
    let device = &world.definitions.devices[&DeviceId::new("demo", "a").unwrap()];
    let maximum = device.property("speed").unwrap().maximum.as_ref();
    assert_eq!(maximum.unwrap().to_string(), "2000");
}

#[test]
fn the_first_of_two_files_counts_and_a_missing_model_is_named() {
    let mut world = World::new();
    world.write("a.yaml", &device("pump", "10"));
    world.write("b.yaml", &device("pump", "20"));
    world.write("c.yaml", &device("lost", "1").replace("name: pump}", "name: nothing}"));
    world.write("notes.txt", "not a manifest");
    let faults = world.read();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].message.contains("stands in a.yaml already"), "{faults:?}");
    assert!(faults[1].message.contains("no such DeviceModel"), "{faults:?}");
    assert_eq!(world.desired("pump").as_deref(), Some("10"));
}

#[test]
fn a_file_that_was_broken_from_the_start_may_hold_anything() {
    let mut world = World::new();
    world.write("a.yaml", "kind: [");
    world.read();
    assert!(world.folder.has_unread());
    world.write("a.yaml", &device("pump", "10"));
    world.read();
    assert!(!world.folder.has_unread());
}

#[test]
fn a_file_that_may_be_half_written_counts_as_it_was() {
    let mut world = World::new();
    world.write("pump.yaml", &device("pump", "1450"));
    assert_eq!(world.read(), []);
    world.write("pump.yaml", "");
    let written = fs::metadata(world.dir.path().join("pump.yaml")).unwrap().modified().unwrap();
    let look = world.folder.read(world.dir.path(), written + SETTLE / 2);
    assert_eq!(look, Look { changed: false, unsettled: true });
    let look = world.folder.read(world.dir.path(), written + SETTLE);
    assert_eq!(look, Look { changed: true, unsettled: false });
    let (definitions, faults) = world.folder.resolve(&world.definitions);
    assert!(faults[0].message.contains("is empty"), "{}", faults[0].message);
    world.definitions = definitions;
    assert_eq!(world.desired("pump").as_deref(), Some("1450"));
    world.write("pump.yaml", "# not now");
    assert_eq!(world.read(), []);
    assert_eq!(world.desired("pump"), None, "somebody said so");
}
