use super::*;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Person;
use crate::time::Micros;

fn catalog() -> (tempfile::TempDir, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    (dir, catalog)
}

fn person(id: i64, external: &str) -> Person {
    Person { id: PersonId(id), external_id: Some(external.to_owned()), created: Micros(id) }
}

fn email(id: &str) -> Identifier {
    Identifier { kind: IdentifierType::Email, id: id.to_owned(), sender: String::new() }
}

fn refused(source: &str, row: u64, code: &str) -> RejectedRow {
    RejectedRow {
        source: source.to_owned(),
        row,
        property: Some("price".to_owned()),
        code: code.to_owned(),
        message: "property \"price\" must be a number".to_owned(),
        raw: b"{\"price\":\"\xff\"}".to_vec(),
        at: Micros(5),
        ..RejectedRow::default()
    }
}

#[test]
fn a_batch_is_there_after_reopening_with_all_that_it_brought() {
    let (dir, catalog) = catalog();
    let source = SourceState {
        name: "/in/a.json".to_owned(),
        fingerprint: "12-34".to_owned(),
        rows: 3,
        bytes: 120,
        stored: 2,
        refused: 1,
        ..SourceState::default()
    };
    let batch = BatchRecord {
        number: 1,
        last_seq: 2,
        files: vec!["{\"path\":\"x\"}".to_owned()],
        id_runs: vec!["1.run".to_owned()],
        persons: vec![(person(1, "u1"), vec![email("a@b.c")]), (person(90_210, "u2"), vec![])],
        sources: vec![source.clone()],
        rejected: vec![refused("/in/a.json", 3, "wrong-type")],
        replayed: vec![],
        log_position: None,
        at: Micros(5),
    };
    catalog.record_batch(&batch).unwrap();
    drop(catalog);

    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    assert_eq!((catalog.next_batch().unwrap(), catalog.last_seq().unwrap()), (2, 2));
    assert_eq!(catalog.source("/in/a.json").unwrap(), Some(source.clone()));
    assert_eq!(catalog.source("/in/b.json").unwrap(), None);
    assert_eq!(catalog.sources().unwrap(), [source]);
    assert_eq!(catalog.id_runs().unwrap(), ["1.run"]);
    assert_eq!(catalog.counts().unwrap(), Counts { persons: 2, rejected: 1, batches: 1 });
    let persons = catalog.load_persons(&Aliases::default()).unwrap();
    assert_eq!(persons.len(), 2);
    assert_eq!(persons.find(&email("a@b.c")), Some(PersonId(1)));
    assert_eq!(persons.external_id(PersonId(90_210)), Some("u2"));
    assert_eq!(persons.next_id(), PersonId(90_211));
    let open = catalog.unpublished_batches().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].number, &open[0].files), (1, &batch.files));
    catalog.mark_published(1).unwrap();
    assert_eq!(catalog.unpublished_batches().unwrap(), []);
    assert_eq!(catalog.last_seq().unwrap(), 2, "a published batch still counts");
}

#[test]
fn a_batch_that_fails_at_its_end_leaves_nothing() {
    let (_dir, catalog) = catalog();
    let first = BatchRecord {
        number: 1,
        id_runs: vec!["1.run".to_owned()],
        persons: vec![(person(1, "u1"), vec![])],
        ..BatchRecord::default()
    };
    catalog.record_batch(&first).unwrap();
    let taken_external = BatchRecord {
        number: 2,
        last_seq: 9,
        persons: vec![(person(2, "u2"), vec![email("x@y.z")]), (person(3, "u1"), vec![])],
        ..BatchRecord::default()
    };
    let error = catalog.record_batch(&taken_external).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("catalog.db"), "{error}");
    let taken_run = BatchRecord {
        id_runs: vec!["1.run".to_owned()],
        persons: vec![(person(2, "u2"), vec![email("x@y.z")])],
        ..taken_external
    };
    assert_eq!(catalog.record_batch(&taken_run).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(catalog.next_batch().unwrap(), 2);
    assert_eq!(catalog.last_seq().unwrap(), 0);
    assert_eq!(catalog.load_persons(&Aliases::default()).unwrap().len(), 1);
    assert_eq!(catalog.load_persons(&Aliases::default()).unwrap().find(&email("x@y.z")), None);
}

#[test]
fn a_row_refused_twice_is_kept_once_with_the_newer_reason_and_a_replay_clears_it() {
    let (_dir, catalog) = catalog();
    let record = |number, rejected, replayed| {
        catalog.record_batch(&BatchRecord { number, rejected, replayed, ..BatchRecord::default() }).unwrap();
    };
    record(1, vec![refused("a", 1, "wrong-type"), refused("a", 2, "wrong-type")], vec![]);
    record(2, vec![refused("a", 2, "unknown-event"), refused("b", 2, "wrong-type")], vec![]);
    let all = catalog.rejected(0, 100).unwrap();
    assert_eq!(
        all.iter().map(|one| (one.source.as_str(), one.row, one.code.as_str())).collect::<Vec<_>>(),
        [("a", 1, "wrong-type"), ("a", 2, "unknown-event"), ("b", 2, "wrong-type")]
    );
    assert_eq!(
        RejectedRow { id: 0, ..all[0].clone() },
        refused("a", 1, "wrong-type"),
        "every field comes back"
    );
    assert_eq!(catalog.rejected(0, 1).unwrap(), all[..1]);
    assert_eq!(catalog.rejected(all[0].id, 100).unwrap(), all[1..]);
    assert_eq!(catalog.rejected_of("a").unwrap(), [(1, all[0].id), (2, all[1].id)].into());
    record(3, vec![], vec![all[0].id, all[2].id]);
    assert_eq!(catalog.rejected(0, 100).unwrap(), all[1..2]);
}

