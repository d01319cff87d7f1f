//! What an order of events means: pure algorithms over one person's events, without files and without SQL.
//!
//! [`Funnel`] answers how far a person came through the steps of a funnel, and by which events. Its meaning is written
//! down once more, slowly, in `oracle`, which tests hold it against.

mod anchored;
mod any_order;
mod chain;
pub mod clickhouse;
mod exact;
mod funnel;
pub(crate) mod lifecycle;
mod matching;
mod next;
#[cfg(test)]
mod oracle;
mod ordered;
pub(crate) mod paths;
mod pattern;
pub(crate) mod retention;
mod rules;
pub(crate) mod sessions;
pub(crate) mod steps;
mod strict;
pub(crate) mod tally;
#[cfg(test)]
mod tests;

pub use funnel::Attempt;
pub use funnel::Funnel;
pub use next::Base;
pub use next::Next;
pub use pattern::Pattern;
pub use rules::Entry;
pub use rules::Exclusion;
pub use rules::Hit;
pub use rules::MOST_STEPS;
pub use rules::Order;
pub use rules::Reached;
pub use rules::Rules;
pub use rules::Step;
pub use rules::Ties;
