//! Who may connect to the embedded broker, and where they may publish.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::storage::ClientSession;
use mqtt5::error::Result;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use tokio::sync::watch;
use tracing::warn;

use super::hook::Hook;
use super::passwords::Passwords;

/// Decides for mqtt5.
pub(super) struct Access {
    /// Nobody is asked for a password where there are none.
    passwords: watch::Receiver<Option<Passwords>>,
    hook: Arc<Hook>,
    /// Sessions that may outlive their connections.
    sessions: usize,
    /// Whether one was refused since one was taken.
    full: AtomicBool,
}

impl Access {
    /// At most `sessions` outlive their connections.
    pub(super) fn new(
        passwords: watch::Receiver<Option<Passwords>>,
        hook: Arc<Hook>,
        sessions: usize,
    ) -> Self {
        Self { passwords, hook, sessions, full: AtomicBool::new(false) }
    }

    /// Whether there is room for the session that a client asks for.
    fn room(&self, connect: &ConnectPacket) -> std::result::Result<(), ReasonCode> {
        // Of an MQTT 3 client it is none that ends when the agent wants.
        if ClientSession::expiry_from_connect(connect) == Some(0) {
            return Ok(());
        }
        let (client, limit) = (&*connect.client_id, self.sessions);
        let room = self.hook.filters().may_last(client, limit);
        if !self.full.swap(!room, Ordering::Relaxed) && !room {
            warn!(
                client,
                limit,
                "refused a client: as many sessions as there may be outlive their connections already; let clients keep \
                 their names, ask for clean sessions, or raise mqtt.limits.sessions"
            );
        }
        if room { Ok(()) } else { Err(ReasonCode::QuotaExceeded) }
    }
}

impl AuthProvider for Access {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = Result<AuthResult>> + Send + 'a>> {
        let Some(passwords) = self.passwords.borrow().clone() else {
            let room = self.room(connect).map(|()| AuthResult::success());
            return Box::pin(ready(Ok(room.unwrap_or_else(AuthResult::fail))));
        };
        Box::pin(async move {
            let (Some(user), Some(password)) = (&connect.username, &connect.password) else {
                return Ok(AuthResult::fail(ReasonCode::BadUsernameOrPassword));
            };
            let (name, password) = (user.clone(), password.to_vec());
            // It takes a processor for some milliseconds.
            let checking = tokio::task::spawn_blocking(move || passwords.hold(&name, &password));
            Ok(match checking.await {
                Ok(true) => match self.room(connect) {
                    Ok(()) => AuthResult::success_with_user(user.clone()),
                    Err(reason) => AuthResult::fail(reason),
                },
                _ => AuthResult::fail(ReasonCode::BadUsernameOrPassword),
            })
        })
    }

    fn authorize_publish<'a>(
        &'a self,
        client: &str,
        _: Option<&'a str>,
        topic: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let allowed = self.hook.inbox().is_none_or(|inbox| inbox.allows(client, topic));
        Box::pin(ready(allowed))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _: &str,
        _: Option<&'a str>,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(ready(true))
    }
}
