//! Synchronisation: what travels between sites, and what becomes of it there.

pub mod apply;
mod arrival;
pub mod beginnings;
pub mod breaches;
pub mod canonical;
pub mod changes;
pub mod conflicts;
pub mod decide;
mod displaced;
pub mod emit;
mod field_marks;
mod free_number;
pub mod heard;
pub mod identity;
pub mod incoming;
pub mod layout;
pub mod lines;
mod loading;
pub mod loads;
pub mod localize;
pub mod merge;
mod merging;
mod outgoing;
pub mod ownership;
pub mod process;
mod pruning;
mod quarantine;
mod ranks;
pub mod receive;
mod referrers;
pub mod sequence;
pub mod sites;
mod standing;
mod surplus;
pub mod tables;
mod taking_over;
mod together;
pub mod why;
mod write_rows;
mod writing;

#[cfg(test)]
mod orders;
