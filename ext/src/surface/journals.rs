use crate::domain::talon::Talon;
use crate::sqlite::{Connection, Failure};
use std::rc::Rc;
pub fn register(_c: Connection, _t: &Rc<Talon>) -> Result<(), Failure> { Ok(()) }
