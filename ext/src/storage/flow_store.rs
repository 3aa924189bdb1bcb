//! Flows and their chunks: statements on `talon_flow` and `talon_chunk`, and on what `talon_site` says of them.

use super::document::{Acknowledged, Before, RefusedFlow};
use super::shape::quote_identifier;
use crate::error::Result;
use crate::sqlite::{Connection, Room, Rows, Statement, Value, ValueRef};

/// A flow that is to be noted.
#[derive(Debug, Clone, Copy)]
pub struct NewFlow<'a> {
    /// Row of the site that wrote it.
    pub sender: i64,
    /// Row of the site that it is for.
    pub receiver: i64,
    /// The sender's database.
    pub incarnation: i64,
    /// Its number.
    pub number: i64,
    /// The flow that it answers.
    pub link: Option<i64>,
    /// `changes`, `full` or `return`.
    pub mode: &'a str,
    /// `now`, `later` or `none`.
    pub answer: &'a str,
    /// The sender's clock.
    pub stamp: i64,
    /// It covers the sender's changes after this one,
    pub since: i64,
    /// up to this one.
    pub until: i64,
    /// Its first line; empty where that has not come yet.
    pub head: &'a str,
    /// The load that it asks for or brings: `full` or `changes`.
    pub load: Option<&'a str>,
}

/// A row of `talon_flow`, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Its row.
    pub id: i64,
    /// Row of the site that wrote it.
    pub sender: i64,
    /// Row of the site that it is for.
    pub receiver: i64,
    /// Its number.
    pub number: i64,
    /// `now`, `later` or `none`.
    pub answer: String,
    /// The sender's clock.
    pub stamp: i64,
    /// The sender's last change that it covers.
    pub until: i64,
    /// Its first line; empty where that has not come yet.
    pub head: String,
    /// All of it is here.
    pub is_ready: bool,
    /// It was applied, whole.
    pub is_ended: bool,
    /// It was refused here, or there.
    pub is_refused: bool,
    /// A later one has all that it had.
    pub is_superseded: bool,
}

impl Flow {
    /// Whether nothing more will be done with what it brings.
    pub fn is_over(&self) -> bool {
        self.is_ended || self.is_refused || self.is_superseded
    }
}

/// The flows of one file.
#[derive(Clone, Copy)]
pub struct FlowStore<'a> {
    connection: Connection,
    schema: &'a str,
}

const COLUMNS: &str = "id, sender, receiver, number, answer, stamp, until, head, ready IS NOT NULL, ended IS NOT NULL, \
    refused IS NOT NULL, superseded IS NOT NULL";

/// Flows that are here in part and older than ?3, where that comes from the database that its sender has now.
const EARLIER_IN_PART: &str = "ready IS NULL AND EXISTS
    (SELECT 1 FROM {s}.talon_flow AS newer JOIN {s}.talon_site AS site USING (incarnation)
      WHERE newer.id = ?3 AND site.id = ?1
        AND (talon_flow.incarnation <> newer.incarnation OR talon_flow.number < newer.number))";

fn flow(row: &Rows<'_>) -> Flow {
    let integer = |place: usize| row.column(place).as_integer().unwrap_or(0);
    let text = |place: usize| row.column(place).as_str().unwrap_or_default().to_owned();
    Flow {
        id: integer(0),
        sender: integer(1),
        receiver: integer(2),
        number: integer(3),
        answer: text(4),
        stamp: integer(5),
        until: integer(6),
        head: text(7),
        is_ready: integer(8) == 1,
        is_ended: integer(9) == 1,
        is_refused: integer(10) == 1,
        is_superseded: integer(11) == 1,
    }
}

pub(super) fn integers<const COUNT: usize>(values: [i64; COUNT]) -> [ValueRef<'static>; COUNT] {
    values.map(ValueRef::Integer)
}

impl<'a> FlowStore<'a> {
    /// Of the file behind a schema, whose tables have the format of synchronisation.
    pub fn new(connection: Connection, schema: &'a str) -> FlowStore<'a> {
        FlowStore { connection, schema }
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{s}", &quote_identifier(self.schema))
    }

    /// Prepares a statement on Talon's tables for use within one call; `{s}` stands for the schema.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare(&self, sql: &str) -> Result<Statement> {
        Ok(self.connection.prepare(&self.fill(sql))?)
    }