#[test]
fn refused_rows_that_are_large_are_read_a_few_at_a_time() {
    let (_dir, catalog) = catalog();
    let large = |row| RejectedRow { raw: vec![b'x'; 24 << 20], ..refused("a", row, "row_too_large") };
    let rejected = (1..=4).map(large).collect();
    catalog.record_batch(&BatchRecord { number: 1, rejected, ..BatchRecord::default() }).unwrap();
    let first = catalog.rejected(0, 100).unwrap();
    assert_eq!(first.iter().map(|one| one.row).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(catalog.rejected(first[2].id, 100).unwrap().len(), 1);
}

#[test]
fn definitions_keep_their_order_when_they_change() {
    let (_dir, catalog) = catalog();
    catalog.put_definitions([("zebra", "{}", true), ("apple", "{}", false)]).unwrap();
    catalog.put_definitions([("mango", "{\"a\":1}", true)]).unwrap();
    catalog.put_definitions([("zebra", "{\"b\":2}", true), ("apple", "{}", true)]).unwrap();
    let row = |id: &str, json: &str| (id.to_owned(), json.to_owned(), true);
    let right = [row("zebra", "{\"b\":2}"), row("apple", "{}"), row("mango", "{\"a\":1}")];
    assert_eq!(catalog.load_definitions().unwrap(), right);
}

#[test]
fn an_identifier_may_move_to_another_person() {
    let (_dir, catalog) = catalog();
    for (number, owner) in [(1, person(1, "u1")), (2, person(2, "u2"))] {
        let persons = vec![(owner, vec![email("a@b.c")])];
        catalog.record_batch(&BatchRecord { number, persons, ..BatchRecord::default() }).unwrap();
    }
    assert_eq!(catalog.load_persons(&Aliases::default()).unwrap().find(&email("a@b.c")), Some(PersonId(2)));
}

#[test]
fn the_external_id_given_as_an_identifier_too_is_kept_once() {
    let (_dir, catalog) = catalog();
    let external =
        Identifier { kind: IdentifierType::ExternalId, id: "u1".to_owned(), sender: String::new() };
    let persons = vec![(person(1, "u1"), vec![external.clone()])];
    catalog.record_batch(&BatchRecord { number: 1, persons, ..BatchRecord::default() }).unwrap();
    let identities: i64 =
        catalog.lock().query_row("SELECT count(*) FROM identities", [], |row| row.get(0)).unwrap();
    assert_eq!(identities, 0);
    assert_eq!(catalog.load_persons(&Aliases::default()).unwrap().find(&external), Some(PersonId(1)));
}

#[test]
fn a_reader_sees_each_batch_beside_the_writer_and_cannot_write() {
    let (dir, writer) = catalog();
    let reader = Catalog::open_read_only(&dir.path().join("catalog.db")).unwrap();
    assert_eq!(reader.next_batch().unwrap(), 1);
    writer.record_batch(&BatchRecord { number: 1, ..BatchRecord::default() }).unwrap();
    assert_eq!(reader.next_batch().unwrap(), 2);
    let refused = reader.put_definitions([("a", "{}", true)]).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
}

#[test]
fn a_reader_opens_a_store_that_nobody_holds_and_one_it_may_not_write_to() {
    let (dir, writer) = catalog();
    writer.record_batch(&BatchRecord { number: 1, ..BatchRecord::default() }).unwrap();
    drop(writer);
    let path = dir.path().join("catalog.db");
    assert_eq!(Catalog::open_read_only(&path).unwrap().next_batch().unwrap(), 2);
    let name = at_rest(&path).unwrap();
    assert!(name.ends_with("catalog.db?immutable=1"), "{name}");
    let at_rest_only =
        Connection::open_with_flags(&name, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI);
    let format: usize =
        at_rest_only.unwrap().query_row("SELECT format FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(format, schema::newest(), "the name opens the same file");
    fs::write(dir.path().join("catalog.db-wal"), "x").unwrap();
    assert_eq!(at_rest(&path), None, "with a log beside it the file alone is not the truth");
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let (dir, catalog) = catalog();
    catalog.lock().execute("UPDATE meta SET format = 99", []).unwrap();
    drop(catalog);
    let path = dir.path().join("catalog.db");
    for opened in [Catalog::open(&path), Catalog::open_read_only(&path)] {
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        let known = format!("up to {}", schema::newest());
        assert!(error.to_string().contains("format 99") && error.to_string().contains(&known), "{error}");
    }
}

#[test]
fn what_is_no_catalog_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    assert_eq!(Catalog::open_read_only(&path).unwrap_err().kind(), Kind::NotFound);
    fs::write(&path, "this is a text, and longer than the header of an SQLite file would be. ".repeat(20))
        .unwrap();
    assert_eq!(Catalog::open(&path).unwrap_err().kind(), Kind::Invalid);
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE meta (x)").unwrap();
    let error = Catalog::open(&path).unwrap_err();
    assert!(error.to_string().contains("not a catalog of milepost"), "{error}");
}
