//! Definitions by SQL and by file, as a person makes them.

use crate::harness::Store;

#[test]
fn an_event_is_defined_described_and_extended() {
    let store = Store::with_seats();
    let described = store.run(["sql", "--format", "csv", "-c", "DESCRIBE seatReserved"]).fine();
    for line in ["venueId", "total", "startsAt", "isMember", "seats", "note"] {
        assert!(described.contains(line), "{described}");
    }
    store.sql("ALTER EVENT seatReserved ADD (row STRING)").fine();
    assert!(store.run(["sql", "--format", "csv", "-c", "DESCRIBE seatReserved"]).fine().contains("\nrow,"));
    let refused = store.sql("ALTER EVENT seatReserved ADD (ROW STRING)").fails(2);
    assert!(refused.contains("row"), "{refused}");
}

#[test]
fn the_id_follows_from_the_title_and_must_be_unique() {
    let store = Store::new();
    store.sql("CREATE EVENT TITLE 'Item Added to Cart' (sku STRING)").fine();
    let shown = store.run(["sql", "--format", "csv", "-c", "SHOW EVENTS LIKE 'itemAdded%'"]).fine();
    assert!(shown.contains("itemAddedToCart,Item Added to Cart"), "{shown}");
    store.sql("CREATE EVENT itemAddedToCart TITLE 'Again'").fails(2);
    store.sql("CREATE EVENT ITEMADDEDTOCART TITLE 'Differs by case only'").fails(2);
    store.sql("CREATE EVENT IF NOT EXISTS itemAddedToCart TITLE 'Again'").fine();
}

#[test]
fn channel_events_are_on_and_person_and_product_events_must_be_enabled() {
    let store = Store::new();
    let enabled = |id: &str| store.rows(&format!("SELECT enabled FROM definitions WHERE id = '{id}'"));
    assert_eq!(enabled("emailOpened"), ["true"]);
    assert_eq!(enabled("pageView"), ["false"]);
    assert_eq!(enabled("formSubmitted"), ["false"]);
    store.sql("ENABLE EVENT 'page*', formSubmitted").fine();
    assert_eq!(enabled("pageView"), ["true"]);
    assert_eq!(enabled("formSubmitted"), ["true"]);
    store.sql("DISABLE EVENT pageView").fine();
    assert_eq!(enabled("pageView"), ["false"]);
    let fault = store.sql("ENABLE EVENT pagView").fails(2);
    assert!(fault.contains("did you mean \"pageView\"?"), "{fault}");
}

#[test]
fn definitions_come_from_a_file_and_applying_it_again_changes_nothing() {
    let store = Store::new();
    let file = store.file(
        "events.json",
        r#"[{"definitionId":"seatReserved","title":"Seat reserved","description":null,
             "fields":[{"name":"venueId","type":"Numeric"},{"name":"seats","type":"List","schema":{"type":"Object","fields":[{"name":"row","type":"String"}]}}]},
            {"templateId":"itemPurchased","fields":[{"name":"coupon","type":"String"}]}]"#,
    );
    let file = file.to_str().unwrap();
    store.run(["events", "apply", file]).fine();
    let again = store.run(["events", "apply", file]).fine();
    assert!(again.contains("unchanged"), "{again}");
    assert_eq!(
        store.rows("SELECT id FROM definitions WHERE category = 'external' ORDER BY id"),
        ["itemPurchased", "seatReserved"]
    );
    let wrong = store
        .file("wrong.json", r#"[{"definitionId":"a","title":"A","fields":[{"name":"b","type":"Money"}]}]"#);
    let fault = store.run(["events", "apply", wrong.to_str().unwrap()]).fails(2);
    assert!(fault.contains("Money"), "{fault}");
}

#[test]
fn br25_a_property_that_differs_by_case_only_is_never_taken_for_the_other() {
    let store = Store::new();
    store.sql(r#"CREATE EVENT clash TITLE 'Clash' ("B" STRING, "b" STRING)"#).fails(2);
    store.sql("CREATE EVENT item TITLE 'Item' (productID STRING)").fine();
    let fault = store.sql("SELECT productId FROM item").fails(2);
    assert!(fault.contains("did you mean \"productID\"?"), "{fault}");
    let row = r#"{"definitionId":"item","externalPersonId":"p","occurredTime":"2026-06-01T00:00:00Z","properties":{"productId":"x"}}"#;
    let report = store.import("a", row).fails(1);
    assert!(report.contains("productId"), "{report}");
}

#[test]
fn br26_keywords_quotes_dots_and_clashing_names_are_stored_and_selectable() {
    let store = Store::new();
    store
        .sql(
            r#"CREATE EVENT cart1 TITLE 'Cart' ("externalPersonId" STRING, "eventId" STRING, "select" STRING,
               "order" STRING, "from" STRING, "group by" STRING, "a""b" STRING, "a.b" STRING)"#,
        )
        .fine();
    let row = r#"{"definitionId":"cart1","eventId":"e1","identifier":{"id":"crm-1","type":"EXTERNAL_ID"},"occurredTime":"2026-06-01T00:00:00Z","properties":{"externalPersonId":"v1","eventId":"v2","select":"v3","order":"v4","from":"v5","group by":"v6","a\"b":"v7","a.b":"v8"}}"#;
    store.import("a", row).fine();
    let question = r#"SELECT "eventId", "externalPersonId", "cart1_externalPersonId", "cart1_eventId", "select", "order", "from", "group by", "a""b", "a.b" FROM cart1"#;
    assert_eq!(store.rows(question), ["e1,crm-1,v1,v2,v3,v4,v5,v6,v7,v8"]);
    let described = store.run(["sql", "--format", "csv", "-c", "DESCRIBE cart1"]).fine();
    assert!(described.contains(r#"""group by"""#), "{described}");
}
