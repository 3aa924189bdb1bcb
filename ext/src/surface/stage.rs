//! `talon_stage`: a piece is deposited before its first row is written.

use super::arguments::{piece, schema, text};
use crate::domain::talon::Talon;
use crate::error::Error;
use crate::sqlite::{Argument, Caller, Connection, Failure, Output, create_function};
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> Result<(), Failure> {
    create_function(connection, "talon_stage", 3..=4, Caller::Application, talon, stage)
}

fn stage(talon: &Talon, arguments: &[Argument]) -> Result<Output, Failure> {
    let run = || {
        let kind = text(arguments, 0, "the kind")?;
        let image = text(arguments, 2, "the image")?;
        let schema = schema(arguments, 3)?;
        Ok(Output::Integer(talon.stage(&schema, kind, piece(arguments, 1)?, image)?))
    };
    run().map_err(|error: Error| error.into_failure("talon_stage"))
}
