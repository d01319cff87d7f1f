//! Which files a query must open: decides by definition, day, person and time, and opens none.
//!
//! A condition that every remaining file is proven to meet as a whole need not be looked at row by row any more, so a
//! count of whole days reads nothing.

use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Date32Array;
use arrow::array::Int64Array;
use arrow::array::StringViewArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::UInt64Array;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::common::DFSchema;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use crate::ids::PersonId;
use crate::person::IdentifierType;
use crate::person::Persons;
use crate::query::layout::DEFINITION_ID;
use crate::query::layout::time_type;
use crate::schema::DAY;
use crate::schema::EXTERNAL_PERSON_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::storage::snapshot::DataFile;
use crate::storage::snapshot::TableFiles;
use crate::time::Day;

/// The longest `IN (...)` that is held against the bounds of files.
const LONGEST_LIST: usize = 10_000;

/// One file of one definition.
#[derive(Clone, Debug)]
pub(crate) struct LakeFile {
    pub(crate) table: Arc<TableFiles>,
    at: usize,
}

impl LakeFile {
    pub(crate) fn file(&self) -> &DataFile {
        &self.table.files[self.at]
    }

    pub(crate) fn definition(&self) -> &str {
        self.table.definition.id.as_str()
    }
}

/// The files of a table, before anything is known about the query.
#[derive(Clone, Debug)]
pub(crate) struct FileSet {
    files: Vec<LakeFile>,
}

/// What is left of a [`FileSet`] for the given conditions.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) files: Vec<LakeFile>,
    pub(crate) of: Extent,
    /// For each condition, whether all rows of the files that are left are known to meet it.
    pub(crate) proven: Vec<bool>,
}

/// How much a set of files spans, for `EXPLAIN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) files: usize,
    pub(crate) days: usize,
}

pub(crate) fn extent(files: &[LakeFile]) -> Extent {
    let days: BTreeSet<Day> = files.iter().map(|one| one.file().day).collect();
    Extent { files: files.len(), days: days.len() }
}

impl FileSet {
    pub(crate) fn of<'a>(tables: impl IntoIterator<Item = &'a Arc<TableFiles>>) -> Self {
        let files = tables
            .into_iter()
            .flat_map(|table| (0..table.files.len()).map(|at| LakeFile { table: Arc::clone(table), at }))
            .collect();
        Self { files }
    }

    pub(crate) fn into_files(self) -> Vec<LakeFile> {
        self.files
    }

    /// The files that may hold rows which meet all conditions. Conditions name columns as SQL does.
    pub(crate) fn keep(&self, conditions: &[Expr]) -> Result<Kept> {
        let schema = known_schema();
        let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
        let known: Vec<Option<&Expr>> =
            conditions.iter().map(|one| speaks_of_known(one, &schema).then_some(one)).collect();
        let mut files = self.files.clone();
        for condition in known.iter().flatten() {
            let may_hold = may_hold(condition, &files, &schema, &df_schema)?;
            let mut verdicts = may_hold.into_iter();
            files.retain(|_| verdicts.next().unwrap_or(true));
        }
        let mut proven = Vec::with_capacity(conditions.len());
        for condition in &known {
            let may_fail = match condition.and_then(opposite) {
                Some(opposite) => may_hold(&opposite, &files, &schema, &df_schema)?.contains(&true),
                None => true,
            };
            proven.push(!may_fail);
        }
        Ok(Kept { files, of: extent(&self.files), proven })
    }
}

/// For each file, whether a row of it may meet the condition.
fn may_hold(
    condition: &Expr,
    files: &[LakeFile],
    schema: &SchemaRef,
    df_schema: &DFSchema,
) -> Result<Vec<bool>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let planning = PhysicalPlanningContext::default();
    let physical = create_physical_expr(condition, df_schema, &ExecutionProps::new(), &planning)?;
    let predicate = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .with_max_in_list_size(LONGEST_LIST)
        .try_build(physical);
    match predicate {
        Ok(predicate) => predicate.prune(&KnownOfFiles(files)),
        // The condition is of a form that says nothing about whole files.
        Err(_) => Ok(vec![true; files.len()]),
    }
}

/// The columns that are known of a file without opening it; none is ever NULL.
fn known_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(DEFINITION_ID, DataType::Utf8View, false),
        Field::new(DAY, DataType::Date32, false),
        Field::new(PERSON_ID, DataType::Int64, false),
        Field::new(OCCURRED_TIME, time_type(), false),
    ]))
}

fn speaks_of_known(condition: &Expr, schema: &Schema) -> bool {
    let columns = condition.column_refs();
    !columns.is_empty()
        && columns.iter().all(|column| schema.column_with_name(&column.name).is_some())
        && !condition.is_volatile()
}

