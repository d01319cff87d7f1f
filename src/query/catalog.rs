//! The names that SQL may use: every definition, `events`, `persons`, `definitions`, `system.*`, and the session's views.
//!
//! A table is made when a query names it, so a session over thousands of definitions costs no more than over one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::RwLock;

use async_trait::async_trait;
use datafusion::catalog::CatalogProvider;
use datafusion::catalog::SchemaProvider;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::exec_err;

use crate::query::computed::ComputedColumns;
use crate::query::definitions::DefinitionsTable;
use crate::query::events::EventsTable;
use crate::query::people::PersonsTable;
use crate::query::scan::Lake;
use crate::query::segments::Segments;
use crate::query::segments::SegmentsSchema;
use crate::query::system::SystemProvider;
use crate::query::system::SystemTable;

/// The catalog that bare names are looked up in.
pub(crate) const CATALOG: &str = "milepost";
/// The schema that bare names are looked up in.
pub(crate) const MAIN: &str = "main";
/// The schema of the tables that show the state of the store.
pub(crate) const SYSTEM: &str = "system";
/// The schema of the segments.
pub(crate) const SEGMENTS: &str = "segments";

const EVENTS: &str = "events";
const PERSONS: &str = "persons";

/// The catalog of one session.
#[derive(Debug)]
pub(crate) struct LakeCatalog {
    main: Arc<MainSchema>,
    system: Arc<SystemSchema>,
    segments: Option<Arc<SegmentsSchema>>,
}

impl LakeCatalog {
    pub(crate) fn new(
        lake: Arc<Lake>,
        system: &[Arc<dyn SystemTable>],
        segments: Option<Arc<dyn Segments>>,
        computed: Option<Arc<dyn ComputedColumns>>,
    ) -> Self {
        let own: [Arc<dyn SystemTable>; 1] = [Arc::new(DefinitionsTable(Arc::clone(&lake.snapshot)))];
        let by_name = |tables: &[Arc<dyn SystemTable>]| {
            tables.iter().map(|one| (one.name().to_owned(), Arc::clone(one))).collect()
        };
        let snapshot = Arc::clone(&lake.snapshot);
        let segments = segments.map(|segments| Arc::new(SegmentsSchema { segments, snapshot }));
        let main = MainSchema { lake, own: by_name(&own), computed, views: RwLock::default() };
        Self { main: Arc::new(main), system: Arc::new(SystemSchema { tables: by_name(system) }), segments }
    }

    /// The names of all tables, as SQL writes them.
    pub(crate) fn tables(&self) -> Vec<String> {
        let mut names = self.main.table_names();
        names.extend(self.system.table_names().into_iter().map(|name| format!("{SYSTEM}.{name}")));
        let segments = self.segments.iter().flat_map(|segments| segments.table_names());
        names.extend(segments.map(|name| format!("{SEGMENTS}.{name}")));
        names
    }
}

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        let segments = self.segments.is_some().then(|| SEGMENTS.to_owned());
        [MAIN.to_owned(), SYSTEM.to_owned()].into_iter().chain(segments).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            MAIN => Some(Arc::clone(&self.main) as Arc<dyn SchemaProvider>),
            SYSTEM => Some(Arc::clone(&self.system) as Arc<dyn SchemaProvider>),
            SEGMENTS => self.segments.as_ref().map(|one| Arc::clone(one) as Arc<dyn SchemaProvider>),
            _ => None,
        }
    }
}

/// Definitions, the tables beside them, and views, which may not take the name of either.
#[derive(Debug)]
struct MainSchema {
    lake: Arc<Lake>,
    own: BTreeMap<String, Arc<dyn SystemTable>>,
    computed: Option<Arc<dyn ComputedColumns>>,
    views: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
}

impl MainSchema {
    fn is_ours(&self, name: &str) -> bool {
        name == EVENTS
            || name == PERSONS
            || self.own.contains_key(name)
            || self.lake.snapshot.tables.contains_key(name)
    }
}

fn poisoned<T>(_: T) -> DataFusionError {
    DataFusionError::Internal("the views of the session were left half changed".to_owned())
}

#[async_trait]
impl SchemaProvider for MainSchema {
    fn table_names(&self) -> Vec<String> {
        let views = self.views.read().map(|views| views.keys().cloned().collect()).unwrap_or_default();
        let mut names: Vec<String> = views;
        names.extend([EVENTS.to_owned(), PERSONS.to_owned()]);
        names.extend(self.own.keys().cloned());
        names.extend(self.lake.snapshot.tables.keys().cloned());
        names.sort();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name == EVENTS {
            return Ok(Some(Arc::new(EventsTable::of_all(Arc::clone(&self.lake)))));
        }
        if name == PERSONS {
            let table = PersonsTable::new(Arc::clone(&self.lake.snapshot), self.computed.clone())?;
            return Ok(Some(Arc::new(table)));
        }
        if let Some(table) = self.own.get(name) {
            return Ok(Some(Arc::new(SystemProvider(Arc::clone(table)))));
        }
        if let Some(files) = self.lake.snapshot.tables.get(name) {
            return Ok(Some(Arc::new(EventsTable::of_definition(Arc::clone(&self.lake), files))));
        }
        Ok(self.views.read().map_err(poisoned)?.get(name).cloned())
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        if self.is_ours(&name) {
            return exec_err!("there is a table \"{name}\" already; give the view another name");
        }
        Ok(self.views.write().map_err(poisoned)?.insert(name, table))
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.views.write().map_err(poisoned)?.remove(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.is_ours(name) || self.views.read().is_ok_and(|views| views.contains_key(name))
    }
}

/// The tables that the engine shows of itself.
#[derive(Debug)]
struct SystemSchema {
    tables: BTreeMap<String, Arc<dyn SystemTable>>,
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.tables.get(name);
        Ok(table.map(|table| Arc::new(SystemProvider(Arc::clone(table))) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }
}
