//! Rules where a host writes: what is not allowed here fails, and what was done all the same, on a connection without
//! Talon for instance, is kept, listed and not sent.

use super::ownership::{Facts, Refusal, may_write, restricts};
use crate::domain::clock::Clock;
use crate::domain::database::Database;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef};
use crate::storage::key::Key;
use crate::storage::policy::{Owner, Policy};
use crate::storage::shape::quote_identifier;
use crate::storage::site_store::{OwnSite, Role};
use crate::storage::stamp;
use crate::storage::store::PieceState;
use crate::storage::waiting::{IS_HELD, IS_SET_ASIDE};

/// A change that broke a rule.
#[derive(Debug)]
pub struct Breach {
    kind: String,
    /// The code of the site that created the piece, and the piece's key there.
    origin: String,
    key: Value,
    /// The site where it was made: this one.
    site: String,
    stamp: i64,
    at_ms: i64,
    /// Which rule, in words.
    pub text: String,
}

const HOLD_BACK: &str = "INSERT INTO {s}.talon_quarantined(direction, kind, origin, key, stamp, site, at, tries, reason)
    VALUES ('out', ?1, ?2, ?3, ?4, ?5, ?6, 1, ?7)
    ON CONFLICT (direction, kind, origin, key, site) DO UPDATE SET stamp = excluded.stamp, at = excluded.at,
      tries = tries + 1, reason = excluded.reason";
const RELEASE: &str = "DELETE FROM {s}.talon_quarantined WHERE direction = 'out' AND kind = ?1 AND origin = ?2 AND key = ?3";
const CENTRAL: &str = "SELECT id, acknowledged FROM {s}.talon_site WHERE role = 'central'";
/// The first flow from ?1 to ?2 that carried the change ?3.
const SENT: &str = "SELECT ready, stamp FROM {s}.talon_flow
    WHERE sender = ?1 AND receiver = ?2 AND until >= ?3 ORDER BY number LIMIT 1";

impl Talon {
    /// Refuses a write to a piece or record that is not to be changed here; `was` is what is known of it.
    ///
    /// # Errors
    /// [`Error::NotEditable`].
    #[inline]
    pub fn check_owner(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Key,
        was: Option<&PieceState>,
    ) -> Result<()> {
        if database.kinds[kind].definition.sync.is_none() {
            return Ok(());
        }
        let Some(site) = database.own_site()? else { return Ok(()) };
        match database.refusal(&self.clock, &site, kind, key, was)? {
            Some(text) => Err(Error::NotEditable(text)),
            None => Ok(()),
        }
    }

    /// Refuses a header that was just inserted and is none that a remote may create; one of the transaction's own pieces that
    /// it takes the place of counts as changed.
    ///
    /// # Errors
    /// [`Error::NotEditable`].
    #[inline]
    pub fn check_creation(
        &self,
        database: &mut Database,
        kind: usize,
        key: &Key,
        is_known: bool,
    ) -> Result<()> {
        if database.kinds[kind].definition.sync.is_none() {
            return Ok(());
        }
        let Some(site) = database.own_site()? else { return Ok(()) };
        if let Some(text) = database.not_to_be_created(&site, kind, key)? {
            return Err(Error::NotEditable(text));
        }
        if !is_known {
            return Ok(());
        }
        let id = database.kinds[kind].id;
        let was = database.store()?.piece(id, &key.shown()?)?;
        self.check_owner(database, kind, key, was.as_ref())
    }
}

impl Database {
    /// Why a piece or record is not to be changed here, in words; None where it may be.
    pub(super) fn refusal(
        &mut self,
        clock: &Clock,
        site: &OwnSite,
        kind: usize,
        key: &Key,
        was: Option<&PieceState>,
    ) -> Result<Option<String>> {
        let guard = self.guard(kind)?;
        let Some(policy) = guard.sync.as_ref().filter(|policy| restricts(site.role, policy)) else {
            return Ok(None);
        };
        // What takes the place of a deleted one is another one.
        let was = was.filter(|was| was.gone_at.is_none());
        let is_own = is_own(site, policy, was);
        let change = was.and_then(PieceState::change);
        let is_sent = match (policy.freeze, change) {
            (true, Some(change)) if is_own && site.role == Role::Remote => {
                self.is_accepted(kind, key, change)?
            }
            _ => None,
        };
        let facts = Facts { role: site.role, policy, is_own, is_accepted: is_sent.is_some() };
        let Err(refusal) = may_write(facts) else { return Ok(None) };
        let here = &site.code;
        let from = match was.and_then(PieceState::origin) {
            Some(origin) => self.code_of(origin)?,
            None => here.clone(),
        };
        let what = format!("{} {key}", guard.kind);
        Ok(Some(match refusal {
            Refusal::OfCentral => format!("{what} is central's and not editable at {here}"),
            Refusal::OfOrigin => {
                format!("{what} was created at {from} and is editable there only, not at {here}")
            }
            Refusal::OfOriginOrCentral => {
                format!(
                    "{what} was created at {from} and is editable there and at central, not at {here}"
                )
            }
            Refusal::ReadOnly => format!("{what} came up from {from} and is only read at {here}"),
            Refusal::Sent => {
                let on = match (is_sent, change) {
                    (Some(central), Some(change)) => self.sent_on(clock, site, central, change)?,
                    _ => None,
                };
                let on = on.map_or_else(String::new, |day| format!(" on {day}"));
                format!("{what} was sent to central{on} and is no longer editable at {here}")
            }
        }))
    }

