//! The table `persons`: who there is, with what is stored of each and what is computed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;

use crate::error::Result;
use crate::ids::PersonId;
use crate::person::IdentifierType;
use crate::query::Planned;
use crate::query::Wanted;
use crate::query::computed::ComputedColumns;
use crate::query::computed::ComputedField;
use crate::query::holding::allowed;
use crate::query::holding::person_is;
use crate::query::people_source::Column;
use crate::query::people_source::Columns;
use crate::query::people_source::PersonsSource;
use crate::query::people_source::external;
use crate::query::scan_by;
use crate::schema::EXTERNAL_PERSON_ID;
use crate::storage::snapshot::Snapshot;

/// `persons`: one row for each person, ordered by id; whoever was merged into another has none. Computed attributes are
/// its last columns, and are computed for those who ask for them.
#[derive(Debug)]
pub(crate) struct PersonsTable {
    snapshot: Arc<Snapshot>,
    computed: Option<Arc<dyn ComputedColumns>>,
    fields: Vec<ComputedField>,
}

impl PersonsTable {
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        computed: Option<Arc<dyn ComputedColumns>>,
    ) -> DataFusionResult<Self> {
        let fields = computed.as_ref().map_or_else(|| Ok(Vec::new()), |computed| computed.fields());
        let mut fields = fields.map_err(external)?;
        // A stored attribute of that name came later, or by another way.
        let stored = snapshot.people.schema();
        fields.retain(|one| stored.column_with_name(&one.name).is_none());
        Ok(Self { snapshot, computed, fields })
    }

    async fn columns(&self, places: Option<&Vec<usize>>) -> Result<Columns> {
        let stored = self.snapshot.people.schema().fields().len();
        let all = self.schema();
        let places = places.cloned().unwrap_or_else(|| (0..all.fields().len()).collect());
        let mut of = Vec::with_capacity(places.len());
        for place in &places {
            of.push(match (place.checked_sub(stored), &self.computed) {
                (Some(place), Some(computed)) => {
                    Column::Computed(computed.column(&self.fields[place].name, &self.snapshot).await?)
                }
                _ => Column::Stored(*place),
            });
        }
        let fields: Vec<FieldRef> = places.iter().map(|place| Arc::clone(&all.fields()[*place])).collect();
        Ok(Columns { schema: Arc::new(Schema::new(fields)), of })
    }

    fn planned<'a>(&'a self, wanted: Wanted<'a>) -> Planned<'a> {
        Box::pin(async move {
            let snapshot = Arc::clone(&self.snapshot);
            let filters = wanted.filters.to_vec();
            let read = move || {
                let owner = |name: &str| snapshot.persons.owner(IdentifierType::ExternalId, name, "").ok();
                match named(&filters, owner) {
                    Some(ids) => snapshot.people.chunks_with(&snapshot.persons, &ids),
                    None => snapshot.people.chunks(&snapshot.persons),
                }
            };
            let chunks = tokio::task::spawn_blocking(read).await;
            let chunks = chunks.map_err(|error| DataFusionError::External(Box::new(error)))?;
            let chunks = chunks.map_err(external)?;
            let columns = Arc::new(self.columns(wanted.projection).await.map_err(external)?);
            let partitions = wanted.state.config().target_partitions().max(1);
            let share = chunks.len().div_ceil(partitions).max(1);
            let mut partitions: Vec<_> = chunks.chunks(share).map(<[_]>::to_vec).collect();
            if partitions.is_empty() {
                partitions.push(Vec::new());
            }
            Ok(DataSourceExec::from_data_source(PersonsSource::new(partitions, columns)) as _)
        })
    }
}

/// The persons that conditions allow, if they name them by id or external id; whom an external id leads to is found, or
/// nothing is told.
fn named(conditions: &[Expr], find: impl Fn(&str) -> Option<Option<PersonId>>) -> Option<BTreeSet<i64>> {
    let leaf = |column: &Expr, value: &Expr| match (column, value) {
        (Expr::Column(name), Expr::Literal(text, _)) if name.name == EXTERNAL_PERSON_ID => {
            let found = find(text.try_as_str().flatten()?)?;
            Some(found.into_iter().map(|person| person.0).collect())
        }
        _ => person_is(column, value),
    };
    let all = conditions.iter().filter_map(|condition| allowed(condition, &leaf));
    all.reduce(|one, other| &one & &other)
}

impl TableProvider for PersonsTable {
    fn schema(&self) -> SchemaRef {
        let stored = self.snapshot.people.schema();
        if self.fields.is_empty() {
            return stored;
        }
        let computed = self.fields.iter().map(ComputedField::field);
        Arc::new(Schema::new(stored.fields().iter().cloned().chain(computed).collect::<Vec<FieldRef>>()))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    scan_by!(planned);

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match named(std::slice::from_ref(*filter), |_| Some(None)) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
}
