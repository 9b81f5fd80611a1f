//! The mapper SDK: a protocol author writes a driver; the SDK owns the loop.