    fn run(&self, sql: &str, values: &[ValueRef<'_>]) -> Result<()> {
        Ok(self.connection.run(&self.fill(sql), values)?)
    }

    pub(super) fn integer(&self, sql: &str, values: &[ValueRef<'_>]) -> Result<Option<i64>> {
        Ok(match self.connection.value(&self.fill(sql), values)? {
            Some(Value::Integer(integer)) => Some(integer),
            _ => None,
        })
    }

    fn find(&self, condition: &str, values: &[ValueRef<'_>]) -> Result<Option<Flow>> {
        let sql = format!("SELECT {COLUMNS} FROM {{s}}.talon_flow WHERE {condition} LIMIT 1");
        Ok(self.prepare(&sql)?.first(values, |row| Ok(flow(row)))?)
    }

    /// The flow of this row.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn by_id(&self, id: i64) -> Result<Option<Flow>> {
        self.find("id = ?1", &integers([id]))
    }

    /// The flow of this number.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn by_number(
        &self,
        sender: i64,
        receiver: i64,
        incarnation: i64,
        number: i64,
    ) -> Result<Option<Flow>> {
        self.find(
            "sender = ?1 AND receiver = ?2 AND incarnation = ?3 AND number = ?4",
            &integers([sender, receiver, incarnation, number]),
        )
    }

    /// Whether flows of a former database of `sender` came here, and its present one wrote none before `stamp`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn was_former(&self, sender: i64, former: i64, present: i64, stamp: i64) -> Result<bool> {
        let asked = "SELECT EXISTS (SELECT 1 FROM {s}.talon_flow WHERE sender = ?1 AND incarnation = ?2)
             AND NOT EXISTS (SELECT 1 FROM {s}.talon_flow WHERE sender = ?1 AND incarnation = ?3 AND head <> '' AND stamp < ?4)";
        let values = integers([sender, former, present, stamp]);
        Ok(self.integer(asked, &values)? == Some(1))
    }

