//! Device twins: the rules, and the stores.
