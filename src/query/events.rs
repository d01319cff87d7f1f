//! The tables of events: one per definition, and `events` with all of them.
//!
//! Both hand DataFusion its own Parquet scan over the files that can matter. What only concerns whole files (days,
//! definitions, ranges of time that cover a file) is decided here and costs nothing later.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;
use datafusion::logical_expr::lit;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;

use crate::query::Planned;
use crate::query::Wanted;
use crate::query::files::FileSet;
use crate::query::files::Kept;
use crate::query::files::LakeFile;
use crate::query::files::by_person;
use crate::query::files::is_about_names;
use crate::query::files::unqualified;
use crate::query::holding::holding;
use crate::query::holding::persons_named;
use crate::query::layout;
use crate::query::layout::DEFINITION_ID;
use crate::query::layout::Origin;
use crate::query::layout::SqlColumn;
use crate::query::merged::on_stored_ids;
use crate::query::scan::Lake;
use crate::query::scan::Scan;
use crate::query::scan_by;
use crate::schema::Columns;
use crate::schema::DAY;
use crate::schema::EVENT_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SESSION_ID;
use crate::storage::snapshot::TableFiles;

/// A table of events.
#[derive(Debug)]
pub(crate) struct EventsTable {
    lake: Arc<Lake>,
    columns: Vec<SqlColumn>,
    schema: SchemaRef,
    files: FileSet,
}

/// A condition of a query as the table understands it.
struct Condition {
    /// In the table's own words: no qualifiers, persons by `personId` where that is the same.
    known: Expr,
    /// The scan itself can make sure that rows meet it.
    enforceable: bool,
}

impl EventsTable {
    /// The table of one definition.
    pub(crate) fn of_definition(lake: Arc<Lake>, files: &Arc<TableFiles>) -> Self {
        let columns = layout::of_definition(&Columns::of(&files.definition));
        Self::new(lake, columns, FileSet::of([files]))
    }

    /// `events`: all definitions.
    pub(crate) fn of_all(lake: Arc<Lake>) -> Self {
        let files = FileSet::of(lake.snapshot.tables.values());
        Self::new(lake, layout::of_all_events(), files)
    }

    fn new(lake: Arc<Lake>, columns: Vec<SqlColumn>, files: FileSet) -> Self {
        Self { lake, schema: layout::schema_of(&columns), columns, files }
    }

    /// Whether the table has the column `definitionId`: only the one of all events has.
    pub(crate) fn has_definition_id(&self) -> bool {
        self.schema.column_with_name(DEFINITION_ID).is_some()
    }

    pub(crate) fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    pub(crate) fn files(&self) -> Vec<LakeFile> {
        self.files.clone().into_files()
    }

    /// What a property of texts is called in files.
    pub(crate) fn text_in_files(&self, column: &str) -> Option<String> {
        let found = self.columns.iter().find(|one| one.name() == column)?;
        let is_text = *found.field.data_type() == DataType::Utf8View;
        match &found.origin {
            Origin::File(name) if is_text && ![EVENT_ID, SESSION_ID].contains(&name.as_str()) => {
                Some(name.clone())
            }
            _ => None,
        }
    }

    /// The files that may meet the conditions, and which conditions they meet as a whole.
    pub(crate) fn keep<'a>(&self, conditions: impl IntoIterator<Item = &'a Expr>) -> Result<Kept> {
        let known = conditions.into_iter().map(|one| Ok(self.understand(one)?.known));
        self.files.keep(&known.collect::<Result<Vec<_>>>()?)
    }

    fn understand(&self, condition: &Expr) -> Result<Condition> {
        let condition = unqualified(condition.clone())?;
        let persons = &self.lake.snapshot.persons;
        let by_person = if is_about_names(&condition) {
            let all = persons.all().map_err(|error| DataFusionError::External(Box::new(error)))?;
            by_person(&condition, all)
        } else {
            None
        };
        let by_name = by_person.is_some();
        let known = by_person.unwrap_or(condition);
        if persons.aliases().is_empty() || !known.column_refs().iter().any(|one| one.name == PERSON_ID) {
            let enforceable = by_name && is_about_persons_and_days(&known);
            return Ok(Condition { known, enforceable });
        }
        Ok(match on_stored_ids(&known, persons.aliases()) {
            Some(known) => Condition { enforceable: is_about_persons_and_days(&known), known },
            // Says nothing about files; whoever asked looks at each row.
            None => Condition { known: lit(true), enforceable: false },
        })
    }
}

fn is_about_persons_and_days(condition: &Expr) -> bool {
    let known = [PERSON_ID, OCCURRED_TIME, DAY, DEFINITION_ID];
    condition.column_refs().iter().all(|column| known.contains(&column.name.as_str()))
}

impl EventsTable {
    fn planned<'a>(&'a self, wanted: Wanted<'a>) -> Planned<'a> {
        Box::pin(self.plan(wanted))
    }

    async fn plan(&self, wanted: Wanted<'_>) -> Result<Arc<dyn ExecutionPlan>> {
        let Wanted { state, projection, filters, limit } = wanted;
        let conditions = filters.iter().map(|one| self.understand(one)).collect::<Result<Vec<_>>>()?;
        let known: Vec<Expr> = conditions.iter().map(|one| one.known.clone()).collect();
        let Kept { mut files, of, proven } = self.files.keep(&known)?;
        let partitions = state.config().target_partitions();
        if let Some(persons) = persons_named(&known) {
            files = holding(&self.lake.snapshot.index, files, persons, partitions).await?;
        }
        let enforced: Vec<Expr> = conditions
            .into_iter()
            .zip(proven)
            .filter(|(condition, proven)| condition.enforceable && !proven)
            .map(|(condition, _)| condition.known)
            .collect();
        let columns: Vec<&SqlColumn> = match projection {
            Some(chosen) => chosen.iter().map(|at| &self.columns[*at]).collect(),
            None => self.columns.iter().collect(),
        };
        let scan = |files: Vec<LakeFile>, properties: Option<&Columns>, partitions: usize| {
            Scan {
                lake: &self.lake,
                files,
                of,
                columns: columns.clone(),
                properties,
                conditions: enforced.clone(),
                limit,
                partitions,
            }
            .plan(state)
        };
        if !columns.iter().any(|column| column.origin == Origin::Properties) || files.is_empty() {
            return scan(files, None, partitions);
        }

        // Each definition has properties of its own, so its files are a scan of their own.
        let rows = |files: &[LakeFile]| files.iter().map(|one| one.file().rows).sum::<u64>();
        let all = rows(&files).max(1);
        let mut by_definition: BTreeMap<String, Vec<LakeFile>> = BTreeMap::new();
        for file in files {
            by_definition.entry(file.definition().to_owned()).or_default().push(file);
        }
        let scans = by_definition.into_values().map(|files| {
            let properties = Columns::of(&files[0].table.definition);
            let share = (rows(&files) * partitions as u64).div_ceil(all);
            scan(files, Some(&properties), usize::try_from(share).unwrap_or(partitions).max(1))
        });
        UnionExec::try_new(scans.collect::<Result<Vec<_>>>()?)
    }
}

impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    scan_by!(planned);

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let conditions = filters.iter().map(|one| self.understand(one)).collect::<Result<Vec<_>>>()?;
        let known: Vec<Expr> = conditions.iter().map(|one| one.known.clone()).collect();
        let kept = self.files.keep(&known)?;
        Ok(conditions
            .iter()
            .zip(kept.proven)
            .map(|(condition, proven)| match condition.enforceable || proven {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }
}
