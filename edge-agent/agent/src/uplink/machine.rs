//! What this machine is, for the Node object.

use std::fs;

use serde_json::{Value as Json, json};

/// The Kubernetes version that a node of ours stands for; tools compare it with the API server's.
const KUBELET: &str = concat!("v1.33.0-edgetwin-", env!("CARGO_PKG_VERSION"));

/// Facts that do not change while the agent runs.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) arch: &'static str,
    pub(super) info: Json,
    pub(super) capacity: Json,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        let text = |path: &str| {
            fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let info = json!({
            "machineID": text("/etc/machine-id"),
            "systemUUID": text("/sys/class/dmi/id/product_uuid"),
            "bootID": text("/proc/sys/kernel/random/boot_id"),
            "kernelVersion": text("/proc/sys/kernel/osrelease"),
            "osImage": os_image(&text("/etc/os-release")),
            "containerRuntimeVersion": "none://",
            "kubeletVersion": KUBELET,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": arch,
        });
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let memory = memory(&text("/proc/meminfo")).unwrap_or(0);
        let capacity =
            json!({"cpu": cpus.to_string(), "memory": format!("{memory}Ki"), "pods": "0"});
        Self { arch, info, capacity }
    }
}

/// `PRETTY_NAME` of os-release(5).
fn os_image(text: &str) -> &str {
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("Linux").trim_matches('"')
}

/// `MemTotal` of proc_meminfo(5), in KiB.
fn memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(os_image("ID=debian\nPRETTY_NAME=\"Debian 13\"\n"), "Debian 13");
        assert_eq!(memory("MemTotal:        1000 kB\nMemFree: 3 kB\n"), Some(1000));
        assert_eq!(memory("nothing"), None);
    }
}
