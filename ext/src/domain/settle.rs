//! Compares a piece with what is stored of it, and stores what is new.

use super::clock::Clock;
use super::database::Database;
use super::identity::Rename;
use super::sync::changes::Telling;
use crate::error::Result;
use crate::storage::key::Key;
use crate::storage::store::{Hash, NewSnapshot, PieceState};

/// Why an image is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `talon_baseline`.
    Baseline,
    /// The transaction that made the piece.
    Create,
    /// A transaction that changed it.
    Edit,
    /// As it was before an edit, where no snapshot said so.
    Before,
    /// As it was found after changes that nobody watched.
    Unguarded,
    /// After it was restored.
    Restore,
    /// It was deposited before it was written.
    Stage,
    /// It came from another site.
    Sync,
}

impl Reason {
    /// As snapshots show it.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Baseline => "baseline",
            Reason::Create => "create",
            Reason::Edit => "edit",
            Reason::Before => "before",
            Reason::Unguarded => "unguarded",
            Reason::Restore => "restore",
            Reason::Stage => "stage",
            Reason::Sync => "sync",
        }
    }
}

/// What is known about a piece beside its rows.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Its header was inserted in this transaction.
    pub created: bool,
    /// Its header was deleted by DELETE.
    pub deleted: bool,
    /// Why the image is taken.
    pub reason: Reason,
    /// In ms since 1970.
    pub at: i64,
}

impl Circumstances {
    /// Of a piece whose header was there before, and still is as far as anybody knows.
    pub fn of(reason: Reason, at: i64) -> Circumstances {
        Circumstances { created: false, deleted: false, reason, at }
    }
}

/// What a piece's rows come to, against what is stored.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is to be written.
    Unchanged,
    /// The state is to be written, no image.
    State(PieceState),
    /// An image is to be stored, and the state with it (its `last` still to be filled in).
    Image(PieceState),
}

/// What the tables show of a piece.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// How many lines it has now.
    pub lines: i64,
    /// Hash of its image now.
    pub hash: Hash,
}

/// Decides what is to be stored: pure, from what was known and what is seen (`None`: no such header).
pub fn judge(was: Option<&PieceState>, seen: Option<Seen>, about: Circumstances) -> Verdict {
    let Some(seen) = seen else {
        return match was {
            // It has not come yet, or came and went in one transaction.
            Some(was) if was.staged => Verdict::Unchanged,
            // Gone without a DELETE: not recorded, so that the audit finds it.
            Some(was) if about.deleted && was.gone_at.is_none() => Verdict::State(PieceState {
                version: was.version + 1,
                gone_at: Some(about.at),
                lost_at: None,
                ..was.clone()
            }),
            _ => Verdict::Unchanged,
        };
    };
    let Some(was) = was else {
        return Verdict::Image(PieceState {
            saved: true,
            version: 1,
            lines: seen.lines,
            hash: Some(seen.hash),
            ..PieceState::new()
        });
    };
    let reborn = about.created && was.gone_at.is_some();
    // One that was deposited has no image yet of what was written.
    let is_same = was.saved && !was.staged && was.hash == Some(seen.hash);
    if is_same && !reborn && about.reason != Reason::Restore {
        if was.lost_at.is_none() && was.gone_at.is_none() && was.dismissed_at.is_none() {
            return Verdict::Unchanged;
        }
        return Verdict::State(PieceState {
            version: was.version + 1,
            lost_at: None,
            gone_at: None,
            dismissed_at: None,
            ..was.clone()
        });
    }
    if seen.lines == 0 && was.saved && was.lines > 0 && !reborn {
        // An image without lines never replaces one that has some.
        if !was.staged && (was.lost_at.is_some() || was.dismissed_at.is_some()) {
            return Verdict::Unchanged;
        }
        return Verdict::State(PieceState {
            version: was.version + 1,
            staged: false,
            lost_at: Some(about.at),
            gone_at: None,
            ..was.clone()
        });
    }
    Verdict::Image(PieceState {
        saved: true,
        version: was.version + 1,
        staged: false,
        lines: seen.lines,
        hash: Some(seen.hash),
        lost_at: None,
        gone_at: None,
        dismissed_at: None,
        ..was.clone()
    })
}