    /// The central site, where that has a piece's newest change and has not sent it back.
    fn is_accepted(&mut self, kind: usize, key: &Key, change: i64) -> Result<Option<i64>> {
        let integer = |row: &crate::sqlite::Rows<'_>, place| row.column(place).as_integer();
        let central = self
            .own_statement(CENTRAL)?
            .first(&[], |row| Ok((integer(row, 0), integer(row, 1).unwrap_or(0))))?;
        let Some((Some(central), acknowledged)) = central else { return Ok(None) };
        // It may be back from there, at a till that was set up anew.
        if change > acknowledged && !self.was_loaded(change)? {
            return Ok(None);
        }
        let (id, shown) = (self.kinds[kind].id, key.shown()?);
        let values = [ValueRef::Integer(central), ValueRef::Integer(id), shown.as_ref()];
        let held = self.own_statement(IS_HELD)?.first(&values, |_| Ok(()))?;
        // What waits because it broke a rule after it was accepted is no less accepted.
        let is_accepted = held.is_none()
            || self.holds_back()? && {
                let state = self.store()?.piece(id, &shown)?;
                self.is_held_back(kind, &shown, state.as_ref())?
            };
        Ok(is_accepted.then_some(central))
    }

    /// Whether a load brought a change: it is what central has.
    fn was_loaded(&mut self, change: i64) -> Result<bool> {
        let asked = self.own_statement(
            "SELECT 1 FROM {s}.talon_change AS c JOIN {s}.talon_flow AS f ON f.id = c.flow
             WHERE c.seq = ?1 AND c.via = f.sender AND f.load IS NOT NULL",
        )?;
        Ok(asked.first(&[ValueRef::Integer(change)], |_| Ok(()))?.is_some())
    }

    /// The day on which a change was sent.
    fn sent_on(
        &mut self,
        clock: &Clock,
        site: &OwnSite,
        central: i64,
        change: i64,
    ) -> Result<Option<String>> {
        let values = [site.id, central, change].map(ValueRef::Integer);
        let at = self.own_statement(SENT)?.first(&values, |row| {
            let at = row.column(0).as_integer();
            Ok(at.unwrap_or_else(|| stamp::ms(row.column(1).as_integer().unwrap_or(0))))
        })?;
        Ok(at.map(|at| clock.day(at)))
    }

    fn code_of(&mut self, site: i64) -> Result<String> {
        let found = self
            .own_statement("SELECT code FROM {s}.talon_site WHERE id = ?1")?
            .first(&[ValueRef::Integer(site)], |row| {
                Ok(row.column(0).as_str().unwrap_or_default().to_owned())
            })?;
        Ok(found.unwrap_or_default())
    }

    /// Why a header that is there could not be created at a remote, in words.
    pub(super) fn not_to_be_created(
        &mut self,
        site: &OwnSite,
        kind: usize,
        key: &Key,
    ) -> Result<Option<String>> {
        let guard = self.guard(kind)?;
        let when = guard.sync.as_ref().and_then(|policy| policy.when.as_ref());
        let Some(when) = when.filter(|_| site.role == Role::Remote) else { return Ok(None) };
        let header = guard.header();
        let sql = format!(
            "SELECT ({when}\n) FROM {}.{} AS h WHERE {}{}",
            quote_identifier(&self.schema),
            quote_identifier(&header.table.name),
            guard.header_is(),
            header.and_condition()
        );
        let values: Vec<ValueRef<'_>> = key.values().iter().map(Value::as_ref).collect();
        let holds = self.statement(kind, &sql)?.first(&values, |row| {
            let value = row.column(0);
            Ok(!value.is_null() && !value.same(ValueRef::Integer(0)))
        })?;
        // A row that is of no kind, or of another one, is nobody's concern here.
        Ok((holds == Some(false)).then(|| {
            format!("{} {key} may not be created at {}: \"when\" is {when}", guard.kind, site.code)
        }))
    }

