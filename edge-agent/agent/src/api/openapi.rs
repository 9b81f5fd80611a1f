//! The document of this API: made from its types and handlers, kept in `openapi.json`, served from there.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{cloud, desired, events, frames, limits, messages, past, status, subscriptions};

/// What everybody must know before the first request.
const ABOUT: &str = "\
Devices and their twins on one gateway: what they report and what they should become.

Served on a Unix socket, whose mode decides who may ask and which asks for no token, and over TCP where the agent's \
configuration says so. Every error has the same form. A query parameter or a key that is not known is refused.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Edgetwin local API", description = ABOUT, license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "http://127.0.0.1:10550", description = "api.listen of the agent's configuration")),
    paths(
        super::devices,
        super::device,
        desired::write,
        past::history,
        frames::frames,
        events::stream,
        messages::stream,
        subscriptions::list,
        subscriptions::one,
        subscriptions::add,
        subscriptions::remove,
        cloud::outbox,
        cloud::objects,
        limits::limits,
        status::alive,
        status::ready,
        status::metrics,
        super::document,
    ),
    components(schemas(super::view::Event, super::view::FrameView, super::view::MessageEvent, super::view::DesiredValue)),
    security(("token" = [])),
    modifiers(&Common),
)]
struct Api;

/// What holds for every operation.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", token);
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                // A list without a member says nothing.
                operation.tags = None;
                let responses = &mut operation.responses.responses;
                for (status, about) in [
                    ("400", "Not understood: a path, a parameter or a body that is none"),
                    ("401", "Over TCP: no token, or a wrong one"),
                    ("403", "A browser asks"),
                    ("503", "The agent stops"),
                ] {
                    responses.entry(status.into()).or_insert_with(|| RefOr::T(error(about)));
                }
            }
        }
    }
}

fn error(about: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name("ErrorView")));
    ResponseBuilder::new().description(about).content("application/json", content).build()
}

#[test]
fn the_document_is_what_the_types_and_handlers_say() {
    let made = Api::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &made).unwrap();
    }
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"));
    assert!(
        made == kept.unwrap(),
        "openapi.json is not up to date; run UPDATE_OPENAPI=1 cargo test -p edge-agent openapi"
    );
}
