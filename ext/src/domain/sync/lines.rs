//! The lines of a flow that is here, one by one: one chunk of them is in memory at a time.

use crate::error::{Error, Result};
use crate::sqlite::{Statement, ValueRef};
use crate::storage::flow_store::FlowStore;
use crate::storage::frame::{MOST_UNPACKED, Unpacker, read_chunk};
use std::io::BufRead;

/// A flow that is being read. It holds no statement open between two lines, so that batches can be committed in between.
pub struct FlowLines {
    flow: i64,
    reading: Statement,
    unpacker: Unpacker,
    lines: Vec<u8>,
    at: usize,
    next_chunk: i64,
    is_over: bool,
}

impl FlowLines {
    /// At the beginning of a flow.
    ///
    /// # Errors
    /// What SQLite reports; [`Error::Memory`].
    pub fn begin(flows: &FlowStore<'_>, flow: i64) -> Result<FlowLines> {
        Ok(FlowLines {
            flow,
            reading: flows.reading_chunk()?,
            unpacker: Unpacker::new()?,
            lines: Vec::new(),
            at: 0,
            next_chunk: 0,
            is_over: false,
        })
    }

    /// The next line, without its end; None after the last one.
    ///
    /// # Errors
    /// [`Error::Flow`] where a chunk is missing or damaged; what SQLite reports.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>> {
        if self.at >= self.lines.len() {
            if self.is_over {
                return Ok(None);
            }
            self.unpack()?;
        }
        let line = self.lines.get(self.at..).unwrap_or_default();
        // Reading from a slice fails never; it looks for the end many bytes at a time.
        let length = { line }.skip_until(b'\n').unwrap_or(line.len());
        self.at += length;
        let line = line.get(..length).unwrap_or_default();
        Ok(Some(line.strip_suffix(b"\n").unwrap_or(line)))
    }

    fn unpack(&mut self) -> Result<()> {
        let missing = || Error::Flow { problem: format!("chunk {} is missing", self.next_chunk) };
        let values = [ValueRef::Integer(self.flow), ValueRef::Integer(self.next_chunk)];
        let mut rows = self.reading.query(&values)?;
        if !rows.next()? {
            return Err(missing());
        }
        let ValueRef::Blob(bytes) = rows.column(0) else { return Err(missing()) };
        let (chunk, _) = read_chunk(bytes)?;
        self.unpacker.unpack(&chunk, MOST_UNPACKED, &mut self.lines)?;
        (self.at, self.is_over) = (0, chunk.last);
        self.next_chunk += 1;
        Ok(())
    }
}
