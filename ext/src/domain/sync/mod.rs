//! Synchronisation: what travels between sites, and what becomes of it there.

pub mod canonical;
pub mod decide;
mod free_number;
pub mod identity;
pub mod incoming;
pub mod layout;
pub mod localize;
pub mod merge;
pub mod sites;

#[cfg(test)]
mod orders;
