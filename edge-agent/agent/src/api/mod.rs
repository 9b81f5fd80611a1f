//! The local API: HTTP/1.1 over a Unix socket.

pub mod view;
