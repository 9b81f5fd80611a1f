//! Simulated Modbus devices with faults.
