//! Decisions, and the work they lead to.

pub mod absorb;
pub mod audit;
pub mod capture;
pub mod clock;
pub mod course;
pub mod database;
pub mod declare;
pub mod lost;
pub mod neighbours;
pub mod purge;
pub mod restore;
pub mod settle;
pub mod snapshot;
pub mod talon;
