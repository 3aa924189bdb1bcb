//! stub
#[derive(Debug, Clone)]
pub struct Request {}
use super::talon::Talon;
use crate::error::Result;
impl Talon { pub fn run_waiting(&self) -> Result<()> { Ok(()) } }
