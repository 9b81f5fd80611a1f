//! What the tests of the files beside this one stand on.

use device_twin::store::Run;
use device_twin::{MemoryStore, Settings, Store};

use super::*;
use crate::clock::now;
use crate::twins::{Core, Owner};

/// Nobody is registered, nothing is defined, and the store is a new one.
pub(super) fn nobody() -> (Arc<Mappers>, Reconciler, Owner) {
    nobody_over(Box::new(MemoryStore::new()))
}

/// The same over `store`.
pub(super) fn nobody_over(store: Box<dyn Store + Send>) -> (Arc<Mappers>, Reconciler, Owner) {
    let core = Core::open(store, Settings::default(), now()).unwrap();
    let (twins, owner) =
        Twins::start(core, Run::first(now()), 4, std::sync::Arc::default()).unwrap();
    let (catalogue, metrics) = (Arc::default(), Arc::default());
    let span = Duration::from_secs(30);
    let (mappers, reconciler) =
        Mappers::new(twins, catalogue, metrics, span, span, &[], Vec::new());
    (mappers, reconciler, owner)
}

/// A mapper without a lease.
pub(super) fn info(name: &str, address: &Path) -> MapperInfo {
    MapperInfo {
        name: name.into(),
        protocol: "test".into(),
        address: address.into(),
        peer: Peer::KubeEdge,
        leased: false,
    }
}
