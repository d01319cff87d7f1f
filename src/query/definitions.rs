//! The table `definitions`: what events there may be, as the snapshot has it.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanBuilder;
use arrow::array::ListBuilder;
use arrow::array::StringViewArray;
use arrow::array::StringViewBuilder;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::Context;
use crate::error::Result;
use crate::query::system::SystemTable;
use crate::schema::Definition;
use crate::storage::snapshot::Snapshot;

/// `definitions`: one row for each definition, templates included, ordered by id.
#[derive(Debug)]
pub(crate) struct DefinitionsTable(pub(crate) Arc<Snapshot>);

impl SystemTable for DefinitionsTable {
    fn name(&self) -> &str {
        "definitions"
    }

    fn schema(&self) -> SchemaRef {
        let text = |name: &str, nullable| Field::new(name, DataType::Utf8View, nullable);
        Arc::new(Schema::new(vec![
            text("id", false),
            text("title", false),
            text("category", false),
            text("subcategory", true),
            Field::new("enabled", DataType::Boolean, false),
            text("template", true),
            text("description", false),
            Field::new_list("properties", text("item", true), false),
        ]))
    }

    fn rows(&self) -> Result<RecordBatch> {
        let all: Vec<&Arc<Definition>> = self.0.registry.iter().collect();
        let text = |of: &dyn Fn(&Definition) -> Option<String>| -> ArrayRef {
            Arc::new(all.iter().map(|one| of(one)).collect::<StringViewArray>())
        };
        let mut enabled = BooleanBuilder::new();
        let mut properties = ListBuilder::new(StringViewBuilder::new());
        for one in &all {
            enabled.append_value(one.enabled);
            for property in &one.properties {
                properties.values().append_value(format!("{} {}", property.name, property.kind.name()));
            }
            properties.append(true);
        }
        let columns = vec![
            text(&|one| Some(one.id.to_string())),
            text(&|one| Some(one.title.clone())),
            text(&|one| Some(one.category.name().to_owned())),
            text(&|one| one.subcategory.clone()),
            Arc::new(enabled.finish()) as ArrayRef,
            text(&|one| one.template.as_ref().map(ToString::to_string)),
            text(&|one| Some(one.description.clone())),
            Arc::new(properties.finish()) as ArrayRef,
        ];
        RecordBatch::try_new(self.schema(), columns).internal(|| "could not list the definitions".to_owned())
    }
}
