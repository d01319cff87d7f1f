//! Which door is where.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::delete;
use axum::routing::get;
use axum::routing::patch;
use axum::routing::post;
use axum::routing::put;

use crate::server::analysis;
use crate::server::app::App;
use crate::server::batch;
use crate::server::definitions;
use crate::server::exports;
use crate::server::health;
use crate::server::keys;
use crate::server::mobile;
use crate::server::openapi;
use crate::server::own;
use crate::server::people;
use crate::server::segments;
use crate::server::single;
use crate::server::sql;
use crate::server::tail;
use crate::server::watch;
use crate::server::web;

/// All routes, with what happens to every request around them.
pub(crate) fn all(app: App) -> Router {
    // The preflight of a browser is answered by what goes around the route.
    let pages = Router::new()
        .route("/v1/web/events", post(web::events).options(web::preflight))
        .route("/v1/web/person", post(web::person).options(web::preflight))
        .layer(from_fn_with_state(app.clone(), web::cors));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/v1/sql", post(sql::ask))
        .route("/v1/tail", get(tail::watch))
        .route("/v1/{kind}", post(analysis::ask))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{name}", delete(keys::revoke))
        .route("/peopleevents/2/definitions", get(definitions::list).post(definitions::create))
        .route("/peopleevents/2/definitions/{id}", get(definitions::get).post(definitions::update))
        .route("/peopleevents/2/persons/{person}/definitions/{definition}/events", post(single::send))
        .route("/peopleevents/1/persons/{person}/definitions/{definition}/events", post(single::send_v1))
        .route("/people/3/events", post(batch::send))
        .route("/v1/events", post(own::send))
        .route("/sdk/milepost.js", get(web::script))
        .route("/sdk/milepost.d.ts", get(web::types))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/peopleevents/1/export", post(exports::submit))
        .route("/peopleevents/1/export/definitions", get(exports::definitions))
        .route("/peopleevents/1/export/status/{id}", get(exports::status))
        .route("/peopleevents/1/export/{id}", delete(exports::cancel))
        .route("/people/3/segments", get(segments::list).post(segments::create))
        .route("/people/3/segments/{id}", get(segments::get).put(segments::replace).delete(segments::remove))
        .route("/people/3/segments/{id}/persons", get(segments::persons))
        .merge(persons())
        .merge(pages)
        .fallback(watch::lost)
        .method_not_allowed_fallback(watch::wrong_method)
        .layer(from_fn_with_state(app.clone(), watch::watch))
        .with_state(app)
}

/// What is known of persons.
fn persons() -> Router<App> {
    Router::new()
        .route(
            "/people/2/persons",
            get(people::get)
                .post(people::create)
                .put(people::replace)
                .patch(people::update)
                .delete(people::remove),
        )
        .route(
            "/people/2/persons/contactInformation",
            put(people::replace_contacts).patch(people::add_contacts).delete(people::remove_contacts),
        )
        .route(
            "/people/2/persons/batch",
            post(people::create_many).patch(people::update_many).delete(people::remove_many),
        )
        .route("/mobile/1/appinstance/{id}/user/events/custom", post(mobile::events))
        .route("/mobile/1/appinstance/{id}/user/events/session", post(mobile::sessions))
        .route("/mobile/1/appinstance/{id}/personalize", post(mobile::personalize))
        .route("/mobile/1/appinstance/{id}/depersonalize", post(mobile::depersonalize))
        .route("/people/2/contactInformation/push/{id}/personalize", post(mobile::personalize_push))
        .route("/people/2/contactInformation/push/{id}/depersonalize", post(mobile::depersonalize_push))
        .route("/people/2/persons/match", post(people::match_many))
        .route("/people/3/persons/upsert", put(people::upsert_put).patch(people::upsert_patch))
        .route("/people/3/persons/merge", post(people::merge))
        .route("/people/2/tags", get(people::list_tags).post(people::add_tag))
        .route("/people/2/tags/{name}", get(people::get_tag).delete(people::remove_tag))
        .route("/people/2/tags/{name}/persons", patch(people::tag_persons).delete(people::untag_persons))
        .route("/people/2/customAttributes", get(people::list_attributes).post(people::create_attribute))
        .route(
            "/people/2/customAttributes/{name}",
            get(people::get_attribute).delete(people::remove_attribute),
        )
        .route("/people/2/customAttributes/{name}/append", post(people::append))
}