    /// The newest flow of `sender` that asked for an answer, was applied, and has none yet.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn waiting_for_answer(&self, sender: i64, receiver: i64) -> Result<Option<Flow>> {
        self.find(
            "sender = ?1 AND receiver = ?2 AND answer IN ('now', 'later') AND link IS NULL AND ended IS NOT NULL
               AND superseded IS NULL AND refused IS NULL ORDER BY id DESC",
            &integers([sender, receiver]),
        )
    }

    /// Which database a flow comes from.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn incarnation_of(&self, flow: i64) -> Result<Option<i64>> {
        self.integer("SELECT incarnation FROM {s}.talon_flow WHERE id = ?1", &integers([flow]))
    }

    /// The newest change of this file; 0 before the first.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn newest_change(&self) -> Result<i64> {
        Ok(self.integer("SELECT max(seq) FROM {s}.talon_change", &[])?.unwrap_or(0))
    }

    /// The highest stamp that this file has given or seen.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn highest_stamp(&self) -> Result<i64> {
        let sql = "SELECT max(
               coalesce((SELECT stamp FROM {s}.talon_change ORDER BY seq DESC LIMIT 1), 0),
               coalesce((SELECT value FROM {s}.talon_meta WHERE name = 'clock'), 0),
               coalesce((SELECT max(stamp) FROM {s}.talon_flow), 0))";
        Ok(self.integer(sql, &[])?.unwrap_or(0))
    }

    /// What of `sender`'s is here: its newest flow that was applied.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn applied(
        &self,
        sender: i64,
        receiver: i64,
        incarnation: i64,
    ) -> Result<Option<Acknowledged>> {
        let mut statement = self.prepare(
            "SELECT number, until, stamp, begun, ended, runs FROM {s}.talon_flow
             WHERE sender = ?1 AND receiver = ?2 AND incarnation = ?3 AND ended IS NOT NULL
             ORDER BY number DESC LIMIT 1",
        )?;
        Ok(statement.first(&integers([sender, receiver, incarnation]), |row| {
            let integer = |place: usize| row.column(place).as_integer().unwrap_or(0);
            Ok(Acknowledged {
                incarnation,
                number: integer(0),
                until: integer(1),
                stamp: integer(2),
                begun: row.column(3).as_integer(),
                ended: row.column(4).as_integer(),
                runs: integer(5),
            })
        })?)
    }

    /// Flows from this database that its receiver may not have, the oldest first and not too many, after the newest that it has.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn unacknowledged(
        &self,
        sender: i64,
        receiver: i64,
        incarnation: i64,
    ) -> Result<Vec<Before>> {
        let mut asked = self.prepare(
            "SELECT number, stamp FROM {s}.talon_flow
             WHERE sender = ?1 AND receiver = ?2 AND incarnation = ?3 AND number >= coalesce(
               (SELECT max(number) FROM {s}.talon_flow
                 WHERE sender = ?1 AND receiver = ?2 AND incarnation = ?3 AND acknowledged IS NOT NULL), 0)
             ORDER BY number LIMIT 50",
        )?;
        let mut rows = asked.query(&integers([sender, receiver, incarnation]))?;
        let mut found = Vec::new();
        while rows.next()? {
            let integer = |place: usize| rows.column(place).as_integer().unwrap_or(0);
            found.try_push(Before { number: integer(0), stamp: integer(1) })?;
        }
        Ok(found)
    }

    /// Flows of `sender`'s that were refused here, and which it may not have heard of: since it had a flow of ours that was
    /// written later.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn refusals(
        &self,
        sender: i64,
        receiver: i64,
        incarnation: Option<i64>,
    ) -> Result<Vec<RefusedFlow>> {
        let Some(incarnation) = incarnation else { return Ok(Vec::new()) };
        let mut asked = self.prepare(
            "SELECT number, coalesce(error, '') FROM {s}.talon_flow
             WHERE sender = ?1 AND receiver = ?2 AND incarnation = ?3 AND refused >= coalesce(
               (SELECT max(ready) FROM {s}.talon_flow WHERE sender = ?2 AND receiver = ?1 AND acknowledged IS NOT NULL), 0)
             ORDER BY number",
        )?;
        let mut rows = asked.query(&integers([sender, receiver, incarnation]))?;
        let mut found = Vec::new();
        while rows.next()? {
            found.try_push(RefusedFlow {
                incarnation,
                number: rows.column(0).as_integer().unwrap_or(0),
                why: rows.column(1).as_str().unwrap_or_default().to_owned(),
            })?;
        }
        Ok(found)
    }

    /// Notes a flow; gives its row.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert(&self, new: &NewFlow<'_>) -> Result<i64> {
        self.run(
            "INSERT INTO {s}.talon_flow(sender, receiver, incarnation, number, link, mode, answer, stamp, since, until, head, load)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            &new.values(),
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Notes what the first line says of a flow whose later chunks came before it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn fill_in(&self, new: &NewFlow<'_>) -> Result<()> {
        self.run(
            "UPDATE {s}.talon_flow SET (link, mode, answer, stamp, since, until, head, load) = (?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             WHERE sender = ?1 AND receiver = ?2 AND incarnation = ?3 AND number = ?4",
            &new.values(),
        )
    }

    /// All of a flow is there.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn complete(&self, id: i64, at_ms: i64, rows: i64, warning: Option<&str>) -> Result<()> {
        let warning = warning.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()));
        let [id, at, rows] = integers([id, at_ms, rows]);
        self.run(
            "UPDATE {s}.talon_flow SET ready = ?2, rows = ?3, error = ?4,
               bytes = (SELECT sum(length(bytes)) FROM {s}.talon_chunk WHERE flow = ?1)
             WHERE id = ?1",
            &[id, at, rows, warning],
        )
    }

    /// One flow answers another: each has the other's row.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn link(&self, request: i64, answer: i64) -> Result<()> {
        let pair = "UPDATE {s}.talon_flow SET link = ?2 WHERE id = ?1";
        self.run(pair, &integers([request, answer]))?;
        self.run(pair, &integers([answer, request]))
    }

    /// Requests of `sender` before one that was answered will get no answer any more.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn supersede_requests(
        &self,
        sender: i64,
        receiver: i64,
        before: i64,
        at_ms: i64,
    ) -> Result<()> {
        self.run(
            "UPDATE {s}.talon_flow SET superseded = ?4
             WHERE sender = ?1 AND receiver = ?2 AND id < ?3 AND answer <> 'none' AND link IS NULL
               AND superseded IS NULL AND refused IS NULL",
            &integers([sender, receiver, before, at_ms]),
        )
    }

    /// A newer flow has all that earlier ones from `sender` to `receiver` had: those that were not acknowledged, or
    /// are here in part only. Their bytes go. One of a former database says nothing of what comes from another.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn supersede(
        &self,
        sender: i64,
        receiver: i64,
        by: i64,
        at_ms: i64,
        partial: bool,
    ) -> Result<()> {
        let values = integers([sender, receiver, by, at_ms]);
        let those = if partial { EARLIER_IN_PART } else { "acknowledged IS NULL" };
        self.run(
            &format!(
                "UPDATE {{s}}.talon_flow SET superseded = ?4
                 WHERE sender = ?1 AND receiver = ?2 AND id <> ?3 AND {those} AND superseded IS NULL AND refused IS NULL"
            ),
            &values,
        )?;
        self.run(
            "DELETE FROM {s}.talon_chunk WHERE flow IN
               (SELECT id FROM {s}.talon_flow WHERE sender = ?1 AND receiver = ?2 AND superseded IS NOT NULL)",
            &values[..2],
        )
    }

    /// Lists a flow that came after a newer one had brought all that it has.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn note_late(&self, id: i64, at_ms: i64) -> Result<()> {
        let values = integers([id, at_ms]);
        self.run("UPDATE {s}.talon_flow SET superseded = ?2 WHERE id = ?1", &values)?;
        self.drop_chunks(id)
    }

    /// A flow was refused, with a reason.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn refuse(&self, id: i64, at_ms: i64, why: &str) -> Result<()> {
        let [flow, at] = integers([id, at_ms]);
        let values = [flow, at, ValueRef::Text(why.as_bytes())];
        self.run("UPDATE {s}.talon_flow SET refused = ?2, error = ?3 WHERE id = ?1", &values)?;
        self.drop_chunks(id)
    }

    /// The receiver has applied this flow of ours.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn acknowledge(&self, flow: &Flow, said: &Acknowledged, at_ms: i64) -> Result<()> {
        let [id, receiver, at, until] = integers([flow.id, flow.receiver, at_ms, flow.until]);
        let optional = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
        self.run(
            "UPDATE {s}.talon_flow SET acknowledged = ?2, superseded = NULL, begun = ?3, ended = ?4, runs = ?5
             WHERE id = ?1 AND acknowledged IS NULL",
            &[id, at, optional(said.begun), optional(said.ended), ValueRef::Integer(said.runs)],
        )?;
        self.run(
            "UPDATE {s}.talon_site SET acknowledged = max(acknowledged, ?2) WHERE id = ?1",
            &[receiver, until],
        )?;
        self.run("DELETE FROM {s}.talon_held WHERE site = ?1 AND flow <= ?2", &[receiver, id])?;
        self.drop_chunks(flow.id)
    }

    fn drop_chunks(&self, flow: i64) -> Result<()> {
        self.run("DELETE FROM {s}.talon_chunk WHERE flow = ?1", &integers([flow]))
    }

    /// What inserts a chunk: its flow, its number, its bytes.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn inserting_chunks(&self) -> Result<Statement> {
        self.prepare("INSERT INTO {s}.talon_chunk(flow, number, bytes) VALUES (?1, ?2, ?3)")
    }

    /// Whether a chunk is here with these bytes; None where it is not here.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_chunk(&self, flow: i64, number: i64, bytes: &[u8]) -> Result<Option<bool>> {
        let [flow, number] = integers([flow, number]);
        let same = self.integer(
            "SELECT bytes = ?3 FROM {s}.talon_chunk WHERE flow = ?1 AND number = ?2",
            &[flow, number, ValueRef::Blob(bytes)],
        )?;
        Ok(same.map(|same| same == 1))
    }

    /// The number of the highest chunk of a flow that is here with all before it; None where one of those is missing.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn highest_chunk(&self, flow: i64) -> Result<Option<i64>> {
        self.integer(
            "SELECT CASE count(*) WHEN max(number) + 1 THEN max(number) END FROM {s}.talon_chunk WHERE flow = ?1",
            &integers([flow]),
        )
    }

    /// The columns of a shape, as JSON.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn columns_of(&self, shape: i64) -> Result<Option<String>> {
        let mut asked = self.prepare("SELECT columns FROM {s}.talon_shape WHERE id = ?1")?;
        let found = asked.first(&integers([shape]), |row| {
            Ok(row.column(0).as_str().unwrap_or_default().to_owned())
        })?;
        Ok(found)
    }

    /// What gives the bytes of a flow's chunk of a number.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn reading_chunk(&self) -> Result<Statement> {
        self.prepare("SELECT bytes FROM {s}.talon_chunk WHERE flow = ?1 AND number = ?2")
    }

    /// What gives the chunks of a flow, in order: number and bytes.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn reading_chunks(&self) -> Result<Statement> {
        self.prepare("SELECT number, bytes FROM {s}.talon_chunk WHERE flow = ?1 ORDER BY number")
    }

    /// A site's flow came in whole. One of a database that it has begun anew since is none to count from.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn heard_of(
        &self,
        site: i64,
        incarnation: i64,
        number: i64,
        stamp: i64,
        clock_off_ms: i64,
    ) -> Result<()> {
        self.run(
            "UPDATE {s}.talon_site SET number_in = ?3, stamp_in = ?4, clock_off = ?5 WHERE id = ?1 AND incarnation = ?2",
            &integers([site, incarnation, number, stamp, clock_off_ms]),
        )
    }

    /// A site's database says for the first time which one it is, or begins anew: nothing of it is known.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn begin_site(&self, site: i64, incarnation: i64) -> Result<()> {
        self.run(
            "UPDATE {s}.talon_site SET incarnation = ?2, number_in = 0, stamp_in = 0, acknowledged = 0, applied = 0,
               begun = coalesce((SELECT max(seq) FROM {s}.talon_change), 0)
             WHERE id = ?1",
            &integers([site, incarnation]),
        )
    }

    /// This database begins anew, and is told apart from what it was by `incarnation`: all of it is to be sent again.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn begin_anew(&self, incarnation: i64) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO {s}.talon_meta(name, value) VALUES ('rejoined', ?1)",
            &integers([incarnation]),
        )?;
        self.run("UPDATE {s}.talon_site SET acknowledged = 0", &[])
    }

    /// Whether this database has begun anew, and the receiver has not acknowledged a flow of it since.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn rejoins(&self, own: i64, receiver: i64, incarnation: i64) -> Result<bool> {
        let rejoins = self.integer(
            "SELECT 1 FROM {s}.talon_meta WHERE name = 'rejoined' AND value = ?3 AND NOT EXISTS
               (SELECT 1 FROM {s}.talon_flow
                WHERE sender = ?1 AND receiver = ?2 AND incarnation = ?3 AND acknowledged IS NOT NULL)",
            &integers([own, receiver, incarnation]),
        )?;
        Ok(rejoins.is_some())
    }

    /// The newest flow to a site has this number.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn wrote_to(&self, site: i64, number: i64) -> Result<()> {
        self.run(
            "UPDATE {s}.talon_site SET number_out = ?2 WHERE id = ?1",
            &integers([site, number]),
        )
    }
}

impl<'a> NewFlow<'a> {
    fn values(&self) -> [ValueRef<'a>; 12] {
        [
            ValueRef::Integer(self.sender),
            ValueRef::Integer(self.receiver),
            ValueRef::Integer(self.incarnation),
            ValueRef::Integer(self.number),
            self.link.map_or(ValueRef::Null, ValueRef::Integer),
            ValueRef::Text(self.mode.as_bytes()),
            ValueRef::Text(self.answer.as_bytes()),
            ValueRef::Integer(self.stamp),
            ValueRef::Integer(self.since),
            ValueRef::Integer(self.until),
            ValueRef::Text(self.head.as_bytes()),
            self.load.map_or(ValueRef::Null, |load| ValueRef::Text(load.as_bytes())),
        ]
    }
}
