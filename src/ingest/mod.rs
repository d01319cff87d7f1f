//! From bytes to checked events: parse, validate, resolve the person, drop duplicates, report.

pub mod json;
mod number;
pub mod source;
