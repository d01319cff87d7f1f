//! The external id of a person: a look-up beside the column `personId`, made only when a query asks for it.

use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::StringViewBuilder;
use arrow::array::cast::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;

use crate::ids::PersonId;
use crate::person::ExternalIds;

/// `externalPersonId(personId)`: NULL for a person without an external id.
#[derive(Debug)]
pub(crate) struct ExternalPersonId {
    persons: Arc<ExternalIds>,
    signature: Signature,
}

impl ExternalPersonId {
    pub(crate) fn new(persons: Arc<ExternalIds>) -> Self {
        Self { persons, signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable) }
    }
}

/// Two look-ups are the same when they look into the same persons.
impl PartialEq for ExternalPersonId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.persons, &other.persons)
    }
}

impl Eq for ExternalPersonId {}

impl Hash for ExternalPersonId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.persons).hash(state);
    }
}

impl ScalarUDFImpl for ExternalPersonId {
    fn name(&self) -> &str {
        "externalPersonId"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ids = ColumnarValue::values_to_arrays(&args.args)?;
        let ids = ids[0].as_primitive::<Int64Type>();
        let mut names = StringViewBuilder::with_capacity(ids.len());
        // Files are sorted by person, so the same person comes many times in a row.
        let mut last: Option<(i64, Option<&str>)> = None;
        for id in ids {
            let name = id.and_then(|id| match last {
                Some((same, name)) if same == id => name,
                _ => {
                    let name = self.persons.get(PersonId(id));
                    last = Some((id, name));
                    name
                }
            });
            names.append_option(name);
        }
        Ok(ColumnarValue::Array(Arc::new(names.finish()) as ArrayRef))
    }
}
