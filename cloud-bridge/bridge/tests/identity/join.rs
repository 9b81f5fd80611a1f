//! The join server, asked as machines ask it.

use std::fs;
use std::time::Duration;

use cloud_bridge::identity::token::TokenId;
use cloud_bridge::identity::{Files, node_of};
use cloud_bridge::join::KubeEdgeTokens;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::vectors::{CA, CA_KEY, CSR, JWT, octets};
use crate::world::{Known, Machine, World};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_machine_with_a_token_becomes_the_node_that_it_is_for() {
    let world = World::new().await;
    let answer = world.ask("GET", "/ca.crt", &[], b"", None).await.unwrap();
    assert_eq!(answer.body, world.authority.ca_der().as_ref());
    let machine = Machine::named("edge-1");
    let bearer = world.bearer("edge-1", 1).await;
    let answer = world.join(&machine, "edge-1", &bearer).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(node_of(&answer.body).unwrap().as_str(), "edge-1");
    assert_eq!(world.counts.joined.count(), 1);
    // Once is once.
    let answer = world.join(&machine, "edge-1", &bearer).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("used up"), "{}", answer.text());
    assert_eq!(world.counts.refusals("used_up_token"), 1);
}

#[tokio::test]
async fn nobody_gets_another_nodes_name() {
    let world = World::new().await;
    let bearer = world.bearer("edge-1", 3).await;
    let (one, two) = (Machine::named("edge-1"), Machine::named("edge-2"));
    // The header is another, the request is another, both are.
    assert_eq!(world.join(&one, "edge-2", &bearer).await.status, 403);
    assert_eq!(world.join(&two, "edge-1", &bearer).await.status, 403);
    let answer = world.join(&two, "edge-2", &bearer).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("for another node"), "{}", answer.text());
    // A certificate is no more than a token: it renews its own name alone.
    let certificate = world.join(&one, "edge-1", &bearer).await.body;
    let answer = world.renew(&two, "edge-2", (&certificate, &one)).await.unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    let answer = world.renew(&two, "edge-1", (&certificate, &one)).await.unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    // None of all that used the token.
    let id: TokenId = bearer.split('.').nth(1).unwrap().parse().unwrap();
    assert_eq!(world.tokens.load(&id).await.unwrap().unwrap().grant.uses, 2);
}

#[tokio::test]
async fn a_token_of_a_pool_is_for_its_names() {
    let world = World::new().await;
    let bearer = world.bearer("line-*", 2).await;
    assert_eq!(world.join(&Machine::named("line-7"), "line-7", &bearer).await.status, 200);
    assert_eq!(world.join(&Machine::named("liner"), "liner", &bearer).await.status, 401);
    assert_eq!(world.join(&Machine::named("line-"), "line-", &bearer).await.status, 400);
    assert_eq!(world.join(&Machine::named("line-8"), "line-8", &bearer).await.status, 200);
    assert_eq!(world.join(&Machine::named("line-9"), "line-9", &bearer).await.status, 401);
}

#[tokio::test]
async fn a_revoked_token_and_one_that_never_was_are_the_same_to_whoever_asks() {
    let world = World::new().await;
    let bearer = world.bearer("edge-1", 1).await;
    let id: TokenId = bearer.split('.').nth(1).unwrap().parse().unwrap();
    assert!(world.tokens.revoke(&id).await.unwrap());
    let machine = Machine::named("edge-1");
    let revoked = world.join(&machine, "edge-1", &bearer).await;
    let never = bearer.replace(&id.to_string(), "0123456789abcdef");
    let never = world.join(&machine, "edge-1", &never).await;
    assert_eq!((revoked.status, never.status), (401, 401));
    assert_eq!(revoked.text(), never.text());
    assert!(!revoked.text().contains(bearer.rsplit('.').next().unwrap()));
}

#[tokio::test]
async fn a_node_renews_its_certificate_with_the_one_it_has() {
    let world = World::new().await;
    let (first, second) = (Machine::named("edge-1"), Machine::named("edge-1"));
    let bearer = world.bearer("edge-1", 1).await;
    let certificate = world.join(&first, "edge-1", &bearer).await.body;
    let answer = world.renew(&second, "edge-1", (&certificate, &first)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.body, certificate);
    assert_eq!(node_of(&answer.body).unwrap().as_str(), "edge-1");
    assert_eq!(world.counts.renewed.count(), 1);
}

