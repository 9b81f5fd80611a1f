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

/// Decides for mqtt5.
pub(super) struct Access {
    /// Nobody is asked for a password where there are none.
    passwords: watch::Receiver<Option<Passwords>>,
    hook: Arc<Hook>,
}

impl Access {
    pub(super) fn new(passwords: watch::Receiver<Option<Passwords>>, hook: Arc<Hook>) -> Self {
        Self { passwords, hook }
    }
}

impl AuthProvider for Access {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = Result<AuthResult>> + Send + 'a>> {
        let Some(passwords) = self.passwords.borrow().clone() else {
            return Box::pin(ready(Ok(AuthResult::success())));
        };
        Box::pin(async move {
            let (Some(user), Some(password)) = (&connect.username, &connect.password) else {
                return Ok(AuthResult::fail(ReasonCode::BadUsernameOrPassword));
            };
            let (name, password) = (user.clone(), password.to_vec());
            // It takes a processor for some milliseconds.
            let checking = tokio::task::spawn_blocking(move || passwords.hold(&name, &password));
            Ok(match checking.await {
                Ok(true) => AuthResult::success_with_user(user.clone()),
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
