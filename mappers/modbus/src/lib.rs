//! The Modbus mapper.
