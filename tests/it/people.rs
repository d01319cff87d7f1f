//! People through the binary: import, SQL, tags, merges, and what a merged person did.

use crate::harness::Store;

const CRM: &str = "\
Customer,First name,Mail,City,Labels,Points
crm-1,Ana,ana@example.com,Pula,vip;early,120
crm-2,Bo,bo@example.com,Split,,7
crm-3,Iva,not an address,Rijeka,,1
";

const MAP: &str = "\
[columns]
Customer = \"externalId\"
\"First name\" = \"firstName\"
Mail = \"email\"
City = \"city\"
Labels = \"tags\"
Points = \"points\"
";

fn imported() -> Store {
    let store = Store::with_seats();
    store.sql("CREATE PERSON ATTRIBUTE points INTEGER").fine();
    store.file("crm.csv", CRM);
    store.file("crm.toml", MAP);
    let told = store.run(["people", "import", "crm.csv", "--map", "crm.toml"]).fails(1);
    assert!(told.contains("2 created") && told.contains("1 refused"), "{told}");
    assert!(told.contains("crm.csv:4: ") && told.contains("an email is an address"), "{told}");
    store
}

fn rows(store: &Store, sql: &str) -> String {
    store.run(["sql", "-c", sql, "--format", "csv"]).fine()
}

