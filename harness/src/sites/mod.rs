//! A central database and its remote ones through a month: work, exchanges that go wrong in every way, and at the end a
//! judgement that all of them hold the same and that nothing vanished without being listed.

mod history;
mod judge;
mod month;
mod post;
pub mod runs;
mod schema;
mod site;
mod work;

pub use month::{Month, Sum, live};
