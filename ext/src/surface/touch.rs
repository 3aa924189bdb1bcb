//! What Talon's own SQL calls: `date` at the numbers of arguments of the triggers, and `talon_row`.

use crate::domain::talon::Talon;
use crate::sqlite::{
    Argument, Caller, Connection, Failure, Output, Value, ValueRef, create_function,
};
use crate::storage::trigger::ARITIES;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> Result<(), Failure> {
    for arity in ARITIES {
        create_function(connection, "date", arity..=arity, Caller::Trigger, talon, date)?;
    }
    create_function(connection, "talon_row", 0..=usize::MAX, Caller::Talon, talon, row)
}

/// A reader hands over the columns of a row.
fn row(talon: &Talon, arguments: &[Argument]) -> Result<Output, Failure> {
    let complete = talon.collector.row(arguments).map_err(|error| error.into_failure("talon"))?;
    Ok(if complete { Output::Integer(1) } else { Output::Null })
}

/// 1 when a trigger's touch was taken, NULL when the trigger is to leave a mark; for anybody else SQLite's own `date`.
fn date(talon: &Talon, arguments: &[Argument]) -> Result<Output, Failure> {
    if talon.is_touched_again(arguments) {
        return Ok(Output::Integer(1));
    }
    match arguments[0].get() {
        ValueRef::Text(b"talon") => {
            Ok(if talon.touch(arguments)? { Output::Integer(1) } else { Output::Null })
        }
        _ => builtin(talon, arguments),
    }
}

/// SQLite's own date at this number of arguments is hidden by ours: it is asked with one more, which changes nothing.
fn builtin(talon: &Talon, arguments: &[Argument]) -> Result<Output, Failure> {
    let parameters: Vec<String> = (1..=arguments.len()).map(|place| format!("?{place}")).collect();
    let values: Vec<ValueRef<'_>> = arguments.iter().map(Argument::get).collect();
    let sql = format!("SELECT date({}, '+0 days')", parameters.join(", "));
    Ok(match talon.connection.value(&sql, &values)? {
        Some(Value::Text(date)) => Output::Text(String::from_utf8_lossy(&date).into_owned()),
        _ => Output::Null,
    })
}
