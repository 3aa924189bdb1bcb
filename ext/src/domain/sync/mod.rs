//! Synchronisation: what travels between sites, and what becomes of it there.

pub mod canonical;
pub mod decide;
pub mod emit;
mod free_number;
pub mod heard;
pub mod identity;
pub mod incoming;
pub mod layout;
pub mod lines;
pub mod localize;
pub mod merge;
mod outgoing;
pub mod receive;
pub mod sequence;
pub mod sites;
mod writing;

#[cfg(test)]
mod orders;
