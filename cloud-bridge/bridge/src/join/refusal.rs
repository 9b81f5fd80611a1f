//! Why a machine gets no certificate: what it is told, and what is counted.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use exposition::{Counter, Page};

use crate::identity::token::jwt::JwtError;
use crate::identity::token::{TokenError, TokenShape};
use crate::identity::{CsrError, NameError, PeerError, SignError};

/// Why a request for a certificate is refused. Its text is what the machine is told.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not say which node it is.
    #[error("the header NodeName is missing; name the node that is to join")]
    NoName,
    /// It says what no node is called.
    #[error("NodeName: {0}")]
    Name(#[from] NameError),
    /// It shows neither a certificate nor a token.
    #[error(
        "neither a client certificate nor a token was shown; send `Authorization: Bearer <token>`, without the part before its first dot"
    )]
    NoToken,
    /// What it shows is no token.
    #[error("{0}")]
    TokenShape(#[from] TokenShape),
    /// The token is not good for that, or tokens are not to be had.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// A token of KubeEdge's, where none is taken.
    #[error(
        "tokens of KubeEdge's form are not taken here; make one with `edgetwin token create`, or set join.kubeedgeTokens of the bridge"
    )]
    KubeEdgeToken,
    /// A token of KubeEdge's that is not good.
    #[error("{0}")]
    Jwt(#[from] JwtError),
    /// A token of KubeEdge's for a node that is there.
    #[error(
        "a node of that name exists, and a token of KubeEdge's form could make anybody that node; make one with `edgetwin token create`, or set join.kubeedgeTokensForKnownNodes of the bridge"
    )]
    KnownNode,
    /// Too many wrong tokens came from there.
    #[error("too many wrong tokens came from this address; wait a minute")]
    TooMany,
    /// The certificate that it shows is no node's.
    #[error("{0}")]
    Peer(#[from] PeerError),
    /// The certificate that it shows is another node's.
    #[error(
        "the client certificate is of another node; use that of the node that NodeName names, or a token"
    )]
    OtherCertificate,
    /// The request for a certificate is wrong.
    #[error("{0}")]
    Request(CsrError),
    /// It is too long, or did not come in full.
    #[error("the request's body is no certificate request of at most 64 KiB")]
    Body,
    /// The bridge cannot do it now.
    #[error("the bridge cannot do this now: {0}; try again")]
    Unable(String),
}

impl From<SignError> for Refusal {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Request(error) => Self::Request(error),
            SignError::Authority(error) => Self::Unable(error.to_string()),
        }
    }
}

impl Refusal {
    /// One word for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoName | Self::Name(_) => "bad_name",
            Self::NoToken => "no_token",
            Self::TokenShape(_) | Self::Jwt(JwtError::Unknown) => "unknown_token",
            Self::Token(TokenError::Refused(refusal)) => refusal.word(),
            Self::Token(TokenError::Store(_)) | Self::Unable(_) => "unable",
            Self::KubeEdgeToken => "kubeedge_token",
            Self::Jwt(JwtError::Expired) => "expired_token",
            Self::KnownNode => "known_node",
            Self::TooMany => "too_many",
            Self::Peer(_) | Self::OtherCertificate => "other_certificate",
            Self::Request(CsrError::Subject { .. }) => "other_subject",
            Self::Request(_) | Self::Body => "bad_request",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoToken
            | Self::TokenShape(_)
            | Self::Token(TokenError::Refused(_))
            | Self::KubeEdgeToken
            | Self::Jwt(_)
            | Self::KnownNode => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Peer(_) | Self::OtherCertificate | Self::Request(CsrError::Subject { .. }) => {
                StatusCode::FORBIDDEN
            }
            Self::NoName | Self::Name(_) | Self::Request(_) | Self::Body => StatusCode::BAD_REQUEST,
            Self::Token(TokenError::Store(_)) | Self::Unable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether somebody showed a token that is not good, which he may do so often only.
    pub(super) fn is_wrong_token(&self) -> bool {
        matches!(
            self,
            Self::TokenShape(_)
                | Self::Token(TokenError::Refused(_))
                | Self::KubeEdgeToken
                | Self::Jwt(_)
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = format!("{self}\n");
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS => {
                (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")], text).into_response()
            }
            status => (status, text).into_response(),
        }
    }
}

/// What can be counted of refusals, in the order of their counters.
const WORDS: [&str; 13] = [
    "bad_name",
    "no_token",
    "unknown_token",
    "expired_token",
    "used_up_token",
    "token_for_other_node",
    "kubeedge_token",
    "known_node",
    "too_many",
    "other_certificate",
    "other_subject",
    "bad_request",
    "unable",
];

/// What happened at the join server since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Certificates for whoever showed a token.
    pub joined: Counter,
    /// Certificates for whoever showed his last one.
    pub renewed: Counter,
    refused: [Counter; WORDS.len()],
}

impl Counts {
    pub(super) fn refused(&self, refusal: &Refusal) {
        let index = WORDS.iter().position(|word| *word == refusal.word());
        if let Some(counter) = index.and_then(|index| self.refused.get(index)) {
            counter.increment();
        }
    }

    /// How many were refused for the reason with that [`Refusal::word`].
    pub fn refusals(&self, word: &str) -> u64 {
        let index = WORDS.iter().position(|known| *known == word);
        index.and_then(|index| self.refused.get(index)).map_or(0, Counter::count)
    }

    /// Adds them to a page of metrics.
    pub fn render(&self, page: &mut Page) {
        let mut family =
            page.counter("bridge_certificates", "certificates that were signed for nodes");
        family.sample(&[("for", "token")], self.joined.count());
        family.sample(&[("for", "certificate")], self.renewed.count());
        let mut family =
            page.counter("bridge_joins_refused", "requests for certificates that were refused");
        for (word, counter) in WORDS.iter().zip(&self.refused) {
            family.sample(&[("reason", word)], counter.count());
        }
    }
}
