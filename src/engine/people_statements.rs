//! Statements about persons: what a query gives becomes writes, all of a statement or none.

use arrow::json::LineDelimitedWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use serde_json::Value;

use crate::engine::Answer;
use crate::engine::Engine;
use crate::engine::PersonOp;
use crate::engine::Rows;
use crate::engine::Verdict;
use crate::engine::answer::Table;
use crate::engine::people_rows::Target;
use crate::engine::people_rows::target;
use crate::engine::people_rows::write_of;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Fault;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::Mode;
use crate::sql::PeopleStatement;
use crate::sql::Who;

/// Who writes, as the profile says it.
const ORIGIN: &str = "API";

impl Engine {
    pub(crate) async fn people_statement(&self, statement: &PeopleStatement) -> Result<Answer> {
        let said = match statement {
            PeopleStatement::Insert { columns, query } => self.insert_people(columns, query).await?,
            PeopleStatement::Update { columns, query } => self.update_people(columns, query).await?,
            PeopleStatement::Delete { query } => {
                let who = self.asked(query).await?;
                let ops = who.into_iter().map(|who| PersonOp::Delete { who }).collect();
                let done = self.write_people_whole(ops, ORIGIN).await?;
                format!("{} deleted", persons(done.len()))
            }
            PeopleStatement::Tag { who, tags, add } => self.tag_people(who, tags, *add).await?,
            PeopleStatement::Merge { who } => self.merge_people(who).await?,
            PeopleStatement::Unmerge { who } => {
                let id = self.own_id_of(who)?;
                let into = self.unmerge(id).await?;
                format!("person {id} is no longer merged into {into}")
            }
            PeopleStatement::CreateAttribute(attribute) => {
                let said = format!("attribute {} created, {}", attribute.name, attribute.data_type);
                self.add_custom_attribute(attribute.clone()).await?;
                said
            }
            PeopleStatement::DropAttribute(name) => {
                let had = self.remove_custom_attribute(name).await?;
                format!("attribute {name} dropped; {} had a value", persons(had))
            }
            PeopleStatement::ShowAttributes => return Ok(Answer::Rows(Rows::of(self.show_attributes()?))),
        };
        Ok(Answer::Done(said))
    }

