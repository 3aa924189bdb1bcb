//! A flow's lines on their way into chunks.

use crate::error::Result;
use crate::sqlite::{Statement, ValueRef};
use crate::storage::document::{Body, Document, End, Head};
use crate::storage::flow_store::FlowStore;
use crate::storage::frame::Packer;

/// The chunks of a flow as they fill.
pub struct Writing {
    flow: i64,
    packer: Packer,
    inserting: Statement,
    end: End,
    shapes: i64,
}

impl Writing {
    /// Of a flow that is noted already.
    pub(super) fn begin(flows: &FlowStore<'_>, flow: i64, head: &Head) -> Result<Writing> {
        Ok(Writing {
            flow,
            packer: Packer::new(head.flow.clone())?,
            inserting: flows.inserting_chunks()?,
            end: End::default(),
            shapes: 0,
        })
    }

    /// Appends a line.
    pub(super) fn line(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.packer.line(write)?;
        if self.packer.is_full() { self.pack(false) } else { Ok(()) }
    }

    /// Appends a document.
    pub(super) fn document(&mut self, document: &Document<'_>) -> Result<()> {
        self.end.documents += 1;
        if let Body::Whole(_, whole) = &document.body {
            self.end.rows += 1 + whole.lines;
        }
        self.line(|line| document.write(line))
    }

    /// How the next shape is called in this flow.
    pub(super) fn next_shape(&mut self) -> i64 {
        self.shapes += 1;
        self.shapes
    }

    fn pack(&mut self, last: bool) -> Result<()> {
        let (number, bytes) = self.packer.pack(last)?;
        let values =
            [ValueRef::Integer(self.flow), ValueRef::Integer(number), ValueRef::Blob(bytes)];
        Ok(self.inserting.run(&values)?)
    }

    /// Writes the last line; gives what it says.
    pub(super) fn finish(mut self) -> Result<End> {
        let end = self.end;
        self.packer.line(|line| end.write(line))?;
        self.pack(true)?;
        Ok(end)
    }
}