#[test]
fn persons_come_from_csv_and_json_and_are_a_table() {
    let store = imported();
    let json =
        r#"{"externalId":"crm-2","lastName":"Berg","contactInformation":{"phone":[{"number":"385911"}]}}"#;
    store.file("more.jsonl", format!("{json}\n{{\"externalId\":\"crm-4\",\"type\":\"LEAD\"}}\n"));
    let told = store.run(["people", "import", "more.jsonl"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stderr.contains("1 created") && told.stderr.contains("1 updated"), "{}", told.stderr);
    let sql = "SELECT externalPersonId, type, firstName, lastName, points, array_length(tags), phones[1] FROM persons \
               ORDER BY personId";
    let expected = "crm-1,CUSTOMER,Ana,,120,2,\ncrm-2,CUSTOMER,Bo,Berg,7,0,385911\ncrm-4,LEAD,,,,0,\n";
    let answer = rows(&store, sql);
    assert!(answer.ends_with(expected), "{answer}");
    let found = store.run(["people", "find", "array_has(tags, 'vip')", "--format", "csv"]).fine();
    assert!(found.contains("ana@example.com") && !found.contains("bo@example.com"), "{found}");
    let ana = store.run(["people", "get", "ana@example.com"]).fine();
    assert!(ana.contains("\"firstName\": \"Ana\"") && ana.contains("\"origin\": \"IMPORT\""), "{ana}");
    store.run(["people", "get", "nobody"]).fails(2);
}

#[test]
fn sql_inserts_updates_tags_and_deletes_persons_all_or_none() {
    let store = imported();
    let done = |sql: &str| store.sql(sql).fine();
    let insert = "INSERT INTO persons (externalPersonId, firstName, email, points) VALUES ('x', 'Xenia', 'x@example.com', 1)";
    assert_eq!(done(insert), "1 person inserted\n");
    let told = store.sql(insert).fails(2);
    assert!(told.contains("already exists") && told.contains("nothing was changed"), "{told}");
    assert_eq!(
        done("UPDATE persons SET city = upper(city), points = points + 1 WHERE points > 5"),
        "2 persons updated\n"
    );
    assert_eq!(
        rows(&store, "SELECT city, points FROM persons ORDER BY personId"),
        "city,points\nPULA,121\nSPLIT,8\n,1\n"
    );
    assert_eq!(done("TAG PERSONS WHERE points < 100 WITH 'small'"), "2 persons tagged\n");
    assert_eq!(
        done("TAG PERSON 'crm-1', 'x@example.com' WITH 'vip'"),
        "1 person tagged; 1 times nothing changed\n"
    );
    assert_eq!(done("UNTAG PERSON 'crm-1' WITH 'vip'"), "1 person untagged\n");
    let tagged = "SELECT externalPersonId, array_to_string(tags, ' ') FROM persons ORDER BY personId";
    assert!(rows(&store, tagged).ends_with("crm-1,early\ncrm-2,small\nx,small vip\n"));
    let told = store.sql("UPDATE persons SET gender = 'X'").fails(2);
    assert!(told.contains("gender is MALE or FEMALE"), "{told}");
    let told = store.sql("UPDATE persons SET firstname = 'X'").fails(2);
    assert!(told.contains("did you mean \"firstName\"?"), "{told}");
    assert_eq!(done("DELETE FROM persons WHERE array_has(tags, 'small')"), "2 persons deleted\n");
    assert_eq!(rows(&store, "SELECT count(*) AS n FROM persons"), "n\n1\n");
}

#[test]
fn a_merge_shows_at_once_everywhere_and_is_undone() {
    let store = imported();
    let event = |id: &str, who: &str, at: &str| {
        format!(
            "{{\"definitionId\":\"seatReserved\",\"eventId\":\"{id}\",\"externalPersonId\":\"{who}\",\
             \"occurredTime\":\"2026-06-01T{at}:00Z\",\"properties\":{{\"total\":1}}}}\n"
        )
    };
    store.file("before.jsonl", event("e1", "crm-1", "10:00") + &event("e2", "crm-2", "11:00"));
    store.run(["import", "before.jsonl"]).fine();
    assert_eq!(store.run(["people", "merge", "crm-2", "crm-1"]).fine(), "merged into person 1\n");
    store.file("after.jsonl", event("e3", "crm-2", "12:00"));
    store.run(["import", "after.jsonl"]).fine();
    let by_person = "SELECT personId, count(*) AS n FROM seatReserved GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&store, by_person), "personId,n\n1,3\n");
    assert_eq!(rows(&store, "SELECT count(DISTINCT personId) AS n FROM events"), "n\n1\n");
    let timeline = store.run(["people", "timeline", "bo@example.com", "--format", "csv"]).fine();
    assert_eq!(timeline.lines().count(), 4, "{timeline}");
    let profile = store.run(["people", "get", "2"]).fine();
    assert!(profile.contains("\"id\": 1") && profile.contains("bo@example.com"), "{profile}");
    store.run(["export", "--from", "2026-06-01", "--to", "2026-06-02", "--into", "out"]).fine();
    let persons = exported(&store.path("out"));
    assert_eq!(persons, 3);
    assert_eq!(store.run(["people", "unmerge", "crm-2"]).fine(), "person 2 is no longer merged into 1\n");
    assert_eq!(rows(&store, by_person), "personId,n\n1,1\n2,2\n");
    let history =
        rows(&store, "SELECT personId, mergedInto, undone_at IS NOT NULL AS undone FROM system.merges");
    assert_eq!(history, "personId,mergedInto,undone\n2,1,true\n");
}

#[test]
fn changes_of_persons_are_events_once_those_are_enabled() {
    let store = imported();
    assert_eq!(rows(&store, "SELECT count(*) AS n FROM events"), "n\n0\n");
    store.sql("ENABLE EVENT personCreated, personMerged, nameChanged, locationChanged, tagAdded, customAttributeChanged, emailAdded").fine();
    store
        .sql("INSERT INTO persons (externalPersonId, type, email) VALUES ('x', 'LEAD', 'x@example.com')")
        .fine();
    store.sql("UPDATE persons SET firstName = 'Ana-Marija', city = NULL, points = 5 WHERE externalPersonId = 'crm-1'").fine();
    store.sql("TAG PERSON 'crm-1' WITH 'vip', 'new'; MERGE PERSONS 'crm-2', 'crm-1'").fine();
    let told = rows(&store, "SELECT definitionId, personId, properties FROM events ORDER BY seq");
    let expected = [
        r#"personCreated,3,"{""origin"":""API"",""personType"":""LEAD"",""externalId"":""x""}""#,
        r#"nameChanged,1,"{""attribute"":""firstName"",""oldValue"":""Ana"",""newValue"":""Ana-Marija"",""origin"":""API""}""#,
        r#"locationChanged,1,"{""attribute"":""city"",""oldValue"":""Pula"",""origin"":""API""}""#,
        r#"customAttributeChanged,1,"{""attribute"":""points"",""oldValue"":""120"",""newValue"":""5"",""attributeType"":""INTEGER"",""origin"":""API""}""#,
        r#"tagAdded,1,"{""tag"":""new"",""origin"":""API""}""#,
        r#"personMerged,1,"{""mergedPersonId"":""2"",""mergedExternalId"":""crm-2"",""origin"":""API""}""#,
    ];
    assert_eq!(told.lines().skip(1).collect::<Vec<_>>(), expected);
}

/// Rows of person 1 in the files of an export.
fn exported(folder: &std::path::Path) -> usize {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "gz") {
            let file = std::fs::File::open(path).unwrap();
            std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
        }
    }
    text.lines().filter(|line| line.contains("\"personId\":\"1\"")).count()
}

