//! Pages of persons by the published filter, and lists of profiles that grow by items.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::Value;

use crate::analysis::segment::persons_where;
use crate::engine::Engine;
use crate::engine::PersonOp;
use crate::engine::Verdict;
use crate::engine::people::Writer;
use crate::engine::people::refused;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::CustomType;
use crate::person::FaultCode;
use crate::person::Identifier;
use crate::person::Mode;
use crate::person::PersonKind;
use crate::person::PersonWrite;
use crate::quote::quoted;

/// Which persons, in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersonsPage {
    /// In the query language of segments; everybody when it is left out.
    pub filter: Option<Value>,
    /// A column of `persons`, and whether the greatest come first; ids when it is left out.
    pub order: Option<(String, bool)>,
    pub skip: usize,
    pub take: usize,
    /// Whether to count them all.
    pub count: bool,
}

impl Engine {
    /// The ids of a page of persons, and how many there are on all pages. Anonymous visitors are not among them.
    ///
    /// # Errors
    /// `Invalid` and `NotFound` for what the filter says.
    pub async fn list_persons(&self, page: &PersonsPage) -> Result<(Vec<PersonId>, Option<i64>)> {
        let mut wanted = "type <> 'VISITOR'".to_owned();
        if let Some(filter) = &page.filter {
            wanted = format!("{wanted} AND ({})", persons_where(filter, self.now())?);
        }
        let mut order = "\"personId\"".to_owned();
        if let Some((column, down)) = &page.order {
            let way = if *down { "DESC" } else { "ASC" };
            order = format!("{} {way} NULLS LAST, {order}", quoted(column));
        }
        let (skip, take) = (page.skip, page.take);
        let sql = format!(
            "SELECT \"personId\" FROM persons WHERE {wanted} ORDER BY {order} LIMIT {take} OFFSET {skip}"
        );
        let engine = self.apart();
        let ids = engine.numbers(&sql).await?.into_iter().map(PersonId).collect();
        let total = match page.count {
            true => engine.numbers(&format!("SELECT COUNT(*) FROM persons WHERE {wanted}")).await?.pop(),
            false => None,
        };
        Ok((ids, total))
    }

    /// The first column of an answer, which is of numbers.
    async fn numbers(&self, sql: &str) -> Result<Vec<i64>> {
        // Places in this text are not the caller's.
        let unplaced = |error: Error| Error::new(error.kind(), error.to_string());
        let batches = self.session().await?.run(sql).await.map_err(unplaced)?.collect().await;
        let batches = batches.internal(|| "could not list persons".to_owned())?;
        Ok(batches
            .iter()
            .flat_map(|one| one.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect())
    }

    /// Adds items to a custom attribute that is a list, of the person that an identifier leads to.
    pub async fn append_to_list(
        &self,
        who: Identifier,
        name: &str,
        items: Vec<Value>,
        origin: &str,
    ) -> Result<Verdict> {
        let (name, origin) = (name.to_owned(), origin.to_owned());
        self.change_people(move |people| Writer { people, origin: &origin }.append(who, &name, items)).await
    }

    /// Changes a lead, as web pages may; a customer is changed by nobody who only has a page.
    pub async fn update_lead(&self, who: Identifier, write: PersonWrite, origin: &str) -> Result<Verdict> {
        let origin = origin.to_owned();
        self.change_people(move |people| {
            let mut writer = Writer { people, origin: &origin };
            match writer.not_a_lead(&who)? {
                Some(refused) => Ok(refused),
                // Who it is stays what it is.
                None => {
                    let write = PersonWrite { kind: None, ..write };
                    writer.write(PersonOp::Write { who, write, mode: Mode::Update })
                }
            }
        })
        .await
    }

    /// [`Engine::append_to_list`], of a lead only.
    pub async fn append_to_lead(
        &self,
        who: Identifier,
        name: &str,
        items: Vec<Value>,
        origin: &str,
    ) -> Result<Verdict> {
        let (name, origin) = (name.to_owned(), origin.to_owned());
        self.change_people(move |people| {
            let mut writer = Writer { people, origin: &origin };
            match writer.not_a_lead(&who)? {
                Some(refused) => Ok(refused),
                None => writer.append(who, &name, items),
            }
        })
        .await
    }
}

impl Writer<'_, '_> {
    /// The refusal of a change that only leads may be given.
    fn not_a_lead(&self, who: &Identifier) -> Result<Option<Verdict>> {
        let profile = match self.people.owner(who) {
            Some(id) => self.people.profile(id)?,
            None => None,
        };
        let message = match profile.map(|one| one.kind) {
            Some(PersonKind::Lead) => return Ok(None),
            Some(PersonKind::Customer) => "the person is a customer, which a page may not change",
            _ => "nobody is named yet; name the person first",
        };
        Ok(Some(refused(FaultCode::Invalid, "type", message.to_owned())))
    }

    fn append(&mut self, who: Identifier, name: &str, items: Vec<Value>) -> Result<Verdict> {
        let known = self.people.attributes().get(name).map(|one| one.data_type);
        match known {
            Some(CustomType::ListOfObjects) => {}
            Some(other) => {
                let message = format!("\"{name}\" is of type {other}; items are added to a LIST_OF_OBJECTS");
                return Ok(refused(FaultCode::Invalid, name, message));
            }
            None => {
                let message = self.people.attributes().unknown(name);
                return Ok(refused(FaultCode::NotFound, name, message));
            }
        }
        let before = match self.people.owner(&who) {
            Some(id) => self.people.profile(id)?,
            None => None,
        };
        let Some(before) = before else {
            let message = format!("nobody is known by the {} \"{}\"", who.kind, who.id);
            return Ok(refused(FaultCode::NotFound, "identifier", message));
        };
        let mut all = before.custom.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        all.extend(items);
        let mut write = PersonWrite::default();
        write.custom.insert(name.to_owned(), Some(Value::Array(all)));
        self.write(PersonOp::Write { who, write, mode: Mode::Update })
    }
}
