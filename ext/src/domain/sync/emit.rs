//! Writes a flow: all that a site is to have and does not have yet, as chunks in Talon's own tables.

use super::identity::Identities;
use super::loading::Loading;
use super::outgoing::Outgoing;
use super::writing::Writing;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Value, ValueRef};
use crate::storage::document::{End, Head, Load, Refused, SiteLine};
use crate::storage::flow_store::{Flow, FlowStore, NewFlow};
use crate::storage::frame::FlowName;
use crate::storage::shape::quote_identifier;
use crate::storage::site_store::{OwnSite, Role, Site, SiteStore};
use crate::storage::stamp::tick;
use crate::storage::waiting::Waiting;

/// What a flow is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What has changed since the receiver last acknowledged.
    Changes,
    /// Everything.
    Full,
    /// The same as changes, as the answer to a flow.
    Return,
}

/// When its sender wants an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As soon as it was applied.
    Now,
    /// At central's common hour.
    Later,
    /// Not at all.
    None,
}

impl Mode {
    /// As `talon_emit` takes it.
    pub fn text(self) -> &'static str {
        match self {
            Mode::Changes => "changes",
            Mode::Full => "full",
            Mode::Return => "return",
        }
    }

    /// What `talon_emit` takes.
    ///
    /// # Errors
    /// [`Error::Argument`] that names what there is.
    pub fn from_text(text: &str) -> Result<Mode> {
        let modes = [Mode::Changes, Mode::Full, Mode::Return];
        modes.into_iter().find(|mode| mode.text() == text).ok_or_else(|| {
            Error::Argument(format!("{text:?} is no mode: 'changes', 'full' or 'return'"))
        })
    }
}

impl Answer {
    /// As `talon_emit` takes it.
    pub fn text(self) -> &'static str {
        match self {
            Answer::Now => "now",
            Answer::Later => "later",
            Answer::None => "none",
        }
    }

    /// What `talon_emit` takes.
    ///
    /// # Errors
    /// [`Error::Argument`] that names what there is.
    pub fn from_text(text: &str) -> Result<Answer> {
        let answers = [Answer::Now, Answer::Later, Answer::None];
        answers.into_iter().find(|answer| answer.text() == text).ok_or_else(|| {
            Error::Argument(format!("{text:?} is no answer to ask for: 'now', 'later' or 'none'"))
        })
    }
}

/// A flow that is to be written.
#[derive(Debug, Clone)]
pub struct Order {
    /// What it is to hold.
    pub mode: Mode,
    /// Which answer it asks for.
    pub answer: Answer,
    /// The row of the flow that it answers; where none is said and it is a return, the one that waits.
    pub answers: Option<i64>,
}

impl Talon {
    /// Writes a flow for a site; gives its row.
    ///
    /// # Errors
    /// [`Error::Argument`] where this database is no site, or not one that exchanges flows with the other;
    /// [`Error::UnknownSite`].
    pub fn emit(&self, schema: &str, site: &str, order: &Order) -> Result<i64> {
        self.durably(schema, || {
            let place = self.database_to_write(schema)?;
            self.atomically(schema, || self.emit_flow(place, site, order))
        })
    }

    /// Runs `work` so that what it commits is on the disk before anybody is told, also where the host syncs its write-ahead
    /// log only now and then, or does not sync that a journal is gone (`synchronous` below EXTRA): a site that forgot a flow
    /// which another one has seen would number the next one the same, and be taken for a copy of itself.
    pub(super) fn durably<T>(&self, schema: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let pragma = format!("PRAGMA {}.synchronous", quote_identifier(schema));
        // Inside a transaction it cannot be changed: then it is the host's own COMMIT that counts.
        let level = match self.connection.value(&pragma, &[]) {
            // A host that has switched syncing off has chosen.
            Ok(Some(Value::Integer(level @ 1..=2))) if self.connection.is_autocommit() => level,
            _ => return work(),
        };
        self.connection.run(&format!("{pragma} = EXTRA"), &[])?;
        let result = work();
        let restored = self.connection.run(&format!("{pragma} = {level}"), &[]);
        let value = result?;
        restored?;
        Ok(value)
    }

