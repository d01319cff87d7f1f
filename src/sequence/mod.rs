//! What an order of events means: pure algorithms over one person's events, without files and without SQL.

pub(crate) mod retention;
