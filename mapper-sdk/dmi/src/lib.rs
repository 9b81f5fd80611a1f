//! DMI v1beta1: the gRPC contract between mappers and the agent.