#[test]
fn what_persons_did_is_computed_into_columns_that_follow_every_change() {
    let store = Store::with_seats();
    let event = |id: &str, person: &str, days: &str, total: &str| {
        format!(
            r#"{{"definitionId":"seatReserved","eventId":"{id}","identifier":{{"type":"EXTERNAL_ID","id":"{person}"}},"occurredTime":"{days}","properties":{{"venueId":1,"total":{total}}}}}"#
        )
    };
    let events = [
        event("e1", "ana", "2026-01-05T10:00:00Z", "10.5"),
        event("e2", "ana", "2026-01-06T10:00:00Z", "0.1"),
        event("e3", "bo", "2026-01-07T10:00:00Z", "0.2"),
    ];
    store.file("a.jsonl", events.join("\n"));
    store.run(["import", "a.jsonl"]).fine();
    let done = |sql: &str| store.sql(sql).fine();
    done("CREATE COMPUTED ATTRIBUTE spent AS SUM(total) OF seatReserved");
    done("CREATE COMPUTED ATTRIBUTE visits AS COUNT OF seatReserved WHERE venueId = 1");
    done("CREATE COMPUTED ATTRIBUTE laterOnes AS COUNT OF seatReserved WITHOUT FIRST SINCE '2026-01-01'");
    done("CREATE COMPUTED ATTRIBUTE ofAVisit AS FORMULA (spent / visits)");
    done(
        "CREATE SCORE fond AS 5 WHEN DID seatReserved AT LEAST 2 TIMES, -1 WHEN spent < 1, 100 WHEN DID seatReserved IN LAST 7 DAYS",
    );
    let columns =
        "SELECT externalPersonId, spent, visits, laterOnes, ofAVisit, fond FROM persons ORDER BY personId";
    let heading = "externalPersonId,spent,visits,laterOnes,ofAVisit,fond\n";
    assert_eq!(rows(&store, columns), format!("{heading}ana,10.6,2,1,5.3,5\nbo,0.2,1,0,0.2,-1\n"));

    // A late event, then a merge and its undoing, then forgetting.
    store.file("b.jsonl", event("e0", "bo", "2026-01-01T00:00:00Z", "1"));
    store.run(["import", "b.jsonl"]).fine();
    assert_eq!(rows(&store, columns), format!("{heading}ana,10.6,2,1,5.3,5\nbo,1.2,2,1,0.6,5\n"));
    done("MERGE PERSONS 'ana', 'bo'");
    let one = "SELECT spent, visits, laterOnes, fond FROM persons WHERE spent > 1";
    assert_eq!(rows(&store, one), "spent,visits,laterOnes,fond\n11.8,4,3,5\n");
    done("UNMERGE PERSON 'bo'");
    assert_eq!(rows(&store, columns), format!("{heading}ana,10.6,2,1,5.3,5\nbo,1.2,2,1,0.6,5\n"));
    let told =
        done("CREATE SEGMENT spenders AS PERSONS WHERE spent > 10 AND DID seatReserved AT LEAST 2 TIMES");
    assert!(told.contains("1 person now"), "{told}");
    done("FORGET PERSON 'ana'");
    assert_eq!(rows(&store, columns), format!("{heading}bo,1.2,2,1,0.6,5\n"));

    // What is in use stays; what is active is not changed under whoever uses it.
    let fault = store.sql("DROP COMPUTED ATTRIBUTE visits").fails(2);
    assert!(fault.contains("the formula \"ofAVisit\" is computed from \"visits\""), "{fault}");
    let fault = store.sql("DEACTIVATE COMPUTED ATTRIBUTE spent").fails(2);
    assert!(fault.contains("is computed from \"spent\""), "{fault}");
    let fault = store.sql("CREATE OR REPLACE COMPUTED ATTRIBUTE laterOnes AS COUNT OF seatReserved").fails(2);
    assert!(fault.contains("DEACTIVATE COMPUTED ATTRIBUTE laterOnes first"), "{fault}");
    let fault = store.sql("CREATE PERSON ATTRIBUTE spent INTEGER").fails(2);
    assert!(fault.contains("take another name"), "{fault}");

    // A score that is stopped keeps its points.
    assert!(done("DEACTIVATE SCORE fond").contains("stay as they are"));
    store.file("c.jsonl", event("e9", "bo", "2026-01-02T00:00:00Z", "1"));
    store.run(["import", "c.jsonl"]).fine();
    assert_eq!(rows(&store, "SELECT fond, visits FROM persons"), "fond,visits\n5,3\n");
    done("CREATE COMPUTED ATTRIBUTE early DRAFT AS COUNT OF seatReserved");
    let shown = rows(&store, "SHOW COMPUTED ATTRIBUTES");
    assert!(shown.contains("early,draft,INTEGER") && shown.contains("spent,active,DECIMAL"), "{shown}");
    assert!(rows(&store, "SHOW SCORES").contains("fond,inactive,INTEGER"));
    store.sql("SELECT early FROM persons").fails(2);
    assert!(done("ACTIVATE COMPUTED ATTRIBUTE early").contains("1 person has a value"));
    assert_eq!(rows(&store, "SELECT early FROM persons"), "early\n3\n");
    let bo: serde_json::Value = serde_json::from_str(&store.run(["people", "get", "bo"]).fine()).unwrap();
    let computed = serde_json::json!({
        "DECIMAL": {"spent": 2.2, "ofAVisit": 2.2 / 3.0},
        "INTEGER": {"visits": 3, "laterOnes": 2, "fond": 5, "early": 3},
    });
    assert_eq!(bo["computedAttributes"], computed);
}