#[tokio::test]
async fn neither_an_expired_certificate_nor_one_of_another_authority_renews() {
    let world = World::with(Duration::ZERO, KubeEdgeTokens::Never, Known::default()).await;
    let machine = Machine::named("edge-1");
    let bearer = world.bearer("edge-1", 1).await;
    let expired = world.join(&machine, "edge-1", &bearer).await.body;
    // A second is the least that a certificate can tell.
    let mut refused = world.renew(&machine, "edge-1", (&expired, &machine)).await;
    while let Ok(answer) = &refused {
        assert_eq!(answer.status, 200, "{}", answer.text());
        refused = world.renew(&machine, "edge-1", (&expired, &machine)).await;
    }
    assert!(format!("{refused:?}").to_lowercase().contains("expired"), "{refused:?}");

    let other = World::new().await;
    let bearer = other.bearer("edge-1", 1).await;
    let foreign = other.join(&machine, "edge-1", &bearer).await.body;
    assert!(world.renew(&machine, "edge-1", (&foreign, &machine)).await.is_err());
}

#[tokio::test]
async fn requests_that_lack_something_are_told_what() {
    let world = World::new().await;
    let machine = Machine::named("edge-1");
    let ask = async |headers: &[(&str, &str)], body: &[u8]| {
        let answer = world.ask("GET", "/edge.crt", headers, body, None).await.unwrap();
        (answer.status, answer.text())
    };
    let name = ("NodeName", "edge-1");
    let (status, text) = ask(&[], &machine.csr).await;
    assert!(status == 400 && text.contains("NodeName is missing"), "{text}");
    let (status, text) = ask(&[("NodeName", "Edge_1")], &machine.csr).await;
    assert!(status == 400 && text.contains("lower-case"), "{text}");
    let (status, text) = ask(&[name], &machine.csr).await;
    assert!(status == 401 && text.contains("Authorization: Bearer"), "{text}");
    for token in ["Basic x", "Bearer", "bearer one.two"] {
        assert_eq!(ask(&[name, ("authorization", token)], &machine.csr).await.0, 401, "{token}");
    }
    let (status, text) = ask(&[name], &vec![0; 65 * 1024]).await;
    assert!(status == 400 && text.contains("64 KiB"), "{text}");
    let (status, text) =
        ask(&[name, ("authorization", &format!("Bearer {JWT}"))], &machine.csr).await;
    assert!(status == 401 && text.contains("join.kubeedgeTokens"), "{text}");
    let answer = world.ask("POST", "/nodeupgrade", &[], b"{}", None).await.unwrap();
    assert!(answer.status == 404 && answer.text().contains("/edge.crt"), "{}", answer.text());
}

#[tokio::test]
async fn edgecore_joins_with_a_token_of_kubeedge_where_that_is_allowed() {
    let vectors = async |allowed, known: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::within(dir.path());
        fs::write(&files.ca, octets(CA)).unwrap();
        fs::write(&files.ca_key, octets(CA_KEY)).unwrap();
        let known = Known(known.iter().map(|name| name.parse().unwrap()).collect());
        let world = World::within(dir, HOUR, allowed, known).await;
        let authorization = format!("Bearer {JWT}");
        let headers = [("Nodename", "edge-1"), ("Authorization", &authorization)];
        let answer = world.ask("GET", "/edge.crt", &headers, &octets(CSR), None).await.unwrap();
        (answer.status, answer.text())
    };
    assert_eq!(vectors(KubeEdgeTokens::ForNewNodes, &[]).await.0, 200);
    let (status, text) = vectors(KubeEdgeTokens::ForNewNodes, &["edge-1"]).await;
    assert!(status == 401 && text.contains("a node of that name exists"), "{text}");
    assert_eq!(vectors(KubeEdgeTokens::ForAllNodes, &["edge-1"]).await.0, 200);
    assert_eq!(vectors(KubeEdgeTokens::Never, &[]).await.0, 401);
}

#[tokio::test]
async fn keadm_is_told_which_nodes_there_are() {
    let known = Known([("edge-1".parse().unwrap())].into());
    let world = World::with(HOUR, KubeEdgeTokens::Never, known).await;
    for (path, status, text) in [
        ("/node/edge-1", 200, "Node found"),
        ("/node/edge-2", 404, "Node not found"),
        ("/node/Not%20one", 404, "Node not found"),
    ] {
        let answer = world.ask("GET", path, &[], b"", None).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (status, text));
    }
}

#[tokio::test]
async fn whoever_guesses_has_to_wait() {
    let world = World::new().await;
    let machine = Machine::named("edge-1");
    let bearer = world.bearer("edge-1", 1).await;
    // All but its last character.
    let wrong = format!("{}_", &bearer[..bearer.len() - 1]);
    let mut statuses = Vec::new();
    for _ in 0..21 {
        statuses.push(world.join(&machine, "edge-1", &wrong).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 20, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    // Who has a certificate is not held up by his neighbours.
    let certificate = world.authority.sign(&machine.csr, &"edge-1".parse().unwrap(), HOUR).unwrap();
    let answer = world.renew(&machine, "edge-1", (&certificate, &machine)).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn who_says_nothing_holds_up_nobody_at_the_end() {
    let mut world = World::new().await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let answer = world.ask("GET", "/ca.crt", &[], b"", None).await.unwrap();
    assert_eq!(answer.status, 200);
    world.stop.cancel();
    world.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
}
