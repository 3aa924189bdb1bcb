//! The program `talon`: carries the flows of the Talon extension between sites. It decides nothing of what is in them: the
//! extension says what to send and what to accept, in SQL.

pub mod arguments;
pub mod by_hand;
pub mod chunk;
pub mod database;
pub mod error;
pub mod extension;
pub mod flows;
pub mod layout;
pub mod load;
pub mod lock;
pub mod mailbox;
pub mod report;
pub mod status;
pub mod sync;
pub mod table;
pub mod taking;
