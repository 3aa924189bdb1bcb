//! Decisions, and the work they lead to.

pub mod absorb;
pub mod audit;
pub mod capture;
pub mod clock;
pub mod course;
pub mod database;
pub mod declare;
pub mod derived;
pub mod edit;
pub mod fitted;
pub mod header;
pub mod identity;
pub mod keyed_rows;
pub mod latest;
pub mod lost;
pub mod neighbours;
pub mod purge;
mod rebuild;
mod rebuild_rows;
mod rebuild_surplus;
pub mod renames;
pub mod restore;
pub mod restore_all;
pub mod rules;
pub mod settle;
pub mod snapshot;
pub mod talon;
