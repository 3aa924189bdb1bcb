//! Which columns of a kind hold numbers that each site gives by itself: keys, and references to keys.

use crate::domain::database::Database;
use crate::error::{Error, Result};
use crate::sqlite::{Bytes, Value, ValueRef};
use crate::storage::guard::{Guard, HEADER, Part};
use crate::storage::payload::put;
use crate::storage::policy::{Keys, Owner, Policy};
use crate::storage::shape::{Found, read_table};
use std::rc::Rc;

/// A kind as other sites see it.
#[derive(Debug)]
pub struct Layout {
    /// The kind's guard.
    pub guard: Rc<Guard>,
    /// Its policy.
    pub policy: Policy,
    /// By part: its rows have a key of one integer column, that each site numbers by itself.
    pub is_numbered: Vec<bool>,
    /// Columns that refer to numbered rows.
    pub targets: Vec<Target>,
}

/// A column that refers to numbered rows.
#[derive(Debug)]
pub struct Target {
    /// The part that it is a column of.
    pub part: usize,
    /// Its name.
    pub column: String,
    /// The text before the number; None where it stands alone, as an integer.
    pub prefix: Option<String>,
    /// What it refers to, as `references` has it: `kind`, or `kind.part`.
    pub called: String,
    /// What it refers to: places of a kind and of a part of it. Several kinds may share a table.
    pub to: Vec<(usize, usize)>,
    /// All of these are central's.
    pub is_of_central: bool,
}

/// Which parts of a kind are numbered by each site.
pub fn numbered(guard: &Guard, policy: &Policy) -> Vec<bool> {
    let is_integer = |part: &Part| match part.key.as_slice() {
        [key] => {
            let column = part.table.column(key);
            column.is_some_and(|column| column.declared_type.to_ascii_uppercase().contains("INT"))
        }
        _ => false,
    };
    let header = guard.header();
    // Where the header's key cannot be translated, nothing was said about the keys below it.
    let below = policy.keys == Keys::Translated || !is_integer(header);
    let parts = guard.parts.iter().enumerate();
    parts
        .map(|(place, part)| match place {
            HEADER => policy.keys == Keys::Translated && is_integer(part),
            _ => below && is_integer(part) && part.key != part.link,
        })
        .collect()
}

impl Database {
    /// Makes out a kind's layout; None where it is not synchronised.
    ///
    /// # Errors
    /// What SQLite reports; [`Error::Definition`].
    pub fn layout(&mut self, kind: usize) -> Result<Option<Layout>> {
        let guard = self.guard(kind)?;
        let Some(policy) = guard.sync.clone() else { return Ok(None) };
        let mut layout = Layout {
            is_numbered: numbered(&guard, &policy),
            targets: Vec::new(),
            guard: Rc::clone(&guard),
            policy: policy.clone(),
        };
        let others = self.synchronised()?;
        for (place, part) in guard.parts.iter().enumerate() {
            for key in &part.table.foreign_keys {
                let [column] = key.from.as_slice() else { continue };
                let column = part.table.column(column).map(|column| column.name.clone());
                let Some(column) = column.filter(|column| part.columns.contains(column)) else {
                    continue;
                };
                let to = match key.to.as_slice() {
                    [to] => to.clone(),
                    [] => match read_table(self.connection, &self.schema, &key.parent)? {
                        Found::Table(table) => match table.key().as_slice() {
                            [to] => to.clone(),
                            _ => continue,
                        },
                        _ => continue,
                    },
                    _ => continue,
                };
                layout.add(&others, place, &column, None, |other, part| {
                    let other = &other.parts[part];
                    other.table.name.eq_ignore_ascii_case(&key.parent)
                        && matches!(other.key.as_slice(), [key] if key.eq_ignore_ascii_case(&to))
                });
            }
        }
        for declared in &policy.references {
            let place = guard.parts.iter().position(|part| part.name == declared.part);
            let Some(place) = place else { continue };
            let table = &guard.parts[place].table;
            let Some(column) = table.column(&declared.column).map(|column| column.name.clone())
            else {
                continue;
            };
            layout.add(&others, place, &column, declared.prefix.as_deref(), |other, part| {
                other.kind == declared.kind && other.parts[part].name == declared.to_part
            });
        }
        Ok(Some(layout))
    }

