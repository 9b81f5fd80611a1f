//! Who may connect to the embedded broker, and where they may publish.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::error::Result;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use tokio::sync::watch;

use super::hook::Hook;
use super::passwords::Passwords;
use super::sessions::Sessions;

/// Why a client does not get a session that outlives its connection, and what to do.
const TOO_MANY: &str = "as many sessions as there may be outlive their connections; let clients keep their names, ask for \
                        clean sessions, or raise mqtt.limits.sessions";

/// Decides for mqtt5.
pub(super) struct Access {
    /// Nobody is asked for a password where there are none.
    passwords: watch::Receiver<Option<Passwords>>,
    hook: Arc<Hook>,
    sessions: Arc<Sessions>,
}

impl Access {
    pub(super) fn new(
        passwords: watch::Receiver<Option<Passwords>>,
        hook: Arc<Hook>,
        sessions: Arc<Sessions>,
    ) -> Self {
        Self { passwords, hook, sessions }
    }

    /// Whether the password is right, where there are any, and who it is of.
    async fn admit(&self, connect: &ConnectPacket) -> AuthResult {
        let Some(passwords) = self.passwords.borrow().clone() else {
            return AuthResult::success();
        };
        let (Some(user), Some(password)) = (&connect.username, &connect.password) else {
            return AuthResult::fail(ReasonCode::BadUsernameOrPassword);
        };
        let (name, password) = (user.clone(), password.to_vec());
        // It takes a processor for some milliseconds.
        let checking = tokio::task::spawn_blocking(move || passwords.hold(&name, &password));
        match checking.await {
            Ok(true) => AuthResult::success_with_user(user.clone()),
            _ => AuthResult::fail(ReasonCode::BadUsernameOrPassword),
        }
    }
}

impl AuthProvider for Access {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = Result<AuthResult>> + Send + 'a>> {
        Box::pin(async move {
            let admitted = self.admit(connect).await;
            if !admitted.authenticated || self.sessions.room(connect).await {
                return Ok(admitted);
            }
            if let Some(inbox) = self.hook.inbox() {
                inbox.turned_away(&connect.client_id, TOO_MANY);
            }
            let reason_string = Some(TOO_MANY.into());
            Ok(AuthResult { reason_string, ..AuthResult::fail(ReasonCode::QuotaExceeded) })
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
