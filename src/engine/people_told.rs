//! Persons as they are told: their profiles in JSON, with what is computed from their events.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::Map;
use serde_json::Value;

use crate::engine::Engine;
use crate::engine::computed::EngineComputed;
use crate::engine::rows::cell::Cells;
use crate::engine::rows::cell::object;
use crate::error::Context;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Profile;
use crate::query::ComputedColumns;

/// How contact information is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonForm {
    /// By channel, as the second version of the interface has it.
    ByChannel,
    /// As one list, as the third has it.
    Flat,
}

impl Engine {
    /// Some persons in JSON, in their order; those that are not there are left out. `computedAttributes` are there when
    /// the store has any: by the type of their values, and then by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn people_json(&self, ids: &[PersonId], form: PersonForm) -> Result<Vec<Value>> {
        let profiles: Vec<Profile> = self.profiles(ids)?.into_iter().flatten().collect();
        let computed = self.computed_of(&profiles).await?;
        let told = profiles.iter().map(|profile| {
            let mut person = match form {
                PersonForm::ByChannel => profile.to_json(),
                PersonForm::Flat => profile.to_flat_json(),
            };
            if let (Value::Object(person), Some(values)) = (&mut person, computed.get(&profile.id)) {
                person.insert("computedAttributes".to_owned(), values.clone());
            }
            person
        });
        Ok(told.collect())
    }

    async fn computed_of(&self, profiles: &[Profile]) -> Result<HashMap<PersonId, Value>> {
        let columns = EngineComputed(Arc::downgrade(&self.inner));
        let fields = columns.fields()?;
        if fields.is_empty() || profiles.is_empty() {
            return Ok(HashMap::new());
        }
        let doing = || "could not put computed attributes together".to_owned();
        let snapshot = self.storage().snapshot().await?;
        let mut ids: Vec<i64> = profiles.iter().map(|profile| profile.id.0).collect();
        ids.sort_unstable();
        let mut values = Vec::new();
        for field in &fields {
            let column = columns.column(&field.name, &snapshot).await?;
            values.push((field.name.as_str(), column.of(&ids)?, true));
        }
        let batch = RecordBatch::try_from_iter_with_nullable(values).internal(doing)?;
        let (cells, mut text) = (Cells::of(&batch)?, String::new());
        let cells = cells.columns()?;
        let mut told = HashMap::new();
        for (row, id) in ids.iter().enumerate() {
            text.clear();
            object(fields.iter().map(|field| field.name.as_str()).zip(&cells), row, &mut text);
            let mut by_name: Map<String, Value> = serde_json::from_str(&text).internal(doing)?;
            let mut by_kind: Map<String, Value> = Map::new();
            for field in &fields {
                let of_kind = by_kind.entry(field.kind.name()).or_insert_with(|| Value::Object(Map::new()));
                if let (Value::Object(of_kind), Some(value)) = (of_kind, by_name.remove(&field.name)) {
                    of_kind.insert(field.name.clone(), value);
                }
            }
            told.insert(PersonId(*id), Value::Object(by_kind));
        }
        Ok(told)
    }
}
