//! The People API: one person, many, by any identifier; tags, custom attributes; every published status.

use serde_json::Value;
use serde_json::json;

use crate::harness::Answer;
use crate::harness::Server;
use crate::harness::Store;

const AT: &str = "/people/2/persons";
const ANA: &str = "/people/2/persons?identifier=ana%40example.com&type=EMAIL";

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn send(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    server.ask(method, path, &["Content-Type: application/json"], body.to_string())
}

#[track_caller]
fn fine(answer: Answer) -> Value {
    value(&answer.fine())
}

#[track_caller]
fn fails(answer: Answer, status: u16, id: &str) -> Value {
    let body = value(&answer.fails(status));
    assert_eq!(body["requestError"]["serviceException"]["messageId"], id, "{body}");
    body
}

#[test]
fn one_person_is_made_found_changed_and_removed() {
    let store = Store::new();
    let server = Server::start(&store);
    fine(send(&server, "POST", "/people/2/customAttributes", &json!({"name": "tier", "dataType": "STRING"})));
    let ana = json!({"externalId": "crm-1", "firstName": "Ana", "city": "Oslo", "tags": ["vip"],
        "customAttributes": {"tier": "gold"},
        "contactInformation": {"email": [{"address": "ana@example.com"}], "phone": [{"number": "4790000001"}]}});
    let made = fine(send(&server, "POST", AT, &ana));
    assert_eq!(
        (made["type"].as_str(), made["customAttributes"]["tier"].as_str()),
        (Some("CUSTOMER"), Some("gold"))
    );
    assert_eq!(fine(server.get(ANA)), made);
    assert_eq!(fine(server.get(&format!("{AT}?identifier={}&type=ID", made["id"]))), made);
    let taken = fails(send(&server, "POST", AT, &ana), 409, "CONFLICT");
    assert!(
        taken.to_string().contains("Destination(email) \\\"ana@example.com\\\" already exists"),
        "{taken}"
    );
    // PATCH keeps and adds, PUT empties.
    let patched = fine(send(&server, "PATCH", ANA, &json!({"lastName": "Berg", "tags": ["new"]})));
    assert_eq!(
        (patched["firstName"].as_str(), patched["tags"].clone()),
        (Some("Ana"), json!(["new", "vip"]))
    );
    let put = fine(send(
        &server,
        "PUT",
        ANA,
        &json!({"lastName": "Berg",
        "contactInformation": {"email": [{"address": "ana@example.com"}]}}),
    ));
    assert_eq!((put["firstName"].clone(), put["tags"].clone()), (Value::Null, json!([])));
    assert!(put["contactInformation"]["phone"].is_null(), "{put}");
    let contacts = "/people/2/persons/contactInformation?identifier=ana%40example.com&type=EMAIL";
    let more = fine(send(&server, "PATCH", contacts, &json!({"phone": [{"number": "4790000002"}]})));
    assert_eq!(more["contactInformation"]["phone"][0]["number"], "4790000002");
    let less = fine(send(&server, "DELETE", contacts, &json!({"phone": [{"number": "4790000002"}]})));
    assert!(less["contactInformation"]["phone"].is_null(), "{less}");
    fails(
        send(&server, "PATCH", contacts, &json!({"push": [{"id": "r", "sender": "a"}]})),
        400,
        "BAD_REQUEST",
    );
    let wrong =
        fails(send(&server, "POST", AT, &json!({"firstname": "A", "gender": "X"})), 400, "BAD_REQUEST");
    assert!(wrong["requestError"]["serviceException"]["validationErrors"]["firstname"].is_array(), "{wrong}");
    fails(server.get(&format!("{AT}?identifier=x&type=FAX")), 400, "BAD_REQUEST");
    fails(server.get(&format!("{AT}?identifier=x&type=EMAIL")), 404, "NOT_FOUND");
    fails(send(&server, "PUT", AT, &json!({})), 400, "BAD_REQUEST");
    let gone = server.ask("DELETE", ANA, &[], "");
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    fails(server.get(ANA), 404, "NOT_FOUND");
    fails(server.ask("DELETE", ANA, &[], ""), 404, "NOT_FOUND");
}

