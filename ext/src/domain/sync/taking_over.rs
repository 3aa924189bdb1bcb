//! What is decided about a document, done: its rows written, its image stored, its change noted.

use super::arrival::{Arrivals, Mode, Subject};
use super::displaced::is_of_nobody;
use super::field_marks::FieldMarks;
use super::incoming::Fitting;
use super::localize::{Attempt, LocalRows, Target};
use super::standing::Standing;
use super::write_rows::{Inserted, Present};
use crate::domain::database::Database;
use crate::domain::settle::{Circumstances, Reason, Seen, Verdict, judge};
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Value, ValueRef};
use crate::storage::change_store::NewChange;
use crate::storage::document::{Change, Whole};
use crate::storage::guard::{HEADER, LINES};
use crate::storage::key::Key;
use crate::storage::store::PieceState;

/// Bytes of an image at most whose rows are kept for the next document to be read over.
const MOST_SPARED: usize = 1 << 16;

/// What is noted of a change that came from elsewhere.
pub(super) struct Taken<'a> {
    pub(super) version: i64,
    pub(super) stamp: i64,
    pub(super) site: i64,
    /// The site that it came from; None where it was put together here.
    pub(super) via: Option<i64>,
    pub(super) fields: Option<FieldMarks>,
    pub(super) origin: i64,
    pub(super) origin_key: &'a Value,
}

impl Arrivals {
    /// What arrives replaces what stands here.
    pub(super) fn take(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: Option<Standing>,
        change: &Change<'_>,
        whole: &Whole<'_>,
    ) -> Attempt<()> {
        let Some(fitting) = subject.fitting else {
            return Ok(Err("its shape is missing".to_owned()));
        };
        let taken = self.taken(subject, change, standing.as_ref())?;
        let written = match standing {
            Some(standing) if standing.state.gone_at.is_none() => {
                self.replace(database, subject, fitting, standing, whole)?
            }
            standing => self.create(database, subject, fitting, standing, whole)?,
        };
        let (key, was, rows) = match written {
            Ok(written) => written,
            Err(reason) => return Ok(Err(reason)),
        };
        let is_new = was.as_ref().is_none_or(|was| was.state.gone_at.is_some());
        if is_new && let Err(reason) = self.may_be_created(database, subject, &key)? {
            return Ok(Err(reason));
        }
        let kept = self.keep(talon, database, fitting, &key, was, &rows, whole, taken)?;
        if whole.image.len() <= MOST_SPARED {
            self.identities.spare = rows.parts;
        }
        Ok(kept)
    }

