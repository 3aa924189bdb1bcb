//! Talon keeps the counterfoil of every document an application stores in SQLite: a loadable extension that snapshots
//! pieces (a header and its lines) at every commit, finds those that lost their lines, and restores them exactly.
//!
//! [`sqlite3_talon_init`] is the entry point; `register` reads as a table of contents. Imports point down:
//! surface → domain → storage → fence (`sqlite`).

pub mod domain;
pub mod error;
pub mod sqlite;
pub mod storage;
pub mod surface;

use sqlite::{Connection, Failure};

sqlite::entry_point!(sqlite3_talon_init, register);

fn register(connection: Connection) -> Result<(), Failure> {
    surface::register(connection)
}
