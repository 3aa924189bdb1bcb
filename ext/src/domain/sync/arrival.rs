//! One document that arrives: found out who it is here, decided upon, written, or set aside with a reason.

use super::conflicts::Conflict;
use super::decide::{Action, Incoming, Local, Mark, decide};
use super::identity::Identities;
use super::incoming::{Fitting, Misfit};
use super::localize::{Attempt, Target};
use super::standing::Standing;
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Value, ValueRef};
use crate::storage::document::{Body, Change, Document, Shape, Whole};
use crate::storage::policy::{Direction, Merge, Owner, Policy};
use std::collections::HashMap;
use std::rc::Rc;

/// What all documents of a flow have in common.
pub(super) struct Arrivals {
    /// Who is who.
    pub(super) identities: Identities,
    /// The flow's row.
    pub(super) flow: Option<i64>,
    /// The site that sent it.
    pub(super) sender: i64,
    /// Our changes up to here were there when it was written.
    pub(super) seen: i64,
    /// The sender's changes up to here were here before.
    pub(super) known: i64,
    /// Our changes up to here that came from the sender came from a database that it no longer has.
    pub(super) begun: i64,
    /// Now, in ms since 1970.
    pub(super) at: i64,
    /// The highest stamp met.
    pub(super) highest_stamp: i64,
    /// Something is in quarantine: what gets through may have to leave it.
    pub(super) has_quarantine: bool,
    shapes: HashMap<i64, Known>,
}

/// A shape of the flow.
#[derive(Clone)]
struct Known {
    fitting: Rc<std::result::Result<Fitting, Misfit>>,
    /// Its line, for what has to be set aside.
    line: Rc<[u8]>,
}

/// Who a document is, and where it goes.
pub(super) struct Subject<'a> {
    pub(super) kind: usize,
    pub(super) origin: i64,
    pub(super) document: &'a Document<'a>,
    pub(super) fitting: Option<&'a Fitting>,
}

impl Subject<'_> {
    /// The piece that is here under this key, as what its rows are written to.
    pub(super) fn target<'k>(&'k self, key: &'k Value) -> Target<'k> {
        let origin_key = &self.document.key;
        Target { origin: self.origin, origin_key, key, is_optimistic: false, present: None }
    }
}

impl Arrivals {
    /// Of a flow from `sender`.
    ///
    /// # Errors
    /// [`Error::Argument`] where this database is no site; what SQLite reports.
    pub(super) fn begin(database: &mut Database, sender: i64, at: i64) -> Result<Arrivals> {
        let has_quarantine = database
            .own_statement("SELECT 1 FROM {s}.talon_quarantined WHERE direction = 'in' LIMIT 1")?
            .first(&[], |_| Ok(()))?
            .is_some();
        let begun = database
            .own_statement("SELECT begun FROM {s}.talon_site WHERE id = ?1")?
            .first(&[ValueRef::Integer(sender)], |row| Ok(row.column(0).as_integer()))?
            .flatten();
        Ok(Arrivals {
            identities: Identities::begin(database)?,
            flow: None,
            sender,
            seen: 0,
            known: 0,
            begun: begun.unwrap_or(0),
            at,
            highest_stamp: 0,
            has_quarantine,
            shapes: HashMap::new(),
        })
    }

