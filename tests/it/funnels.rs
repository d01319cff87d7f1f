//! Funnels as a person asks for them: at the command line, as JSON, within SQL, with mistakes.

use crate::harness::Server;
use crate::harness::Store;
use crate::harness::seat;

fn store() -> Store {
    let store = Store::with_seats();
    let mut lines = String::new();
    for (id, person, minute, venue) in
        [("e1", "ana", 0, 1), ("e2", "ana", 5, 2), ("e3", "bo", 0, 1), ("e4", "cy", 0, 2), ("e5", "cy", 9, 1)]
    {
        let time = format!("2026-06-01T10:{minute:02}:00Z");
        lines.push_str(&seat(id, person, &time, &format!("{{\"venueId\":{venue}}}")));
    }
    store.import("seats", &lines).fine();
    store
}

#[test]
fn a_statement_a_json_text_and_a_subquery_mean_the_same() {
    let store = store();
    let said = "FUNNEL seatReserved WHERE venueId = 1, seatReserved WHERE venueId = 2 WITHIN 1 HOUR";
    let answer = store.run(["sql", "--format", "csv", "-c", said]).fine();
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[1], "1,seatReserved,3,100.0,100.0,2,0,,,,");
    assert_eq!(lines[2], "2,seatReserved,1,33.33,33.33,0,0,300.0,300.0,300.0,300.0");
    let json = r#"{"steps": [{"any": [{"event": "seatReserved", "where": "venueId = 1"}]},
        {"any": [{"event": "seatReserved", "where": "venueId = 2"}]}], "within": "1 hour"}"#;
    assert_eq!(store.run_with(["funnel", "-", "--format", "csv"], json).fine(), answer);
    assert_eq!(store.rows(&format!("SELECT persons FROM ({said}) WHERE step = 2")), ["1"]);
    let steps = store.rows(&format!("CREATE VIEW v AS {said}; SELECT MAX(step) FROM v"));
    assert_eq!(steps.last().map(String::as_str), Some("2"));
    let plan = store.sql(&format!("EXPLAIN {said}")).fine();
    assert!(plan.contains("FunnelExec: steps=2"), "{plan}");
}

#[test]
fn a_mistake_in_a_funnel_is_shown_at_its_place() {
    let store = store();
    let said = store.sql("SELECT 1;\nFUNNEL seatReserved,\n  seatReservd WITHIN 1 DAY").fails(2);
    assert!(said.contains("did you mean \"seatReserved\"?") && said.contains("line 3, column 3"), "{said}");
    let said = store.sql("FUNNEL seatReserved WHERE venuId = 1").fails(2);
    assert!(said.contains("did you mean \"venueId\"?") && said.contains("column 27"), "{said}");
    let said = store.sql("FUNNEL seatReserved WITHIN 7 DAYZ").fails(2);
    assert!(said.contains("no length of time"), "{said}");
    let said = store.run_with(["funnel", "-"], "{\"steps\": [],\n \"withn\": \"1 day\"}").fails(2);
    assert!(said.contains("unknown field \"withn\""), "{said}");
}

