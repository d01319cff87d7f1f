//! Which door is where.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::delete;
use axum::routing::get;
use axum::routing::post;

use crate::server::analysis;
use crate::server::app::App;
use crate::server::batch;
use crate::server::definitions;
use crate::server::health;
use crate::server::keys;
use crate::server::openapi;
use crate::server::own;
use crate::server::single;
use crate::server::sql;
use crate::server::watch;
use crate::server::web;

/// All routes, with what happens to every request around them.
pub(crate) fn all(app: App) -> Router {
    // The preflight of a browser is answered by what goes around the route.
    let pages = Router::new()
        .route("/v1/web/events", post(web::events).options(web::preflight))
        .layer(from_fn_with_state(app.clone(), web::cors));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/v1/sql", post(sql::ask))
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
        .merge(pages)
        .fallback(watch::lost)
        .method_not_allowed_fallback(watch::wrong_method)
        .layer(from_fn_with_state(app.clone(), watch::watch))
        .with_state(app)
}
