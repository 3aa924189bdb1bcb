//! SQL text: the host's tables, the triggers on them, and Talon's own tables.

pub mod cells;
pub mod change_store;
pub mod check;
pub mod definition;
pub mod deposit;
pub mod derived;
pub mod document;
pub mod document_reader;
pub mod expression;
pub mod fit;
pub mod flow_store;
pub mod frame;
pub mod guard;
pub mod image;
pub mod key;
pub mod payload;
pub mod payload_reader;
pub mod policy;
pub mod rule;
mod rule_fitting;
pub mod schema;
pub mod shape;
pub mod site_store;
pub mod stamp;
pub mod store;
pub mod trigger;
pub mod waiting;
