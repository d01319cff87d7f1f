//! What keeps a store in order: retention, forgetting, verification, backups.

use arrow::record_batch::RecordBatch;

use crate::engine::Config;
use crate::engine::Engine;
use crate::engine::answer::Table;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::ids::PersonId;
use crate::person::IdentifierType;
use crate::storage::Retention;
use crate::storage::Verified;

impl Engine {
    /// Keeps the events of a definition so long from now on, and removes those that are older; none keeps all.
    pub(crate) async fn set_retention(&self, id: &str, retention: Option<&str>) -> Result<String> {
        let registry = self.storage().registry();
        let id = registry.get(id)?.id.to_string();
        let retention = retention.map(str::parse::<Retention>).transpose()?;
        self.storage().catalog().set_retention(&id, retention)?;
        let Some(kept) = retention else { return Ok(format!("events of {id} are kept for ever")) };
        let removed = self.storage().expire().await?;
        Ok(match removed.events {
            0 => format!("events of {id} are kept for {kept}; none is older"),
            1 => format!("events of {id} are kept for {kept}; 1 event was older and is removed"),
            events => {
                format!("events of {id} are kept for {kept}; {events} events were older and are removed")
            }
        })
    }

    /// One row for each definition whose events are not kept for ever.
    pub(crate) fn retention_table(&self) -> Result<RecordBatch> {
        let kept = self.storage().catalog().retentions()?;
        Table::default()
            .texts("definition", kept.iter().map(|(id, _)| Some(id)))
            .texts("kept_for", kept.iter().map(|(_, kept)| Some(kept.to_string())))
            .batch()
    }

    /// Removes everything that is stored of a person; the receipt, as JSON. Whoever takes events or imports waits.
    ///
    /// # Errors
    /// `NotFound` when nobody is known so.
    pub async fn forget_person(&self, kind: Option<&str>, id: &str) -> Result<String> {
        let kind = match kind {
            Some(kind) => identifier_kind(kind)?,
            None => IdentifierType::ExternalId,
        };
        let _turn = self.turn_to_import().await;
        let person = self.find_one(kind, id)?;
        // The session's snapshot would show the person on, and hold its files.
        *self.session.lock().await = None;
        let receipt = self.storage().forget(person).await?;
        serde_json::to_string_pretty(&receipt).internal(|| "could not write the receipt".to_owned())
    }

    fn find_one(&self, kind: IdentifierType, id: &str) -> Result<PersonId> {
        self.storage().known_persons().owner(kind, id, "")?.ok_or_else(|| {
            Error::not_found(format!(
                "nobody is known by the {kind} \"{id}\"; FORGET PERSON takes an external id, or ID, PHONE or EMAIL before it"
            ))
        })
    }

    /// Reads everything that is stored and holds it against itself; the path of each file is told from several threads.
    pub async fn verify(&self, reading: impl Fn(&str) + Send + Sync + 'static) -> Result<Verified> {
        self.storage().verify(reading).await
    }

    pub(crate) async fn verify_table(&self) -> Result<RecordBatch> {
        let found = self.verify(|_| {}).await?;
        let all = found.faults.len() as u64 + found.more_faults;
        Table::default()
            .numbers("files", [found.files])
            .numbers("events", [found.events])
            .numbers("bytes", [found.bytes])
            .numbers("faults", [all])
            .texts("first_fault", [found.faults.first()])
            .batch()
    }

    /// Copies the store into a new folder or a new place in a bucket, as of now, while it is in use; says what it did.
    pub async fn backup(&self, into: &str) -> Result<String> {
        let copied = self.storage().backup(into).await?;
        Ok(format!("{} files, {} bytes are in \"{into}\"", copied.files, copied.bytes))
    }
}

/// Makes the data directory of a configuration from a backup; says what it did.
///
/// # Errors
/// `NotFound` when there is no backup, `Conflict` when there is a data directory with something in it.
pub async fn restore(config: &Config, from: &str) -> Result<String> {
    let done = crate::storage::restore(from, &config.data, config.lake.as_deref()).await?;
    Ok(format!("{} files, {} bytes are in \"{}\"", done.files, done.bytes, config.data.display()))
}

fn identifier_kind(kind: &str) -> Result<IdentifierType> {
    let known = ["ID", "EXTERNAL_ID", "PHONE", "EMAIL"];
    let upper = kind.to_ascii_uppercase();
    match known.contains(&upper.as_str()) {
        true => upper.parse(),
        false => {
            let hint = did_you_mean(&upper, known);
            Err(Error::invalid(format!("a person is named by {}, found {kind}{hint}", known.join(", "))))
        }
    }
}
