//! Functions of Postgres that clients call in questions about tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::StringArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::TypeSignature;
use datafusion::logical_expr::Volatility;

use crate::server::postgres::catalog::tables::OWNER;
use crate::server::postgres::catalog::tables::type_name;

/// What a function says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Says {
    Yes,
    No,
    Text(&'static str),
    Number(i64),
    NoText,
    /// Whether a table is found without its schema.
    Visible(Arc<BTreeSet<i64>>),
    /// The name of a type by its number.
    TypeName,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Told {
    name: &'static str,
    says: Says,
    signature: Signature,
}

/// All of them; `visible` holds the tables that need no schema.
pub(super) fn all(visible: BTreeSet<i64>) -> Vec<ScalarUDF> {
    let visible = Arc::new(visible);
    let told = [
        ("pg_table_is_visible", Says::Visible(Arc::clone(&visible))),
        ("pg_function_is_visible", Says::Yes),
        ("pg_type_is_visible", Says::Yes),
        ("has_schema_privilege", Says::Yes),
        ("has_table_privilege", Says::Yes),
        ("has_database_privilege", Says::Yes),
        ("pg_is_in_recovery", Says::No),
        ("pg_get_userbyid", Says::Text(OWNER)),
        ("pg_encoding_to_char", Says::Text("UTF8")),
        ("current_database", Says::Text("milepost")),
        ("current_schema", Says::Text("main")),
        ("version", Says::Text("PostgreSQL 16.6 (Milepost)")),
        ("pg_backend_pid", Says::Number(0)),
        ("array_length", Says::Number(-1)),
        ("to_regtype", Says::Number(-1)),
        ("to_regclass", Says::Number(-1)),
        ("pg_relation_size", Says::Number(0)),
        ("pg_table_size", Says::Number(0)),
        ("pg_total_relation_size", Says::Number(0)),
        ("format_type", Says::TypeName),
        ("pg_get_expr", Says::NoText),
        ("pg_get_viewdef", Says::NoText),
        ("pg_get_constraintdef", Says::NoText),
        ("pg_get_indexdef", Says::NoText),
        ("pg_get_serial_sequence", Says::NoText),
        ("obj_description", Says::NoText),
        ("col_description", Says::NoText),
        ("shobj_description", Says::NoText),
        ("array_to_string", Says::NoText),
    ];
    let of = |(name, says)| {
        let any = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        let signature = Signature::one_of(any, Volatility::Stable);
        ScalarUDF::new_from_impl(Told { name, says, signature })
    };
    told.into_iter().map(of).collect()
}

impl ScalarUDFImpl for Told {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.says {
            Says::Yes | Says::No | Says::Visible(_) => DataType::Boolean,
            Says::Number(_) => DataType::Int64,
            Says::Text(_) | Says::NoText | Says::TypeName => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = || -> Result<ArrayRef> {
            let first = args.args.first().cloned().unwrap_or(ColumnarValue::Scalar(ScalarValue::Int64(None)));
            Ok(cast(&first.into_array(args.number_rows)?, &DataType::Int64)?)
        };
        Ok(match &self.says {
            Says::Yes => ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))),
            Says::No => ColumnarValue::Scalar(ScalarValue::Boolean(Some(false))),
            Says::Text(text) => ColumnarValue::Scalar(ScalarValue::Utf8(Some((*text).to_owned()))),
            Says::Number(number) => ColumnarValue::Scalar(ScalarValue::Int64(Some(*number))),
            Says::NoText => ColumnarValue::Scalar(ScalarValue::Utf8(None)),
            Says::Visible(oids) => {
                let numbers = numbers()?;
                let found = numbers.as_primitive::<Int64Type>().iter();
                let seen: BooleanArray = found.map(|oid| oid.map(|oid| oids.contains(&oid))).collect();
                ColumnarValue::Array(Arc::new(seen))
            }
            Says::TypeName => {
                let numbers = numbers()?;
                let found = numbers.as_primitive::<Int64Type>().iter();
                let names: StringArray = found.map(|oid| oid.map(type_name)).collect();
                debug_assert_eq!(names.len(), args.number_rows);
                ColumnarValue::Array(Arc::new(names))
            }
        })
    }
}
