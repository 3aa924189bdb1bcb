//! One document that arrives: found out who it is here, decided upon, written, or set aside with a reason.

use super::conflicts::Conflict;
use super::decide::{Action, Incoming, Local, Mark, decide};
use super::identity::Identities;
use super::incoming::{Fitting, Misfit};
use super::localize::{Attempt, Target};
use super::standing::Standing;
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef};
use crate::storage::change_store::Change as Stored;
use crate::storage::document::{Body, Change, Document, Head, Shape, Whole};
use crate::storage::policy::{Direction, Merge, Owner, Policy};
use std::collections::HashMap;
use std::rc::Rc;

/// What becomes of documents of which one cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is undone and set aside alone, for which each has a savepoint.
    OneByOne,
    /// The whole batch is undone, to be done again one by one: most flows have no such document, and savepoints cost.
    AllOrNone,
    /// That is to happen.
    Failed,
}

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
    /// What becomes of documents of which one cannot be applied.
    pub(super) mode: Mode,
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

/// What arrives of it, and what may be in its way.
pub(super) struct Comes<'a> {
    pub(super) change: &'a Change<'a>,
    /// None where it was deleted.
    pub(super) whole: Option<&'a Whole<'a>>,
    /// The site that made the change.
    pub(super) changed_at: i64,
    /// Why a rule forbids that.
    breach: Option<String>,
    /// Where it is open here, by whom and since when.
    holder: Option<String>,
}

