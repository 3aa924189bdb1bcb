//! Derived values after a restore: which rows to look at, which to correct, what undoes it.
//!
//! A rule that fails says so in the note and takes its own corrections back; the restore stands. What SQLite itself cannot
//! go on after (no memory, a full disk) is an error here as everywhere.

use super::clock::Clock;
use super::database::Database;
use super::rules::Rule;
use super::settle::{Circumstances, Reason};
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Failure, Room, RoomForKeys, Statement, Value, ValueRef};
use crate::storage::derived::Derived;
use crate::storage::guard::HEADER;
use crate::storage::key::Key;
use crate::storage::rule::{Correct, RuleType};
use crate::storage::shape::{quote_equal, quote_list};
use std::collections::HashSet;
use std::rc::Rc;

/// Rows that a rule may ask to be looked at after one restore: a SELECT that goes round in circles ends here.
const MOST_ROWS: usize = 100_000;
/// Characters of a value that a note shows at most.
const LONGEST_VALUE: usize = 60;

/// A row whose stored value is not what it should be.
#[derive(Debug)]
pub struct Gap {
    /// The row's key.
    pub key: Key,
    /// What is stored.
    pub stored: Value,
    /// What it should be.
    pub computed: Value,
}

impl Gap {
    /// `sale_line 7.transformed_quantity`.
    fn name(&self, derived: &Derived) -> String {
        format!("{} {}.{}", derived.table.name, cut(&self.key), derived.column)
    }

    /// What is wrong, in words.
    pub fn described(&self, derived: &Derived) -> String {
        let (stored, computed) = (cut(&self.stored), cut(&self.computed));
        format!("{} is {stored}, computed {computed}", self.name(derived))
    }
}

fn cut(value: &impl std::fmt::Display) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A piece that rows belong to, by the place of its kind.
pub(super) type Owner = (usize, Key);

/// A correction, with what undoes it.
struct Corrected {
    derived: Rc<Rule>,
    key: Key,
    was: Value,
}

/// One rule while a piece is restored: the rows to look at.
struct Sight {
    rule: Rc<Rule>,
    keys: Vec<Key>,
    seen: HashSet<Key>,
    /// Rows that were not corrected, and say so already.
    left: HashSet<Key>,
    problem: Option<String>,
    corrected: bool,
}

/// What the SELECTs of `after_restore` gave, each asked once for all the rules that have it: the values of one header
/// share theirs.
#[derive(Default)]
struct Answers(Vec<(String, Rc<Answer>)>);

/// The keys of the rows to look at, or why they cannot be told.
type Answer = std::result::Result<Vec<Key>, String>;

/// The derived values that a restore looks at, and what it does about them.
pub struct Corrections {
    sights: Vec<Sight>,
    piece: Owner,
    dry_run: bool,
    done: Vec<Corrected>,
    owners: Vec<Owner>,
    /// What the journal says about it.
    pub notes: Vec<String>,
}

/// Who asks, and when.
pub struct Asker<'a> {
    /// The connection's clock.
    pub clock: &'a Clock,
    /// Station and user, where they were said.
    pub who: Option<&'a (String, String)>,
}

impl Corrections {
    /// Looks before the piece is restored: what belongs to it now, and will not any more, has to be looked at as well.
    ///
    /// # Errors
    /// What SQLite cannot go on after.
    pub fn begin(
        database: &mut Database,
        kind: usize,
        piece: &Key,
        dry_run: bool,
    ) -> Result<Corrections> {
        let kind_name = database.kinds[kind].name.clone();
        let mut corrections = Corrections {
            sights: Vec::new(),
            piece: (kind, piece.clone()),
            dry_run,
            done: Vec::new(),
            owners: Vec::new(),
            notes: Vec::new(),
        };
        let mut answers = Answers::default();
        for rule in database.rules()? {
            if !rule.is(RuleType::Derived) {
                continue;
            }
            match (&rule.body, rule.derived()) {
                (Err(problem), _) => corrections.notes.push(format!(
                    "the derived value {} was not looked at, it does not fit any more: {problem}",
                    rule.row.name
                )),
                (_, Some(derived)) if derived.after_restore.contains_key(&kind_name) => {
                    let mut sight = Sight {
                        rule: Rc::clone(&rule),
                        keys: Vec::new(),
                        seen: HashSet::new(),
                        left: HashSet::new(),
                        problem: None,
                        corrected: false,
                    };
                    sight.add_keys(database, &mut answers, &kind_name, piece)?;
                    corrections.sights.push(sight);
                }
                _ => {}
            }
        }
        Ok(corrections)
    }