/// Seats of three persons, each with a list of what was reserved.
fn seats_of_lists() -> Store {
    let store = Store::with_seats();
    let lines = [
        ("e1", "ana", 0, r#"{"venueId":1,"seats":[{"row":"A","price":120},{"row":"B","price":20}]}"#),
        ("e2", "ana", 5, r#"{"venueId":2,"seats":[{"row":"C","price":10}]}"#),
        ("e3", "bo", 0, r#"{"venueId":1,"seats":[{"row":"A","price":20},{"row":"B","price":120}]}"#),
        ("e4", "bo", 5, r#"{"venueId":2,"seats":[]}"#),
        ("e5", "cy", 0, r#"{"venueId":1}"#),
        ("e6", "cy", 5, r#"{"venueId":2,"seats":[{"row":"C"}]}"#),
    ];
    let line = |(id, person, minute, properties): (&str, &str, u32, &str)| {
        seat(id, person, &format!("2026-06-01T10:{minute:02}:00Z"), properties)
    };
    store.import("seats", &lines.map(line).concat()).fine();
    store
}

#[test]
fn any_asks_about_the_entries_of_a_list_in_a_step_and_in_an_exclusion() {
    let store = seats_of_lists();
    let persons = |said: &str| store.rows(&format!("SELECT persons FROM ({said})"));
    assert_eq!(
        persons("FUNNEL seatReserved WHERE any(seats.price > 100), seatReserved WITHIN 1 DAY"),
        ["2", "2"]
    );
    // One entry must meet all of it.
    let one = "FUNNEL seatReserved WHERE venueId = 1 AND any(seats.price > 100 AND seats.row = 'A'), \
               seatReserved WHERE any(seats.row = 'C') OR FALSE WITHIN 1 DAY";
    assert_eq!(persons(one), ["1", "1"]);
    // An empty list has no such entry; of no list, and of a price that is missing, nothing is known.
    assert_eq!(persons("FUNNEL seatReserved WHERE NOT any(seats.price > 100) STRICT"), ["2"]);
    let excluding = "FUNNEL seatReserved WHERE venueId = 1, seatReserved WHERE venueId = 2 WITHIN 1 DAY \
                     EXCLUDING seatReserved WHERE any(seats.price > 1000)";
    assert_eq!(persons(excluding), ["3", "3"]);
    let json = r#"{"steps": [{"any": [{"event": "seatReserved", "where": "any(seats.row = 'A')"}]}]}"#;
    let answer = store.run_with(["funnel", "-", "--format", "csv"], json).fine();
    assert!(answer.lines().nth(1).unwrap().starts_with("1,seatReserved,2,"), "{answer}");
    for (condition, told) in [
        ("any(seats.prise > 1)", "the list \"seats\" has no field \"prise\"; did you mean \"price\"?"),
        ("any(seat.price > 1)", "has no property \"seat\"; did you mean \"seats\"?"),
        ("any(note.x = 'a')", "\"note\" is no list"),
        (
            "seats.price > 1",
            "\"seats\" is a list; ask about its entries with any(…), such as any(seats.row = …)",
        ),
    ] {
        let said = store.sql(&format!("FUNNEL seatReserved WHERE {condition}")).fails(2);
        assert!(said.contains(told) && said.contains("line 1, column 27"), "{condition}: {said}");
    }
    let said = store.sql("FUNNEL seatReserved WHERE any(seats.price)").fails(2);
    assert!(said.contains("this is no condition"), "{said}");
}

#[test]
fn a_histogram_says_how_long_it_took_and_sums_to_the_step() {
    let store = store();
    let said = "FUNNEL seatReserved, seatReserved WITHIN 1 HOUR AS OF '2026-07-01' HISTOGRAM";
    assert_eq!(store.rows(said), ["5 min to 10 min,300.0,600.0,2,100.0"]);
    assert_eq!(
        store.rows(&format!("{said} EVERY 2 MINUTES")),
        [
            "4 min to 6 min,240.0,360.0,1,50.0",
            "6 min to 8 min,360.0,480.0,0,0.0",
            "8 min to 10 min,480.0,600.0,1,50.0"
        ]
    );
    assert_eq!(
        store.rows(&format!("{said} EVERY 4 MINUTES BY venueId PER DAY")),
        [
            "2026-06-01,true,1,4 min to 8 min,240.0,480.0,1,100.0",
            "2026-06-01,true,1,8 min to 12 min,480.0,720.0,0,0.0",
            "2026-06-01,true,2,4 min to 8 min,240.0,480.0,0,0.0",
            "2026-06-01,true,2,8 min to 12 min,480.0,720.0,1,100.0",
        ]
    );
    let json = r#"{"steps": [{"any": [{"event": "seatReserved"}]}, {"any": [{"event": "seatReserved"}]}],
        "within": "1 hour", "asOf": "2026-07-01", "histogram": {"step": 2, "every": "10 minutes"}}"#;
    let answer = store.run_with(["funnel", "-", "--format", "csv"], json).fine();
    assert_eq!(answer, "took,from_seconds,to_seconds,persons,percent\n0 to 10 min,0.0,600.0,2,100.0\n");
    for (clause, told) in [
        ("HISTOGRAM OF STEP 1", "behind the first"),
        ("HISTOGRAM OF STEP 3", "there is no step 3"),
        ("HISTOGRAM EVERY 0 SECONDS", "EVERY 10 MINUTES"),
        ("HISTOGRAM LISTING PERSONS", "leave one of them out"),
        ("HISTOGRAM EVERY 1 MILLISECOND", "would have 240001 bars"),
        ("ANCHORING 1", "ANY ORDER"),
    ] {
        let fault = store.sql(&format!("FUNNEL seatReserved, seatReserved WITHIN 1 HOUR {clause}")).fails(2);
        assert!(fault.contains(told), "{clause}: {fault}");
    }
}

/// Persons with tags and attributes of their own, and a segment of two of them.
fn store_of_people() -> Store {
    let store = store();
    store
        .sql(
            "CREATE PERSON ATTRIBUTE points INTEGER; UPDATE persons SET city = 'Pula', points = 7 WHERE externalPersonId = 'ana'; \
             UPDATE persons SET city = 'Oslo' WHERE externalPersonId = 'cy'; TAG PERSON 'ana' WITH 'vip'; \
             TAG PERSON 'ana' WITH 'new'; CREATE SEGMENT \"twice, at least\" AS PERSONS WHERE DID seatReserved AT LEAST 2 TIMES",
        )
        .fine();
    store
}

#[test]
fn a_funnel_by_what_persons_are_has_a_row_for_none_and_sums_to_the_whole() {
    let store = store_of_people();
    let said = "FUNNEL seatReserved WHERE venueId = 1, seatReserved WITHIN 1 HOUR AS OF '2026-07-01'";
    assert_eq!(store.rows(&format!("SELECT persons FROM ({said})")), ["3", "1"]);
    for (by, column, rows) in [
        (
            "city OF PERSON",
            "city",
            ["Oslo,1,1", "Oslo,2,0", "Pula,1,1", "Pula,2,1", ",1,1", ",2,0"].as_slice(),
        ),
        ("points OF PERSON", "points", &[",1,2", ",2,0", "7,1,1", "7,2,1"]),
        ("tags OF PERSON", "tags", &[",1,2", ",2,0", "\"new, vip\",1,1", "\"new, vip\",2,1"]),
        (
            "SEGMENT 'twice, at least'",
            "segment",
            &["\"twice, at least\",1,2", "\"twice, at least\",2,1", ",1,1", ",2,0"],
        ),
    ] {
        let found = store.rows(&format!("SELECT \"{column}\", step, persons FROM ({said} BY {by})"));
        assert_eq!(found, rows, "{by}");
        let sums = format!("SELECT SUM(persons) FROM ({said} BY {by}) GROUP BY step ORDER BY step");
        assert_eq!(store.rows(&sums), ["3", "1"], "{by}");
    }
    assert_eq!(
        store.rows(&format!("SELECT persons FROM ({said} FOR SEGMENT 'twice, at least')")),
        ["2", "1"]
    );
    let fault = store.sql(&format!("{said} BY SEGMENT twice")).fails(2);
    assert!(fault.contains("no segment is called \"twice\"") && fault.contains("column 97"), "{fault}");
    let fault = store.sql(&format!("{said} BY tagz OF PERSON")).fails(2);
    assert!(fault.contains("did you mean \"tags\"?"), "{fault}");
}

#[test]
fn the_persons_of_a_cell_are_as_many_as_it_counts_and_become_a_segment() {
    let store = store_of_people();
    let said = "FUNNEL seatReserved WHERE venueId = 1, seatReserved WITHIN 1 HOUR BY city OF PERSON PER DAY AS OF '2026-07-01'";
    let cells = store.rows(&format!("SELECT \"day\", city, step, persons, dropped FROM ({said})"));
    assert_eq!(cells.len(), 6);
    for cell in cells {
        let [day, city, step, persons, dropped] = cell.split(',').collect::<Vec<_>>().try_into().unwrap();
        let city = if city.is_empty() { "city IS NULL".to_owned() } else { format!("city = '{city}'") };
        for (listing, count) in [("REACHING", persons), ("DROPPED AFTER", dropped)] {
            let list = format!("{said} LISTING PERSONS {listing} STEP {step}");
            let listed = format!("SELECT COUNT(*) FROM ({list}) WHERE {city} AND \"day\" = DATE '{day}'");
            assert_eq!(store.rows(&listed), [count], "{cell} {listing}");
        }
    }
    let made = store
        .sql(&format!("CREATE STATIC SEGMENT stopped AS {said} LISTING PERSONS DROPPED AFTER STEP 1"))
        .fine();
    assert_eq!(made, "segment stopped created, 2 persons now\n");
    let made = store
        .sql(&format!("CREATE OR REPLACE STATIC SEGMENT stopped AS (SELECT * FROM ({said} LISTING PERSONS DROPPED AFTER STEP 1) WHERE city = 'Oslo')"))
        .fine();
    assert_eq!(made, "segment stopped created, 1 person now\n");
    let who = "SELECT externalPersonId FROM persons JOIN segments.stopped USING (personId)";
    assert_eq!(store.rows(who), ["cy"]);
    assert_eq!(store.rows("SELECT persons FROM (FUNNEL seatReserved FOR SEGMENT stopped)"), ["1"]);
    let fault = store.sql(&format!("CREATE STATIC SEGMENT x AS {said}")).fails(2);
    assert!(fault.contains("LISTING PERSONS"), "{fault}");
    let fault = store.sql("CREATE STATIC SEGMENT x AS\nFUNNEL seatReservd LISTING PERSONS").fails(2);
    assert!(
        fault.contains("did you mean \"seatReserved\"?") && fault.contains("line 2, column 8"),
        "{fault}"
    );
}

#[test]
fn a_funnel_goes_through_every_door() {
    let store = store();
    let said = "FUNNEL seatReserved WHERE venueId = 1, seatReserved WHERE venueId = 2 WITHIN 1 HOUR AS OF '2026-07-01'";
    let whole = store.rows(said);
    assert_eq!(store.rows(&format!("WITH f AS ({said}) SELECT * FROM f")), whole);
    assert_eq!(store.rows(&format!("SELECT * FROM ({said}) UNION ALL {said}")).len(), 4);
    assert_eq!(store.rows(&format!("SELECT (SELECT persons FROM ({said}) WHERE step = 2) AS bought")), ["1"]);
    let view = store.rows(&format!("CREATE VIEW v AS {said}; SELECT * FROM v"));
    assert_eq!(view[view.len() - 2..], whole);
    store.sql(&format!("EXPORT ({said}) INTO 'out' WITH (format 'csv')")).fine();
    let exported = std::fs::read_dir(store.path("out")).unwrap().map(|file| file.unwrap().path());
    let texts: Vec<String> = exported
        .filter_map(|file| {
            let bytes = std::fs::read(file).unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text)
                .ok()
                .map(|_| text)
        })
        .collect();
    assert!(texts.iter().any(|text| text.lines().skip(1).eq(whole.iter().map(String::as_str))), "{texts:?}");
    let server = Server::start(&store);
    let json = r#"{"steps": [{"any": [{"event": "seatReserved", "where": "venueId = 1"}]},
        {"any": [{"event": "seatReserved", "where": "venueId = 2"}]}], "within": "1 hour", "asOf": "2026-07-01"}"#;
    let answer = server.post("/v1/funnel?format=csv", json).fine();
    assert!(answer.lines().skip(1).eq(whole.iter().map(String::as_str)), "{answer}");
    let fault = server.post("/v1/funnel", r#"{"stepps": []}"#).fails(400);
    assert!(fault.contains("unknown field"), "{fault}");
    server.stop();
    let file = store.path("funnel.csv");
    store.run(["sql", "-c", said, "-o", file.to_str().unwrap()]).fine();
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().skip(1).collect::<Vec<_>>(), whole);
}

#[test]
fn br07_step_33_is_counted_and_a_step_too_many_is_refused_with_the_limit() {
    let store = Store::with_seats();
    let step = |at: usize| format!("seatReserved WHERE venueId = {at}");
    let lines = (1..=33).map(|at| {
        seat(
            &format!("e{at}"),
            "ana",
            &format!("2026-06-01T10:00:{at:02}Z"),
            &format!("{{\"venueId\":{at}}}"),
        )
    });
    store.import("seats", &lines.collect::<String>()).fine();
    let funnel = |count: usize| {
        let steps: Vec<String> = (1..=count).map(step).collect();
        format!("FUNNEL {} WITHIN 100 SECONDS", steps.join(", "))
    };
    assert_eq!(store.rows(&format!("SELECT persons FROM ({}) WHERE step = 33", funnel(33))), ["1"]);
    assert_eq!(store.rows(&format!("SELECT MIN(persons), COUNT(*) FROM ({})", funnel(33))), ["1,33"]);
    let fault = store.sql(&funnel(65)).fails(2);
    assert!(fault.contains("at most 64 steps, this one has 65"), "{fault}");
}

#[test]
fn br45_a_window_of_all_time_does_not_wrap() {
    let store = store();
    for window in ["18446744073709551615 DAYS", "9223372036854775807 MICROSECONDS", "292277 WEEKS"] {
        let said = format!(
            "SELECT persons FROM (FUNNEL seatReserved, seatReserved WITHIN {window} FROM '1970-01-01')"
        );
        assert_eq!(store.rows(&said), ["3", "2"], "{window}");
    }
}
