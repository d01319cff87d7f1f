//! Test only: a funnel answers the same wherever its events are: in files, half of them in the log, while days are
//! compacted, with persons merged before or after, by however many threads and with little memory.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::util::pretty::pretty_format_batches;

use crate::engine::Config;
use crate::engine::Engine;
use crate::engine::ImportRequest;
use crate::engine::IngestBatch;
use crate::engine::IngestOptions;
use crate::ingest::Quiet;
use crate::sequence::Funnel;
use crate::sequence::Hit;
use crate::sequence::Rules;

const EVENTS: [&str; 3] = ["viewed", "added", "bought"];
const PERSONS: u64 = 120;
/// Person `2 * k` and the one after it are one, for so many of them.
const MERGED: u64 = 20;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Event {
    person: u64,
    kind: usize,
    second: u64,
    country: Option<&'static str>,
}

fn events() -> Vec<Event> {
    let mut dice = Dice(20_261_125);
    let one = |_| {
        let kind = dice.below(3);
        // Four days, few different times: many events of one instant.
        let second = dice.below(4) * 86_400 + dice.below(400) * 100;
        // The same for events that only the order of their arrival tells apart.
        let country = [None, Some("DE"), Some("FR")][usize::try_from((second / 100 + kind) % 3).unwrap()];
        Event { person: dice.below(PERSONS), kind: usize::try_from(kind).unwrap(), second, country }
    };
    (0..2_400).map(one).collect()
}

fn lines(events: &[Event], parity: impl Fn(usize) -> bool) -> String {
    let line = |(at, event): (usize, &Event)| {
        let (day, second) = (1 + event.second / 86_400, event.second % 86_400);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let country = event.country.map(|one| format!("\"country\":\"{one}\"")).unwrap_or_default();
        format!(
            "{{\"definitionId\":\"{}\",\"eventId\":\"e{at}\",\"externalPersonId\":\"p{}\",\
             \"occurredTime\":\"2026-06-{day:02}T{hour:02}:{minute:02}:{second:02}Z\",\"properties\":{{{country}}}}}\n",
            EVENTS[event.kind], event.person
        )
    };
    events.iter().enumerate().filter(|(at, _)| parity(*at)).map(line).collect()
}

async fn open(folder: &Path, threads: usize, memory: u64) -> Engine {
    let config = Config {
        data: folder.join("data"),
        threads: Some(threads),
        memory: Some(memory),
        ..Config::default()
    };
    let engine = Engine::open(config).await.unwrap();
    let columns = "(country STRING)";
    let made = EVENTS.map(|name| format!("CREATE EVENT IF NOT EXISTS {name} TITLE '{name}' {columns}"));
    run(&engine, &made.join("; ")).await;
    engine
}

async fn run(engine: &Engine, text: &str) {
    for statement in engine.parse(text).unwrap() {
        engine.execute(&statement).await.unwrap();
    }
}

async fn import(engine: &Engine, folder: &Path, name: &str, lines: &str) {
    let file = folder.join(name);
    std::fs::write(&file, lines).unwrap();
    let request = ImportRequest { inputs: vec![file.display().to_string()], ..ImportRequest::default() };
    let report = engine.import(request, Box::new(Quiet)).await.unwrap();
    assert_eq!(report.refused, 0);
}

async fn merge(engine: &Engine) {
    for at in 0..MERGED {
        run(engine, &format!("MERGE PERSONS 'p{}', 'p{}'", 2 * at, 2 * at + 1)).await;
    }
}

/// The same question of the algorithm alone.
fn right(events: &[Event]) -> Vec<usize> {
    let mut persons: BTreeMap<u64, Vec<Hit>> = BTreeMap::new();
    for event in events {
        let person = if event.person < 2 * MERGED { event.person / 2 * 2 } else { event.person };
        let hits = persons.entry(person).or_default();
        hits.push(Hit { time: event.second.cast_signed(), steps: 1 << event.kind, excludes: 0 });
    }
    let mut funnel = Funnel::new(Rules::of(3, Some(7_200)));
    let mut reached = vec![0; 3];
    for hits in persons.values_mut() {
        hits.sort_by_key(|hit| hit.time);
        let level = funnel.reached(hits).level;
        reached[..level].iter_mut().for_each(|count| *count += 1);
    }
    reached
}

