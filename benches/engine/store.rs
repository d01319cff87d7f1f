//! What the benchmarks run on: the definitions of the generated events, and one filled store that several share.

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use milepost::engine::Answer;
use milepost::engine::Config;
use milepost::engine::Engine;
use milepost::engine::ImportRequest;
use milepost::ingest::Quiet;
use milepost::schema::Category;
use milepost::schema::Definition;
use milepost::schema::Registry;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::data;

const EVENTS: u64 = 300_000;
const DAYS: i64 = 10;

/// What a person types before the generated events are taken.
const DEFINE: &str = "CREATE EVENT FROM TEMPLATE itemPurchased; ENABLE EVENT pageView, sessionStarted;";

/// The definitions of the generated events, as [`DEFINE`] makes them.
pub(crate) fn definitions() -> Vec<Definition> {
    let standard = Registry::standard().unwrap();
    let of = |id: &str| Definition::clone(standard.get(id).unwrap());
    let purchased = Definition::clone(standard.template("itemPurchased").unwrap());
    vec![
        Definition { enabled: true, ..of("pageView") },
        Definition { enabled: true, ..of("sessionStarted") },
        Definition { category: Category::External, enabled: true, ..purchased },
        of("emailOpened"),
    ]
}

/// The filled store, made when the first benchmark that needs it is not filtered out.
#[derive(Default)]
pub(crate) struct Shared(OnceCell<Filled>);

impl Shared {
    pub(crate) fn get(&self) -> &Filled {
        self.0.get_or_init(Filled::new)
    }
}

/// A store of 300,000 events on ten days, imported as people do it.
pub(crate) struct Filled {
    engine: Engine,
    runtime: Runtime,
    /// Deleted last.
    dir: TempDir,
}

impl Filled {
    fn new() -> Self {
        Self::of(&data::lines(&data::events(EVENTS, DAYS)), EVENTS)
    }

    /// A store of so many events, given as JSON lines.
    pub(crate) fn of(lines: &str, events: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let file = dir.path().join("events.json");
        fs::write(&file, lines).unwrap();
        let config = Config { data: dir.path().join("data"), ..Config::default() };
        let engine = runtime.block_on(Engine::open(config)).unwrap();
        let filled = Self { engine, runtime, dir };
        filled.execute(DEFINE);
        let request = ImportRequest { inputs: vec![file.to_str().unwrap().to_owned()], ..Default::default() };
        let report = filled.runtime.block_on(filled.engine.import(request, Box::new(Quiet))).unwrap();
        assert_eq!((report.stored, report.refused), (events, 0), "{:?}", report.samples);
        filled
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs the statements of a text, each to its end; the rows of all of them.
    pub(crate) fn execute(&self, sql: &str) -> Vec<RecordBatch> {
        self.runtime.block_on(async {
            let mut batches = Vec::new();
            for statement in self.engine.parse(sql).unwrap() {
                if let Answer::Rows(rows) = self.engine.execute(&statement).await.unwrap() {
                    batches.extend(rows.collect().await.unwrap());
                }
            }
            batches
        })
    }

    pub(crate) fn count(&self, sql: &str) -> u64 {
        self.execute(sql).iter().map(|batch| u64::try_from(batch.num_rows()).unwrap()).sum()
    }
}

/// The definitions as a store hands them out.
pub(crate) fn shared(definitions: Vec<Definition>) -> Vec<Arc<Definition>> {
    definitions.into_iter().map(Arc::new).collect()
}
