//! `analysis('{…}')`: the table function that answers a question, so that it may stand wherever a table may.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::TableFunctionImpl;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableType;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::analysis::Analysis;
use crate::analysis::Ground;
use crate::analysis::hits::external;
use crate::analysis::hits::projected;
use crate::error::Error;
use crate::query::Planned;
use crate::query::Wanted;
use crate::query::constant_text;
use crate::query::scan_by;
use crate::time::Clock;
use crate::time::SystemClock;
use crate::time::Zone;

/// The name of the table function.
pub(crate) const FUNCTION: &str = "analysis";

/// `analysis('{"kind": "retention", …}')`.
#[derive(Debug)]
pub(crate) struct AnalysisFunction {
    /// The zone of days where a question names none.
    pub(crate) zone: Zone,
}

impl TableFunctionImpl for AnalysisFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let Some(text) = constant_text(args.exprs()) else {
            let message =
                "analysis(…) takes one constant text: a question as JSON; RETENTION a THEN b is shorter";
            return Err(external(Error::invalid(message)));
        };
        // A place in the text of the question is none in the statement.
        let question = Analysis::from_json(text);
        let question = question.map_err(|error| external(Error::invalid(error.to_string())))?;
        let schema = question.schema().map_err(external)?;
        Ok(Arc::new(AnalysisTable { question, schema, zone: self.zone }))
    }
}

/// The answer of one question.
#[derive(Debug)]
struct AnalysisTable {
    question: Analysis,
    schema: SchemaRef,
    zone: Zone,
}

impl AnalysisTable {
    fn planned<'a>(&'a self, wanted: Wanted<'a>) -> Planned<'a> {
        Box::pin(async move {
            let state = wanted.session()?;
            let ground = Ground::within(state.clone(), SystemClock.now(), self.zone);
            let plan = Box::pin(self.question.plan(&ground, Arc::clone(&self.schema))).await;
            projected(plan.map_err(external)?, wanted.projection)
        })
    }
}

impl TableProvider for AnalysisTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    scan_by!(planned);
}

/// Answers a question that is several of SQL's, one after the other, when it is run.
pub(crate) struct AnswerExec {
    question: Analysis,
    ground: Ground,
    properties: Arc<PlanProperties>,
}

impl AnswerExec {
    pub(crate) fn new(question: Analysis, ground: Ground, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { question, ground, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for AnswerExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerExec").field("question", &self.question).finish_non_exhaustive()
    }
}

impl DisplayAs for AnswerExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind {
            DisplayFormatType::TreeRender => f.write_str(self.question.kind()),
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "AnswerExec: {}", self.question.kind())
            }
        }
    }
}

impl ExecutionPlan for AnswerExec {
    fn name(&self) -> &'static str {
        "AnswerExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a question has one answer");
        }
        let (question, ground) = (self.question.clone(), self.ground.clone());
        let answer = async move { question.answer(&ground).await.map_err(external) };
        let stream = futures::stream::once(Box::pin(answer));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}