#[test]
fn persons_are_listed_in_pages_by_the_published_filter() {
    let store = Store::new();
    let server = Server::start(&store);
    let people: Vec<Value> = ["Oslo", "Pula", "Oslo", "Rome"]
        .iter()
        .enumerate()
        .map(|(at, city)| json!({"externalId": format!("p{at}"), "lastName": format!("L{at}"), "city": city}))
        .collect();
    let made = send(&server, "POST", "/people/2/persons/batch", &json!({"people": people}));
    assert_eq!(made.status, 200, "{made:?}");
    let filter = "%7B%22%23and%22%3A%5B%7B%22city%22%3A%22Oslo%22%7D%5D%7D";
    let listed =
        fine(server.get(&format!(
            "{AT}?filter={filter}&orderBy=lastName%20desc&includeTotalCount=true&limit=1&page=2"
        )));
    assert_eq!(
        (listed["totalCount"].as_i64(), listed["persons"][0]["externalId"].as_str()),
        (Some(2), Some("p0"))
    );
    assert_eq!(fine(server.get(AT))["persons"].as_array().unwrap().len(), 4);
    for wrong in [
        "limit=0",
        "limit=1001",
        "page=0",
        "orderBy=city",
        "filter=%7B",
        "filter=%7B%22cty%22%3A1%7D",
        "includeTotalCount=perhaps",
    ] {
        fails(server.get(&format!("{AT}?{wrong}")), 400, "BAD_REQUEST");
    }
}

#[test]
fn each_of_many_has_its_own_verdict() {
    let store = Store::new();
    let server = Server::start(&store);
    let at = "/people/2/persons/batch";
    let made = send(
        &server,
        "POST",
        at,
        &json!({"people": [
        {"externalId": "a"}, {"externalId": "a"}, {"gender": "X"}, {"externalId": "b"}]}),
    );
    assert_eq!(made.status, 207, "{made:?}");
    let made = value(&made.body);
    let status: Vec<_> =
        made["results"].as_array().unwrap().iter().map(|one| one["status"].as_i64().unwrap()).collect();
    assert_eq!(status, [200, 409, 400, 200]);
    assert!(
        made["results"][1]["errors"][0]["message"].as_str().unwrap().contains("already exists"),
        "{made}"
    );
    let query = |id: &str| json!({"identifier": id, "type": "EXTERNAL_ID"});
    let changed = send(
        &server,
        "PATCH",
        at,
        &json!({"people": [
        {"query": query("a"), "update": {"city": "Oslo"}}, {"query": query("nobody"), "update": {"city": "Oslo"}}]}),
    );
    assert_eq!(changed.status, 207, "{changed:?}");
    let changed = value(&changed.body);
    assert_eq!(
        (changed["results"][1]["status"].as_i64(), &changed["results"][1]["query"]),
        (Some(404), &query("nobody"))
    );
    let found = fine(send(
        &server,
        "POST",
        "/people/2/persons/match",
        &json!({"identities": [query("b"), query("c")]}),
    ));
    assert!(found["results"][0]["personId"].is_i64() && found["results"][1]["personId"].is_null(), "{found}");
    let gone = send(&server, "DELETE", at, &json!({"people": [{"query": query("b")}]}));
    assert_eq!(gone.status, 200, "{gone:?}");
    let many: Vec<Value> = (0..1001).map(|_| json!({})).collect();
    fails(send(&server, "POST", at, &Value::Array(many)), 400, "BAD_REQUEST");
}

