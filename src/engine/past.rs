//! `SELECT … AS OF`: questions about the store as it was.

use crate::engine::Engine;
use crate::engine::Rows;
use crate::engine::exports::moment;
use crate::error::Error;
use crate::error::Result;
use crate::sql::Past;
use crate::sql::PastMoment;
use crate::storage::AsOf;
use crate::storage::Moment;

/// The table that has the events of all definitions.
const ALL_EVENTS: &str = "events";

impl Engine {
    /// Plain SQL over the store as it was.
    pub(crate) async fn ask_past(&self, past: &Past) -> Result<Rows> {
        let when = match &past.moment {
            PastMoment::Seq(seq) => Moment::Seq(*seq),
            PastMoment::Time(text) => {
                Moment::Time(moment(text, self.config().zone).map_err(|error| error.at(past.place))?)
            }
        };
        let told = self.storage().snapshot_as_of(when).await;
        let AsOf { snapshot, refused } =
            told.map_err(|error| if error.place().is_none() { error.at(past.place) } else { error })?;
        // Nobody may take what is left for the whole: neither by all events, nor by a view over them.
        let named = |id: &str| past.words.iter().any(|word| word == ALL_EVENTS || word.contains(id));
        if let Some((_, why)) = refused.iter().find(|(id, _)| named(id)) {
            return Err(Error::not_found(why.clone()).at(past.place));
        }
        let session = match refused.is_empty() {
            true => self.session().await?,
            false => self.apart().session().await?,
        };
        let rows = session.at(snapshot).await?.run(&past.query).await?;
        Ok(Rows::new(rows.schema(), rows))
    }
}
