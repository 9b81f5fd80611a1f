//! The Modbus driver: configuration in, sessions out.

use std::time::Duration;

use device_model::{Device, DeviceId, Problem, Property};
use mapper_sdk::{Driver, SessionFault};
use tokio::time::timeout;
use tracing::warn;

use crate::endpoint::{self, Endpoint, Unit};
use crate::keys;
use crate::plan::plan;
use crate::session::ModbusSession;
use crate::transport::Transport;
use crate::visitor::Visitor;
use crate::wires::Wires;

/// Modbus for the mapper SDK.
#[derive(Default)]
pub struct ModbusDriver {
    wires: Wires,
}

impl Driver for ModbusDriver {
    const PROTOCOL: &'static str = "modbus";
    const FRAMES: bool = true;
    type Endpoint = Endpoint;
    type Unit = Unit;
    type Visitor = Visitor;
    type Session = ModbusSession;

    fn address(&self, device: &Device) -> Result<(Endpoint, Unit), Vec<Problem>> {
        let (endpoint, unit) = endpoint::address(device)?;
        let unknown = keys::unknown(device);
        if !unknown.is_empty() {
            warn!(device = %device.id, keys = unknown.join(", "), "keys that nobody reads");
        }
        if self.wires.note(&device.id, &endpoint) {
            warn!(device = %device.id, %endpoint, "another device set this wire up differently; its settings count");
        }
        Ok((endpoint, unit))
    }

    fn left(&self, device: &DeviceId, endpoint: &Endpoint) {
        self.wires.forget(device, endpoint);
    }

    fn visitor(&self, device: &Device, property: &Property) -> Result<Visitor, Problem> {
        Visitor::read(device, property)
    }

    fn plan(&self, unit: &Unit, visitors: &[&Visitor]) -> Vec<Vec<usize>> {
        plan(&unit.limits, &[], visitors).into_iter().map(|request| request.members).collect()
    }

    fn deadline(&self, _endpoint: &Endpoint) -> Duration {
        // The largest time-out, twice, and the time to quieten a line. The units' own time-outs end a transaction
        // long before.
        Duration::from_secs(70)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<ModbusSession, SessionFault> {
        let (endpoint, settings) = self.wires.settings(endpoint);
        let transport = timeout(endpoint.connect_timeout, Transport::open(&endpoint))
            .await
            .map_err(|_| {
                let patience = endpoint.connect_timeout;
                SessionFault::lost(format!("connect: no answer within {patience:?}"))
            })??;
        Ok(ModbusSession::new(transport, settings))
    }
}
