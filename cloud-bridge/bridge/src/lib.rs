//! The cloud's end: keeps Devices, their models and the states that nodes report true to each other, between a
//! Kubernetes API server and the edge nodes that are connected.