    /// The same inside a savepoint.
    ///
    /// # Errors
    /// As [`Talon::emit`].
    pub(super) fn emit_flow(&self, place: usize, site: &str, order: &Order) -> Result<i64> {
        let now_ms = self.clock.now_ms();
        let mut databases = self.databases()?;
        let database = &mut databases[place];
        database.refresh()?;
        let schema = database.schema.clone();
        let sites = SiteStore::new(self.connection, &schema);
        let flows = FlowStore::new(self.connection, &schema);
        let own = own_site(&sites)?;
        let receiver = partner(&sites, &own, site)?;
        let answered = match order.answers {
            Some(id) => flows.by_id(id)?,
            None if order.mode == Mode::Return => flows.waiting_for_answer(receiver.id, own.id)?,
            None => None,
        };
        let loading = Loading::of(database, &own, &receiver, order, answered.as_ref())?;
        let head =
            head(&sites, &flows, &own, &receiver, order, answered.as_ref(), &loading, now_ms)?;
        let mut text = Vec::new();
        head.write(&mut text)?;
        let flow = flows.insert(&NewFlow {
            link: None,
            head: std::str::from_utf8(&text).unwrap_or_default(),
            ..noted(&own, &receiver, &head)
        })?;
        flows.wrote_to(receiver.id, head.flow.number)?;
        let mut writing = Writing::begin(&flows, flow, &head)?;
        writing.line(|line| head.write(line))?;
        let mut outgoing = Outgoing {
            identities: Identities::begin(database)?,
            waiting: Waiting::prepare(&flows, receiver.id)?,
            is_full: head.mode == Mode::Full.text(),
            is_first: receiver.role == Role::Central && head.acknowledges.is_none(),
            loading: &loading,
            flows,
            receiver: &receiver,
            flow,
        };
        outgoing.send(database, &mut writing, head.since, head.until)?;
        write_refused(&flows, &receiver, &mut writing)?;
        let End { rows, .. } = writing.finish()?;
        flows.complete(flow, now_ms, rows, None)?;
        flows.supersede(own.id, receiver.id, flow, now_ms, false)?;
        if let Some(answered) = answered {
            flows.link(answered.id, flow)?;
            flows.supersede_requests(receiver.id, own.id, answered.id, now_ms)?;
        }
        Ok(flow)
    }

    /// This database begins anew under its own code: other sites take it for another one, which they may send all they
    /// have, and it sends all it has.
    ///
    /// # Errors
    /// [`Error::Argument`] where this database is no site.
    pub fn rejoin(&self, schema: &str) -> Result<()> {
        self.database_to_write(schema)?;
        self.atomically(schema, || self.begin_anew(schema))
    }

    /// The same inside a savepoint.
    ///
    /// # Errors
    /// [`Error::Argument`] where this database is no site.
    pub(super) fn begin_anew(&self, schema: &str) -> Result<()> {
        let sites = SiteStore::new(self.connection, schema);
        let own = own_site(&sites)?;
        sites.set_own(own.id)?;
        let own = own_site(&sites)?;
        FlowStore::new(self.connection, schema).begin_anew(own.incarnation)
    }
}

/// Which site this database is.
///
/// # Errors
/// [`Error::Argument`] where that was not said.
pub(super) fn own_site(sites: &SiteStore<'_>) -> Result<OwnSite> {
    sites.own()?.ok_or_else(|| {
        let problem = "this database has not said which site it is: SELECT talon_origin(code)";
        Error::Argument(problem.to_owned())
    })
}

