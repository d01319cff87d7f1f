//! `/peopleevents/2/definitions`: list, get, create, update.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::Response;
use serde_json::Value;

use crate::engine::Scope;
use crate::schema::Category;
use crate::schema::Definition;
use crate::schema::Registry;
use crate::schema::to_response;
use crate::server::access::Caller;
use crate::server::app::App;
use crate::server::body;
use crate::server::fault::Fault;
use crate::server::params::Params;
use crate::server::watch::audit;

/// How many definitions are listed when nothing is said, and at most.
const LISTED: usize = 100;
const LISTED_MOST: usize = 1000;

pub(crate) async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    let found = select(&app.engine.registry(), &Params::of(uri.query()))?;
    if found.is_empty() {
        return Err(Fault::not_found("No matches"));
    }
    let all: Vec<Value> = found.iter().map(|one| to_response(one)).collect();
    Ok(body::json(StatusCode::OK, &Value::Array(all)))
}

/// The definitions that the parameters ask for. Templates are there for whoever names their category.
fn select(registry: &Registry, params: &Params) -> Result<Vec<Arc<Definition>>, Fault> {
    let categories: Vec<&str> = params.all("category").collect();
    const CATEGORIES: [Category; 5] =
        [Category::External, Category::Person, Category::Channel, Category::Product, Category::Template];
    if let Some(unknown) = categories.iter().find(|name| CATEGORIES.iter().all(|one| one.name() != **name)) {
        return Err(Fault::invalid(format!(
            "\"category\" must be one of {}, found \"{}\"",
            CATEGORIES.map(Category::name).join(", "),
            unknown.escape_debug()
        )));
    }
    let templates = categories.contains(&Category::Template.name());
    let wanted = params.get("searchText").unwrap_or_default().to_lowercase();
    let mut found: Vec<_> = registry
        .iter()
        .chain(registry.templates().filter(|_| templates))
        .filter(|one| categories.is_empty() || categories.contains(&one.category.name()))
        .filter(|one| {
            let texts = [one.id.as_str(), &one.title, &one.description];
            texts.iter().any(|text| text.to_lowercase().contains(&wanted))
        })
        .map(Arc::clone)
        .collect();
    // Each of the two is ignored without the other.
    if let (Some(field), Some(order)) = (params.get("orderField"), params.get("orderType")) {
        match field {
            "DefinitionId" => found.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str())),
            "Title" => found.sort_by(|one, other| one.title.cmp(&other.title)),
            other => return Err(either("orderField", "DefinitionId or Title", other)),
        }
        match order {
            "Asc" => {}
            "Desc" => found.reverse(),
            other => return Err(either("orderType", "Asc or Desc", other)),
        }
    }
    let limit = params.number("limit")?.unwrap_or(LISTED).min(LISTED_MOST);
    Ok(found.into_iter().skip(params.number("offset")?.unwrap_or(0)).take(limit).collect())
}

fn either(name: &str, expected: &str, found: &str) -> Fault {
    Fault::invalid(format!("\"{name}\" must be {expected}, found \"{}\"", found.escape_debug()))
}

pub(crate) async fn get(State(app): State<App>, caller: Caller, id: Named) -> Result<Response, Fault> {
    caller.may(&[Scope::Query])?;
    let id = named(id)?;
    let registry = app.engine.registry();
    let found = registry.find(&id).or_else(|| registry.template(&id).ok());
    let definition = match found {
        Some(definition) => definition,
        None => registry.get(&id)?,
    };
    Ok(body::json(StatusCode::OK, &to_response(definition)))
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Manage])?;
    body::expect_json(&headers)?;
    let bytes = body::whole(&app.room, &headers, body, app.settings.request_bytes).await?;
    let _changing = app.changing.lock().await;
    let definition = app.engine.create_definition(body::text(&bytes)?)?;
    audit(&caller, "create definition", definition.id.as_str());
    Ok(body::json(StatusCode::CREATED, &to_response(&definition)))
}

pub(crate) async fn update(
    State(app): State<App>,
    caller: Caller,
    id: Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    caller.may(&[Scope::Manage])?;
    let id = named(id)?;
    body::expect_json(&headers)?;
    let bytes = body::whole(&app.room, &headers, body, app.settings.request_bytes).await?;
    let _changing = app.changing.lock().await;
    let definition = app.engine.update_definition(&id, body::text(&bytes)?)?;
    audit(&caller, "update definition", &id);
    Ok(body::json(StatusCode::OK, &to_response(&definition)))
}

/// The part of a path that names a thing, as it came.
pub(crate) type Named = Result<Path<String>, PathRejection>;

/// The part of a path that names a thing; the error is ours.
pub(crate) fn named<T>(part: Result<Path<T>, PathRejection>) -> Result<T, Fault> {
    part.map(|Path(name)| name).map_err(|error| Fault::invalid(error.body_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(query: &str) -> Vec<String> {
        let found = select(&Registry::standard().unwrap(), &Params::of(Some(query))).unwrap();
        found.iter().map(|one| one.id.to_string()).collect()
    }

    #[test]
    fn definitions_are_selected_ordered_and_paged() {
        let all = ids("limit=1000&orderField=DefinitionId&orderType=Asc");
        assert!(all.len() > 50 && all.is_sorted());
        assert_eq!(ids("limit=2&offset=1&orderField=DefinitionId&orderType=Asc"), all[1..3]);
        assert_eq!(ids("limit=1&orderField=DefinitionId&orderType=Desc"), all[all.len() - 1..]);
        assert!(ids("orderType=Desc&limit=3") == ids("limit=3"), "an order needs both");
        assert_eq!(ids("").len(), all.len().min(LISTED));
        assert_eq!(ids("limit=0"), Vec::<String>::new());
        let mail = ids("searchText=EMAILO&category=channel&category=product");
        assert!(mail.contains(&"emailOpened".to_owned()), "{mail:?}");
        assert!(ids("category=template").contains(&"itemPurchased".to_owned()));
        assert!(!ids("limit=1000").contains(&"itemPurchased".to_owned()));
        for wrong in ["category=x", "limit=-1", "offset=a", "orderField=Id&orderType=Asc"] {
            assert!(select(&Registry::standard().unwrap(), &Params::of(Some(wrong))).is_err(), "{wrong}");
        }
    }
}