#[test]
fn a_computed_attribute_that_cannot_be_is_refused_with_the_reason() {
    let store = Store::with_seats();
    for (text, said) in [
        ("x AS COUNT OF seatReservd", "did you mean"),
        ("x AS SUM(totl) OF seatReserved", "did you mean \"total\"?"),
        ("x AS SUM(note) OF seatReserved", "SUM is of a Numeric or Decimal property"),
        ("x AS MIN(note) OF seatReserved", "or of occurredTime"),
        ("x AS COUNT(DISTINCT seats) OF seatReserved", "is a List"),
        ("x AS COUNT OF seatReserved IN LAST 8 DAYS", "7, 14, 30, 60 or 90 days"),
        ("x AS COUNT OF seatReserved SINCE 'June'", "a date such as '2026-06-01'"),
        ("x AS COUNT OF seatReserved WHERE personId = 1", "personId is no property"),
        ("x AS COUNT OF seatReserved WHERE startsAt > now()", "changes with time"),
        ("x AS COUNT OF seatReserved WHERE totl > 1", "totl"),
        ("firstName AS COUNT OF seatReserved", "take another name"),
        ("\"a[0]\" AS COUNT OF seatReserved", "without {}[]"),
        ("x AS FORMULA (x + 1)", "computed from itself"),
        ("x AS FORMULA (nothing + 1)", "nothing"),
        ("FROM JSON '{\"name\": \"x\"}'", "one of \"aggregate\", \"formula\" and \"score\""),
    ] {
        let fault = store.sql(&format!("CREATE COMPUTED ATTRIBUTE {text}")).fails(2);
        assert!(fault.contains(said), "{text}: {fault}");
    }
    let fault = store.sql("CREATE SCORE x AS 5 WHEN SEQUENCE a THEN b WITHIN 2 DAYS").fails(2);
    assert!(fault.contains("for segments"), "{fault}");
    let json =
        r#"{"name":"x","aggregate":{"function":"count","event":"seatReserved","period":{"last_days":90}}}"#;
    store.sql(&format!("CREATE COMPUTED ATTRIBUTE FROM JSON '{json}'")).fine();
}
