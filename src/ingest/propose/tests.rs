use serde_json::json;

use super::*;
use crate::ingest::map::Mapping;
use crate::ingest::source::ObjectStoreOptions;
use crate::ingest::source::expand;
use crate::schema::DefinitionRequest;
use crate::schema::evolve;

fn proposals(rows: &[Value], registry: &Registry) -> Vec<ProposedDefinition> {
    let bytes: Vec<u8> = rows.iter().flat_map(|row| format!("{row}\n").into_bytes()).collect();
    propose([Ok(Chunk { bytes, ..Chunk::default() })], None, registry).unwrap()
}

/// The one proposal for rows of the event `e` with these properties.
fn proposal(properties: &[Value]) -> ProposedDefinition {
    let rows: Vec<Value> =
        properties.iter().map(|properties| json!({"definitionId": "e", "properties": properties})).collect();
    proposals(&rows, &Registry::new([])).remove(0)
}

fn types(proposal: &ProposedDefinition) -> Vec<(&str, &str)> {
    let properties = &proposal.definition.properties;
    properties.iter().map(|property| (property.name.as_str(), property.kind.name())).collect()
}

#[test]
fn types_follow_from_all_values() {
    let proposal = proposal(&[
        json!({"n": 1, "d": 2, "b": true, "t": "2024-02-29T18:30:00Z", "s": "x", "z": null, "day": "2024-02-29"}),
        json!({"n": -5, "d": 2.5, "b": null, "t": "2024-02-29 18:30:00+0100", "s": "", "z": null}),
    ]);
    let want = [
        ("n", "Numeric"),
        ("d", "Decimal"),
        ("b", "Boolean"),
        ("t", "DateTime"),
        ("s", "String"),
        ("z", "String"),
        ("day", "String"),
    ];
    assert_eq!(types(&proposal), want);
    assert_eq!(proposal.notes, ["\"z\" is null in all of 2 rows: defined as a String"]);
    assert_eq!((proposal.rows, proposal.new), (2, true));
}

#[test]
fn a_text_that_is_a_time_only_sometimes_is_a_string() {
    let proposal = proposal(&[json!({"t": "2024-02-29T18:30:00Z"}), json!({"t": "later"})]);
    assert_eq!(types(&proposal), [("t", "String")]);
    assert_eq!(proposal.notes, ["\"t\" looks like a time in 1 of 2 rows only: defined as a String"]);
}

#[test]
fn values_of_several_types_are_noted_as_refused() {
    let proposal = proposal(&[json!({"x": 1}), json!({"x": 2}), json!({"x": "3"})]);
    assert_eq!(types(&proposal), [("x", "Numeric")]);
    assert!(
        proposal.notes[0].contains("a Numeric in 2 rows, and of another type in 1 row, which are refused")
    );
}

#[test]
fn lists_of_objects_become_a_list_and_objects_are_refused_with_advice() {
    let proposal = proposal(&[
        json!({"items": [{"sku": "a", "price": 1}, {"price": 2.5, "tags": ["x"]}], "o": {"a": 1}, "tags": ["x"]}),
        json!({"items": [], "more": [{"a": 1}], "none": []}),
    ]);
    assert_eq!(
        proposal.to_json()["fields"],
        json!([{"name": "items", "type": "List", "schema": {"type": "Object", "fields": [
            {"name": "sku", "type": "String"}, {"name": "price", "type": "Decimal"}]}}])
    );
    for said in [
        "\"items.tags\" is a list of",
        "\"o\" is an object",
        "\"tags\" is a list",
        "\"more\" would be a second List",
        "\"none\" is an empty list",
    ] {
        assert!(proposal.notes.iter().any(|note| note.starts_with(said)), "{said}: {:?}", proposal.notes);
    }
}

#[test]
fn names_that_do_not_fit_are_noted_and_left_out() {
    let proposal = proposal(&[json!({"Price": 1, "a-b": 2, "userId": 3, "userID": 4})]);
    assert_eq!(types(&proposal), [("userId", "Numeric")]);
    assert_eq!(proposal.notes.len(), 3);

    let rows = [json!({"definitionId": "Add to Cart", "properties": {}}), json!({"definitionId": "购物"})];
    let proposed = proposals(&rows, &Registry::new([]));
    assert_eq!(
        (proposed[0].definition.id.as_str(), proposed[0].definition.title.as_str()),
        ("addToCart", "Add to cart")
    );
    assert!(proposed[0].notes[0].contains("until a map calls it \"addToCart\""));
    assert!(proposed[1].definition.id.as_str().starts_with("event"));
}

#[test]
fn properties_flat_in_the_row_are_found_and_their_prefixes_taken_off() {
    let rows = [
        json!({"definitionId": "seen", "eventId": "1", "personId": "7", "occuredTime": "2024-02-29T18:30:00Z",
                       "a": 1, "seen_personId": "x", "seen_campaignName": "y"}),
    ];
    assert_eq!(
        types(&proposals(&rows, &Registry::new([]))[0]),
        [("a", "Numeric"), ("personId", "String"), ("campaignName", "String")]
    );
}