/// What there is to be written of a piece: nothing was yet.
#[derive(Debug)]
pub struct Weighed {
    /// The piece's key as its header spells it.
    pub key: Key,
    /// What was known before.
    pub was: Option<PieceState>,
    /// What is known once it is written; `last` is the snapshot before where an image is to be stored.
    pub now: Option<PieceState>,
    /// Why an image is to be stored, where one is.
    pub reason: Option<Reason>,
    /// It was changed when nobody watched.
    pub is_unseen: bool,
    at: i64,
    shape: i64,
    station: Option<i64>,
}

/// The row that the image read last is to be stored in.
struct Storing<'a> {
    kind: i64,
    key: &'a crate::sqlite::Value,
    shape: i64,
    station: Option<i64>,
    reason: Reason,
    at: i64,
}

impl Weighed {
    /// The deleted piece that had the key before, where what has it now is another one: a host that deletes its newest row
    /// gives the number again. One that is put back as it was, or restored, is the same piece.
    pub fn deleted_before(&self) -> Option<&PieceState> {
        let (was, now) = (self.was.as_ref()?, self.now.as_ref()?);
        let is_put_back =
            was.hash == now.hash || self.reason.is_none_or(|reason| reason == Reason::Restore);
        let is_another = was.origin().is_some() || !is_put_back;
        (was.gone_at.is_some() && now.gone_at.is_none() && is_another).then_some(was)
    }

    /// A transition without an image.
    pub fn of_state(key: Key, was: PieceState, now: PieceState, at: i64) -> Weighed {
        let (was, now) = (Some(was), Some(now));
        Weighed { key, was, now, reason: None, is_unseen: false, at, shape: 0, station: None }
    }

    /// Whether there is anything to be written.
    pub fn changes(&self) -> bool {
        self.was != self.now
    }
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The piece's key as its header spells it.
    pub key: Key,
    /// The snapshot stored.
    pub snapshot: Option<i64>,
    /// What was known before.
    pub was: Option<PieceState>,
    /// What is known now.
    pub now: Option<PieceState>,
}

impl Settled {
    /// Whether anything was written.
    pub fn changed(&self) -> bool {
        self.was != self.now
    }
}

impl Database {
    /// Reads a piece and stores what is new about it. `was` is what is known of it, where that was looked up.
    ///
    /// # Errors
    /// What SQLite reports; nothing half written is ever referred to.
    pub fn settle(
        &mut self,
        clock: &Clock,
        who: Option<&(String, String)>,
        kind: usize,
        key: &Key,
        was: Option<Option<PieceState>>,
        about: Circumstances,
    ) -> Result<Settled> {
        let weighed = self.weigh(who, kind, key, was, about)?;
        self.keep(clock, kind, weighed, None)
    }

