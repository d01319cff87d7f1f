//! How fast the stations of an event's way are, one by one: checked, written, logged, walked through, asked about,
//! exported.
//!
//! All on generated events with a fixed seed, so that two runs differ only by the code and the machine.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

mod data;
mod decode;
mod export;
mod funnel;
mod live;
mod scan;
mod sequence;
mod store;
mod validate;
mod write;

use std::time::Duration;

use criterion::Criterion;

use crate::store::Shared;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let shared = Shared::default();
    validate::run(&mut criterion);
    write::run(&mut criterion);
    live::run(&mut criterion);
    sequence::run(&mut criterion);
    scan::run(&mut criterion, &shared);
    decode::run(&mut criterion, &shared);
    funnel::run(&mut criterion, &shared);
    export::run(&mut criterion, &shared);
    criterion.final_summary();
}