/// A site that this one exchanges flows with.
///
/// # Errors
/// [`Error::UnknownSite`]; [`Error::Argument`] for this site itself, and for two remote ones.
pub(super) fn partner(sites: &SiteStore<'_>, own: &OwnSite, code: &str) -> Result<Site> {
    let site = match sites.by_code(code)? {
        Some(site) => site,
        None => return Err(super::sites::unknown_site(sites, code)?),
    };
    if site.id == own.id {
        return Err(Error::Argument(format!("{} is this database itself", site.code)));
    }
    if own.role == Role::Remote && site.role == Role::Remote {
        let central = sites.central()?.map_or_else(|| "central".to_owned(), |site| site.code);
        return Err(Error::Argument(format!(
            "{} is remote, as {} is: both exchange flows with {central}",
            site.code, own.code
        )));
    }
    Ok(site)
}

/// What is noted of a flow that is written here.
fn noted<'a>(own: &OwnSite, receiver: &Site, head: &'a Head) -> NewFlow<'a> {
    NewFlow {
        sender: own.id,
        receiver: receiver.id,
        incarnation: own.incarnation,
        number: head.flow.number,
        link: None,
        mode: &head.mode,
        answer: &head.answer,
        stamp: head.stamp,
        since: head.since,
        until: head.until,
        head: "",
        load: head.load.map(Load::text),
    }
}

#[allow(clippy::too_many_arguments)]
fn head(
    sites: &SiteStore<'_>,
    flows: &FlowStore<'_>,
    own: &OwnSite,
    receiver: &Site,
    order: &Order,
    answered: Option<&Flow>,
    loading: &Loading,
    now_ms: i64,
) -> Result<Head> {
    let mode = if loading.is_full_answer() { Mode::Full } else { order.mode };
    let until = flows.newest_change()?;
    let since = match mode {
        Mode::Full => 0,
        _ => loading.since(until).unwrap_or(receiver.acknowledged),
    };
    let applied = match receiver.incarnation {
        Some(incarnation) => flows.applied(receiver.id, own.id, incarnation)?,
        None => None,
    };
    let listed = match own.role {
        Role::Central => sites.all()?,
        Role::Remote => Vec::new(),
    };
    let site = |site: Site| SiteLine {
        code: site.code,
        role: site.role.text().to_owned(),
        name: site.name,
    };
    let flow = FlowName {
        from: own.code.clone(),
        to: receiver.code.clone(),
        incarnation: own.incarnation,
        number: receiver.number_out.saturating_add(1),
    };
    Ok(Head {
        flow,
        mode: mode.text().to_owned(),
        answer: order.answer.text().to_owned(),
        answers: answered.map(|flow| flow.number),
        after: flows.unacknowledged(own.id, receiver.id, own.incarnation)?,
        stamp: tick(flows.highest_stamp()?, now_ms),
        since,
        until: if loading.waits { since } else { until },
        rejoins: flows.rejoins(own.id, receiver.id, own.incarnation)?,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        acknowledges: applied,
        refuses: flows.refusals(receiver.id, own.id, receiver.incarnation)?,
        sites: listed.into_iter().map(site).collect(),
        load: loading.load,
        tables: loading.tables.clone(),
    })
}

/// What came from the receiver and lies in quarantine here: there it may be changed again, and comes again.
fn write_refused(flows: &FlowStore<'_>, receiver: &Site, writing: &mut Writing) -> Result<()> {
    let mut statement = flows.prepare(
        "SELECT q.kind, q.key, q.origin, q.reason FROM {s}.talon_quarantined AS q JOIN {s}.talon_flow AS f ON f.id = q.flow
         WHERE q.direction = 'in' AND f.sender = ?1 ORDER BY q.id",
    )?;
    let mut rows = statement.query(&[ValueRef::Integer(receiver.id)])?;
    while rows.next()? {
        let text = |place: usize| rows.column(place).as_str().unwrap_or_default();
        let refused = Refused {
            kind: text(0).into(),
            key: rows.column(1).to_value()?,
            origin: text(2).into(),
            reason: text(3).into(),
        };
        writing.line(|line| refused.write(line))?;
    }
    Ok(())
}