/// The condition that holds exactly where the given one does not, for columns that are never NULL.
fn opposite(condition: &Expr) -> Option<Expr> {
    match condition {
        Expr::Not(inner) => Some(inner.as_ref().clone()),
        Expr::InList(list) => {
            let mut list = list.clone();
            list.negated = !list.negated;
            Some(Expr::InList(list))
        }
        Expr::Between(between) => {
            let mut between = between.clone();
            between.negated = !between.negated;
            Some(Expr::Between(between))
        }
        Expr::Like(like) => {
            let mut like = like.clone();
            like.negated = !like.negated;
            Some(Expr::Like(like))
        }
        Expr::BinaryExpr(binary) => {
            let mut binary = binary.clone();
            match binary.op {
                Operator::And | Operator::Or => {
                    binary.op = if binary.op == Operator::And { Operator::Or } else { Operator::And };
                    *binary.left = opposite(&binary.left)?;
                    *binary.right = opposite(&binary.right)?;
                }
                comparison => binary.op = comparison.negate()?,
            }
            Some(Expr::BinaryExpr(binary))
        }
        _ => None,
    }
}

/// The condition without table names before its columns: it is about one table.
pub(crate) fn unqualified(condition: Expr) -> Result<Expr> {
    condition
        .transform(|expr| match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name))))
            }
            other => Ok(Transformed::no(other)),
        })
        .map(|transformed| transformed.data)
}

/// Whether a condition is about external ids.
pub(crate) fn is_about_names(condition: &Expr) -> bool {
    condition.column_refs().iter().any(|one| one.name == EXTERNAL_PERSON_ID)
}

/// `externalPersonId = 'x'` as a condition on `personId`, which files are sorted by. `None` when the condition does
/// not speak of the external id, or speaks of it in another way.
pub(crate) fn by_person(condition: &Expr, persons: &Persons) -> Option<Expr> {
    if !is_about_names(condition) {
        return None;
    }
    match condition {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => {
            let side = |expr: &Expr| {
                if is_about_names(expr) { by_person(expr, persons) } else { Some(expr.clone()) }
            };
            let mut both = binary.clone();
            *both.left = side(&binary.left)?;
            *both.right = side(&binary.right)?;
            Some(Expr::BinaryExpr(both))
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
            let name = match (binary.left.as_ref(), binary.right.as_ref()) {
                (Expr::Column(_), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(_)) => {
                    value
                }
                _ => return None,
            };
            Some(is_one_of(&[name], persons))
        }
        Expr::InList(list) if !list.negated && matches!(list.expr.as_ref(), Expr::Column(_)) => {
            let names = list.list.iter().map(|one| match one {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            });
            Some(is_one_of(&names.collect::<Option<Vec<_>>>()?, persons))
        }
        _ => None,
    }
}

fn is_one_of(names: &[&ScalarValue], persons: &Persons) -> Expr {
    let found = names.iter().filter_map(|name| {
        let name = name.try_as_str().flatten()?;
        let person = persons.owner(IdentifierType::ExternalId, name, "")?;
        // A merged person is shown with one external id, and found by others too.
        (persons.external_id(person) == Some(name)).then_some(person)
    });
    let ids: Vec<Expr> =
        found.map(|PersonId(id)| Expr::Literal(ScalarValue::Int64(Some(id)), None)).collect();
    let column = Expr::Column(Column::new_unqualified(PERSON_ID));
    match ids.as_slice() {
        // Ids count from 1, so this is true of nobody, in a form that prunes.
        [] => column.eq(Expr::Literal(ScalarValue::Int64(Some(0)), None)),
        [one] => column.eq(one.clone()),
        _ => column.in_list(ids, false),
    }
}

/// What is known of each file, in the form in which DataFusion asks for it.
struct KnownOfFiles<'a>(&'a [LakeFile]);

impl KnownOfFiles<'_> {
    fn bounds(&self, column: &Column, upper: bool) -> Option<ArrayRef> {
        let files = self.0.iter().map(LakeFile::file);
        Some(match column.name.as_str() {
            DEFINITION_ID => {
                Arc::new(self.0.iter().map(|one| Some(one.definition())).collect::<StringViewArray>())
            }
            DAY => Arc::new(files.map(|one| Some(one.day.0)).collect::<Date32Array>()),
            PERSON_ID => {
                let bound = |one: &DataFile| if upper { one.persons.1 } else { one.persons.0 };
                Arc::new(files.map(|one| Some(bound(one))).collect::<Int64Array>())
            }
            OCCURRED_TIME => {
                let bound = |one: &DataFile| if upper { one.times.1 } else { one.times.0 };
                let times: TimestampMicrosecondArray = files.map(|one| Some(bound(one).0)).collect();
                Arc::new(times.with_timezone("UTC"))
            }
            _ => return None,
        })
    }
}

impl PruningStatistics for KnownOfFiles<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, false)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, true)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from(vec![0; self.0.len()])))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.iter().map(|one| Some(one.file().rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
