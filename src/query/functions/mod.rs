//! Our SQL functions: what plain SQL lacks for events, and what it gets wrong.

pub(crate) mod external;
pub(crate) mod json_text;
