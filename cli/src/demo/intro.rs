//! What a demo says first: where everything is, and what to try.

use std::path::{Path, PathBuf};

use edge_agent::Addresses;

use crate::demo::home::Home;
use crate::demo::manifests::Wires;

/// The text above the table.
pub(crate) fn text(home: &Home, link: &Path, addresses: &Addresses, wires: &Wires) -> String {
    let program = program();
    let mqtt = addresses.mqtt.map_or_else(|| "off".to_owned(), |address| address.to_string());
    let subscribe = addresses.mqtt.map(|address| {
        format!("  mosquitto_sub -p {} -t '$hw/events/device/#' -v\n", address.port())
    });
    let data = home.data().display();
    format!(
        "\
Edgetwin demo: simulated Modbus devices, the Modbus mapper and an agent, in one process.

  Devices     pump at {tcp}; meter and room on the line {tty}
  MQTT        {mqtt}
  DMI         {dmi}
  Local API   {link}
  Manifests   {data}/manifests (edit one: it takes effect at once)
  Log         {data}/edgetwin.log

In a second terminal:
  {program} set demo/pump speed=1450 --wait 5s
  {program} watch demo/pump
{subscribe}\
Ctrl-C stops everything.
",
        tcp = wires.tcp,
        tty = wires.tty,
        dmi = addresses.dmi.display(),
        link = link.display(),
        subscribe = subscribe.unwrap_or_default(),
    )
}

/// How this program is called from here: by its name where the shell finds it, else by its path.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else { return "edgetwin".into() };
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("edgetwin") == own));
    if on_path {
        return "edgetwin".into();
    }
    let here: PathBuf = std::env::current_dir().unwrap_or_default();
    own.strip_prefix(&here).unwrap_or(&own).display().to_string()
}
