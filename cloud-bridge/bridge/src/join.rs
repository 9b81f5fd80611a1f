//! Where machines become nodes: an HTTPS server that says whom to trust, and signs certificates.
//!
//! Whoever shows a certificate of a node gets a new one for the same node; whoever shows a token gets one for the name that
//! the token is good for. The paths are KubeEdge's, so that EdgeCore joins here as it does at CloudCore.

mod failures;
mod nodes;
mod refusal;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::https;
use crate::identity::token::TokenStore;
use crate::identity::{Authority, IdentityError, Served, join_config};

pub use nodes::{KnownNodes, NodeLookup};
pub use refusal::{Counts, Refusal};

/// Whom the server lets join, and with what.
#[derive(Debug)]
pub struct Join {
    /// Who signs.
    pub authority: Arc<Authority>,
    /// What the server shows.
    pub served: Arc<Served>,
    /// Tokens of ours.
    pub tokens: Arc<dyn TokenStore>,
    /// Which nodes there are.
    pub nodes: Arc<dyn NodeLookup>,
    /// How long a node's certificate lives.
    pub life: Duration,
    /// Whether KubeEdge's tokens are taken.
    pub kubeedge: KubeEdgeTokens,
    /// What happened.
    pub counts: Arc<Counts>,
}

/// Whether tokens of KubeEdge's form are taken. They name no node, are good for any number of uses, and cannot be revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubeEdgeTokens {
    /// No.
    #[default]
    Never,
    /// For names that no node has yet.
    ForNewNodes,
    /// For every name: whoever has one can become any node.
    ForAllNodes,
}

/// Serves joining at `listener` until `stop`, and finishes what is under way.
///
/// # Errors
/// TLS cannot be set up; nothing was served.
pub async fn serve(
    listener: TcpListener,
    join: Join,
    stop: CancellationToken,
) -> Result<(), IdentityError> {
    let tls = join_config(&join.authority, &join.served)?;
    https::serve(listener, tls, routes::routes(join), &stop).await;
    Ok(())
}
