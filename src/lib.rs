//! Milepost keeps what people did and answers questions about it: a columnar engine for events.
//!
//! Events come in as JSON lines, CSV or logs, are checked against their definitions, lie as sorted Parquet under a
//! Delta log, answer SQL, and leave as gzip JSON. An [`Engine`] is one open data directory; it needs nothing else
//! running. The binary `milepost` is this library with a prompt in front.
//!
//! ```
//! use arrow::array::AsArray;
//! use arrow::datatypes::{Float64Type, Int64Type};
//! use milepost::{Answer, Config, Engine, FunnelRequest, ImportRequest, Quiet};
//!
//! # #[tokio::main]
//! # async fn main() -> milepost::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let engine = Engine::open(Config { data: folder.join("data"), ..Config::default() }).await?;
//!
//! // What an event may be.
//! for statement in engine.parse("CREATE EVENT seatReserved TITLE 'Seat reserved' (venueId NUMERIC, total DECIMAL)")? {
//!     engine.execute(&statement).await?;
//! }
//!
//! // Two of them, and one that is not what it should be.
//! let file = folder.join("events.jsonl");
//! # std::fs::write(&file, concat!(
//! #     r#"{"definitionId":"seatReserved","externalPersonId":"ana","occurredTime":"2026-06-01T18:30:00Z","properties":{"venueId":17,"total":62.5}}"#, "\n",
//! #     r#"{"definitionId":"seatReserved","externalPersonId":"bo","occurredTime":"2026-06-01T19:00:00Z","properties":{"venueId":17,"total":31}}"#, "\n",
//! #     r#"{"definitionId":"seatReserved","externalPersonId":"bo","occurredTime":"2026-06-01T19:00:00Z","properties":{"venueId":"17"}}"#, "\n",
//! # )).unwrap();
//! let inputs = vec![file.display().to_string()];
//! let report = engine.import(ImportRequest { inputs, ..ImportRequest::default() }, Box::new(Quiet)).await?;
//! assert_eq!((report.stored, report.refused), (2, 1));
//!
//! // A question.
//! let asked = engine.parse("SELECT SUM(total) FROM seatReserved WHERE venueId = 17")?;
//! let Answer::Rows(rows) = engine.execute(&asked[0]).await? else { unreachable!("a question answers rows") };
//! let batches = rows.collect().await?;
//! assert_eq!(batches[0].column(0).as_primitive::<Float64Type>().value(0), 93.5);
//!
//! // And how many persons reserved once, and a second time within a day.
//! let seat = r#"{"any": [{"event": "seatReserved"}]}"#;
//! let funnel = FunnelRequest::parse(&format!(r#"{{"steps": [{seat}, {seat}], "within": "1 day"}}"#))?;
//! let batches = engine.funnel(&funnel).await?.collect().await?;
//! let persons = batches[0].column_by_name("persons").map(|column| column.as_primitive::<Int64Type>().values());
//! assert_eq!(persons.map(|column| column.to_vec()), Some(vec![2, 0]));
//! # engine.close().await
//! # }
//! ```
//!
//! # The modules, from the top floor down
//!
//! | module | its question |
//! |---|---|
//! | [`cli`], [`server`] | what does a person at a terminal see, and what do programs talk to? |
//! | [`engine`] | who brings the layers together? |
//! | [`sql`] | what did the person type? |
//! | [`analysis`] | which way did persons go, who came back, how often? |
//! | [`ingest`], [`query`], [`export`] | how do bytes become checked events, how is SQL answered, how do events leave? |
//! | [`storage`] | where are events, and when are they safe? |
//! | [`person`] | who did it? |
//! | [`sequence`], [`schema`] | what do a person's events amount to, what may an event look like? |
//! | [`time`], [`ids`], [`value`] | the words that all of them share |
//! | [`error`] | what went wrong, and what can the caller do? |
//!
//! A module uses only modules of lower floors. The names below are those that a program needs; what lies deeper in the
//! modules may change from one version to the next.

pub mod analysis;
pub mod cli;
pub mod engine;
pub mod error;
pub mod export;
pub mod ids;
pub mod ingest;
pub mod person;
pub mod query;
pub mod quote;
pub mod schema;
pub mod sequence;
pub mod server;
pub mod sql;
pub mod storage;
pub mod time;
pub mod value;

pub use analysis::Analysis;
pub use analysis::FunnelRequest;
pub use engine::Answer;
pub use engine::Config;
pub use engine::Engine;
pub use engine::ImportRequest;
pub use engine::Proposal;
pub use engine::Rows;
pub use error::Error;
pub use error::Kind;
pub use error::Result;
pub use export::ExportReport;
pub use ingest::Progress;
pub use ingest::Quiet;
pub use ingest::Report;
pub use schema::Definition;
pub use schema::Property;
pub use schema::Registry;
pub use sql::Statement;
pub use time::Clock;
pub use time::Day;
pub use time::Micros;
pub use time::TimeRange;
