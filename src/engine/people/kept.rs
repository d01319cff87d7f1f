//! The table of persons that is kept, in memory and on the disk, shows what one that is made anew shows.

use std::collections::BTreeSet;
use std::fs;

use arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use serde_json::json;

use crate::engine::Answer;
use crate::engine::Config;
use crate::engine::Engine;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::engine::PersonOp;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Mode;
use crate::person::PersonWrite;
use crate::storage::PeopleChunk;

#[derive(Clone, Debug)]
enum Step {
    Upsert {
        who: u8,
        city: u8,
        email: Option<u8>,
    },
    Tag(u8),
    Delete(u8),
    Merge(u8, u8),
    Unmerge(u8),
    Attribute(bool),
    /// Of somebody by the external id, or by the person id, which may bring the external id.
    Event {
        who: u8,
        id: Option<u8>,
    },
    Forget(u8),
    Flush,
    Look,
    Reopen,
    /// Somebody writes over a byte of the file.
    Damage(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0_u8..6;
    prop_oneof![
        6 => (who(), 0_u8..4, prop::option::of(0_u8..8)).prop_map(|(who, city, email)| Step::Upsert { who, city, email }),
        2 => who().prop_map(Step::Tag),
        2 => who().prop_map(Step::Delete),
        4 => (who(), who()).prop_map(|(one, other)| Step::Merge(one, other)),
        2 => who().prop_map(Step::Unmerge),
        1 => any::<bool>().prop_map(Step::Attribute),
        5 => (who(), prop::option::of(1_u8..12)).prop_map(|(who, id)| Step::Event { who, id }),
        1 => who().prop_map(Step::Forget),
        1 => Just(Step::Flush),
        3 => Just(Step::Look),
        3 => Just(Step::Reopen),
        1 => any::<u16>().prop_map(Step::Damage),
    ]
}

async fn open(folder: &tempfile::TempDir) -> Engine {
    Engine::open(Config { data: folder.path().join("data"), ..Config::default() }).await.unwrap()
}

/// For steps that may name nobody.
fn ignore(_: bool) {}

/// Whether it was done; what names nobody is refused.
async fn done(engine: &Engine, sql: &str) -> bool {
    engine.execute(&engine.parse(sql).unwrap()[0]).await.is_ok()
}

async fn table(engine: &Engine) -> String {
    rows(engine, "SELECT * FROM persons ORDER BY \"personId\"").await
}

async fn rows(engine: &Engine, sql: &str) -> String {
    let Answer::Rows(rows) = engine.execute(&engine.parse(sql).unwrap()[0]).await.unwrap() else {
        panic!("a question has rows");
    };
    pretty_format_batches(&rows.collect().await.unwrap()).unwrap().to_string()
}

/// Persons who are asked for by name alone are shown as in the whole table.
async fn assert_sought(engine: &Engine, folder: &tempfile::TempDir, whole: &str) {
    let snapshot = engine.storage().snapshot().await.unwrap();
    let anew = engine.storage().people_anew(&folder.path().join("none"));
    for id in 0..16 {
        let count = |chunks: Vec<PeopleChunk>| chunks.iter().map(PeopleChunk::len).sum::<usize>();
        let some = anew.chunks_with(&snapshot.persons, &BTreeSet::from([id])).unwrap();
        let row = format!("\n| {id} ");
        assert_eq!(count(some) == 1, whole.contains(&row), "{id} in {whole}");
        if id >= 6 {
            continue;
        }
        let by_name = format!(
            "SELECT * FROM persons WHERE \"externalPersonId\" IN ('p{id}', 'nobody') AND \"personId\" > 0"
        );
        let shown = rows(engine, &by_name).await;
        let named = format!("| p{id} ");
        let lines = |of: &str| of.lines().filter(|line| line.contains(&named)).count();
        assert_eq!(lines(&shown), lines(whole), "p{id}: {shown} of {whole}");
    }
}

/// Names that may lead to somebody do so in the catalog as in memory.
fn assert_found(engine: &Engine) {
    let persons = engine.storage().persons().unwrap();
    let names = (0..16).flat_map(|n| {
        [
            (IdentifierType::ExternalId, format!("p{n}")),
            (IdentifierType::Email, format!("e{n}@example.com")),
            (IdentifierType::Id, format!("{n}")),
            (IdentifierType::Id, format!("+{n}")),
        ]
    });
    for (kind, id) in names {
        let who = Identifier { kind, id, sender: String::new() };
        let found = engine.storage().catalog().find_person(who.kind, &who.id, &who.sender).unwrap();
        assert_eq!(found, persons.find(&who), "{who:?}");
    }
}

/// The same by an engine that has no file and has kept nothing.
async fn made_anew(engine: &Engine, folder: &tempfile::TempDir) -> String {
    let snapshot = engine.storage().snapshot().await.unwrap();
    let people = engine.storage().people_anew(&folder.path().join("none"));
    let schema = people.schema();
    let batches: Vec<_> = people
        .chunks(&snapshot.persons)
        .unwrap()
        .iter()
        .map(|chunk| {
            let fields = schema.fields().iter().enumerate();
            let columns = fields.map(|(place, field)| chunk.column(place, field.data_type(), None).unwrap());
            arrow::array::RecordBatch::try_new(std::sync::Arc::clone(&schema), columns.collect()).unwrap()
        })
        .collect();
    if batches.is_empty() {
        return pretty_format_batches(&[]).unwrap().to_string();
    }
    let all = arrow::compute::concat_batches(&schema, &batches).unwrap();
    pretty_format_batches(&[all]).unwrap().to_string()
}

async fn take(engine: Engine, step: &Step, number: usize, folder: &tempfile::TempDir) -> Engine {
    let file = folder.path().join("data/index/persons.rows");
    match step {
        Step::Upsert { who, city, email } => {
            let mut person = json!({"externalId": format!("p{who}"), "city": format!("C{city}")});
            if let Some(email) = email {
                let address = format!("e{email}@example.com");
                person["contactInformation"] = json!({"email": [{"address": address}]});
            }
            let write = PersonWrite::from_json(&person).unwrap();
            engine.write_people(vec![PersonOp::Upsert { write, mode: Mode::Update }], "API").await.unwrap();
        }
        Step::Tag(who) => ignore(done(&engine, &format!("TAG PERSON 'p{who}' WITH 'vip'")).await),
        Step::Delete(who) => {
            ignore(done(&engine, &format!("DELETE FROM persons WHERE externalPersonId = 'p{who}'")).await)
        }
        Step::Merge(one, other) => {
            ignore(done(&engine, &format!("MERGE PERSONS 'p{one}', 'p{other}'")).await)
        }
        Step::Unmerge(who) => ignore(done(&engine, &format!("UNMERGE PERSON 'p{who}'")).await),
        Step::Attribute(true) => ignore(done(&engine, "CREATE PERSON ATTRIBUTE points INTEGER").await),
        Step::Attribute(false) => ignore(done(&engine, "DROP PERSON ATTRIBUTE points").await),
        Step::Event { who, id } => {
            let person = match id {
                Some(id) => format!("\"personId\":\"{id}\",\"externalPersonId\":\"p{who}\""),
                None if who % 2 == 0 => format!("\"externalPersonId\":\"p{who}\""),
                None => format!("\"personId\":\"{}\"", who + 6),
            };
            let line = format!(
                "{{\"definitionId\":\"pageView\",\"eventId\":\"e{number}\",{person},\
                 \"occurredTime\":\"2026-06-01T00:00:00Z\",\"properties\":{{\"path\":\"/\"}}}}\n"
            );
            engine.ingest(IngestBatch::lines(line), IngestOptions::default()).await.unwrap();
        }
        Step::Forget(who) => {
            if done(&engine, &format!("FORGET PERSON 'p{who}'")).await {
                assert!(!file.try_exists().unwrap(), "somebody who is forgotten may be in the file");
            }
        }
        Step::Flush => drop(engine.storage().flush().await.unwrap()),
        Step::Look => drop(table(&engine).await),
        Step::Reopen => {
            engine.close().await.unwrap();
            return open(folder).await;
        }
        Step::Damage(at) => {
            if let Ok(mut bytes) = fs::read(&file) {
                let at = usize::from(*at) % bytes.len();
                bytes[at] ^= 0x55;
                fs::write(&file, bytes).unwrap();
            }
        }
    }
    engine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn a_table_that_is_kept_is_the_one_that_is_made_anew(steps in prop::collection::vec(step(), 5..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut engine = open(&folder).await;
            assert!(done(&engine, "ENABLE EVENT pageView").await);
            for (number, step) in steps.iter().enumerate() {
                engine = take(engine, step, number, &folder).await;
                if matches!(step, Step::Look | Step::Reopen | Step::Forget(_)) {
                    let whole = made_anew(&engine, &folder).await;
                    assert_sought(&engine, &folder, &whole).await;
                    assert_eq!(table(&engine).await, whole, "after {number}: {step:?}");
                    assert_found(&engine);
                }
            }
            assert_eq!(table(&engine).await, made_anew(&engine, &folder).await);
            engine.close().await.unwrap();
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_finds_the_table_that_another_made() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    for who in 0..40 {
        assert!(
            done(
                &engine,
                &format!("INSERT INTO persons (externalPersonId, city) VALUES ('p{who}', 'C{}')", who % 3)
            )
            .await
        );
    }
    let before = table(&engine).await;
    assert!(before.contains("| p39 "), "{before}");
    engine.close().await.unwrap();
    let engine = open(&folder).await;
    assert_eq!(table(&engine).await, before);
    assert_eq!(engine.storage().people_unsaved(), 0, "all rows come from the file");
    assert!(done(&engine, "UPDATE persons SET city = 'Pula' WHERE externalPersonId = 'p7'").await);
    let after = table(&engine).await;
    assert!(after.contains("Pula"), "{after}");
    engine.close().await.unwrap();

    // The catalog of another time does not know the file.
    let data = folder.path().join("data");
    let old = fs::read(data.join("index/persons.rows")).unwrap();
    let engine = open(&folder).await;
    assert!(done(&engine, "FORGET PERSON 'p8'").await);
    assert!(!data.join("index/persons.rows").try_exists().unwrap());
    let forgotten = table(&engine).await;
    assert!(!forgotten.contains("| p8 "), "{forgotten}");
    engine.close().await.unwrap();
    fs::write(data.join("index/persons.rows"), old).unwrap();
    let engine = open(&folder).await;
    assert_eq!(table(&engine).await, forgotten);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_mean_the_same_whether_the_table_asks_its_values_or_somebody_asks_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    assert!(done(&engine, "CREATE PERSON ATTRIBUTE points INTEGER").await);
    let person = |n: i64| {
        let mut person = json!({"externalId": format!("p{n}"), "firstName": format!("N{}", n * 7 % 500)});
        if n % 5 > 0 {
            person["city"] = json!(format!("C{}", n % 4));
            person["customAttributes"] = json!({"points": n % 90});
        }
        if n % 11 == 0 {
            person["tags"] = json!(["vip"]);
            person["gender"] = json!("FEMALE");
        }
        PersonOp::Create(PersonWrite::from_json(&person).unwrap())
    };
    engine.write_people((0..900).map(person).collect(), "API").await.unwrap();
    let conditions = [
        "city = 'C1'",
        "city <> 'C2'",
        "city IS NULL",
        "city IS NOT NULL AND points >= 40",
        "NOT (city = 'C1')",
        "city IN ('C1', 'nowhere') AND gender = 'FEMALE'",
        "coalesce(city, 'none') = 'none'",
        "city = 'C3' OR \"firstName\" LIKE 'N1%'",
        "\"firstName\" LIKE 'N12%'",
        "upper(city) = 'C1' AND \"firstName\" > 'N3'",
        "points BETWEEN 10 AND 20 AND city < 'C2'",
        "array_has(tags, 'vip')",
        "cardinality(tags) > 0 AND city = 'C1'",
        "\"middleName\" IS NULL AND city = 'C0'",
        "\"middleName\" = 'x'",
        "type = 'CUSTOMER' AND origin = 'API' AND \"personId\" % 3 = 0",
        "type <> 'CUSTOMER'",
        "\"createdTime\" <= now() AND city = \"firstName\"",
        "(city IS DISTINCT FROM 'C1') AND \"externalPersonId\" LIKE 'p1%'",
        "CASE WHEN city = 'C1' THEN points END = 5",
    ];
    for condition in conditions {
        let own = format!("SELECT * FROM persons WHERE {condition} ORDER BY \"personId\"");
        let twin = format!(
            "SELECT * FROM (SELECT * FROM persons LIMIT 10000) WHERE {condition} ORDER BY \"personId\""
        );
        assert_eq!(rows(&engine, &own).await, rows(&engine, &twin).await, "{condition}");
        let own = format!("SELECT count(*) FROM persons WHERE {condition}");
        let twin = format!("SELECT count(*) FROM (SELECT * FROM persons LIMIT 10000) WHERE {condition}");
        assert_eq!(rows(&engine, &own).await, rows(&engine, &twin).await, "{condition}");
    }
    let plan = rows(&engine, "EXPLAIN SELECT count(*) FROM persons WHERE city = 'C1' AND points > 3").await;
    assert!(
        plan.contains("persons=900, partitions=1, predicate=city@") && !plan.contains("FilterExec"),
        "{plan}"
    );
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_could_not_be_made_is_made_by_the_next_question() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    for who in 0..6 {
        assert!(
            done(&engine, &format!("INSERT INTO persons (externalPersonId, city) VALUES ('p{who}', 'C')"))
                .await
        );
    }
    assert_eq!(table(&engine).await, made_anew(&engine, &folder).await);
    assert!(done(&engine, "INSERT INTO persons (externalPersonId) VALUES ('p6'), ('p7')").await);
    let catalog = rusqlite::Connection::open(folder.path().join("data/catalog.db")).unwrap();
    let write = |doc: &str| {
        assert_eq!(catalog.execute("UPDATE profiles SET doc = ?1 WHERE person_id = 7", [doc]).unwrap(), 1);
    };
    let doc: String =
        catalog.query_row("SELECT doc FROM profiles WHERE person_id = 7", [], |row| row.get(0)).unwrap();
    write("{");
    for _ in 0..2 {
        assert!(!done(&engine, "SELECT * FROM persons").await, "a record cannot be read");
    }
    write(&doc);
    let whole = table(&engine).await;
    assert_eq!(whole, made_anew(&engine, &folder).await);
    assert_eq!(whole.matches("| p").count() - 5, 8, "each once, and five names of columns: {whole}");
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_before_somebody_that_is_gone_again_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    assert!(done(&engine, "ENABLE EVENT pageView").await);
    // By events and not by statements, which ask for the table; events leave no record of a profile.
    let engine = take(engine, &Step::Event { who: 2, id: None }, 0, &folder).await;
    assert_eq!(table(&engine).await, made_anew(&engine, &folder).await);
    let engine = take(engine, &Step::Event { who: 0, id: None }, 1, &folder).await;
    let engine = take(engine, &Step::Event { who: 4, id: None }, 2, &folder).await;
    let who = Identifier { kind: IdentifierType::ExternalId, id: "p4".to_owned(), sender: String::new() };
    engine.write_people(vec![PersonOp::Delete { who }], "API").await.unwrap();
    let shown = table(&engine).await;
    assert!(shown.contains("| p0 ") && !shown.contains("| p4 "), "{shown}");
    assert_eq!(shown, made_anew(&engine, &folder).await);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_into_a_table_that_all_have_left_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    assert!(done(&engine, "ENABLE EVENT pageView").await);
    let engine = take(engine, &Step::Event { who: 4, id: Some(9) }, 0, &folder).await;
    assert!(table(&engine).await.contains("| 9 "));
    let engine = take(engine, &Step::Delete(4), 1, &folder).await;
    assert!(!table(&engine).await.contains("| 9 "));
    let engine = take(engine, &Step::Event { who: 2, id: Some(3) }, 2, &folder).await;
    let shown = table(&engine).await;
    assert!(shown.contains("| 3 "), "{shown}");
    assert_eq!(shown, made_anew(&engine, &folder).await);
    engine.close().await.unwrap();
}
