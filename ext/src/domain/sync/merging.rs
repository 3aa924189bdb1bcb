//! A record that was changed here and there, put together field by field.

use super::arrival::{Arrivals, Comes, Subject};
use super::conflicts::Conflict;
use super::decide::Mark;
use super::field_marks::{FieldMark, FieldMarks};
use super::localize::Attempt;
use super::merge::{Field, Merged, Side, Whole as Becomes, merge_field, whole as comes_to};
use super::standing::Standing;
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::Value;
use crate::storage::change_store::Change;
use crate::storage::document::Whole;

/// A field that nobody has changed since the record was created.
const CREATED: Mark<'static> = Mark { stamp: 0, site: "" };

impl Arrivals {
    /// Merges what arrives into what stands here; where that changes anything, what a station has open waits.
    pub(super) fn merge(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: Standing,
        comes: &Comes<'_>,
        whole: &Whole<'_>,
    ) -> Attempt<()> {
        let Some(fitting) = subject.fitting else {
            return Ok(Err("its shape is missing".to_owned()));
        };
        let change = comes.change;
        let target = subject.target(&standing.key);
        let rows =
            self.identities.localize(database, fitting, &target, whole.image, &whole.references)?;
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(reason) => return Ok(Err(reason)),
        };
        let header = &fitting.parts[0];
        let own = fitting.layout.guard.header();
        let Some(key) = database.key_of(subject.kind, &standing.key)? else {
            return Ok(Err(format!("{} is no key here", standing.key)));
        };
        let present = database.present(fitting, &key)?;
        let Some(stands) = present.header() else {
            return Ok(Err("its row is not here, though it was not deleted".to_owned()));
        };
        let ours = FieldMarks::read(standing.change.fields.as_deref().unwrap_or("{}"))?;
        let theirs = FieldMarks::read(change.fields.as_deref().unwrap_or("{}"))?;
        let mark = change.mark();
        let is_newer = mark.compare(&standing.mark()).is_gt();
        // A copy that was found here was not made here.
        let is_apart = !standing.is_adopted
            && self.identities.origin(&fitting.layout, &standing.state) != subject.origin;
        // Of a field that was not changed since, what the other side did not know is the record.
        let is_new_to_sender = is_apart && !self.is_at_sender(&standing.change);
        let mut fields: Vec<(usize, Field<'_>, Merged)> = Vec::new();
        for (at, column) in header.columns.iter().enumerate() {
            let place = own.columns.iter().position(|name| name == column);
            let Some(place) = place.filter(|_| !own.key.contains(column)) else { continue };
            let field = Field {
                ours: side_of(ours.get(column), is_new_to_sender, |ours| self.is_unseen(ours)),
                theirs: side_of(theirs.get(column), is_apart, |theirs| {
                    theirs.seq > Some(self.known)
                }),
                is_equal: stands[place] == rows.parts[0][0][at],
                is_apart,
            };
            let mut merged = merge_field(field, is_newer);
            if merged.is_conflict && !merged.takes_theirs {
                // What was here and was written over here has lost nothing.
                merged.is_conflict =
                    !database.had_field(&standing.change, column, &field.theirs.mark)?;
            }
            fields.push((at, field, merged));
        }
        let merged: Vec<(Field<'_>, Merged)> =
            fields.iter().map(|(_, field, merged)| (*field, *merged)).collect();
        let becomes = comes_to(&merged);
        let mut taken = self.taken(subject, change, Some(&standing))?;
        let mut marks = theirs.clone().renumbered(&ours);
        for (at, field, merged) in &fields {
            let column = &header.columns[*at];
            let place = own.columns.iter().position(|name| name == column).unwrap_or(0);
            let (stood, came) = (stands[place].clone(), rows.parts[0][0][*at].clone());
            if merged.is_conflict {
                let side = |side: &Side<'_>, value: &Value, all: &Mark<'_>| {
                    // A field that nobody changed since is as old as the record's own change.
                    let mark = if side.mark.stamp == 0 { *all } else { side.mark };
                    let site = self.identities.site(mark.site).unwrap_or(self.sender);
                    (value.clone(), site, mark.stamp)
                };
                let ours = side(&field.ours, &stood, &standing.mark());
                let theirs = side(&field.theirs, &came, &mark);
                let (lost, won) = if merged.takes_theirs { (ours, theirs) } else { (theirs, ours) };
                database.list_conflict(&Conflict {
                    at: self.at,
                    kind: subject.kind,
                    key: &standing.key,
                    field: Some(column),
                    lost,
                    won,
                    flow: self.flow,
                    shape: None,
                })?;
            }
            if !merged.takes_theirs {
                rows.is_verbatim &= stood == came;
                rows.parts[0][0][*at] = stood;
                marks.set(column, ours.get(column).cloned());
            }
        }
        // Of one that was found here it is learned whose it is.
        if becomes == Becomes::Ours && !is_newer && !standing.is_adopted {
            return Ok(Ok(()));
        }
        if let Some(reason) = comes.waits() {
            return Ok(Err(reason));
        }
        match becomes {
            Becomes::Ours if fields.iter().all(|(_, field, _)| field.is_equal) => {}
            Becomes::Theirs => {}
            Becomes::Ours | Becomes::Mixed => {
                // Neither side has this: it goes back to where it came from, too.
                taken.via = None;
                taken.version = taken.version.saturating_add(1);
            }
        }
        if !is_newer {
            (taken.stamp, taken.site) = (standing.change.stamp, standing.change.site);
        }
        taken.fields = Some(marks);
        let stands_at = standing.key.clone();
        if let Err(reason) = database.write_rows(fitting, &key, &mut rows, present)? {
            return Ok(Err(reason));
        }
        self.keep(talon, database, fitting, &stands_at, Some(standing), &rows, whole, taken)
    }

    /// Whether the sender did not know of a field's change here: it neither had it, nor did it come from there. Remotes
    /// hear of all others through central only.
    fn is_unseen(&self, ours: &FieldMark) -> bool {
        let site = self.identities.site(&ours.site);
        let came_from_there = match self.identities.central == Some(self.sender) {
            true => site != Some(self.identities.own),
            false => site == Some(self.sender),
        };
        ours.seq.is_some_and(|seq| seq > self.seen && !(came_from_there && seq > self.begun))
    }
}

/// A side of a field; `is_created_unseen` is for one that was not changed since its record was created.
fn side_of(
    mark: Option<&FieldMark>,
    is_created_unseen: bool,
    is_unseen: impl Fn(&FieldMark) -> bool,
) -> Side<'_> {
    match mark {
        Some(mark) => Side { mark: mark.mark(), is_unseen: is_unseen(mark) },
        None => Side { mark: CREATED, is_unseen: is_created_unseen },
    }
}

impl Database {
    /// Whether a change before this one left a field as another change had made it.
    fn had_field(&mut self, newest: &Change, field: &str, mark: &Mark<'_>) -> Result<bool> {
        self.any_change(newest.previous, |change| {
            let fields = FieldMarks::read(change.fields.as_deref().unwrap_or("{}"))?;
            Ok(fields.get(field).is_some_and(|had| had.mark().is(mark)).then_some(true))
        })
    }
}
