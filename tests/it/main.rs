//! Everything that a person does with the binary, in one test binary of its own that links nothing of the engine.

#![allow(clippy::unwrap_used)]

mod harness;

mod cases;
mod definitions;
mod durability;
mod events_api;
mod export;
mod export_api;
mod first_contact;
mod funnels;
mod hostile;
mod housekeeping;
mod import;
mod killed;
mod live;
mod mistakes;
mod mobile;
mod past;
mod people;
mod people_api;
mod queries;
mod questions;
mod segments_api;
mod server;
mod sql;
mod tail;
