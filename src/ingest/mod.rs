//! From bytes to checked events: parse, validate, resolve the person, drop duplicates, report.

pub mod source;
