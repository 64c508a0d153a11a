// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The description of the API, made from the routes and the types themselves.

use std::sync::LazyLock;

use utoipa::OpenApi;

use crate::routes::{bgp, document, events, objects, overrides, service};
use crate::v1::{Event, ProblemDetails};

/// OpenAPI 3.1, as pretty JSON with a line end.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // The description is made of constants; a test writes it.
        let mut text = Description::openapi().to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "What an appliance tells and takes: its state, overrides, events. Reads are answered on the unix socket \
                       and on the loopback port, writes on the unix socket only. Additions are not breaking: ignore \
                       fields that you do not know.",
        version = "1",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    servers((url = "http://localhost", description = "The unix socket, or the loopback port if there is one.")),
    tags(
        (name = "status", description = "Everything at once, for people and for Prometheus."),
        (name = "probes", description = "Whether the process lives and serves, in plain words."),
        (name = "objects", description = "Objects of the document with their state."),
        (name = "overrides", description = "What operators set beside the document."),
        (name = "document", description = "The document itself."),
        (name = "events", description = "Changes as they happen."),
    ),
    paths(
        service::status,
        service::metrics_text,
        service::livez,
        service::readyz,
        service::openapi,
        objects::appliance,
        objects::vips,
        objects::vip,
        objects::services,
        objects::service,
        objects::pools,
        objects::pool,
        objects::backends,
        objects::backend,
        objects::peers,
        objects::peer,
        bgp::adj_rib_out,
        bgp::adj_rib_in,
        bgp::bgp,
        overrides::list,
        overrides::of_appliance,
        overrides::put_appliance,
        overrides::delete_appliance,
        overrides::of_vip,
        overrides::put_vip,
        overrides::delete_vip,
        overrides::of_pool,
        overrides::put_pool,
        overrides::delete_pool,
        overrides::of_backend,
        overrides::put_backend,
        overrides::delete_backend,
        document::document,
        document::reload,
        events::events,
    ),
    components(schemas(Event, ProblemDetails))
)]
struct Description;