    /// The kinds that are synchronised and fit the schema.
    fn synchronised(&mut self) -> Result<Vec<(usize, Rc<Guard>)>> {
        let mut found = Vec::new();
        for kind in self.guarded_kinds() {
            match self.guard(kind) {
                Ok(guard) if guard.sync.is_some() => found.push((kind, guard)),
                Ok(_) | Err(Error::Definition { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

impl Layout {
    fn add(
        &mut self,
        kinds: &[(usize, Rc<Guard>)],
        part: usize,
        column: &str,
        prefix: Option<&str>,
        is_meant: impl Fn(&Guard, usize) -> bool,
    ) {
        let own = &self.guard.parts[part];
        // What a row belongs to is no reference to somebody else.
        if part != HEADER && own.link == [column] {
            return;
        }
        let known =
            |target: &Target| target.is_in(part, column) && target.prefix.as_deref() == prefix;
        if self.targets.iter().any(known) {
            return;
        }
        let (mut to, mut is_of_central, mut called) = (Vec::new(), true, None);
        for (place, guard) in kinds {
            let Some(policy) = &guard.sync else { continue };
            let is_numbered = numbered(guard, policy);
            let parts = is_numbered.into_iter().enumerate();
            for (other, _) in parts.filter(|(other, numbered)| *numbered && is_meant(guard, *other))
            {
                called.get_or_insert_with(|| match other {
                    HEADER => guard.kind.clone(),
                    other => format!("{}.{}", guard.kind, guard.parts[other].name),
                });
                to.push((*place, other));
                is_of_central &= policy.owner == Owner::Central;
            }
        }
        if let Some(called) = called {
            let (column, prefix) = (column.to_owned(), prefix.map(str::to_owned));
            self.targets.push(Target { part, column, prefix, called, to, is_of_central });
        }
    }

    /// What a value refers to, in the column of the target at `first`: the target, and the number.
    pub fn refers(&self, first: usize, value: ValueRef<'_>) -> Option<(usize, i64)> {
        let of = self.targets.get(first)?;
        let mut targets = self.targets.iter().enumerate().skip(first);
        targets.find_map(|(place, target)| {
            let number = target.number(value).filter(|_| target.is_in(of.part, &of.column))?;
            Some((place, number))
        })
    }

    /// Whether nothing of it is ever translated.
    pub fn is_shared(&self) -> bool {
        self.targets.is_empty() && self.is_numbered.iter().all(|is_numbered| !is_numbered)
    }
}

impl Target {
    /// Whether it is about this column.
    pub fn is_in(&self, part: usize, column: &str) -> bool {
        self.part == part && self.column == column
    }

    /// The number in a value; None where the value is no reference of this target.
    pub fn number(&self, value: ValueRef<'_>) -> Option<i64> {
        let Some(prefix) = &self.prefix else { return value.as_integer() };
        let digits = value.as_str()?.strip_prefix(prefix.as_str())?;
        // Spelt otherwise it would not come back as it was.
        let number: i64 = digits.parse().ok()?;
        (itoa::Buffer::new().format(number) == digits).then_some(number)
    }

    /// The value that refers to a number.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn value(&self, number: i64) -> Result<Value> {
        let Some(prefix) = &self.prefix else { return Ok(Value::Integer(number)) };
        let mut digits = itoa::Buffer::new();
        let mut text = Vec::new();
        put(&mut text, prefix.as_bytes())?;
        put(&mut text, digits.format(number).as_bytes())?;
        Ok(Value::Text(Bytes::from(text)))
    }
}
