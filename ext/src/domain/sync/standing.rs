//! What stands here of a document's piece or record: its state, its newest change, what it was before.

use super::arrival::{Arrivals, Subject, text};
use super::decide::Mark;
use super::localize::Target;
use crate::domain::database::Database;
use crate::domain::settle::{Circumstances, Reason};
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Value, ValueRef};
use crate::storage::change_store::Change;
use crate::storage::document::{Body, Whole};
use crate::storage::guard::HEADER;
use crate::storage::policy::Owner;
use crate::storage::store::{Hash, PieceState};
use crate::storage::waiting::{FOUND, IS_FOUND};
use std::rc::Rc;

/// A piece or record that is here, or was.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// Its key here.
    pub(super) key: Value,
    /// What is known of it.
    pub(super) state: PieceState,
    /// Its newest change; where it has none, one of this site's without a number.
    pub(super) change: Change,
    /// The code of the site that made that.
    pub(super) code: Rc<str>,
    /// It was never sent and is what arrives now: the same piece, made on both sides.
    pub(super) is_adopted: bool,
}

impl Standing {
    /// When and where it was changed last.
    pub(super) fn mark(&self) -> Mark<'_> {
        Mark { stamp: self.change.stamp, site: &self.code }
    }
}

impl Arrivals {
    /// What stands here of a document.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn standing(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        subject: &Subject<'_>,
    ) -> Result<Option<Standing>> {
        let key = &subject.document.key;
        if let Some((key, state)) =
            self.identities.find(database, subject.kind, subject.origin, key)?
        {
            return Ok(Some(self.stand(database, key, state, false)?));
        }
        // What central sends may be here already, made before either side knew of the other.
        if self.identities.central != Some(subject.origin) || self.identities.is_central() {
            return Ok(None);
        }
        let whole = match &subject.document.body {
            Body::Whole(_, whole) => Some(whole),
            Body::Gone(_) => None,
            Body::Left | Body::Waits => return Ok(None),
        };
        let id = database.kinds[subject.kind].id;
        let layout = self.identities.layout(database, subject.kind)?;
        let policy = layout.as_ref().map(|layout| &layout.policy);
        let is_of_central = policy.is_some_and(|policy| policy.owner == Owner::Central);
        // Of what anybody makes, a deletion does not tell whether it is the same.
        if whole.is_none() && !is_of_central {
            return Ok(None);
        }
        // What this site may not make is not told, nor imaged for that, when the kind is declared.
        let is_untold = is_of_central || policy.is_some_and(|policy| policy.when.is_some());
        let state = match database.store()?.piece(id, key)? {
            None if is_untold => database.image_unknown(talon, subject.kind, key, None)?,
            known => known,
        };
        let Some(state) = state else { return Ok(None) };
        let is_own =
            state.origin().is_none() && state.origin_key().is_none() && state.gone_at.is_none();
        let is_unsent = state.change().is_none() || database.is_found(subject.origin, id, key)?;
        let is_it = match whole {
            _ if !is_own || is_of_central => is_own,
            Some(whole) => is_unsent && self.is_copy(database, subject, &state, whole)?,
            None => false,
        };
        if is_it {
            return Ok(Some(self.stand(database, key.clone(), state, true)?));
        }
        Ok(None)
    }

    /// Whether what was found here is a copy of what arrives, or was when it was found: the same rows, which refer to the same.
    fn is_copy(
        &mut self,
        database: &mut Database,
        subject: &Subject<'_>,
        state: &PieceState,
        whole: &Whole<'_>,
    ) -> Result<bool> {
        let Some(fitting) = subject.fitting else { return Ok(false) };
        if state.hash != Some(whole.hash) && !database.once_had(state.last, &whole.hash)? {
            return Ok(false);
        }
        let key = &subject.document.key;
        let target = Target { is_optimistic: true, ..subject.target(key) };
        let rows =
            self.identities.localize(database, fitting, &target, whole.image, &whole.references)?;
        Ok(rows.is_ok_and(|rows| rows.is_verbatim))
    }

    /// Whether a piece was once what a change of `site` made of it, or the sender had a later one already when it sent it that
    /// (flows that come in another order). A piece's changes are ever earlier the older they are; of one stamp, by site.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn was_once(
        &self,
        database: &mut Database,
        standing: &Standing,
        mark: Mark<'_>,
        site: i64,
    ) -> Result<bool> {
        let is_behind = |change: &Change| {
            let code = self.identities.code(change.site);
            Mark { stamp: change.stamp, site: &code }.compare(&mark).is_ge()
                && self.is_from_sender(change.via, change.seq)
        };
        if is_behind(&standing.change) {
            return Ok(true);
        }
        database.any_change(standing.change.previous, |change| {
            let is_it = change.stamp == mark.stamp && change.site == site;
            Ok(match change.stamp >= mark.stamp {
                true => (is_it || is_behind(change)).then_some(true),
                false => Some(false),
            })
        })
    }

    /// What stands here under a key, of which this is known.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn stand(
        &mut self,
        database: &mut Database,
        key: Value,
        state: PieceState,
        is_adopted: bool,
    ) -> Result<Standing> {
        let change = match state.change() {
            Some(seq) => database.change(seq)?,
            None => None,
        };
        let change =
            change.unwrap_or_else(|| Change { site: self.identities.own, ..Change::default() });
        let code = self.identities.code(change.site);
        Ok(Standing { key, state, change, code, is_adopted })
    }

    /// Whether an image is what stands here, as other sites number it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn is_equal(
        &mut self,
        database: &mut Database,
        kind: usize,
        standing: &Standing,
        whole: &Whole<'_>,
    ) -> Result<bool> {
        let state = &standing.state;
        if state.gone_at.is_some() || state.lines != whole.lines {
            return Ok(false);
        }
        if state.hash == Some(whole.hash) {
            return Ok(true);
        }
        Ok(self.canonical_hash(database, kind, standing)? == Some(whole.hash))
    }

    /// The hash of what stands here, as other sites number it; None where no image is stored.
    fn canonical_hash(
        &mut self,
        database: &mut Database,
        kind: usize,
        standing: &Standing,
    ) -> Result<Option<Hash>> {
        let shared = match self.identities.layout(database, kind)? {
            Some(layout) => layout.is_shared(),
            None => true,
        };
        if shared {
            return Ok(standing.state.hash);
        }
        let Some((payload, columns)) = database.payload(standing.state.last)? else {
            return Ok(None);
        };
        let Some(lens) = self.identities.lens(database, kind, &columns)? else { return Ok(None) };
        let (key, state) = (&standing.key, &standing.state);
        let canonical = self.identities.canonical(database, kind, key, state, &lens, &payload)?;
        Ok(Some(*blake3::hash(&canonical.image).as_bytes()))
    }
}

