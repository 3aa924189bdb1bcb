//! The header of a piece that has lost its lines: changes to it have no image until it is restored.

use super::clock::Clock;
use super::database::Database;
use super::settle::Reason;
use super::snapshot::Stored;
use crate::error::Result;
use crate::sqlite::gather;
use crate::storage::guard::Guard;
use crate::storage::key::Key;
use crate::storage::payload_reader::read;

/// The image of a piece as it is before a restore, while it has no lines.
pub struct PresentHeader {
    payload: Vec<u8>,
}

impl PresentHeader {
    /// Which values of the header a restore from `stored` replaces, in words; None when it replaces none.
    pub fn overwritten(&self, stored: &Stored, guard: &Guard) -> Option<String> {
        let now = read(&self.payload).ok()?;
        let (_, now) = now.into_iter().find(|(name, _)| name == "header")?;
        let (now, before) = (now.first()?, stored.part("header")?);
        let header = guard.header();
        let changed: Vec<&str> = header
            .columns
            .iter()
            .zip(now)
            .filter(|(column, _)| !header.key.contains(column))
            .filter(|(column, value)| {
                before.columns.iter().position(|name| name == *column).is_some_and(|place| {
                    before.rows.first().is_some_and(|row| row[place] != **value)
                })
            })
            .map(|(column, _)| column.as_str())
            .collect();
        (!changed.is_empty())
            .then(|| format!("the header's {} went back as well", changed.join(", ")))
    }
}

impl Database {
    /// The image of a piece that has no lines now; None when it has some, or no header, and for records.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn present_header(&mut self, kind: usize, key: &Key) -> Result<Option<PresentHeader>> {
        if self.guard(kind)?.is_of_records() || !self.read(kind, key)? || self.image.lines > 0 {
            return Ok(None);
        }
        Ok(Some(PresentHeader { payload: gather(self.image.payload.iter().copied())? }))
    }

    /// Stores such an image in the piece's chain, before the image of the restored piece.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn keep_header(
        &mut self,
        clock: &Clock,
        who: Option<&(String, String)>,
        kind: usize,
        key: &Key,
        header: PresentHeader,
        at: i64,
    ) -> Result<()> {
        let id = self.kinds[kind].id;
        let shown = key.shown()?;
        let Some(was) = self.store()?.piece(id, &shown)? else { return Ok(()) };
        let mut now = was.clone();
        now.version += 1;
        now.lines = 0;
        now.hash = Some(*blake3::hash(&header.payload).as_bytes());
        self.image.payload = header.payload;
        now.last = Some(self.store_image(clock, who, kind, &shown, &now, Reason::Before, at)?);
        self.store()?.put_piece(id, &shown, Some(&was), Some(&now))
    }
}