    /// The rule that a change breaks which nobody has refused.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn breach(
        &mut self,
        clock: &Clock,
        site: &OwnSite,
        kind: usize,
        key: &Key,
        was: Option<&PieceState>,
        is_unasked: bool,
    ) -> Result<Option<Breach>> {
        let is_new = was.is_none_or(|was| was.gone_at.is_some() || was.change().is_none());
        let text = match self.refusal(clock, site, kind, key, was)? {
            None if is_unasked && is_new => self.not_to_be_created(site, kind, key)?,
            refusal => refusal,
        };
        let Some(text) = text else { return Ok(None) };
        let mut breach = self.identified(site, kind, key, was)?;
        (breach.text, breach.at_ms, breach.stamp) = (text, clock.now_ms(), self.stamp(clock)?);
        self.own_statement(HOLD_BACK)?;
        self.store()?.prepare_unguarded()?;
        Ok(Some(breach))
    }

    /// A breach of a piece that may have been held back and is not any more.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn released(
        &mut self,
        site: &OwnSite,
        kind: usize,
        key: &Key,
        was: Option<&PieceState>,
    ) -> Result<Breach> {
        self.own_statement(RELEASE)?;
        self.identified(site, kind, key, was)
    }

    fn identified(
        &mut self,
        site: &OwnSite,
        kind: usize,
        key: &Key,
        was: Option<&PieceState>,
    ) -> Result<Breach> {
        let guard = self.guard(kind)?;
        let origin = match was.and_then(PieceState::origin) {
            Some(origin) => self.code_of(origin)?,
            None if guard.sync.as_ref().is_some_and(|policy| policy.owner == Owner::Central) => {
                let code = "SELECT code FROM {s}.talon_site WHERE role = 'central'";
                let code = self.own_statement(code)?;
                let code = code
                    .first(&[], |row| Ok(row.column(0).as_str().unwrap_or_default().to_owned()))?;
                code.unwrap_or_default()
            }
            None => site.code.clone(),
        };
        let key = match was.and_then(PieceState::origin_key) {
            Some(key) => Value::Integer(key),
            None => key.shown()?,
        };
        Ok(Breach {
            kind: guard.kind.clone(),
            origin,
            key,
            site: site.code.clone(),
            stamp: 0,
            at_ms: 0,
            text: String::new(),
        })
    }

    /// Whether the newest change of a piece of this site is not sent because it broke a rule.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn is_held_back(
        &mut self,
        kind: usize,
        key: &Value,
        state: Option<&PieceState>,
    ) -> Result<bool> {
        let name = self.kinds[kind].name.clone();
        let there = state.and_then(PieceState::origin_key);
        let there = there.map_or_else(|| key.as_ref(), ValueRef::Integer);
        let values = [ValueRef::Text(name.as_bytes()), there];
        Ok(self.own_statement(IS_SET_ASIDE)?.first(&values, |_| Ok(()))?.is_some())
    }

    /// Whether any change is not sent because it broke a rule.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn holds_back(&mut self) -> Result<bool> {
        if let Some(known) = self.stamping.holds_back {
            return Ok(known);
        }
        let any = "SELECT 1 FROM {s}.talon_quarantined WHERE direction = 'out' LIMIT 1";
        let any = self.own_statement(any)?.first(&[], |_| Ok(()))?.is_some();
        self.stamping.holds_back = Some(any);
        Ok(any)
    }

    /// Keeps a change from being sent, and lists it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn hold_back(&mut self, breach: &Breach) -> Result<()> {
        self.stamping.holds_back = Some(true);
        Ok(self.own_statement(HOLD_BACK)?.run(&[
            ValueRef::Text(breach.kind.as_bytes()),
            ValueRef::Text(breach.origin.as_bytes()),
            breach.key.as_ref(),
            ValueRef::Integer(breach.stamp),
            ValueRef::Text(breach.site.as_bytes()),
            ValueRef::Integer(breach.at_ms),
            ValueRef::Text(breach.text.as_bytes()),
        ])?)
    }

    /// A piece that was held back is told of again.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn release(&mut self, released: &Breach) -> Result<()> {
        self.release_document(&released.kind, &released.origin, &released.key)
    }

    /// The same by what it is called elsewhere.
    ///
    /// # Errors
    /// What SQLite reports.
    pub(super) fn release_document(&mut self, kind: &str, origin: &str, key: &Value) -> Result<()> {
        Ok(self.own_statement(RELEASE)?.run(&[
            ValueRef::Text(kind.as_bytes()),
            ValueRef::Text(origin.as_bytes()),
            key.as_ref(),
        ])?)
    }
}

/// Whether a piece or record was created here; of what is central's there is nothing that was created elsewhere.
fn is_own(site: &OwnSite, policy: &Policy, was: Option<&PieceState>) -> bool {
    match was.and_then(PieceState::origin) {
        Some(origin) => origin == site.id,
        None => policy.owner != Owner::Central || site.role == Role::Central,
    }
}
