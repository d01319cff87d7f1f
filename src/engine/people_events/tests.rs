//! A stop at every step between a change of persons and the end of its events: each event is stored exactly once.

use std::sync::Arc;
use std::sync::Mutex;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::json;

use crate::engine::Config;
use crate::engine::Engine;
use crate::engine::PersonOp;
use crate::error::Error;
use crate::error::Result;
use crate::person::Identifier;
use crate::person::IdentifierType;
use crate::person::PersonWrite;
use crate::storage::steps::Step;
use crate::storage::steps::Steps;

/// Stops at the nth time that a step is reached, and at every step after it.
#[derive(Debug)]
struct StopAt {
    step: Step,
    passes: Mutex<Option<usize>>,
}

impl Steps for StopAt {
    fn reached(&self, step: Step) -> Result<()> {
        let mut passes = self.passes.lock().unwrap();
        match *passes {
            None => {}
            Some(left) if step != self.step || left > 0 => {
                *passes = Some(left - usize::from(step == self.step));
                return Ok(());
            }
            Some(_) => *passes = None,
        }
        Err(Error::cancelled("stopped by a test"))
    }
}

fn config(folder: &tempfile::TempDir) -> Config {
    Config { data: folder.path().join("data"), ..Config::default() }
}

fn ops() -> Vec<PersonOp> {
    let who = Identifier { kind: IdentifierType::ExternalId, id: "ana".to_owned(), sender: String::new() };
    let write = |json| PersonWrite::from_json(&json).unwrap();
    vec![
        PersonOp::Create(write(json!({"externalId": "ana", "firstName": "Ana"}))),
        PersonOp::Tag { who: who.clone(), tag: "vip".to_owned() },
        PersonOp::Tag { who, tag: "early".to_owned() },
        PersonOp::Create(write(json!({"externalId": "bo"}))),
    ]
}

async fn count(engine: &Engine, of: &str) -> i64 {
    let sql = format!("SELECT count(*), count(DISTINCT eventId) FROM {of}");
    let rows = engine.ask(&sql).await.unwrap().collect().await.unwrap();
    let at = |column: usize| rows[0].column(column).as_primitive::<Int64Type>().value(0);
    assert_eq!(at(0), at(1), "{of}");
    at(0)
}

#[tokio::test]
async fn each_event_about_a_person_is_stored_once_wherever_a_stop_falls() {
    let stops = [
        (Step::Noted, 0),
        (Step::Logged, 0),
        (Step::Told, 0),
        // The flush that ends the work.
        (Step::IdsSealed, 0),
        (Step::FilesWritten, 0),
        (Step::Recorded, 0),
        (Step::TableCommitted, 0),
        (Step::TableCommitted, 1),
        (Step::Published, 0),
        (Step::Flushed, 0),
    ];
    for (step, passes) in stops {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(config(&folder)).await.unwrap();
        for statement in engine.parse("ENABLE EVENT personCreated, tagAdded").unwrap() {
            engine.execute(&statement).await.unwrap();
        }
        engine.close().await.unwrap();

        let stop = Arc::new(StopAt { step, passes: Mutex::new(Some(passes)) });
        let engine = Engine::open_with(config(&folder), Some(stop)).await.unwrap();
        let written = engine.write_people(ops(), "API").await;
        let closed = engine.close().await;
        assert!(written.is_err() || closed.is_err(), "{step:?} is never reached");

        for _ in 0..2 {
            let engine = Engine::open(config(&folder)).await.unwrap();
            assert_eq!(count(&engine, "personCreated").await, 2, "{step:?}");
            assert_eq!(count(&engine, "tagAdded").await, 2, "{step:?}");
            assert!(engine.storage().outbox(10).unwrap().is_empty(), "{step:?}");
            engine.close().await.unwrap();
        }
    }
}