impl Comes<'_> {
    /// Why it waits; None where nobody has it open.
    pub(super) fn waits(&self) -> Option<String> {
        self.holder.as_ref().map(|holder| format!("it is open {holder}"))
    }
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
        let known = database
            .own_statement("SELECT applied, begun FROM {s}.talon_site WHERE id = ?1")?
            .first(&[ValueRef::Integer(sender)], |row| {
                Ok([0, 1].map(|place| row.column(place).as_integer().unwrap_or(0)))
            })?;
        let [known, begun] = known.unwrap_or_default();
        Ok(Arrivals {
            identities: Identities::begin(database)?,
            flow: None,
            sender,
            seen: 0,
            known,
            begun,
            at,
            highest_stamp: 0,
            has_quarantine,
            mode: Mode::OneByOne,
            shapes: HashMap::new(),
        })
    }

    /// Of a flow that is here, and what its head says; None where nothing is known of it any more.
    ///
    /// # Errors
    /// As [`Arrivals::begin`]; [`Error::Flow`].
    pub(super) fn of_flow(
        database: &mut Database,
        flow: i64,
        at: i64,
    ) -> Result<Option<(Arrivals, Head)>> {
        let Some((sender, head)) = database.flow_head(flow)? else { return Ok(None) };
        let mut arrivals = Arrivals::begin(database, sender, at)?;
        arrivals.flow = Some(flow);
        // What it has of a former database of ours says nothing of this one.
        let incarnation = database.own_site()?.map(|own| own.incarnation);
        let said = head.acknowledges.filter(|said| Some(said.incarnation) == incarnation);
        arrivals.seen = said.map_or(0, |said| said.until);
        Ok(Some((arrivals, head)))
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
        let is_alone = self.mode == Mode::OneByOne;
        if is_alone {
            database.own_statement("SAVEPOINT talon_document")?.run(&[])?;
        }
        let attempt = match work(self, database) {
            Ok(attempt) => attempt,
            // What a person can read and mend is about the document.
            Err(error) if !error.is_fatal() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        match &attempt {
            Err(reason) if !is_alone => {
                self.mode = Mode::Failed;
                return Err(Error::Argument(reason.clone()));
            }
            Err(_) => {
                database.undo_document()?;
                self.identities.forget();
            }
            Ok(()) => {}
        }
        if is_alone {
            database.own_statement("RELEASE talon_document")?.run(&[])?;
        }
        if self.has_quarantine {
            // Central knows what other sites have made of what it sends.
            let others = self.identities.central == Some(self.sender);
            database.leave_quarantine(document, attempt.is_ok(), others)?;
        }
        match attempt {
            Ok(()) => Ok(true),
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
            None => match database.place_of_name(&document.kind) {
                Some(kind) => kind,
                None => {
                    return Ok(Err(format!("{} is not guarded or tracked here", document.kind)));
                }
            },
        };
        let Some(layout) = self.identities.layout(database, kind)? else {
            return Ok(Err(format!("{} is not synchronised here", document.kind)));
        };
        let Some(origin) = self.identities.site(&document.origin) else {
            return Ok(Err(format!("its origin {} is no site known here", document.origin)));
        };
        let subject = Subject { kind, origin, document, fitting };
        let standing = self.standing(talon, database, &subject)?;
        let (change, whole) = match &document.body {
            Body::Waits => return Ok(Ok(())),
            Body::Left => return self.leave(talon, database, &subject, standing),
            Body::Gone(change) => (change, None),
            Body::Whole(change, whole) => (change, Some(whole)),
        };
        if whole.is_some_and(|whole| !whole.is_sound()) {
            return Ok(Err("its image is not the one that its hash was made of".to_owned()));
        }
        let Some(changed_at) = self.identities.site(&change.site) else {
            return Ok(Err(format!(
                "it was changed at {}, which is no site known here",
                change.site
            )));
        };
        let holder = match &standing {
            Some(standing) => database.holder_of(talon, kind, &standing.key)?,
            None => None,
        };
        let breach = self.breach(&layout.policy, &subject, changed_at);
        let comes = Comes { change, whole, changed_at, breach, holder };
        let action = self.action(database, &subject, standing.as_ref(), &comes, &layout.policy)?;
        self.act(talon, database, &subject, standing, &comes, action)
    }

    /// What is to be done about a document.
    fn action(
        &mut self,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: Option<&Standing>,
        comes: &Comes<'_>,
        policy: &Policy,
    ) -> Result<Action> {
        let by_field = policy.merge == Merge::Field;
        let mut incoming = Incoming {
            mark: comes.change.mark(),
            gone: comes.whole.is_none(),
            is_known: false,
            is_equal: false,
            breaks_rule: comes.breach.is_some(),
        };
        let Some(standing) = standing else { return Ok(decide(by_field, None, incoming)) };
        let is_central = self.identities.central == Some(comes.changed_at);
        // There on both sides before either knew of the other, or where only central may: what arrives is it.
        let is_surely_it = standing.is_adopted
            || policy.owner == Owner::Central
                && is_central
                && standing.change.site != comes.changed_at;
        // What goes one way only is not sent back: what the other side has acknowledges nothing of it.
        let goes_back = match policy.direction {
            Direction::Up => !self.identities.is_central(),
            Direction::Down => self.identities.is_central(),
            Direction::Both => true,
        };
        let local = Local {
            mark: standing.mark(),
            gone: standing.state.gone_at.is_some(),
            is_seen: match goes_back {
                true => self.is_at_sender(&standing.change),
                false => {
                    self.is_from_sender(standing.change.via, standing.change.seq)
                        || self.is_still_there(database, &standing.change)?
                }
            },
            is_open: comes.holder.is_some(),
        };
        let is_at = incoming.mark.is(&local.mark);
        let is_merged = by_field && !local.gone && !incoming.gone;
        if !is_at && !is_merged {
            incoming.is_known =
                self.was_once(database, standing, incoming.mark, comes.changed_at)?;
        }
        // What follows what its sender had is taken, equal or not, and what is merged is compared field by field.
        let is_newer = incoming.mark.compare(&local.mark).is_gt();
        let is_compared = match is_merged {
            _ if is_surely_it => true,
            true => is_at,
            false => !(local.is_seen && is_newer),
        };
        if let Some(whole) = comes.whole.filter(|_| is_compared) {
            incoming.is_equal = self.is_equal(database, subject.kind, standing, whole)?;
        }
        Ok(match decide(by_field, Some(local), incoming) {
            Action::Refuse => Action::Refuse,
            _ if is_surely_it && local.is_open => Action::Wait,
            // What was changed since it was found here stays so.
            Action::Merge if is_surely_it && !incoming.is_equal && standing.is_adopted => {
                Action::Merge
            }
            _ if is_surely_it => Action::Take { conflict: !incoming.is_equal && !incoming.gone },
            // Only the fields tell whether there is anything to wait for.
            Action::Wait if is_merged => Action::Merge,
            action => action,
        })
    }

    /// Does it, or says why the document is set aside.
    fn act(
        &mut self,
        talon: &Talon,
        database: &mut Database,
        subject: &Subject<'_>,
        standing: Option<Standing>,
        comes: &Comes<'_>,
        action: Action,
    ) -> Attempt<()> {
        let Comes { change, whole, .. } = comes;
        match (action, standing) {
            (Action::Skip, Some(standing)) if standing.mark().is(&change.mark()) => {
                if let Some(flow) = self.flow.filter(|_| self.is_of_former(&standing.change)) {
                    database.bring_change(standing.change.seq, flow)?;
                }
                Ok(Ok(()))
            }
            (Action::Skip | Action::Keep { conflict: false }, _) => Ok(Ok(())),
            (Action::Refuse, _) => Ok(Err(comes.breach.clone().unwrap_or_default())),
            (Action::Wait, _) => Ok(Err(comes.waits().unwrap_or_default())),
            (Action::Keep { conflict: true }, Some(standing)) => {
                let lost = self.incoming_value(database, subject, &standing, *whole)?;
                let (won, columns) = database.standing_value(&standing)?;
                let shape = self.shape_of(database, subject)?.or(columns);
                let lost = (lost, comes.changed_at, change.stamp);
                let won = (won, standing.change.site, standing.change.stamp);
                self.list_whole(database, subject.kind, &standing.key, lost, won, shape)?;
                Ok(Ok(()))
            }
            (Action::Take { conflict }, standing) => {
                let overwritten = match &standing {
                    Some(standing) if conflict => {
                        let (value, shape) = database.standing_value(standing)?;
                        let Stored { site, stamp, .. } = standing.change;
                        Some((standing.key.clone(), (value, site, stamp), shape))
                    }
                    _ => None,
                };
                let taken = match whole {
                    Some(whole) => self.take(talon, database, subject, standing, change, whole)?,
                    None => self.take_deletion(database, subject, standing, change)?,
                };
                // Listed once it is done: what is tried before may be undone.
                if let (Ok(()), Some((key, lost, shape))) = (&taken, overwritten) {
                    let won = whole.map_or(Ok(Value::Null), |whole| text(whole.image))?;
                    let won = (won, comes.changed_at, change.stamp);
                    self.list_whole(database, subject.kind, &key, lost, won, shape)?;
                }
                // What was held back is not here any more.
                if taken.is_ok() && database.holds_back()? {
                    let Document { kind, origin, key, .. } = subject.document;
                    database.release_document(kind, origin, key)?;
                }
                Ok(taken)
            }
            (Action::Merge, Some(standing)) => match whole {
                Some(whole) => self.merge(talon, database, subject, standing, comes, whole),
                None => Ok(Ok(())),
            },
            // Without anything here there is nothing to keep, nor to merge with.
            (Action::Keep { .. } | Action::Merge, None) => Ok(Ok(())),
        }
    }

    /// Lists that one of two whole states was lost: values with the site and the stamp of the change that made them.
    fn list_whole(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Value,
        lost: (Value, i64, i64),
        won: (Value, i64, i64),
        shape: Option<i64>,
    ) -> Result<()> {
        let (at, flow) = (self.at, self.flow);
        database.list_conflict(&Conflict { at, kind, key, field: None, lost, won, flow, shape })
    }

    /// Whether a change of ours came from the very database that sent this: one that went back to a backup, or was begun
    /// anew, does not know what it has sent before.
    pub(super) fn is_from_sender(&self, via: Option<i64>, seq: i64) -> bool {
        via == Some(self.sender) && seq > self.begun
    }

    /// Whether a change of ours came from an earlier database of the sender's.
    fn is_of_former(&self, change: &Stored) -> bool {
        change.via == Some(self.sender) && !self.is_from_sender(change.via, change.seq)
    }

    /// Whether the sender has sent such a change again: its database has it, too.
    fn is_still_there(&self, database: &mut Database, change: &Stored) -> Result<bool> {
        let Some(flow) = change.flow.filter(|_| self.is_of_former(change)) else {
            return Ok(false);
        };
        let asked = database.own_statement(
            "SELECT 1 FROM {s}.talon_flow AS f JOIN {s}.talon_site AS s ON s.id = f.sender
             WHERE f.id = ?1 AND f.sender = ?2 AND f.incarnation = s.incarnation",
        )?;
        let flow = [flow, self.sender].map(ValueRef::Integer);
        Ok(asked.first(&flow, |_| Ok(()))?.is_some())
    }

    /// Whether the sender had a change of ours when it wrote the flow: it acknowledged it, or it is where that came from.
    pub(super) fn is_at_sender(&self, change: &Stored) -> bool {
        change.seq <= self.seen || self.is_from_sender(change.via, change.seq)
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

impl Database {
    /// Takes back what a document has come to so far; what is remembered of rows may be of those.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn undo_document(&mut self) -> Result<()> {
        self.own_statement("ROLLBACK TO talon_document")?.run(&[])?;
        self.forget_rows();
        Ok(())
    }
}

/// A payload as a value.
pub(super) fn text(payload: &[u8]) -> Result<Value> {
    Ok(Value::Text(crate::sqlite::Bytes::copy(payload)?))
}

impl Change<'_> {
    /// What orders it.
    pub(super) fn mark(&self) -> Mark<'_> {
        Mark { stamp: self.stamp, site: &self.site }
    }
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
