//! Funnels over events: the request, the events it needs, what is done with each person, and the table that answers.

mod answer;
mod buckets;
mod check;
mod fast;
mod histogram;
mod indexed;
mod plan;
mod question;
mod request;
mod runs;
mod table;
#[cfg(test)]
mod tests;

pub use request::By;
pub use request::Counting;
pub use request::Excluding;
pub use request::FunnelEntry;
pub use request::FunnelOrder;
pub use request::FunnelRequest;
pub use request::FunnelStep;
pub use request::FunnelTies;
pub use request::Histogram;
pub use request::Listing;
pub use request::Of;
pub use request::Per;
pub use request::Picked;
pub(crate) use table::FUNCTION;
pub(crate) use table::FunnelFunction;