    /// Takes a shape, which documents after it refer to.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn shape(
        &mut self,
        database: &mut Database,
        shape: &Shape<'_>,
        line: &[u8],
    ) -> Result<()> {
        let fitting = Rc::new(self.identities.fit(database, shape)?);
        self.shapes.insert(shape.number, Known { fitting, line: Rc::from(line) });
        Ok(())
    }

    /// Applies one document, or sets it aside; true when it was applied, or needed nothing.
    ///
    /// # Errors
    /// What concerns the machine, not the document.
    pub(super) fn document(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        document: &Document<'_>,
        line: &[u8],
    ) -> Result<bool> {
        if document.body == Body::Waits {
            return Ok(true);
        }
        if let Some(change) = document.change() {
            self.highest_stamp = self.highest_stamp.max(change.stamp);
        }
        self.attempt(database, document, line, |arrivals, database| {
            arrivals.try_document(talon, database, document)
        })
    }

    /// Does `work`, which is about a document, or sets the document aside; true when it was done.
    ///
    /// # Errors
    /// What concerns the machine, not the document.
    pub(super) fn attempt(
        &mut self,
        database: &mut Database,
        document: &Document<'_>,
        line: &[u8],
        work: impl FnOnce(&mut Arrivals, &mut Database) -> Attempt<()>,
    ) -> Result<bool> {
        database.own_statement("SAVEPOINT talon_document")?.run(&[])?;
        let attempt = match work(self, database) {
            Ok(attempt) => attempt,
            // What a person can read and mend is about the document.
            Err(error) if !error.is_of_the_machine() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        if attempt.is_err() {
            database.own_statement("ROLLBACK TO talon_document")?.run(&[])?;
            self.identities.forget();
        }
        database.own_statement("RELEASE talon_document")?.run(&[])?;
        match attempt {
            Ok(()) => {
                if self.has_quarantine {
                    database.leave_quarantine(document)?;
                }
                Ok(true)
            }
            Err(reason) => {
                let shape = document.shape().and_then(|number| self.shapes.get(&number));
                let columns = shape.map(|known| Rc::clone(&known.line));
                let flow = self.flow;
                database.set_aside(document, line, columns.as_deref(), flow, self.at, &reason)?;
                self.has_quarantine = true;
                Ok(false)
            }
        }
    }

    fn try_document(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        document: &Document<'_>,
    ) -> Attempt<()> {
        let known = document.shape().and_then(|number| self.shapes.get(&number)).cloned();
        let fitting = match (&document.body, known.as_ref().map(|known| &*known.fitting)) {
            (Body::Whole(..), None) => return Ok(Err("its shape is not in the flow".to_owned())),
            (_, Some(Err(misfit))) => return Ok(Err(misfit.clone())),
            (_, fitting) => fitting.and_then(|fitting| fitting.as_ref().ok()),
        };
        let kind = match fitting {
            Some(fitting) if database.kinds[fitting.kind].name != *document.kind => {
                return Ok(Err(format!(
                    "its shape is one of {}",
                    database.kinds[fitting.kind].name
                )));
            }
            Some(fitting) => fitting.kind,
            None => {
                let named = |kind: &usize| database.kinds[*kind].name == *document.kind;
                match database.guarded_kinds().into_iter().find(named) {
                    Some(kind) => kind,
                    None => {
                        return Ok(Err(format!(
                            "{} is not guarded or tracked here",
                            document.kind
                        )));
                    }
                }
            }
        };
        let Some(layout) = self.identities.layout(database, kind)? else {
            return Ok(Err(format!("{} is not synchronised here", document.kind)));
        };
        let Some(origin) = self.identities.site(&document.origin) else {
            return Ok(Err(format!("its origin {} is no site known here", document.origin)));
        };
        let subject = Subject { kind, origin, document, fitting };
        let standing = self.standing(talon, database, &subject)?;
        match &document.body {
            Body::Waits => Ok(Ok(())),
            Body::Left => self.leave(talon, database, &subject, standing),
            Body::Gone(change) => {
                self.arrive(talon, database, &subject, standing, change, None, &layout.policy)
            }
            Body::Whole(change, whole) => {
                if !whole.is_sound() {
                    return Ok(
                        Err("its image is not the one that its hash was made of".to_owned()),
                    );
                }
                self.arrive(
                    talon,
                    database,
                    &subject,
                    standing,
                    change,
                    Some(whole),
                    &layout.policy,
                )
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn arrive(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: Option<Standing>,
        change: &Change<'_>,
        whole: Option<&Whole<'_>>,
        policy: &Policy,
    ) -> Attempt<()> {
        let mark = Mark { stamp: change.stamp, site: &change.site };
        let Some(changed_at) = self.identities.site(&change.site) else {
            return Ok(Err(format!(
                "it was changed at {}, which is no site known here",
                change.site
            )));
        };
        let breach = self.breach(policy, subject, changed_at);
        let by_field = policy.merge == Merge::Field;
        let mut local = None;
        let mut incoming = Incoming {
            mark,
            gone: whole.is_none(),
            is_known: false,
            is_equal: false,
            breaks_rule: breach.is_some(),
        };
        let is_central = self.identities.central == Some(changed_at);
        // There on both sides before either knew of the other, or where only central may: what arrives is it.
        let is_adopted = standing.as_ref().is_some_and(|standing| standing.is_adopted);
        let is_surely_it = standing.as_ref().is_some_and(|standing| {
            is_adopted
                || policy.owner == Owner::Central && is_central && standing.site != changed_at
        });
        let mut holder = None;
        if let Some(standing) = &standing {
            if !standing.is_at(&mark) {
                incoming.is_known =
                    database.was_once(standing, &mark, |via, seq| self.is_from_sender(via, seq))?;
            }
            // What only goes up is not sent down again: what central has of it acknowledges nothing.
            let goes_down = policy.direction != Direction::Up || !self.identities.is_central();
            let is_seen = self.is_from_sender(standing.via, standing.seq)
                || goes_down && standing.seq <= self.seen;
            // What follows what its sender had is taken, equal or not: then nothing is compared.
            let follows = is_seen && !is_surely_it && mark.compare(&standing.mark()).is_gt();
            incoming.is_equal = match whole.filter(|_| !follows) {
                Some(whole) => self.is_equal(database, subject.kind, standing, whole)?,
                None => false,
            };
            holder = database.holder_of(talon, subject.kind, &standing.key)?;
            local = Some(Local {
                mark: standing.mark(),
                gone: standing.state.gone_at.is_some(),
                is_seen,
                is_open: holder.is_some(),
            });
        }
        let action = match decide(by_field, local, incoming) {
            Action::Refuse => Action::Refuse,
            _ if is_surely_it && holder.is_some() => Action::Wait,
            // What was changed since it was found here stays so.
            Action::Merge if is_surely_it && !incoming.is_equal && is_adopted => Action::Merge,
            _ if is_surely_it => Action::Take { conflict: !incoming.is_equal && !incoming.gone },
            action => action,
        };
        match action {
            Action::Skip | Action::Keep { conflict: false } => Ok(Ok(())),
            Action::Refuse => Ok(Err(breach.unwrap_or_default())),
            Action::Wait => Ok(Err(format!("it is open {}", holder.unwrap_or_default()))),
            Action::Keep { conflict: true } => {
                let Some(standing) = &standing else { return Ok(Ok(())) };
                let lost = self.incoming_value(database, subject, standing, whole)?;
                let won = database.standing_value(standing)?;
                let shape = self.shape_of(database, subject)?.or(won.1);
                database.list_conflict(&Conflict {
                    at: self.at,
                    kind: subject.kind,
                    key: &standing.key,
                    field: None,
                    lost: (lost, changed_at, change.stamp),
                    won: (won.0, standing.site, standing.stamp),
                    flow: self.flow,
                    shape,
                })?;
                Ok(Ok(()))
            }
            Action::Take { conflict } => {
                if let (true, Some(standing)) = (conflict, &standing) {
                    let (lost, shape) = database.standing_value(standing)?;
                    let won = whole.map_or(Ok(Value::Null), |whole| text(whole.image))?;
                    database.list_conflict(&Conflict {
                        at: self.at,
                        kind: subject.kind,
                        key: &standing.key,
                        field: None,
                        lost: (lost, standing.site, standing.stamp),
                        won: (won, changed_at, change.stamp),
                        flow: self.flow,
                        shape,
                    })?;
                }
                let taken = match whole {
                    Some(whole) => self.take(talon, database, subject, standing, change, whole)?,
                    None => self.take_deletion(database, subject, standing, change)?,
                };
                // What was held back is not here any more.
                if taken.is_ok() && database.holds_back()? {
                    let Document { kind, origin, key, .. } = subject.document;
                    database.release_document(kind, origin, key)?;
                }
                Ok(taken)
            }
            Action::Merge => match (standing, whole) {
                (Some(standing), Some(whole)) => {
                    self.merge(talon, database, subject, standing, change, whole)
                }
                _ => Ok(Ok(())),
            },
        }
    }

    /// Whether a change of ours came from the very database that sent this: one that went back to a backup, or was begun
    /// anew, does not know what it has sent before.
    pub(super) fn is_from_sender(&self, via: Option<i64>, seq: i64) -> bool {
        via == Some(self.sender) && seq > self.begun
    }

    /// Why a rule forbids a change from where it was made, if one does.
    fn breach(&self, policy: &Policy, subject: &Subject<'_>, changed_at: i64) -> Option<String> {
        let is_central = self.identities.central == Some(changed_at);
        let may = match policy.owner {
            Owner::Anyone => true,
            Owner::Central => is_central,
            Owner::Origin => changed_at == subject.origin,
            Owner::Either => is_central || changed_at == subject.origin,
        };
        let (kind, code) = (&subject.document.kind, self.identities.code(changed_at));
        if !may {
            let owner = match policy.owner {
                Owner::Central => "only central may change it".to_owned(),
                Owner::Either => format!("only {} and central may", subject.document.origin),
                _ => format!("only {} may", subject.document.origin),
            };
            return Some(format!("{kind} was changed at {code}: {owner}"));
        }
        let from_central = self.identities.central == Some(self.sender);
        match policy.direction {
            Direction::Down if !from_central => Some(format!("{kind} comes from central only")),
            Direction::Up if from_central => Some(format!("{kind} goes to central only")),
            _ => None,
        }
    }

    fn shape_of(&self, database: &mut Database, subject: &Subject<'_>) -> Result<Option<i64>> {
        match subject.fitting {
            Some(fitting) => Ok(Some(database.store()?.shape(&fitting.columns())?)),
            None => Ok(None),
        }
    }
}

/// A payload as a value.
pub(super) fn text(payload: &[u8]) -> Result<Value> {
    Ok(Value::Text(crate::sqlite::Bytes::copy(payload)?))
}

impl Document<'_> {
    /// The change that made it what it is.
    pub(super) fn change(&self) -> Option<&Change<'_>> {
        match &self.body {
            Body::Whole(change, _) | Body::Gone(change) => Some(change),
            Body::Left | Body::Waits => None,
        }
    }

    /// The shape of its image.
    pub(super) fn shape(&self) -> Option<i64> {
        match &self.body {
            Body::Whole(_, whole) => Some(whole.shape),
            _ => None,
        }
    }
}
