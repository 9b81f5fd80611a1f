//! Resident memory of the agent with devices that are being reported.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use anyhow::{Result, ensure};
use dmi::proto::{MapperInfo, MapperRegisterRequest};
use serde::Serialize;
use tokio::time::interval;

use super::megabytes;
use crate::crash::report;
use crate::gateway::{Gateway, plain_devices};

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// One line for each size.
    pub sizes: Vec<Size>,
}

/// One size.
#[derive(Debug, Serialize)]
pub struct Size {
    /// Devices.
    pub devices: usize,
    /// Properties of each.
    pub properties: usize,
    /// Resident after the load, in MB.
    pub resident_mb: f64,
    /// Largest on the way, in MB.
    pub peak_mb: f64,
    /// At most so much is wanted, in MB.
    pub wanted_mb: f64,
}

/// A mapper registers and gets its devices; then every device is reported once a second, `rounds` times, and the
/// kernel's figures are read.
///
/// # Errors
/// A report was refused.
pub async fn run(rounds: i64) -> Result<Memory> {
    let mut sizes = Vec::new();
    for (devices, properties, wanted_mb) in [(20, 5, 20.0), (1000, 10, 40.0)] {
        let mut gateway = Gateway::new(true)?;
        gateway.manifest("devices.yaml", &plain_devices(devices, properties))?;
        gateway.start(None).await?;
        gateway.loaded(devices).await?;
        let mut agent = dmi::connect::manager(gateway.dmi(), Duration::from_secs(5));
        // The agent knocks at the mapper's socket; that somebody could answer there is enough.
        let socket = gateway.folder().join("mapper.sock");
        let _listener = UnixListener::bind(&socket)?;
        let mapper = MapperInfo {
            name: "bench".into(),
            protocol: "bench".into(),
            address: socket.into_os_string().into_encoded_bytes(),
            ..MapperInfo::default()
        };
        let request = MapperRegisterRequest { with_data: true, mapper: Some(mapper) };
        let answer = agent.mapper_register(request).await?.into_inner();
        ensure!(answer.device_list.len() == devices, "not all devices came");
        let mut second = interval(Duration::from_secs(1));
        for value in 1..=rounds {
            second.tick().await;
            for device in 0..devices {
                agent.report_device_status(report(device, properties, value)).await?;
            }
        }
        let usage = gateway.agent()?.usage()?;
        sizes.push(Size {
            devices,
            properties,
            resident_mb: megabytes(usage.resident),
            peak_mb: megabytes(usage.peak),
            wanted_mb,
        });
    }
    Ok(Memory { sizes })
}