    /// Reads a piece and says what there is to be stored of it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn weigh(
        &mut self,
        who: Option<&(String, String)>,
        kind: usize,
        key: &Key,
        was: Option<Option<PieceState>>,
        about: Circumstances,
    ) -> Result<Weighed> {
        let is_there = self.read(kind, key)?;
        let own = if is_there { self.image.key.clone() } else { None };
        let (key, was) = match own {
            Some(own) if own != *key => {
                self.inherit(kind, key, &own)?;
                (own, None)
            }
            _ => (key.clone(), was),
        };
        let was = match was {
            Some(was) => was,
            None => {
                let id = self.kinds[kind].id;
                self.store()?.piece(id, &key.shown()?)?
            }
        };
        let seen = is_there.then(|| Seen {
            lines: self.image.lines,
            hash: *blake3::hash(&self.image.payload).as_bytes(),
        });
        // A header that is there but no longer of this kind has left it on purpose.
        let about = Circumstances {
            deleted: about.deleted
                || !is_there && was.is_some() && self.own_key(kind, &key)?.is_some(),
            ..about
        };
        let mut weighed = Weighed {
            key,
            was,
            now: None,
            reason: None,
            is_unseen: about.reason == Reason::Unguarded,
            at: about.at,
            shape: 0,
            station: None,
        };
        match judge(weighed.was.as_ref(), seen, about) {
            Verdict::Unchanged => weighed.now.clone_from(&weighed.was),
            Verdict::State(now) => weighed.now = Some(now),
            Verdict::Image(now) => {
                // A deposit is no image of what was there.
                let last = weighed.was.as_ref().filter(|was| !was.staged).and_then(|was| was.last);
                weighed.reason = Some(match about.reason {
                    Reason::Edit if about.created => Reason::Create,
                    // Columns or parts came or went since the last image: no value changed unseen.
                    Reason::Unguarded if self.has_same_values(kind, last)? => Reason::Before,
                    reason => reason,
                });
                (weighed.shape, weighed.station) = (self.shape(kind)?, self.station(who)?);
                weighed.now = Some(now);
            }
        }
        Ok(weighed)
    }

    /// Stores what there is to be stored of the piece read last, and lists it as changed `unguarded` with these words.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn keep(
        &mut self,
        clock: &Clock,
        kind: usize,
        weighed: Weighed,
        unguarded: Option<&str>,
    ) -> Result<Settled> {
        if !weighed.changes() {
            let Weighed { key, was, now, .. } = weighed;
            return Ok(Settled { key, snapshot: None, was, now });
        }
        let room = match weighed.deleted_before() {
            Some(gone) => self.room_for_deleted(kind, &weighed.key, gone)?,
            None => None,
        };
        let telling = match self.kinds[kind].definition.sync {
            Some(_) => self.telling(clock, kind, &weighed, room)?,
            None => Telling::Nothing,
        };
        let listed = match (&telling, unguarded) {
            (Telling::HeldBack(breach), Some(detail)) => Some(format!("{detail}; {}", breach.text)),
            (Telling::HeldBack(breach), None) => Some(breach.text.clone()),
            (_, detail) => detail.map(str::to_owned),
        };
        let Weighed { key, was, mut now, reason, at, shape, station, .. } = weighed;
        if let (Some(_), Some(now)) = (room, &mut now) {
            if was.as_ref().is_some_and(|was| was.origin().is_some()) {
                (now.version, now.last) = (1, None);
            }
            now.sync = None;
        }
        let id = self.kinds[kind].id;
        let shown = key.shown()?;
        if listed.is_some() {
            self.store()?.prepare_unguarded()?;
        }
        let snapshot = self.together(|database| {
            let mut snapshot = None;
            let mut before = was.as_ref();
            if let (Some(room), Some(gone)) = (room, before.take_if(|_| room.is_some())) {
                database.displace(id, &shown, gone, room)?;
            }
            if let (Some(reason), Some(now)) = (reason, &mut now) {
                let stored = Storing { kind: id, key: &shown, shape, station, reason, at };
                now.last = Some(database.insert_image(clock, &stored, now)?);
                snapshot = now.last;
            }
            if let Some(now) = &mut now {
                database.tell(id, &shown, now, &telling)?;
            }
            let store = database.store()?;
            store.put_piece(id, &shown, before, now.as_ref())?;
            if let Some(detail) = &listed {
                store.insert_unguarded(id, &shown, at, &clock.day(at), detail)?;
            }
            Ok(snapshot)
        })?;
        Ok(Settled { key, snapshot, was, now })
    }

    /// A header was put back under another spelling of its key (NOCASE): it is the same piece.
    fn inherit(&mut self, kind: usize, key: &Key, own: &Key) -> Result<()> {
        let id = self.kinds[kind].id;
        let known = self.store()?.piece(id, &own.shown()?)?;
        if known.is_some_and(|known| known.gone_at.is_none()) {
            return Ok(());
        }
        let rename = Rename { old: key.clone(), new: own.clone() };
        self.follow_spelling(kind, rename)
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn store_image(
        &mut self,
        clock: &Clock,
        who: Option<&(String, String)>,
        kind: usize,
        key: &crate::sqlite::Value,
        now: &PieceState,
        reason: Reason,
        at: i64,
    ) -> Result<i64> {
        let (shape, station) = (self.shape(kind)?, self.station(who)?);
        let stored = Storing { kind: self.kinds[kind].id, key, shape, station, reason, at };
        self.insert_image(clock, &stored, now)
    }

    fn insert_image(
        &mut self,
        clock: &Clock,
        stored: &Storing<'_>,
        now: &PieceState,
    ) -> Result<i64> {
        let hash = now.hash.unwrap_or_default();
        let payload = std::mem::take(&mut self.image.payload);
        let store = self.store()?;
        let snapshot = clock.with_day(stored.at, |day| {
            store.insert_snapshot(&NewSnapshot {
                kind: stored.kind,
                key: stored.key,
                version: now.version,
                previous: now.last,
                shape: stored.shape,
                taken_at: stored.at,
                day,
                reason: stored.reason.text(),
                station: stored.station,
                lines: now.lines,
                hash: &hash,
                payload: &payload,
            })
        });
        self.image.payload = payload;
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lines: i64, hash: u8) -> PieceState {
        PieceState {
            saved: true,
            version: 3,
            last: Some(7),
            lines,
            hash: Some([hash; 32]),
            ..PieceState::new()
        }
    }

    fn seen(lines: i64, hash: u8) -> Option<Seen> {
        Some(Seen { lines, hash: [hash; 32] })
    }

    const EDIT: Circumstances =
        Circumstances { created: false, deleted: false, reason: Reason::Edit, at: 1000 };

    #[test]
    fn an_unchanged_piece_stores_nothing() {
        assert_eq!(judge(Some(&state(2, 1)), seen(2, 1), EDIT), Verdict::Unchanged);
    }

    #[test]
    fn a_piece_without_lines_keeps_the_image_that_has_some() {
        let lost = match judge(Some(&state(2, 1)), seen(0, 2), EDIT) {
            Verdict::State(lost) => lost,
            other => panic!("{other:?}"),
        };
        assert_eq!((lost.lines, lost.last, lost.lost_at), (2, Some(7), Some(1000)));
        assert_eq!(judge(Some(&lost), seen(0, 3), EDIT), Verdict::Unchanged);
    }

    #[test]
    fn lines_that_come_back_as_they_were_end_the_loss_without_a_new_image() {
        let lost = PieceState { lost_at: Some(5), ..state(2, 1) };
        let Verdict::State(now) = judge(Some(&lost), seen(2, 1), EDIT) else { panic!() };
        assert_eq!((now.lost_at, now.version), (None, 4));
    }

    #[test]
    fn only_a_delete_is_recorded_as_one() {
        assert_eq!(judge(Some(&state(2, 1)), None, EDIT), Verdict::Unchanged);
        let deleted = Circumstances { deleted: true, ..EDIT };
        let Verdict::State(now) = judge(Some(&state(2, 1)), None, deleted) else { panic!() };
        assert_eq!(now.gone_at, Some(1000));
    }

    #[test]
    fn a_deposit_waits_for_the_piece_and_is_what_a_piece_without_lines_has_lost() {
        let staged = PieceState { staged: true, version: 0, ..state(2, 1) };
        let deleted = Circumstances { created: true, deleted: true, ..EDIT };
        assert_eq!(judge(Some(&staged), None, deleted), Verdict::Unchanged);
        let created = Circumstances { created: true, ..EDIT };
        let Verdict::Image(now) = judge(Some(&staged), seen(2, 1), created) else { panic!() };
        assert_eq!((now.staged, now.version), (false, 1));
        let Verdict::State(now) = judge(Some(&staged), seen(0, 2), created) else { panic!() };
        assert_eq!(
            (now.staged, now.version, now.lost_at, now.last),
            (false, 1, Some(1000), Some(7))
        );
    }

    #[test]
    fn a_key_used_again_is_a_new_piece_even_without_lines() {
        let gone = PieceState { gone_at: Some(5), ..state(2, 1) };
        let created = Circumstances { created: true, ..EDIT };
        let Verdict::Image(now) = judge(Some(&gone), seen(0, 2), created) else { panic!() };
        assert_eq!((now.lines, now.version), (0, 4));
    }
}
