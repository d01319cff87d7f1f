//! Questions of `analysis`, from a statement, from JSON or from a program.

use serde_json::Value;

use crate::analysis::Analysis;
use crate::analysis::FunnelRequest;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::error::Result;
use crate::quote::literal;

impl Engine {
    /// Answers a question over the store as it is now. Days are those of the store's zone, or UTC, where the question
    /// names none.
    pub async fn analyse(&self, question: &Analysis) -> Result<Rows> {
        self.ask(&format!("SELECT * FROM analysis({})", literal(&question.to_json()?))).await
    }

    /// [`Engine::analyse`] of the question in a JSON text: an object with `kind` and the fields of that request; a funnel
    /// is of the kind `funnel`.
    pub async fn analyse_json(&self, text: &str) -> Result<Rows> {
        match funnel(text) {
            Some(request) => self.funnel(&FunnelRequest::parse(&request)?).await,
            None => self.analyse(&Analysis::from_json(text)?).await,
        }
    }
}

/// The funnel of a question that is one.
fn funnel(text: &str) -> Option<String> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return None };
    let kind = fields.remove("kind")?;
    (kind == "funnel").then(|| Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use crate::engine::IngestBatch;
    use crate::engine::IngestOptions;

    const QUESTIONS: [&str; 9] = [
        "RETENTION * THEN * PER DAY FOR 3 CELLS",
        "RETENTION pageView THEN seat PER DAY FOR 2 BY path CELLS IN ZONE 'Europe/Berlin'",
        "TREND pageView, PERSONS OF seat PER DAY BY \"personId\" TOP 2",
        "LIFECYCLE *",
        "STICKINESS pageView",
        "SESSIONS PAUSE 3 HOURS",
        "PATHS FROM pageView STEPS 2 WITHIN 2 DAYS",
        "PERSONS WHERE SEQUENCE pageView THEN seat WITHIN 1 DAY OR DID seat AT LEAST 2 TIMES",
        "PERSONS WHERE NOT DID seat IN LAST 1 DAYS AND DID pageView FIRST TIME BEFORE '2026-06-02'",
    ];

    async fn rows(engine: &Engine, sql: &str) -> String {
        let answer = engine.execute(&engine.parse(sql).unwrap()[0]).await.unwrap();
        let crate::engine::Answer::Rows(rows) = answer else { return String::new() };
        let batches = rows.collect().await.unwrap();
        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    }

    fn event(number: i64) -> String {
        let (kind, key) = if number % 5 == 0 { ("seat", "row") } else { ("pageView", "path") };
        let (day, hour) = (1 + number * 7 % 4, number * 11 % 24);
        format!(
            "{{\"definitionId\":\"{kind}\",\"eventId\":\"e{number}\",\"externalPersonId\":\"p{}\",\
             \"occurredTime\":\"2026-06-0{day}T{hour:02}:00:00Z\",\"properties\":{{\"{key}\":\"/{}\"}}}}\n",
            number * number % 13,
            number % 3
        )
    }

    async fn store(folder: &tempfile::TempDir) -> Engine {
        let engine =
            Engine::open(Config { data: folder.path().join("data"), ..Config::default() }).await.unwrap();
        rows(&engine, "CREATE EVENT seat TITLE 'Seat' (row STRING)").await;
        rows(&engine, "ENABLE EVENT pageView").await;
        engine
    }

    async fn ingest(engine: &Engine, numbers: std::ops::Range<i64>) {
        let lines: String = numbers.map(event).collect();
        let report = engine.ingest(IngestBatch::lines(lines), IngestOptions::default()).await.unwrap();
        assert_eq!((report.stored, report.refused), (report.rows.len() as u64, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn events_count_the_same_in_the_log_and_in_the_lake() {
        let folder = tempfile::tempdir().unwrap();
        let engine = store(&folder).await;
        ingest(&engine, 0..60).await;
        engine.storage().flush().await.unwrap();
        ingest(&engine, 60..120).await;
        let mut before = Vec::new();
        for question in QUESTIONS {
            before.push(rows(&engine, question).await);
        }
        engine.storage().flush().await.unwrap();
        engine.compact(|_, _| ()).await.unwrap();
        for (question, before) in QUESTIONS.iter().zip(before) {
            assert_eq!(rows(&engine, question).await, before, "{question}");
            assert!(before.lines().count() > 4, "{question} has no answer: {before}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_live_segment_follows_events_and_knows_who_entered_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let engine = store(&folder).await;
        ingest(&engine, 0..3).await;
        rows(&engine, "CREATE SEGMENT quiet AS PERSONS WHERE DID * AND NOT DID seat").await;
        let stays = "SELECT COUNT(*) AS stays, COUNT(\"left\") AS gone FROM system.segment_members";
        assert!(rows(&engine, stays).await.contains("| 2     | 0    |"), "persons 1 and 4");
        // Number 25 is a seat of person 1.
        ingest(&engine, 25..26).await;
        rows(&engine, "REFRESH SEGMENTS").await;
        assert!(rows(&engine, stays).await.contains("| 2     | 1    |"), "person 1 has left");
        ingest(&engine, 3..5).await;
        rows(&engine, "REFRESH SEGMENT quiet").await;
        assert!(rows(&engine, stays).await.contains("| 4     | 1    |"), "persons 9 and 3 have entered");
        assert!(rows(&engine, "SELECT COUNT(*) AS persons FROM segments.quiet").await.contains("| 3 "));
        rows(&engine, "DROP SEGMENT quiet").await;
        assert!(rows(&engine, stays).await.contains("| 0     | 0    |"));
    }
}
