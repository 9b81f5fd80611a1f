//! Who may ask over TCP: whoever knows a token of the file.

use std::fs::{self, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tracing::info;
use uuid::Uuid;

use super::view::ErrorView;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;
/// What a stream of events is called.
const EVENTS: &str = "text/event-stream";

/// The tokens of the file, each of which opens the API.
#[derive(Clone, PartialEq)]
pub(crate) struct Tokens(Arc<[String]>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Tokens {
    /// Reads the file, one token a line; makes it, with a token of its own, if it is not there.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                // 244 random bits.
                let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
                file.write_all(format!("{token}\n").as_bytes())?;
                file.sync_all()?;
                info!(file = %path.display(), "made a file with a token for the API over TCP");
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Self::read(path)
    }

    /// The same of a file that must be there; what is wrong is named with its key and a remedy.
    pub(crate) fn reread(path: &Path) -> Result<Self, String> {
        Self::read(path).map_err(|error| format!("api.tokenFile = \"{}\": {error}", path.display()))
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let mut file = fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("others than its owner may use it (mode {:o}): chmod 600", mode & 0o777),
            ));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Self::parse(&text).map_err(|reason| Error::new(ErrorKind::InvalidData, reason))
    }

    /// Empty lines and those that begin with `#` are passed over.
    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            let make = "make one with `openssl rand -hex 32`";
            if token.len() < SHORTEST {
                return Err(format!(
                    "line {number}: a token of {} characters can be guessed; {make}",
                    token.len()
                ));
            }
            if !token.chars().all(|c| c.is_ascii_graphic()) {
                return Err(format!(
                    "line {number}: a token has no spaces or letters beyond ASCII; {make}"
                ));
            }
            tokens.push(token.to_owned());
        }
        match tokens.is_empty() {
            true => Err("there is no token in it; write one a line, or remove the file".into()),
            false => Ok(Self(tokens.into())),
        }
    }

    /// Whether a request bears one of them. Takes as long for a wrong one as for a right one of its length.
    fn admit(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
        });
        let Some(given) = given else { return false };
        let hits = self.0.iter().map(|token| token.as_bytes().ct_eq(given));
        hits.fold(subtle::Choice::from(0), |any, hit| any | hit).into()
    }
}

/// Lets those pass who bear a token. A stream of events ends when its token is one no longer.
pub(super) async fn demand(
    State(tokens): State<watch::Receiver<Tokens>>,
    request: Request,
    next: Next,
) -> Response {
    let admitted = tokens.borrow().admit(request.headers());
    if admitted {
        let headers = request.headers().clone();
        let answer = next.run(request).await;
        let kind = answer.headers().get(CONTENT_TYPE);
        return match kind.is_some_and(|kind| kind == EVENTS) {
            true => answer.map(|body| until_revoked(body, tokens, headers)),
            false => answer,
        };
    }
    let message = match request.headers().contains_key(AUTHORIZATION) {
        true => "that is no token of this agent",
        false => "over TCP, a token is needed",
    };
    let remedy = "send Authorization: Bearer TOKEN, with a line of the agent's api.tokenFile";
    let mut answer = ErrorView::new(401, "Authorization", message, remedy).into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"edgetwin\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    // Nor does a stranger stay: who does not read the answers to many requests would never be left.
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn until_revoked(body: Body, mut tokens: watch::Receiver<Tokens>, headers: HeaderMap) -> Body {
    let revoked = async move {
        if tokens.wait_for(|tokens| !tokens.admit(&headers)).await.is_err() {
            // Nobody changes them any more: the agent ends, and says itself when.
            std::future::pending::<()>().await;
        }
    };
    Body::from_stream(body.into_data_stream().take_until(Box::pin(revoked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearing(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(text).unwrap())])
    }

    #[test]
    fn a_token_file_is_made_for_its_owner_alone_and_refused_where_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let tokens = Tokens::load(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = fs::read_to_string(&path).unwrap();
        assert_eq!(token.trim().len(), 64);
        assert_eq!(Tokens::load(&path).unwrap().0, tokens.0, "the same after a restart");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let said = Tokens::load(&path).unwrap_err().to_string();
        assert!(said.contains("640") && said.contains("chmod 600"), "{said}");
    }

    #[test]
    fn each_token_of_the_file_opens_and_nothing_else_does() {
        let tokens = Tokens::parse("# apps\n0123456789abcdef\n\nfedcba9876543210 \n").unwrap();
        for good in ["Bearer 0123456789abcdef", "bearer fedcba9876543210"] {
            assert!(tokens.admit(&bearing(good)), "{good}");
        }
        for bad in [
            "Bearer ",
            "Bearer # apps",
            "Bearer 0123456789abcdeX",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert!(!tokens.admit(&bearing(bad)), "{bad}");
        }
        assert!(!tokens.admit(&HeaderMap::new()));
        for wrong in ["", "# none\n", "short\n", "0123456789 abcdef\n"] {
            assert!(Tokens::parse(wrong).is_err(), "{wrong}");
        }
    }
}