    /// The rows of a piece that is not here: as they come where their numbers are free, else with other numbers.
    fn create(
        &mut self,
        database: &mut Database,
        subject: &Subject<'_>,
        fitting: &Fitting,
        was: Option<Standing>,
        whole: &Whole<'_>,
    ) -> Attempt<(Value, Option<Standing>, LocalRows)> {
        let kind = subject.kind;
        let origin_key = &subject.document.key;
        let is_numbered = fitting.layout.is_numbered[HEADER];
        let id = database.kinds[kind].id;
        let was_at = was.as_ref().map(|was| was.key.clone());
        // One that was here before gets the key that it had.
        let wanted =
            was_at.clone().filter(|key| !is_of_nobody(key)).unwrap_or_else(|| origin_key.clone());
        let is_its = was_at.as_ref() == Some(&wanted);
        // Nor does it get a number that only stands for one whose own was given twice.
        let is_known = !is_its
            && is_numbered
            && (is_of_nobody(&wanted) || database.store()?.piece(id, &wanted)?.is_some());
        let mut target = Target { is_optimistic: true, ..subject.target(&wanted) };
        if !is_known {
            let rows = self.identities.localize(
                database,
                fitting,
                &target,
                whole.image,
                &whole.references,
            )?;
            let rows = match rows {
                Ok(rows) => rows,
                Err(reason) => return Ok(Err(reason)),
            };
            match database.insert_rows(fitting, &rows)? {
                Inserted::Whole => return Ok(Ok((wanted, was, rows))),
                Inserted::Stopped if self.mode == Mode::OneByOne => database.undo_document()?,
                Inserted::Stopped => return Ok(Err("its numbers are taken".to_owned())),
            }
        }
        target.is_optimistic = false;
        let is_taken = is_numbered
            && (is_known
                || match wanted.as_ref().as_integer() {
                    Some(number) => database.has_number(kind, HEADER, number)?,
                    None => false,
                });
        let other = match is_taken {
            false => None,
            true => match database.free_number(kind, HEADER, 0)? {
                Ok(number) => Some(Value::Integer(number)),
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let key = other.unwrap_or_else(|| wanted.clone());
        target.key = &key;
        let rows =
            self.identities.localize(database, fitting, &target, whole.image, &whole.references)?;
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(header) = database.key_of(kind, &key)? else {
            return Ok(Err(format!("{key} is no key here")));
        };
        let nothing = Present::none(fitting);
        if let Err(reason) = database.write_rows(fitting, &header, &mut rows, nothing)? {
            return Ok(Err(reason));
        }
        Ok(Ok((key, was, rows)))
    }

    /// The rows of a piece that is here.
    fn replace(
        &mut self,
        database: &mut Database,
        subject: &Subject<'_>,
        fitting: &Fitting,
        standing: Standing,
        whole: &Whole<'_>,
    ) -> Attempt<(Value, Option<Standing>, LocalRows)> {
        let Some(key) = database.key_of(subject.kind, &standing.key)? else {
            return Ok(Err(format!("{} is no key here", standing.key)));
        };
        let present = database.present(fitting, &key)?;
        let target = Target { present: Some(&present), ..subject.target(&standing.key) };
        let rows =
            self.identities.localize(database, fitting, &target, whole.image, &whole.references)?;
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Err(reason) = database.write_rows(fitting, &key, &mut rows, present)? {
            return Ok(Err(reason));
        }
        if !rows.gone.is_empty() {
            self.identities.forget_lines();
        }
        Ok(Ok((standing.key.clone(), Some(standing), rows)))
    }

    /// Which ones a remote may create is said over the row, so it is asked once that stands.
    fn may_be_created(
        &mut self,
        database: &mut Database,
        subject: &Subject<'_>,
        key: &Value,
    ) -> Attempt<()> {
        let Some(layout) = self.identities.layout(database, subject.kind)? else {
            return Ok(Ok(()));
        };
        let Some(when) = &layout.policy.when else { return Ok(Ok(())) };
        if self.identities.central == Some(subject.origin) || !self.identities.is_central() {
            return Ok(Ok(()));
        }
        let Some(key) = database.key_of(subject.kind, key)? else { return Ok(Ok(())) };
        let header = layout.guard.header();
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} AND ({when}\n)",
            header.from_clause(&database.schema),
            layout.guard.header_is()
        );
        let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        let may = database.statement(subject.kind, &sql)?.first(&values, |_| Ok(()))?.is_some();
        Ok(if may { Ok(()) } else { Err(format!("a remote may not create it: {when}")) })
    }

