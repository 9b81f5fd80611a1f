//! Devices for measuring a store without an agent around it.

use std::sync::Arc;

use anyhow::{Context, Result};
use device_model::{Device, Manifest, parse_manifests};

use crate::gateway::plain_devices;

/// `devices` of `properties` each, resolved.
///
/// # Errors
/// The manifests are wrong.
pub fn resolved(devices: usize, properties: usize) -> Result<Vec<Arc<Device>>> {
    let (mut model, mut resolved) = (None, Vec::new());
    for manifest in parse_manifests(&plain_devices(devices, properties))? {
        match manifest {
            Manifest::Model(one) => model = Some(one),
            Manifest::Device(one) => {
                let model = model.as_ref().context("no model before its devices")?;
                resolved.push(Arc::new(Device::resolve(model, &one)?));
            }
        }
    }
    Ok(resolved)
}
