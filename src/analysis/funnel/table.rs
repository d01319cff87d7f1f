//! `funnel('{…}')`: the table function that answers a request, and the plan behind it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::TableFunctionImpl;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;

use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::answer;
use crate::analysis::funnel::fast::FunnelExec;
use crate::analysis::funnel::indexed;
use crate::analysis::funnel::plan;
use crate::analysis::funnel::question::FunnelQuestion;
use crate::analysis::funnel::question::Places;
use crate::analysis::hits::external;
use crate::analysis::hits::projected;
use crate::analysis::persons::PersonsExec;
use crate::error::Error;
use crate::query::Planned;
use crate::query::Wanted;
use crate::query::constant_text;
use crate::query::scan_by;

/// The name of the table function.
pub(crate) const FUNCTION: &str = "funnel";

/// `funnel('{"steps": …}')`.
#[derive(Debug)]
pub(crate) struct FunnelFunction;

impl TableFunctionImpl for FunnelFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let Some(text) = constant_text(args.exprs()) else {
            let message =
                "funnel(…) takes one constant text: a funnel as JSON; FUNNEL a, b WITHIN 7 DAYS is shorter";
            return Err(external(Error::invalid(message)));
        };
        // A place in the text of the request is none in the statement.
        let request =
            FunnelRequest::parse(text).map_err(|error| external(Error::invalid(error.to_string())))?;
        request.read().map_err(external)?;
        Ok(Arc::new(FunnelTable { schema: answer::schema(&request), request }))
    }
}

/// The answer of one request.
#[derive(Debug)]
struct FunnelTable {
    request: FunnelRequest,
    schema: SchemaRef,
}

impl FunnelTable {
    fn planned<'a>(&'a self, wanted: Wanted<'a>) -> Planned<'a> {
        Box::pin(async move {
            let state = wanted.session()?;
            let read = self.request.read().map_err(external)?;
            if FunnelExec::answers(&self.request)
                && let Some(hits) = indexed::plan(&self.request, &read, state).await?
            {
                let (request, schema) = (self.request.clone(), Arc::clone(&self.schema));
                let question = FunnelQuestion { request, read, places: Places::default(), schema };
                return projected(
                    Arc::new(FunnelExec::indexed(Arc::new(question), hits, state)),
                    wanted.projection,
                );
            }
            let (events, places) = plan::plan(&self.request, &read, state).await.map_err(external)?;
            let hits = Box::pin(state.create_physical_plan(&events)).await?;
            let question = FunnelQuestion {
                request: self.request.clone(),
                read,
                places,
                schema: Arc::clone(&self.schema),
            };
            let question = Arc::new(question);
            let exec: Arc<dyn ExecutionPlan> = if FunnelExec::answers(&self.request) {
                Arc::new(FunnelExec::new(question, hits))
            } else {
                Arc::new(PersonsExec::new(question, hits))
            };
            projected(exec, wanted.projection)
        })
    }
}

impl TableProvider for FunnelTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    scan_by!(planned);
}