const QUESTIONS: [&str; 6] = [
    "SELECT persons FROM (FUNNEL viewed, added, bought WITHIN 2 HOURS AS OF '2026-07-01')",
    "FUNNEL viewed, added, bought WITHIN 2 HOURS BY country OF LAST PER DAY AS OF '2026-07-01'",
    "FUNNEL viewed, added, bought WITHIN 2 HOURS HOLDING country COUNTING TOTALS AS OF '2026-06-03'",
    "FUNNEL viewed, added, bought WITHIN 2 HOURS ANY ORDER ANCHORING 3 HISTOGRAM AS OF '2026-07-01'",
    "FUNNEL viewed, added WITHIN 2 HOURS STRICT AS OF '2026-07-01'",
    // Which name stands for persons that are one depends on who came first.
    "SELECT step, state, entered, reached FROM (FUNNEL viewed, added, bought WITHIN 2 HOURS EXCLUDING added BETWEEN 2 AND 3 \
     AS OF '2026-06-03T12:00:00Z' LISTING PERSONS) ORDER BY entered, reached, step, state",
];

async fn answers(engine: &Engine) -> Vec<String> {
    let mut all = Vec::new();
    for question in QUESTIONS {
        let answer = match engine.ask(question).await {
            Ok(rows) => pretty_format_batches(&rows.collect().await.unwrap()).unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        all.push(answer);
    }
    all
}

const ROOM: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_funnel_is_the_same_wherever_its_events_are() {
    let events = events();
    let folder = tempfile::tempdir().unwrap();
    let whole = open(folder.path(), 2, ROOM).await;
    import(&whole, folder.path(), "all.jsonl", &lines(&events, |_| true)).await;
    merge(&whole).await;
    let expected = answers(&whole).await;
    let counted: Vec<String> = right(&events).iter().map(|count| format!("| {count:<7} |")).collect();
    for count in &counted {
        assert!(expected[0].contains(count), "{count} in\n{}", expected[0]);
    }
    whole.close().await.unwrap();
    for (threads, memory) in [(1, ROOM), (7, ROOM), (64, ROOM)] {
        let engine = open(folder.path(), threads, memory).await;
        assert_eq!(answers(&engine).await, expected, "{threads} threads");
        engine.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_funnel_is_the_same_with_half_of_the_events_in_the_log_and_while_days_are_compacted() {
    let events = events();
    let folder = tempfile::tempdir().unwrap();
    let whole = open(folder.path(), 2, ROOM).await;
    import(&whole, folder.path(), "all.jsonl", &lines(&events, |_| true)).await;
    merge(&whole).await;
    let expected = answers(&whole).await;
    whole.close().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2, ROOM).await;
    // Persons are merged before most of what they did comes.
    import(&engine, folder.path(), "some.jsonl", &lines(&events, |at| at % 2 == 0)).await;
    merge(&engine).await;
    let late = lines(&events, |at| at % 2 == 1);
    let report = engine.ingest(IngestBatch::lines(late.clone()), IngestOptions::default()).await.unwrap();
    assert_eq!(report.refused, 0);
    assert!(engine.storage().unflushed().events >= 1_000);
    assert_eq!(answers(&engine).await, expected, "half of them in the log");
    // Once more the same events: they are known.
    engine.ingest(IngestBatch::lines(late), IngestOptions::default()).await.unwrap();
    assert_eq!(answers(&engine).await, expected, "sent twice");

    let busy = engine.apart();
    let compacting = tokio::spawn(async move {
        busy.storage().flush().await.unwrap();
        busy.compact(|_, _| ()).await.unwrap()
    });
    let mut asked = 0;
    while !compacting.is_finished() || asked < 3 {
        assert_eq!(answers(&engine.apart()).await, expected, "while days are compacted");
        asked += 1;
    }
    compacting.await.unwrap();
    assert_eq!(engine.storage().unflushed().events, 0);
    assert_eq!(answers(&engine).await, expected, "compacted");
    engine.close().await.unwrap();
}