    /// Looks once the piece is restored, and corrects, in the order declared.
    ///
    /// # Errors
    /// What SQLite cannot go on after.
    pub fn apply(&mut self, database: &mut Database, asker: &Asker<'_>) -> Result<()> {
        let kind_name = database.kinds[self.piece.0].name.clone();
        let mut sights = std::mem::take(&mut self.sights);
        let mut answers = Answers::default();
        for sight in &mut sights {
            // The order is that of what the piece is now; what it was before comes after.
            let before = std::mem::take(&mut sight.keys);
            sight.seen.clear();
            sight.add_keys(database, &mut answers, &kind_name, &self.piece.1)?;
            for key in before {
                sight.add(key)?;
            }
            self.apply_one(database, asker, sight)?;
            if sight.corrected {
                // What was corrected may be what a later SELECT asks for.
                answers = Answers::default();
            }
        }
        // A later value may have changed what an earlier one is computed from.
        for (place, sight) in sights.iter().enumerate() {
            let is_stale = sights[place..].iter().any(|later| later.corrected);
            if is_stale && sight.problem.is_none() {
                self.look_again(database, sight)?;
            }
        }
        self.notes.append(&mut database.violations(self.piece.0, &self.piece.1)?);
        Ok(())
    }

    fn apply_one(
        &mut self,
        database: &mut Database,
        asker: &Asker<'_>,
        sight: &mut Sight,
    ) -> Result<()> {
        let rule = Rc::clone(&sight.rule);
        let Some(derived) = rule.derived() else { return Ok(()) };
        let (first_done, first_note) = (self.done.len(), self.notes.len());
        let pending = database.connection.has_pending_foreign_keys();
        if sight.problem.is_none() {
            let result = self.correct(database, asker, sight, derived);
            sight.problem = match result {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => Some(error.to_string()),
                Ok(()) if !pending && database.connection.has_pending_foreign_keys() => {
                    Some("a foreign key would be violated".to_owned())
                }
                Ok(()) => None,
            };
        }
        sight.corrected = self.done.len() > first_done;
        if let Some(problem) = &sight.problem {
            self.take_back(database, first_done)?;
            self.notes.truncate(first_note);
            self.notes
                .push(format!("the derived value {} was not corrected: {problem}", derived.name));
            sight.corrected = false;
        }
        Ok(())
    }

    fn correct(
        &mut self,
        database: &mut Database,
        asker: &Asker<'_>,
        sight: &mut Sight,
        derived: &Derived,
    ) -> Result<()> {
        for key in &sight.keys {
            let Some(gap) = database.gap(derived, key)? else { continue };
            if derived.correct == Correct::Repair {
                self.notes.push(format!("check: {}", gap.described(derived)));
                sight.left.insert(key.clone());
                continue;
            }
            let owners = database.owners(derived, key)?;
            if let Some(edited) = edited_elsewhere(database, asker, &owners)? {
                self.notes
                    .push(format!("check: {}; not corrected, {edited}", gap.described(derived)));
                sight.left.insert(key.clone());
                continue;
            }
            for owner in owners {
                self.own(database, asker, owner)?;
            }
            database.write_derived(derived, key, &gap.computed)?;
            let would = if self.dry_run { "would correct" } else { "corrected" };
            let (was, now) = (cut(&gap.stored), cut(&gap.computed));
            self.notes.push(format!("{would} {} from {was} to {now}", gap.name(derived)));
            self.done.push(Corrected {
                derived: Rc::clone(&sight.rule),
                key: key.clone(),
                was: gap.stored,
            });
            // A value that says whose row it is has given it to another piece.
            for owner in database.owners(derived, key)? {
                self.own(database, asker, owner)?;
            }
        }
        Ok(())
    }