    /// Stores what a piece has become.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn keep(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        fitting: &Fitting,
        key: &Value,
        was: Option<Standing>,
        rows: &LocalRows,
        whole: &Whole<'_>,
        taken: Taken<'_>,
    ) -> Attempt<()> {
        let kind = fitting.kind;
        let lines = fitting.parts.iter().position(|part| part.part == LINES);
        let lines = lines.map_or(0, |lines| rows.parts[lines].len());
        if i64::try_from(lines).ok() != Some(whole.lines) {
            return Ok(Err(format!(
                "it is said to have {} lines, and its image has {lines}",
                whole.lines
            )));
        }
        // Of documents that are written together it is asked at the end.
        if self.identities.together.is_none() && talon.connection.has_pending_foreign_keys() {
            return Ok(Err(self.broken_reference(database, fitting, key, rows, &taken)?));
        }
        for (part, wire, here) in &rows.aliases {
            database.put_alias(kind, *part, key, *wire, *here)?;
        }
        if !rows.aliases.is_empty() {
            self.identities.forget_lines();
        }
        let seen = if rows.is_verbatim {
            database.image.payload.clear();
            crate::storage::payload::put(&mut database.image.payload, whole.image)?;
            Seen { lines: whole.lines, hash: whole.hash }
        } else {
            let Some(header) = database.key_of(kind, key)? else { return Ok(Ok(())) };
            if !database.read(kind, &header)? {
                let name = &database.kinds[kind].name;
                return Ok(Err(format!(
                    "its header is not one of {name} here: a condition of the guard"
                )));
            }
            let hash = *blake3::hash(&database.image.payload).as_bytes();
            Seen { lines: database.image.lines, hash }
        };
        let id = database.kinds[kind].id;
        let is_new = was.as_ref().is_none_or(|was| was.state.gone_at.is_some());
        if let Some(tombstone) = was.as_ref().filter(|was| was.key != *key) {
            database.store()?.remove_piece(id, &tombstone.key)?;
            self.identities.forget();
        }
        let before = was.as_ref().map(|was| &was.state);
        let about =
            Circumstances { created: is_new, deleted: false, reason: Reason::Sync, at: self.at };
        let (mut now, is_image) = match judge(before, Some(seen), about) {
            Verdict::Unchanged => (before.cloned().unwrap_or_default(), false),
            Verdict::State(now) => (now, false),
            Verdict::Image(now) => (now, true),
        };
        now.version = taken.version;
        let mut snapshot = None;
        if is_image {
            let (clock, reason) = (&talon.clock, Reason::Sync);
            let who = talon.station();
            let stored =
                database.store_image(clock, who.as_ref(), kind, key, &now, reason, self.at)?;
            snapshot = Some(stored);
            now.last = snapshot;
        }
        let stands_at = was.as_ref().filter(|was| was.key == *key).map(|was| &was.state);
        self.note(database, kind, key, was.as_ref(), stands_at, now, snapshot, taken)?;
        Ok(Ok(()))
    }

    /// Notes the change, and what is known of the piece since.
    #[allow(clippy::too_many_arguments)]
    fn note(
        &mut self,
        database: &mut Database,
        kind: usize,
        key: &Value,
        was: Option<&Standing>,
        stands_at: Option<&PieceState>,
        mut now: PieceState,
        snapshot: Option<i64>,
        taken: Taken<'_>,
    ) -> Result<()> {
        let id = database.kinds[kind].id;
        let fields = match taken.fields {
            Some(marks) => Some(marks.to_json(database.next_change()?)),
            None => None,
        };
        let seq = database.insert_change(&NewChange {
            kind: id,
            key,
            version: taken.version,
            stamp: taken.stamp,
            site: taken.site,
            snapshot,
            previous: was.map(|was| was.change.seq).filter(|seq| *seq > 0),
            via: taken.via,
            flow: self.flow,
            fields: fields.as_deref(),
        })?;
        let own = self.identities.own;
        let sync = now.sync_mut();
        sync.change = Some(seq);
        sync.origin = (taken.origin != own).then_some(taken.origin);
        sync.origin_key =
            taken.origin_key.as_ref().as_integer().filter(|_| key != taken.origin_key);
        database.store()?.put_piece(id, key, stands_at, Some(&now))
    }

    /// What arrives is that the piece was deleted.
    pub(super) fn take_deletion(
        &mut self,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: Option<Standing>,
        change: &Change<'_>,
    ) -> Attempt<()> {
        let kind = subject.kind;
        let taken = self.taken(subject, change, standing.as_ref())?;
        let was = standing.as_ref().map(|standing| standing.state.clone());
        let key = match &standing {
            Some(standing) => standing.key.clone(),
            // It was never here, and no number is given away for it.
            None if self.is_numbered(database, kind)? => {
                Value::Integer(database.number_of_nobody(kind)?)
            }
            None => subject.document.key.clone(),
        };
        if was.as_ref().is_some_and(|was| was.gone_at.is_none())
            && let Some(header) = database.key_of(kind, &key)?
        {
            if let Err(reason) = database.take_out(kind, &header)? {
                return Ok(Err(reason));
            }
            database.drop_aliases(kind, &key)?;
            self.identities.forget();
        }
        let mut now = was.clone().unwrap_or_default();
        (now.version, now.lost_at) = (taken.version, None);
        now.gone_at = now.gone_at.or(Some(self.at));
        self.note(database, kind, &key, standing.as_ref(), was.as_ref(), now, None, taken)?;
        Ok(Ok(()))
    }

    /// The receiver is to have it no longer, though it exists: its rows go, and nothing says that they were deleted.
    pub(super) fn leave(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: Option<Standing>,
    ) -> Attempt<()> {
        let Some(standing) = standing else { return Ok(Ok(())) };
        if self.identities.central != Some(self.sender) {
            return Ok(Err("only central says what a site is to have".to_owned()));
        }
        if !self.is_at_sender(&standing.change) {
            return Ok(Err("it was changed here, and central does not have that yet".to_owned()));
        }
        if let Some(holder) = database.holder_of(talon, subject.kind, &standing.key)? {
            return Ok(Err(format!("it is open {holder}")));
        }
        let own = self.identities.code(self.identities.own);
        let (kind, key) = (subject.kind, &standing.key);
        if standing.state.gone_at.is_none()
            && let Some(header) = database.key_of(kind, key)?
            && let Err(reason) = database.take_out(kind, &header)?
        {
            return Ok(Err(format!("it is to leave {own}, and {reason}")));
        }
        let id = database.kinds[kind].id;
        database.store()?.remove_piece(id, key)?;
        database.drop_aliases(kind, key)?;
        self.identities.forget();
        Ok(Ok(()))
    }

    /// What is to be noted of a change that is taken as it came.
    pub(super) fn taken<'a>(
        &self,
        subject: &Subject<'a>,
        change: &Change<'_>,
        standing: Option<&Standing>,
    ) -> Result<Taken<'a>> {
        let here = standing.map_or(0, |standing| standing.state.version);
        let fields = match &change.fields {
            Some(fields) => {
                let own = standing.and_then(|standing| standing.change.fields.as_deref());
                Some(FieldMarks::read(fields)?.renumbered(&FieldMarks::read(own.unwrap_or("{}"))?))
            }
            None => None,
        };
        Ok(Taken {
            version: change.version.max(here),
            stamp: change.stamp,
            site: self.identities.site(&change.site).unwrap_or(self.sender),
            via: Some(self.sender),
            fields,
            origin: subject.origin,
            origin_key: &subject.document.key,
        })
    }
}

impl Database {
    /// Takes a piece's rows out, unless others refer to them.
    fn take_out(&mut self, kind: usize, key: &Key) -> Attempt<()> {
        let rows = self.rows_of(kind, key)?;
        if let Err(reason) = self.delete_piece(kind, key)? {
            return Ok(Err(reason));
        }
        if self.connection.has_pending_foreign_keys() {
            return Ok(Err(match self.who_refers(kind, &rows)? {
                Some((name, by)) => format!("{name} refers to it by {by}"),
                None => "a foreign key refers to it".to_owned(),
            }));
        }
        Ok(Ok(()))
    }

    /// The lines of a piece that is gone have no other numbers any more.
    fn drop_aliases(&mut self, kind: usize, piece: &Value) -> Result<()> {
        let values = [ValueRef::Integer(self.kinds[kind].id), piece.as_ref()];
        let guard = self.guard(kind)?;
        if guard.parts.len() <= LINES || !self.has_aliases(kind)? {
            return Ok(());
        }
        let drop =
            self.own_statement("DELETE FROM {s}.talon_alias WHERE kind = ?1 AND piece = ?2")?;
        Ok(drop.run(&values)?)
    }
}
