//! What every place for keys and every store of tokens must do; run over files here, over Secrets where there is a cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use cloud_bridge::identity::token::{Scope, TokenError, TokenRefusal, TokenStore, create, take};
use cloud_bridge::identity::{Authority, Entry, NodeName, Pair, Place};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

/// The contract of a store of tokens.
pub(crate) async fn tokens(store: Arc<dyn TokenStore>) {
    let now = Timestamp::now();
    let later = now + SignedDuration::from_hours(1);
    let pool: Scope = "line-*".parse().unwrap();
    let refused = |result: Result<(), TokenError>| match result {
        Err(TokenError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };

    assert_eq!(store.list().await.unwrap(), []);
    let one = create(&*store, "edge-1".parse().unwrap(), 1, later, now).await.unwrap();
    let many = create(&*store, pool.clone(), 5, later, now).await.unwrap();
    let listed = store.list().await.unwrap();
    let ids: BTreeSet<_> = listed.iter().map(|listed| listed.id.clone()).collect();
    assert_eq!(ids, BTreeSet::from([one.id.clone(), many.id.clone()]));

    // Wrong in each way; none of that costs a use.
    let use_one =
        async |node: &str, when| take(&*store, &one.id, &one.secret, &name(node), when).await;
    assert_eq!(refused(use_one("edge-2", now).await), TokenRefusal::OtherNode);
    assert_eq!(refused(use_one("edge-1", later).await), TokenRefusal::Expired);
    let wrong = take(&*store, &one.id, &many.secret, &name("edge-1"), now).await;
    assert_eq!(refused(wrong), TokenRefusal::Unknown);
    use_one("edge-1", now).await.unwrap();
    assert_eq!(refused(use_one("edge-1", now).await), TokenRefusal::UsedUp);

    // Many at once: exactly as often as it may be.
    let mut uses = JoinSet::new();
    for number in 0..8 {
        let (store, many) = (store.clone(), many.clone());
        uses.spawn(async move {
            let node = name(&format!("line-{number}"));
            take(&*store, &many.id, &many.secret, &node, now).await
        });
    }
    let uses = uses.join_all().await;
    assert_eq!(uses.iter().filter(|used| used.is_ok()).count(), 5, "{uses:?}");
    let left = store.load(&many.id).await.unwrap().unwrap();
    assert_eq!((left.grant.uses, &left.grant.scope), (0, &pool));

    // An older version changes nothing.
    let fresh = create(&*store, pool, 2, later, now).await.unwrap();
    let before = store.load(&fresh.id).await.unwrap().unwrap();
    take(&*store, &fresh.id, &fresh.secret, &name("line-1"), now).await.unwrap();
    assert!(!store.replace(&fresh.id, &before.grant, &before.version).await.unwrap());
    assert!(store.insert(&fresh.id, &before.grant).await.is_err());

    assert!(store.revoke(&fresh.id).await.unwrap());
    assert!(!store.revoke(&fresh.id).await.unwrap());
    assert_eq!(
        refused(take(&*store, &fresh.id, &fresh.secret, &name("line-1"), now).await),
        TokenRefusal::Unknown
    );
}

/// The contract of a place for keys, which holds nothing yet.
pub(crate) async fn place(place: Place) {
    assert_eq!(place.load(Entry::Authority).await.unwrap(), None);

    // Replicas that start at once end with one authority.
    let mut starts = JoinSet::new();
    for _ in 0..4 {
        let place = place.clone();
        starts.spawn(async move { Authority::open(&place).await.unwrap().fingerprint() });
    }
    let made: BTreeSet<String> = starts.join_all().await.into_iter().collect();
    assert_eq!(made.len(), 1);
    let placed = place.load(Entry::Authority).await.unwrap().unwrap();
    assert!(!place.create(Entry::Authority, &placed.pair).await.unwrap());

    // A server's pair is replaced by whoever has seen the newest one.
    let pair = |octet| Pair { certificate: vec![octet; 3], key: vec![octet; 4] };
    assert!(place.create(Entry::Server, &pair(1)).await.unwrap());
    let first = place.load(Entry::Server).await.unwrap().unwrap();
    assert_eq!(first.pair, pair(1));
    assert!(place.replace(Entry::Server, &pair(2), &first.version).await.unwrap());
    assert!(!place.replace(Entry::Server, &pair(3), &first.version).await.unwrap());
    assert_eq!(place.load(Entry::Server).await.unwrap().unwrap().pair, pair(2));
}