    /// A piece is about to be changed: what it was before is kept where no snapshot says so.
    fn own(&mut self, database: &mut Database, asker: &Asker<'_>, owner: Owner) -> Result<()> {
        if owner == self.piece || self.owners.contains(&owner) {
            return Ok(());
        }
        if !self.dry_run {
            database.settle_as(asker, &owner, Reason::Before)?;
        }
        self.owners.push(owner);
        Ok(())
    }

    /// What is still not as it should be once all were corrected: they depend on each other in another order, or in a
    /// circle.
    fn look_again(&mut self, database: &mut Database, sight: &Sight) -> Result<()> {
        let Some(derived) = sight.rule.derived() else { return Ok(()) };
        for key in sight.keys.iter().filter(|key| !sight.left.contains(key)) {
            match database.gap(derived, key) {
                Ok(Some(gap)) => self.notes.push(format!(
                    "check: {}; values declared after it have changed it",
                    gap.described(derived)
                )),
                Ok(None) => {}
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    self.notes.push(format!("check: {}: {error}", derived.name));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Undoes what was corrected from place `first` on, the last first.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn take_back(&mut self, database: &mut Database, first: usize) -> Result<()> {
        while self.done.len() > first {
            let Some(corrected) = self.done.pop() else { break };
            if let Some(derived) = corrected.derived.derived() {
                database.write_derived(derived, &corrected.key, &corrected.was)?;
            }
        }
        Ok(())
    }

    /// Images the pieces whose rows were corrected.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn settle(&self, database: &mut Database, asker: &Asker<'_>) -> Result<()> {
        for owner in &self.owners {
            database.settle_as(asker, owner, Reason::Edit)?;
        }
        Ok(())
    }
}

impl Sight {
    /// Asks which rows to look at; what goes wrong is noted.
    fn add_keys(
        &mut self,
        database: &mut Database,
        answers: &mut Answers,
        kind: &str,
        piece: &Key,
    ) -> Result<()> {
        let rule = Rc::clone(&self.rule);
        let Some(derived) = rule.derived() else { return Ok(()) };
        let Some(select) = derived.after_restore.get(kind) else { return Ok(()) };
        match &*answers.ask(database, derived.key.len(), select, piece)? {
            Err(problem) => self.problem = Some(problem.clone()),
            Ok(keys) => {
                for key in keys {
                    self.add(key.clone())?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, key: Key) -> Result<()> {
        if self.seen.contains(&key) {
            return Ok(());
        }
        self.seen.make_room(1)?;
        self.seen.insert(key.clone());
        Ok(self.keys.try_push(key)?)
    }
}

impl Answers {
    fn ask(
        &mut self,
        database: &mut Database,
        width: usize,
        select: &str,
        piece: &Key,
    ) -> Result<Rc<Answer>> {
        if let Some((_, answer)) = self.0.iter().find(|(asked, _)| asked == select) {
            return Ok(Rc::clone(answer));
        }
        let answer = match read_keys(database, width, select, piece) {
            Err(error) if error.is_fatal() => return Err(error),
            answer => Rc::new(answer.map_err(|error| error.to_string())),
        };
        self.0.push((select.to_owned(), Rc::clone(&answer)));
        Ok(answer)
    }
}

fn read_keys(database: &mut Database, width: usize, select: &str, piece: &Key) -> Result<Vec<Key>> {
    let shown = piece.shown()?;
    let statement = database.rule_statement(select)?;
    let values = [shown.as_ref()];
    let used = statement.parameters().len();
    let mut rows = statement.query(&values[..used.min(1)])?;
    let mut keys = Vec::new();
    let mut given = 0;
    while rows.next()? {
        given += 1;
        if given > MOST_ROWS {
            return Err(Error::Argument(format!("it asks for more than {MOST_ROWS} rows")));
        }
        let key = Key::of(rows.values(0..width)?);
        if !key.has_null() {
            keys.try_push(key)?;
        }
    }
    Ok(keys)
}

impl Database {
    /// Whether a row's value is what it should be; None when it is, or when there is no such row.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn gap(&mut self, derived: &Derived, key: &Key) -> Result<Option<Gap>> {
        let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        let found = self
            .rule_statement(&derived.compare)?
            .first(&values, |row| Ok((row.column(0).to_value()?, row.column(1).to_value()?)))?;
        Ok(found.map(|(stored, computed)| Gap { key: key.clone(), stored, computed }))
    }

    /// Writes a derived value.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn write_derived(&mut self, derived: &Derived, key: &Key, value: &Value) -> Result<()> {
        let mut values = vec![value.as_ref()];
        values.extend(key.values().iter().map(Value::as_ref));
        Ok(self.rule_statement(&derived.update)?.run(&values)?)
    }

    /// The pieces that a row belongs to.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn owners(&mut self, derived: &Derived, key: &Key) -> Result<Vec<Owner>> {
        let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        let mut found = Vec::new();
        for kind in self.guarded_kinds() {
            let guard = match self.guard(kind) {
                Ok(guard) => guard,
                // Nothing of such a kind is imaged.
                Err(Error::Definition { .. }) => continue,
                Err(error) => return Err(error),
            };
            for (place, part) in guard.parts.iter().enumerate() {
                if part.table.name != derived.table.name {
                    continue;
                }
                let wanted = if place == HEADER { &part.key } else { &part.link };
                let prefix = format!("{}.", part.alias);
                let sql = format!(
                    "SELECT {} FROM {} WHERE {}{}",
                    quote_list(&prefix, wanted),
                    part.from_clause(&self.schema),
                    quote_equal(&prefix, &derived.key, 1),
                    part.and_condition()
                );
                let width = wanted.len();
                let link: Option<Vec<Value>> =
                    self.statement(kind, &sql)?.first(&values, |row| row.values(0..width))?;
                let Some(link) =
                    link.filter(|link| !link.iter().any(|value| value.as_ref().is_null()))
                else {
                    continue;
                };
                let Some(piece) = self.piece_of(kind, place, link)? else { continue };
                let owner = self.own_key(kind, &Key::of(piece))?;
                found.extend(owner.map(|owner| (kind, owner)));
            }
        }
        Ok(found)
    }

    fn settle_as(&mut self, asker: &Asker<'_>, owner: &Owner, reason: Reason) -> Result<()> {
        let at = asker.clock.now_ms();
        let about = Circumstances::of(reason, at);
        self.settle(asker.clock, asker.who, owner.0, &owner.1, None, about)?;
        Ok(())
    }

    /// Whether the host has triggers of its own on tables that a restore of this kind writes to: its own, and those of
    /// the derived values that it corrects.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn writes_under_triggers(&mut self, kind: usize) -> Result<bool> {
        if self.has_host_triggers(kind)? {
            return Ok(true);
        }
        let name = self.kinds[kind].name.clone();
        let mut tables: Vec<String> = Vec::new();
        for rule in self.rules()? {
            let corrects = rule.derived().filter(|derived| {
                derived.correct == Correct::Restore && derived.after_restore.contains_key(&name)
            });
            let table = corrects.map(|derived| derived.table.name.clone());
            tables.extend(table.filter(|table| !tables.contains(table)));
        }
        for table in tables {
            if self.has_triggers_on(&table)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Another station's edit of one of these pieces, in words: it is respected.
fn edited_elsewhere(
    database: &mut Database,
    asker: &Asker<'_>,
    owners: &[Owner],
) -> Result<Option<String>> {
    let station = asker.who.map(|who| who.0.as_str());
    for (kind, key) in owners {
        if let Some(edit) = database.edit_of_another(*kind, key, station)? {
            let (name, by) = (&database.kinds[*kind].name, edit.describe(asker.clock));
            return Ok(Some(format!("{name} {key} is being edited {by}")));
        }
    }
    Ok(None)
}

/// A scan over all rows where a derived value is not what it should be.
///
/// # Errors
/// What SQLite reports.
pub fn gaps(connection: Connection, derived: &Derived) -> std::result::Result<Statement, Failure> {
    let mut statement = connection.prepare(&derived.gaps)?;
    statement.start(&[])?;
    Ok(statement)
}

/// The row that such a scan stands on.
///
/// # Errors
/// When memory is short.
pub fn gap_of(derived: &Derived, row: &Statement) -> Result<Gap> {
    let width = derived.key.len();
    Ok(Gap {
        key: Key::of(row.values(0..width)?),
        stored: row.column(width).to_value()?,
        computed: row.column(width + 1).to_value()?,
    })
}
