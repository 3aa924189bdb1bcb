//! The rows that a point in time does not have: found from the header down, removed from the bottom up.

use super::rebuild::{Obstacle, Step, Undo, Work};
use super::snapshot::Stored;
use crate::error::Result;
use crate::sqlite::{Room, RoomForKeys, Value, ValueRef, gather, gather_set};
use crate::storage::guard::{HEADER, LINES};
use crate::storage::shape::{quote_equal, quote_identifier, quote_list};
use std::collections::HashSet;
use std::rc::Rc;

type Row = Vec<Value>;

/// What a part's rows of today come to, by their keys.
#[derive(Default)]
struct Sifted {
    surplus: Vec<Row>,
    surplus_keys: HashSet<Row>,
    /// In the image, and hanging elsewhere now.
    strays: HashSet<Row>,
}

impl Work<'_> {
    /// Removes rows that the piece has today, or would have once its lines are back, and that the image has not.
    pub(super) fn remove_what_is_not_in(&mut self, stored: &Stored) -> Step {
        let mut parts: Vec<Sifted> = vec![Sifted::default()];
        for place in LINES..self.guard.parts.len() {
            let sifted = self.sift(place, stored, &parts)?;
            parts.push(sifted);
        }
        for (place, sifted) in parts.into_iter().enumerate().skip(LINES).rev() {
            // All are looked at before the first one goes: a cascade may reach far.
            for row in &sifted.surplus {
                if let Some(table) = self.referred_to_by(place, row, &sifted.surplus_keys)? {
                    let name = self.row_name(place, &self.key_of(place, row)?);
                    return Ok(Err(Obstacle::constraint(format!(
                        "{name} would have to go, and rows of {table} refer to it"
                    ))));
                }
            }
            for row in sifted.surplus {
                if let Err(obstacle) = self.remove(place, row)? {
                    return Ok(Err(obstacle));
                }
            }
        }
        Ok(Ok(()))
    }

    fn sift(&mut self, place: usize, stored: &Stored, above: &[Sifted]) -> Result<Sifted> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let mut sifted = Sifted::default();
        if stored.part(&part.name).is_none() {
            return Ok(sifted);
        }
        let kept = stored.keys(&part.name, &part.key)?;
        let mut rows = self.present_rows(place)?;
        let mut present = HashSet::new();
        present.make_room(rows.len())?;
        for row in &rows {
            present.insert(self.key_of(place, row)?);
        }
        sifted.strays = gather_set(kept.difference(&present).cloned())?;
        // What hangs below a row that goes would go with it; the image brings it back.
        let mut lost_footing = HashSet::new();
        if part.parent != HEADER {
            for parent in &above[part.parent].strays {
                let below = self.rows_below(place, parent)?;
                rows.make_room(below.len())?;
                rows.extend(below);
            }
            for parent in &above[part.parent].surplus_keys {
                let below = self.rows_below(place, parent)?;
                lost_footing.make_room(below.len())?;
                for row in &below {
                    lost_footing.insert(self.key_of(place, row)?);
                }
                rows.make_room(below.len())?;
                rows.extend(below);
            }
        }
        for row in rows {
            let key = self.key_of(place, &row)?;
            sifted.surplus_keys.make_room(1)?;
            let goes = !kept.contains(&key) || lost_footing.contains(&key);
            if goes && sifted.surplus_keys.insert(key) {
                sifted.surplus.try_push(row)?;
            }
        }
        Ok(sifted)
    }

    fn key_of(&self, place: usize, row: &Row) -> Result<Row> {
        let part = &self.guard.parts[place];
        Ok(gather(part.places(&part.key).iter().map(|at| row[*at].clone()))?)
    }

    fn remove(&mut self, place: usize, values: Row) -> Step {
        let key = self.key_of(place, &values)?;
        match self.delete(place, &key)? {
            Ok(()) => {
                self.undo.try_push(Undo::Insert { part: place, values })?;
                Ok(Ok(()))
            }
            Err(failure) => {
                let name = self.row_name(place, &key);
                Ok(Err(Obstacle::constraint(format!("{name}: {failure}"))))
            }
        }
    }

    /// The piece's rows of a part today, all stored columns.
    fn present_rows(&mut self, place: usize) -> Result<Vec<Row>> {
        let guard = Rc::clone(&self.guard);
        let belongs = guard.belongs(place, &self.database.schema);
        let key: Vec<ValueRef<'_>> = self.key.values().iter().map(Value::as_ref).collect();
        self.rows_where(place, &belongs, &key)
    }

    /// The rows of a part that refer to a row of the part above, wherever that belongs.
    fn rows_below(&mut self, place: usize, parent: &[Value]) -> Result<Vec<Row>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let condition = quote_equal(&format!("{}.", part.alias), &part.link, 1);
        let parent: Vec<ValueRef<'_>> = parent.iter().map(Value::as_ref).collect();
        self.rows_where(place, &condition, &parent)
    }

    fn rows_where(
        &mut self,
        place: usize,
        terms: &str,
        values: &[ValueRef<'_>],
    ) -> Result<Vec<Row>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        let sql = format!(
            "SELECT {} FROM {} WHERE {terms}{}",
            part.select_list(),
            part.from_clause(&self.database.schema),
            part.and_condition()
        );
        let statement = self.database.statement(self.kind, &sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while rows.next()? {
            found.try_push(rows.values(0..part.columns.len())?)?;
        }
        Ok(found)
    }

    /// A table with rows that refer to a row of a part: deleting that would delete or change them too, or be refused, and
    /// they are none of the piece's, or at least none of those that go.
    fn referred_to_by(
        &mut self,
        place: usize,
        values: &[Value],
        surplus: &HashSet<Row>,
    ) -> Result<Option<String>> {
        let guard = Rc::clone(&self.guard);
        let part = &guard.parts[place];
        for reference in self.database.references_to(self.kind, place)? {
            let is_own = guard.parts.iter().any(|own| own.table.name == reference.table);
            // The piece's own rows: references that merely have to be answered are checked once all are in place.
            if is_own && !reference.acts_on_delete {
                continue;
            }
            let at = part.places(&reference.to);
            let wanted: Vec<ValueRef<'_>> = at.iter().map(|at| values[*at].as_ref()).collect();
            if wanted.len() != reference.from.len() || wanted.iter().any(|value| value.is_null()) {
                continue;
            }
            let is_same_table = reference.table == part.table.name;
            let columns = if is_same_table { quote_list("", &part.key) } else { "1".to_owned() };
            let sql = format!(
                "SELECT {columns} FROM {}.{} WHERE {}",
                quote_identifier(&self.database.schema),
                quote_identifier(&reference.table),
                quote_equal("", &reference.from, 1)
            );
            let statement = self.database.statement(self.kind, &sql)?;
            let mut rows = statement.query(&wanted)?;
            while rows.next()? {
                let goes_too = is_same_table && surplus.contains(&rows.values(0..part.key.len())?);
                if !goes_too {
                    return Ok(Some(reference.table));
                }
            }
        }
        Ok(None)
    }
}
