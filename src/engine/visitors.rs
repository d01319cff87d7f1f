//! Visitors who have not been seen for 45 days are forgotten with everything they did; whoever comes back is a new one.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use crate::engine::Engine;
use crate::error::Result;
use crate::ids::PersonId;
use crate::quote::literal;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;

/// How long somebody stays whom nobody has named and nobody sees.
const IDLE_DAYS: i64 = 45;
/// Visitors that are forgotten at once: their events leave the files together.
const AT_ONCE: usize = 10_000;

impl Engine {
    /// Forgets the visitors that are anonymous still and have done nothing for 45 days; says how many. Whoever takes
    /// events or imports waits.
    ///
    /// # Errors
    /// Those of forgetting; what was begun goes on with the next call.
    pub async fn forget_idle_visitors(&self) -> Result<usize> {
        self.forget_visitors_idle_since(Micros(self.now().0 - IDLE_DAYS * MICROS_PER_DAY)).await
    }

    /// [`Engine::forget_idle_visitors`] with another time: whoever was seen at it or later stays.
    pub(crate) async fn forget_visitors_idle_since(&self, since: Micros) -> Result<usize> {
        let _turn = self.turn_to_import().await;
        let idle = self.idle_visitors(since).await?;
        for some in idle.chunks(AT_ONCE) {
            // The session's snapshot would show them on, and hold their files.
            *self.session.lock().await = None;
            self.storage().forget_all(some).await?;
        }
        Ok(idle.len())
    }

    async fn idle_visitors(&self, since: Micros) -> Result<Vec<PersonId>> {
        let at = format!("TIMESTAMP {}", literal(&since.to_string()));
        let sql = format!(
            "SELECT \"personId\" FROM persons WHERE \"type\" = 'VISITOR' AND \"createdTime\" < {at} AND \"modifiedTime\" < {at} \
             AND \"personId\" NOT IN (SELECT \"personId\" FROM events WHERE \"occurredTime\" >= {at}) ORDER BY 1"
        );
        let rows = self.apart().session().await?.run(&sql).await?.collect().await?;
        let ids = rows.iter().flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec());
        Ok(ids.map(PersonId).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::Config;
    use crate::engine::IngestBatch;
    use crate::engine::IngestOptions;
    use crate::person::IdentifierType;
    use crate::person::PersonWrite;

    #[tokio::test]
    async fn an_idle_visitor_is_gone_with_what_it_did_and_nobody_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("data"), ..Config::default() };
        let engine = Engine::open(config).await.unwrap();
        for statement in engine.parse("CREATE EVENT seen (n NUMERIC)").unwrap() {
            engine.execute(&statement).await.unwrap();
        }
        let mut ids = Vec::new();
        for (visitor, session) in [("idle", "a"), ("idle", "b"), ("busy", "a"), ("named", "a")] {
            ids.push(engine.visit(visitor, session).await.unwrap());
        }
        let ana = PersonWrite::from_json(&json!({"externalId": "ana"})).unwrap();
        engine.set_person("named", "a", ana).await.unwrap();
        let event = |person: PersonId, at: Micros| json!({"definitionId": "seen", "personId": person.0, "occurredTime": at.to_string(), "properties": {"n": 1}});
        let (then, now) = (Micros(engine.now().0 - 60 * MICROS_PER_DAY), engine.now());
        let rows = [event(ids[0], then), event(ids[1], then), event(ids[3], then), event(ids[2], now)];
        engine.ingest(IngestBatch::rows(&rows), IngestOptions::default()).await.unwrap();

        assert_eq!(engine.forget_idle_visitors().await.unwrap(), 0, "they were made just now");
        // As if it were later: everybody was made before, and one was seen since.
        let later = Micros(engine.now().0 + 1);
        let seen = event(ids[2], Micros(later.0 + 1));
        engine.ingest(IngestBatch::rows(&[seen]), IngestOptions::default()).await.unwrap();
        assert_eq!(engine.forget_visitors_idle_since(later).await.unwrap(), 1);
        assert_eq!(engine.forget_visitors_idle_since(later).await.unwrap(), 0);
        let persons = engine.storage().persons().unwrap();
        let owner = |visitor: &str| persons.find_by(IdentifierType::Visitor, visitor, "");
        assert_eq!(owner("idle"), None);
        assert!(owner("busy").is_some());
        assert!(persons.find_by(IdentifierType::ExternalId, "ana", "").is_some());
        let rows = engine.ask("SELECT count(*) FROM seen").await.unwrap().collect().await.unwrap();
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 3);
        assert_ne!(engine.visit("idle", "a").await.unwrap(), ids[0]);
    }
}