#[test]
fn whoever_is_meant_is_written_and_persons_are_merged() {
    let store = Store::new();
    let server = Server::start(&store);
    let at = "/people/3/persons/upsert";
    let mail = |text: &str| json!([{"type": "EMAIL", "identifier": text}]);
    let put = send(
        &server,
        "PUT",
        at,
        &json!({"persons": [
        {"externalId": "a", "firstName": "Ana", "contactInformation": mail("a@example.com")},
        {"contactInformation": mail("no address")}, {"firstName": "Nobody"}]}),
    );
    assert_eq!(put.status, 207, "{put:?}");
    let put = value(&put.body);
    assert_eq!(
        (put["results"][0]["status"].as_str(), put["results"].as_array().unwrap().len()),
        (Some("CREATED"), 1)
    );
    assert_eq!(
        (put["errors"][0]["code"].as_i64(), put["errors"][1]["code"].as_i64()),
        (Some(400_100), Some(400_104))
    );
    assert_eq!(put["errors"][0]["details"][0]["property"], "persons[1].contactInformation[0].identifier");
    let patch = |body: &Value| {
        fine(send(&server, "PATCH", at, body))["results"][0]["status"].as_str().unwrap().to_owned()
    };
    let update = json!({"persons": [{"externalId": "a", "city": "Oslo"}]});
    assert_eq!((patch(&update), patch(&update)), ("UPDATED".to_owned(), "NOT_MODIFIED".to_owned()));
    fine(send(
        &server,
        "POST",
        AT,
        &json!({"contactInformation": {"phone": [{"number": "4790000003"}]}, "country": "Norway"}),
    ));
    let merge = json!({"persons": [{"firstName": "Anna", "contactInformation": [
        {"type": "EMAIL", "identifier": "a@example.com"}, {"type": "PHONE", "identifier": "4790000003"}]}]});
    let merged = send(&server, "POST", "/people/3/persons/merge", &merge);
    assert_eq!(merged.status, 207, "{merged:?}");
    assert_eq!(value(&merged.body)["results"][0]["status"], "UPDATED");
    let one = fine(server.get(&format!("{AT}?identifier=4790000003&type=PHONE")));
    assert_eq!(
        (one["firstName"].as_str(), one["country"].as_str(), one["externalId"].as_str()),
        (Some("Anna"), Some("Norway"), Some("a"))
    );
    for (body, code) in [("{", 400_103), ("{}", 400_104), (r#"{"persons":[]}"#, 400_100)] {
        let told = value(&server.ask("PUT", at, &["Content-Type: application/json"], body).fails(400));
        assert_eq!((told["code"].as_i64(), told.as_object().unwrap().len()), (Some(code), 2), "{told}");
    }
}

#[test]
fn tags_and_custom_attributes_are_kept_for_all() {
    let store = Store::new();
    let server = Server::start(&store);
    let tags = "/people/2/tags";
    assert_eq!(send(&server, "POST", tags, &json!({"name": "vip"})).status, 201);
    fails(send(&server, "POST", tags, &json!({"name": "vip"})), 409, "CONFLICT");
    fails(send(&server, "POST", tags, &json!({"name": ""})), 400, "BAD_REQUEST");
    fine(send(&server, "POST", AT, &json!({"externalId": "a"})));
    let who = json!({"persons": [{"identifier": "a", "type": "EXTERNAL_ID"}, {"identifier": "z", "type": "EXTERNAL_ID"}]});
    let tagged = send(&server, "PATCH", "/people/2/tags/vip/persons", &who);
    assert_eq!(tagged.status, 207, "{tagged:?}");
    let a = format!("{AT}?identifier=a&type=EXTERNAL_ID");
    assert_eq!(fine(server.get(&a))["tags"], json!(["vip"]));
    assert_eq!(fine(server.get(tags))["tags"], json!([{"name": "vip"}]));
    fine(server.get("/people/2/tags/vip"));
    assert_eq!(server.ask("DELETE", "/people/2/tags/vip", &[], "").status, 204);
    fails(server.get("/people/2/tags/vip"), 404, "NOT_FOUND");
    assert_eq!(fine(server.get(&a))["tags"], json!([]));
    let at = "/people/2/customAttributes";
    let list = json!({"name": "wishlist", "dataType": "LIST_OF_OBJECTS", "objectSchema": {"sku": "STRING"}});
    assert_eq!(send(&server, "POST", at, &list).status, 201);
    fails(send(&server, "POST", at, &list), 409, "CONFLICT");
    fails(send(&server, "POST", at, &json!({"name": "a[0]", "dataType": "DATE"})), 400, "BAD_REQUEST");
    let append = format!("{at}/wishlist/append?identifier=a&type=EXTERNAL_ID");
    fine(send(&server, "POST", &append, &json!({"sku": "x1"})));
    let now = fine(send(&server, "POST", &append, &json!([{"sku": "x2"}])));
    assert_eq!(now["customAttributes"]["wishlist"], json!([{"sku": "x1"}, {"sku": "x2"}]));
    fails(send(&server, "POST", &append, &json!({"sku": 7})), 400, "BAD_REQUEST");
    fails(send(&server, "POST", &append, &json!("x")), 400, "BAD_REQUEST");
    assert_eq!(fine(server.get(at))["customAttributes"][0], list);
    assert_eq!(server.ask("DELETE", &format!("{at}/wishlist"), &[], "").status, 204);
    fails(server.get(&format!("{at}/wishlist")), 404, "NOT_FOUND");
}
