//! Synchronisation: what travels between sites, and what becomes of it there.

pub mod decide;
pub mod merge;
pub mod sites;

#[cfg(test)]
mod orders;