    fn show_attributes(&self) -> Result<arrow::record_batch::RecordBatch> {
        let attributes = self.custom_attributes();
        let fields = |one: &crate::person::CustomAttribute| {
            let fields = one.object_schema.iter().map(|(name, kind)| format!("{name} {kind}"));
            Some(fields.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
        };
        Table::default()
            .texts("name", attributes.iter().map(|one| Some(one.name.clone())))
            .texts("type", attributes.iter().map(|one| Some(one.data_type.name())))
            .texts("fields", attributes.iter().map(fields))
            .batch()
    }

    async fn insert_people(&self, columns: &[String], query: &str) -> Result<String> {
        let attributes = self.custom_attributes();
        let targets = columns.iter().map(|one| target(one, &attributes)).collect::<Result<Vec<_>>>()?;
        let rows = self.rows_of(query).await?;
        let mut ops = Vec::with_capacity(rows.len());
        for (at, row) in rows.into_iter().enumerate() {
            if row.len() != targets.len() {
                let message =
                    format!("{} columns are named and row {} has {}", targets.len(), at + 1, row.len());
                return Err(Error::invalid(message));
            }
            ops.push(PersonOp::Create(write_of(&targets, row).map_err(|faults| refused(at, &faults))?));
        }
        let done = self.write_people_whole(ops, ORIGIN).await?;
        Ok(format!("{} inserted", persons(done.len())))
    }

    async fn update_people(&self, columns: &[String], query: &str) -> Result<String> {
        let attributes = self.custom_attributes();
        let targets = columns.iter().map(|one| target(one, &attributes)).collect::<Result<Vec<_>>>()?;
        if targets.contains(&Target::Tags) {
            return Err(Error::invalid(
                "tags are added by TAG PERSONS WHERE … WITH 'tag' and removed by UNTAG PERSONS WHERE … WITH 'tag'",
            ));
        }
        if targets.iter().any(|one| matches!(one, Target::Contacts(..))) {
            return Err(Error::invalid(
                "emails and phones are changed by milepost people import, not by UPDATE",
            ));
        }
        let mut ops = Vec::new();
        for (at, mut row) in self.rows_of(query).await?.into_iter().enumerate() {
            let who = own_id(row.remove(0))?;
            let write = write_of(&targets, row).map_err(|faults| refused(at, &faults))?;
            ops.push(PersonOp::Write { who, write, mode: Mode::Update });
        }
        let done = self.write_people_whole(ops, ORIGIN).await?;
        Ok(changed("updated", &done))
    }

    async fn tag_people(&self, who: &[Who], tags: &[String], add: bool) -> Result<String> {
        let who = self.everybody(who).await?;
        let op = |who: &Identifier, tag: &String| match add {
            true => PersonOp::Tag { who: who.clone(), tag: tag.clone() },
            false => PersonOp::Untag { who: who.clone(), tag: tag.clone() },
        };
        let ops = tags.iter().flat_map(|tag| who.iter().map(move |who| op(who, tag))).collect();
        let done = self.write_people_whole(ops, ORIGIN).await?;
        Ok(changed(if add { "tagged" } else { "untagged" }, &done))
    }

    async fn merge_people(&self, who: &[Who]) -> Result<String> {
        let who = self.everybody(who).await?;
        let done = self.write_people_whole(vec![PersonOp::Merge { who, write: None }], ORIGIN).await?;
        Ok(match done.first() {
            Some(Verdict::Updated(id)) => format!("merged into person {id}"),
            _ => "they are one person already; nothing changed".to_owned(),
        })
    }

    async fn everybody(&self, who: &[Who]) -> Result<Vec<Identifier>> {
        let mut all = Vec::new();
        for one in who {
            match one {
                Who::Named(text) => all.push(self.who(text)?),
                Who::Asked(query) => all.extend(self.asked(query).await?),
            }
        }
        Ok(all)
    }

    /// The persons whose ids a query gives.
    async fn asked(&self, query: &str) -> Result<Vec<Identifier>> {
        let rows = self.rows_of(query).await?;
        rows.into_iter().filter_map(|row| row.into_iter().next()).map(own_id).collect()
    }

    /// The rows of a query, each value as JSON.
    async fn rows_of(&self, query: &str) -> Result<Vec<Vec<Value>>> {
        let doing = || "could not read the values of the statement".to_owned();
        // Places in the query are not those of the statement.
        let unplaced = |error: Error| Error::new(error.kind(), error.to_string());
        let batches = self.ask(query).await.map_err(unplaced)?.collect().await.map_err(unplaced)?;
        let mut all = Vec::new();
        for batch in &batches {
            let mut writer: LineDelimitedWriter<Vec<u8>> =
                WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
            // By place: two columns may have one name.
            let fields = batch.schema();
            let fields = fields
                .fields()
                .iter()
                .enumerate()
                .map(|(at, field)| field.as_ref().clone().with_name(at.to_string()));
            let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
            let numbered = arrow::record_batch::RecordBatch::try_new(schema.into(), batch.columns().to_vec());
            writer.write(&numbered.internal(doing)?).internal(doing)?;
            writer.finish().internal(doing)?;
            for line in writer.into_inner().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let Value::Object(row) = serde_json::from_slice(line).internal(doing)? else { continue };
                let mut row: Vec<(usize, Value)> =
                    row.into_iter().filter_map(|(at, value)| Some((at.parse().ok()?, value))).collect();
                row.sort_by_key(|(at, _)| *at);
                all.push(row.into_iter().map(|(_, value)| value).collect());
            }
        }
        Ok(all)
    }
}

fn own_id(value: Value) -> Result<Identifier> {
    match value {
        Value::Number(id) => {
            Ok(Identifier { kind: IdentifierType::Id, id: id.to_string(), sender: String::new() })
        }
        other => Err(Error::internal(format!("a person has the id {other}"))),
    }
}

fn refused(at: usize, faults: &[Fault]) -> Error {
    let fault = faults.first().map_or("", |fault| fault.message.as_str());
    Error::invalid(format!("row {}: {fault}; nothing was changed", at + 1))
}

fn persons(count: usize) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} persons") }
}

/// How many persons are otherwise than before, and how many were so already.
fn changed(verb: &str, verdicts: &[Verdict]) -> String {
    let same = verdicts.iter().filter(|one| matches!(one, Verdict::NotModified(_))).count();
    let mut ids: Vec<PersonId> = verdicts
        .iter()
        .filter(|one| matches!(one, Verdict::Updated(_)))
        .filter_map(Verdict::person)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let already = if same == 0 { String::new() } else { format!("; {same} times nothing changed") };
    format!("{} {verb}{already}", persons(ids.len()))
}
