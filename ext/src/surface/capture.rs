//! Two tables that no user reads: one takes part in transactions, one gives statements back when the connection closes.

use crate::domain::talon::Talon;
use crate::sqlite::{Connection, Constraints, Cursor, Failure, Row, Table, Value, create_module};
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> Result<(), Failure> {
    create_module::<Capture>(connection, "talon_capture", talon)?;
    create_module::<Home>(connection, "talon_connection", talon)
}

/// A row inserted here enlists the table in the transaction, whose end is then told to [`Talon`].
struct Capture;

impl Table for Capture {
    type Data = Talon;
    type Cursor = Nothing;
    const DECLARATION: &'static str = "CREATE TABLE x(touched)";
    const WRITABLE: bool = true;
    const TRANSACTIONAL: bool = true;

    fn open(_: &Rc<Talon>, _: &Constraints<'_>) -> Result<Nothing, Failure> {
        Ok(Nothing)
    }

    fn insert(talon: &Rc<Talon>, _: &Row<'_>) -> Result<i64, Failure> {
        // The rowid that the statement reports is the one that was there: enlisting leaves no trace.
        Ok(talon.connection.last_insert_rowid())
    }
}

/// No statement refers to this table, so that its disconnection is the first thing a close does.
struct Home;

impl Table for Home {
    type Data = Talon;
    type Cursor = Nothing;
    const DECLARATION: &'static str = "CREATE TABLE x(unused)";

    fn open(_: &Rc<Talon>, _: &Constraints<'_>) -> Result<Nothing, Failure> {
        Ok(Nothing)
    }

    fn disconnected(talon: &Rc<Talon>) {
        talon.leave_home();
    }
}

/// No rows.
pub struct Nothing;

impl Cursor for Nothing {
    fn eof(&self) -> bool {
        true
    }
    fn next(&mut self) -> Result<(), Failure> {
        Ok(())
    }
    fn column(&self, _: usize) -> Result<Value, Failure> {
        Ok(Value::Null)
    }
    fn rowid(&self) -> i64 {
        0
    }
}
