//! What can be asked, and who gets what.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use jiff::Timestamp;
use tracing::{info, warn};

use super::failures::Failures;
use super::{Join, KubeEdgeTokens, Refusal};
use crate::https::Peer;
use crate::identity::token::{Bearer, jwt, take};
use crate::identity::{NodeName, Request, node_of};

/// Larger than any request for a certificate.
const BODY: usize = 64 * 1024;

struct House {
    join: Join,
    failures: Failures,
}

/// How somebody showed that he may have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Certificate,
    Token,
}

pub(super) fn routes(join: Join) -> Router {
    Router::new()
        .route("/ca.crt", get(authority))
        .route("/edge.crt", get(certificate))
        .route("/node/{name}", get(node))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(Arc::new(House { join, failures: Failures::default() }))
}

/// `GET /ca.crt`: the authority's certificate in DER. Whoever asks trusts nobody yet; he compares it with his token.
async fn authority(State(house): State<Arc<House>>) -> Response {
    house.join.authority.ca_der().to_vec().into_response()
}

/// `GET /node/{name}`: whether there is a node of that name, as `keadm join` asks.
async fn node(State(house): State<Arc<House>>, Path(name): Path<String>) -> Response {
    let known = match name.parse::<NodeName>() {
        Ok(name) => house.join.nodes.exists(&name).await,
        Err(_) => Ok(false),
    };
    match known {
        Ok(true) => (StatusCode::OK, "Node found").into_response(),
        Ok(false) => (StatusCode::NOT_FOUND, "Node not found").into_response(),
        Err(reason) => {
            warn!(reason, "cannot look a node up");
            (StatusCode::INTERNAL_SERVER_ERROR, "Nodes cannot be looked up now; try again")
                .into_response()
        }
    }
}

/// What KubeEdge's nodes may ask beside that: `POST /nodeupgrade` and `POST /task/…`, which report on jobs.
async fn nothing() -> Response {
    let text = "There is nothing here: this server gives certificates (/ca.crt, /edge.crt) and says which nodes \
        there are (/node/<name>). Jobs on nodes are not run from here.\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

/// `GET /edge.crt`, with a request for a certificate in DER as its body: the certificate in DER.
async fn certificate(
    State(house): State<Arc<House>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let counts = &house.join.counts;
    let address = peer.address;
    let said = headers.get("nodename").and_then(|name| name.to_str().ok()).map(str::to_owned);
    match house.sign(&peer, said.as_deref(), &headers, body).await {
        Ok((node, Proof::Token, certificate)) => {
            counts.joined.increment();
            info!(%node, %address, "signed a certificate for a token");
            certificate.into_response()
        }
        Ok((node, Proof::Certificate, certificate)) => {
            counts.renewed.increment();
            info!(%node, %address, "renewed a certificate");
            certificate.into_response()
        }
        Err(refusal) => {
            counts.refused(&refusal);
            if refusal.is_wrong_token() {
                house.failures.note(address.ip(), Instant::now());
            }
            let node: String = said.unwrap_or_default().chars().take(64).collect();
            warn!(node, %address, reason = refusal.word(), "no certificate: {refusal}");
            refusal.into_response()
        }
    }
}

impl House {
    async fn sign(
        &self,
        peer: &Peer,
        said: Option<&str>,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<(NodeName, Proof, Vec<u8>), Refusal> {
        let node: NodeName = said.ok_or(Refusal::NoName)?.parse()?;
        let csr = body.map_err(|_| Refusal::Body)?;
        if let Some(certificate) = &peer.certificate {
            if node_of(certificate)? != node {
                return Err(Refusal::OtherCertificate);
            }
            let signed = self.join.authority.sign(&csr, &node, self.join.life)?;
            return Ok((node, Proof::Certificate, signed));
        }
        if self.failures.exceeded(peer.address.ip(), Instant::now()) {
            return Err(Refusal::TooMany);
        }
        let bearer = bearer(headers)?;
        // Before the token: what cannot be signed shall not use it up.
        let readable = Request::parse(&csr, &node).map_err(Refusal::Request);
        match bearer {
            Bearer::Ours(ours) => {
                readable?;
                let store = &*self.join.tokens;
                take(store, &ours.id, &ours.secret, &node, Timestamp::now()).await?;
            }
            Bearer::KubeEdge(token) => {
                self.kubeedge(&token, &node).await?;
                readable?;
            }
        }
        let signed = self.join.authority.sign(&csr, &node, self.join.life)?;
        Ok((node, Proof::Token, signed))
    }

    async fn kubeedge(&self, token: &str, node: &NodeName) -> Result<(), Refusal> {
        let allowed = self.join.kubeedge;
        let key = self.join.authority.token_key().filter(|_| allowed != KubeEdgeTokens::Never);
        jwt::verify(token, key.ok_or(Refusal::KubeEdgeToken)?, Timestamp::now())?;
        if allowed == KubeEdgeTokens::ForNewNodes
            && self.join.nodes.exists(node).await.map_err(Refusal::Unable)?
        {
            return Err(Refusal::KnownNode);
        }
        Ok(())
    }
}

/// The token of the header `Authorization`: two words.
fn bearer(headers: &HeaderMap) -> Result<Bearer, Refusal> {
    let header = headers.get("authorization").ok_or(Refusal::NoToken)?;
    let text = header.to_str().map_err(|_| Refusal::NoToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::NoToken);
    }
    Ok(token.trim().parse()?)
}