#[test]
fn what_is_defined_already_only_grows_and_the_request_can_be_applied() {
    let rows = [json!({"definitionId": "seen", "properties": {"a": 1}})];
    let first = proposals(&rows, &Registry::new([]));
    let registry = Registry::new([first[0].definition.clone()]);
    assert_eq!(proposals(&rows, &registry), []);

    let rows = [json!({"definitionId": "seen", "properties": {"a": "x", "b": 2.5}})];
    let grown = proposals(&rows, &registry);
    assert_eq!((grown[0].new, grown[0].added.as_slice()), (false, ["b".to_owned()].as_slice()));
    assert_eq!(grown[0].notes, ["\"a\" is defined as Numeric and something else in 1 row: they are refused"]);
    let request = DefinitionRequest::parse(&json!([grown[0].to_json()]).to_string()).unwrap();
    let changes = evolve::apply_all(&registry, request, NameRule::Strict).unwrap();
    assert_eq!((changes[0].verb(), changes[0].definition()), ("updated", &grown[0].definition));
}

#[test]
fn the_definitions_beside_the_ecom_and_cdnow_maps_are_what_their_data_asks_for() {
    for (map, data) in [("ecom.toml", "ecom/ecom.csv.gz"), ("cdnow.toml", "cdnow/CDNOW_master.txt")] {
        let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let mapping = Mapping::load(&testdata.join("maps").join(map)).unwrap();
        let sources =
            expand(&[testdata.join(data).display().to_string()], "-", &ObjectStoreOptions::default())
                .unwrap();
        let chunks = sources[0].open(mapping.framing()).unwrap().map(|chunk| Ok(mapping.map(&chunk?)));
        let mut proposed = propose(chunks, None, &Registry::new([])).unwrap();
        proposed.sort_by(|left, right| left.definition.id.cmp(&right.definition.id));
        let wanted = DefinitionRequest::parse(mapping.definitions().unwrap()).unwrap();
        assert_eq!(proposed.len(), wanted.len());
        for (proposed, wanted) in proposed.iter().zip(wanted) {
            assert_eq!(Some(&proposed.definition.id), wanted.id.as_ref());
            assert_eq!(proposed.definition.properties, wanted.properties);
            assert_eq!(proposed.notes, [""; 0]);
        }
    }
}

#[test]
fn a_standard_event_is_not_changed() {
    let registry = Registry::standard().unwrap();
    let rows = [json!({"definitionId": "pageView", "properties": {"path": "/", "color": "red"}})];
    let proposed = proposals(&rows, &registry);
    assert_eq!(proposed[0].added, [""; 0]);
    assert!(proposed[0].notes[0].contains("\"color\" is no property of pageView"));
}

#[test]
fn an_id_that_may_not_be_taken_is_noted_and_not_proposed() {
    let registry = Registry::standard().unwrap();
    let rows = ["pageview", "itemviewed", "persons", "signup", "signUp"]
        .map(|id| json!({"definitionId": id, "properties": {"path": "/"}}));
    let proposed = proposals(&rows, &registry);
    let made: Vec<_> = proposed.iter().filter(|one| one.new).map(|one| one.definition.id.as_str()).collect();
    assert_eq!(made, ["signup"]);
    for (one, says) in
        proposed.iter().zip(["\"pageView\" is a standard event", "template", "table", "\"signUp\""])
    {
        assert!(
            one.notes[0].contains(says) && one.notes[0].contains("refused until a map"),
            "{:?}",
            one.notes
        );
    }
    let requests: Vec<_> = proposed.iter().filter(|one| one.new).map(ProposedDefinition::to_json).collect();
    let requests = DefinitionRequest::parse(&json!(requests).to_string()).unwrap();
    assert!(evolve::apply_all(&registry, requests, NameRule::Strict).is_ok());
}

#[test]
fn rows_that_name_no_event_are_counted_and_a_sample_ends_early() {
    let mut proposer = Proposer::new();
    let bytes = b"{\"definitionId\":\"a\"}\n\n[1]\nnonsense\n{}\n".to_vec();
    proposer.see(&Chunk { bytes, ..Chunk::default() });
    assert_eq!((proposer.rows(), proposer.unreadable()), (4, 3));

    let chunk = |id: &str| Chunk {
        bytes: format!("{{\"definitionId\":\"{id}\"}}\n").into_bytes(),
        ..Chunk::default()
    };
    let chunks = ["a", "b", "c"].map(|id| Ok(chunk(id)));
    assert_eq!(propose(chunks, Some(2), &Registry::new([])).unwrap().len(), 2);
}
