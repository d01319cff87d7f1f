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