impl Database {
    /// Images what is here and was never imaged, or whose images were purged: what replaces or removes it leaves that. None
    /// where there is no such row.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn image_unknown(
        &mut self,
        talon: &Talon,
        kind: usize,
        key: &Value,
        known: Option<PieceState>,
    ) -> Result<Option<PieceState>> {
        let Some(key) = self.key_of(kind, key)? else { return Ok(known) };
        if self.own_key(kind, &key)?.is_none() {
            return Ok(known);
        }
        let about = Circumstances::of(Reason::Baseline, talon.clock.now_ms());
        let who = talon.station();
        Ok(self.settle(&talon.clock, who.as_ref(), kind, &key, Some(known), about)?.now)
    }

    /// Whether `is_it` says so of a piece's change or of one before it, the newest first; it gives None to have the next one asked.
    ///
    /// # Errors
    /// What SQLite reports; what `is_it` does.
    pub(super) fn any_change(
        &mut self,
        newest: Option<i64>,
        is_it: impl Fn(&Change) -> Result<Option<bool>>,
    ) -> Result<bool> {
        let mut next = newest;
        while let Some(seq) = next {
            let Some(change) = self.change(seq)? else { return Ok(false) };
            if let Some(answer) = is_it(&change)? {
                return Ok(answer);
            }
            next = change.previous.filter(|previous| *previous < seq);
        }
        Ok(false)
    }

    /// Where a piece is open, by whom and since when; None where it is not.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn holder_of(
        &mut self,
        talon: &Talon,
        kind: usize,
        key: &Value,
    ) -> Result<Option<String>> {
        Ok(self.edit_of_shown(kind, key)?.map(|edit| edit.describe(&talon.clock)))
    }

    /// Whether a piece was there before anything of a site's came.
    fn is_found(&mut self, site: i64, kind: i64, key: &Value) -> Result<bool> {
        let [site, kind] = [site, kind].map(ValueRef::Integer);
        let values = [site, kind, key.as_ref(), ValueRef::Text(FOUND.as_bytes())];
        Ok(self.own_statement(IS_FOUND)?.first(&values, |_| Ok(()))?.is_some())
    }

    /// Whether a snapshot or one before it has an image of this hash.
    fn once_had(&mut self, snapshot: Option<i64>, hash: &Hash) -> Result<bool> {
        let asked =
            self.own_statement("SELECT hash = ?2, previous FROM {s}.talon_snapshot WHERE id = ?1")?;
        let mut next = snapshot;
        while let Some(id) = next {
            let found = asked.first(&[ValueRef::Integer(id), ValueRef::Blob(hash)], |row| {
                Ok((row.column(0).as_integer() == Some(1), row.column(1).as_integer()))
            })?;
            match found {
                Some((true, _)) => return Ok(true),
                Some((false, previous)) => next = previous.filter(|previous| *previous < id),
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// A stored image and the columns that it was written with.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn payload(&mut self, snapshot: Option<i64>) -> Result<Option<(Vec<u8>, String)>> {
        let Some(snapshot) = snapshot else { return Ok(None) };
        let asked = self.own_statement(
            "SELECT s.payload, c.columns FROM {s}.talon_snapshot AS s JOIN {s}.talon_shape AS c ON c.id = s.shape
             WHERE s.id = ?1",
        )?;
        let found = asked.first(&[ValueRef::Integer(snapshot)], |row| {
            let Value::Text(payload) = row.column(0).to_value()? else { return Ok(None) };
            Ok(Some((payload, row.column(1).as_str().unwrap_or_default().to_owned())))
        })?;
        let Some((payload, columns)) = found.flatten() else { return Ok(None) };
        let mut copied = Vec::new();
        crate::storage::payload::put(&mut copied, &payload)?;
        Ok(Some((copied, columns)))
    }

    /// What stands here as a conflict keeps it: the image and the row of its shape; NULL where the piece is gone.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn standing_value(&mut self, standing: &Standing) -> Result<(Value, Option<i64>)> {
        if standing.state.gone_at.is_some() {
            return Ok((Value::Null, None));
        }
        let Some(last) = standing.state.last else { return Ok((Value::Null, None)) };
        let asked =
            self.own_statement("SELECT payload, shape FROM {s}.talon_snapshot WHERE id = ?1")?;
        let found = asked.first(&[ValueRef::Integer(last)], |row| {
            Ok((row.column(0).to_value()?, row.column(1).as_integer()))
        })?;
        Ok(found.unwrap_or((Value::Null, None)))
    }
}

impl Arrivals {
    /// What arrives as a conflict keeps it: with this database's numbers where that can be, else as it travels; NULL for
    /// a deletion.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn incoming_value(
        &mut self,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: &Standing,
        whole: Option<&Whole<'_>>,
    ) -> Result<Value> {
        let (Some(whole), Some(fitting)) = (whole, subject.fitting) else { return Ok(Value::Null) };
        let target = subject.target(&standing.key);
        let rows =
            self.identities.localize(database, fitting, &target, whole.image, &whole.references)?;
        match rows {
            Ok(rows) if !rows.is_verbatim => text(&fitting.payload(&rows)?),
            _ => text(whole.image),
        }
    }

    /// Whether the header of a kind is numbered by each site.
    pub(super) fn is_numbered(&mut self, database: &mut Database, kind: usize) -> Result<bool> {
        let layout = self.identities.layout(database, kind)?;
        Ok(layout.is_some_and(|layout| layout.is_numbered[HEADER]))
    }
}
