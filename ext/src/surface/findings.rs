//! What synchronisation leaves to a person: `talon_quarantine`, what could not be applied or may not be sent;
//! `talon_conflicts`, what lost against another site's change; and `talon_why`, how a piece came to be what it is.

use super::arguments::schema_asked;
use super::journals::Journal;
use super::rows::Rows;
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Constraints, Failure, Room, Table, Value, create_module};
use crate::storage::schema::SYNC_SINCE;
use crate::storage::stamp;
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    create_module::<Quarantine>(connection, "talon_quarantine", talon)?;
    create_module::<Conflicts>(connection, "talon_conflicts", talon)?;
    create_module::<Why>(connection, "talon_why", talon)
}

/// `talon_quarantine`: one row a document that was set aside, here or by the site that it was sent to.
struct Quarantine;

mod quarantine {
    pub const ID: usize = 0;
    pub const DIRECTION: usize = 1;
    pub const KIND: usize = 2;
    pub const AT: usize = 8;
    pub const SCHEMA: usize = 12;
}

impl Table for Quarantine {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(id INTEGER, direction TEXT, kind TEXT, origin TEXT, origin_key, stamp INTEGER,
        site TEXT, flow INTEGER, at TEXT, tries INTEGER, reason TEXT, document TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] =
        &[quarantine::ID, quarantine::DIRECTION, quarantine::KIND, quarantine::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        let read = Journal {
            select: "SELECT j.id, j.direction, j.kind, j.origin, j.key, j.stamp, j.site, j.flow, j.at, j.tries, j.reason,
                CAST(j.document AS TEXT) FROM (
                  SELECT id, direction, kind, origin, key, stamp, site, flow, at, tries, reason, document FROM {s}.talon_quarantined
                  UNION ALL
                  SELECT NULL, 'refused', k.kind,
                    coalesce(o.code, (SELECT code FROM {s}.talon_site WHERE id = (SELECT value FROM {s}.talon_meta WHERE name = 'site'))),
                    coalesce(p.origin_key, w.key), c.stamp, s.code, NULL, w.at, NULL, w.reason, NULL
                  FROM {s}.talon_held AS w JOIN {s}.talon_kind AS k ON k.id = w.kind JOIN {s}.talon_site AS s ON s.id = w.site
                  LEFT JOIN {s}.talon_piece AS p ON p.kind = w.kind AND p.saved IN (0, 1) AND p.key = w.key
                  LEFT JOIN {s}.talon_change AS c ON c.seq = p.change LEFT JOIN {s}.talon_site AS o ON o.id = p.origin
                  WHERE w.at IS NOT NULL) AS j",
            conditions: &[
                (quarantine::ID, "j.id"),
                (quarantine::DIRECTION, "j.direction"),
                (quarantine::KIND, "j.kind"),
            ],
            moments: &[quarantine::AT],
            schema: quarantine::SCHEMA,
            identity: &[quarantine::ID, quarantine::SCHEMA],
            since_format: SYNC_SINCE,
        };
        read.rows(talon, constraints).map_err(|error| error.into_failure("talon_quarantine"))
    }
}

/// `talon_conflicts`: one row a value that lost.
struct Conflicts;

mod conflicts {
    pub const ID: usize = 0;
    pub const AT: usize = 1;
    pub const KIND: usize = 2;
    pub const PIECE: usize = 3;
    pub const REINSTATED_AT: usize = 12;
    pub const SCHEMA: usize = 13;
}

impl Table for Conflicts {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(id INTEGER, at TEXT, kind TEXT, piece, field TEXT, lost_value, lost_site TEXT,
        lost_stamp INTEGER, won_value, won_site TEXT, won_stamp INTEGER, flow INTEGER, reinstated_at TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] =
        &[conflicts::ID, conflicts::KIND, conflicts::PIECE, conflicts::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        let read = Journal {
            select: "SELECT j.id, j.at, k.kind, j.key, j.field, j.lost_value, l.code, j.lost_stamp, j.won_value, w.code,
                j.won_stamp, j.flow, j.reinstated_at FROM {s}.talon_conflict AS j
                LEFT JOIN {s}.talon_kind AS k ON k.id = j.kind LEFT JOIN {s}.talon_site AS l ON l.id = j.lost_site
                LEFT JOIN {s}.talon_site AS w ON w.id = j.won_site",
            conditions: &[
                (conflicts::ID, "j.id"),
                (conflicts::KIND, "k.kind"),
                (conflicts::PIECE, "j.key"),
            ],
            moments: &[conflicts::AT, conflicts::REINSTATED_AT],
            schema: conflicts::SCHEMA,
            identity: &[conflicts::ID, conflicts::SCHEMA],
            since_format: SYNC_SINCE,
        };
        read.rows(talon, constraints).map_err(|error| error.into_failure("talon_conflicts"))
    }
}

/// `talon_why(kind, piece)`: one row a version, the newest first.
struct Why;

mod why {
    pub const KIND: usize = 11;
    pub const PIECE: usize = 12;
    pub const SCHEMA: usize = 13;
}

impl Table for Why {
    type Data = Talon;
    type Cursor = Rows;
    const DECLARATION: &'static str = "CREATE TABLE x(version INTEGER, stamp INTEGER, site TEXT, changed_at TEXT, via TEXT, flow INTEGER,
        sent_in TEXT, owner TEXT, rule TEXT, origin TEXT, origin_key, kind TEXT HIDDEN, piece HIDDEN, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[why::KIND, why::PIECE, why::SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Rows, Failure> {
        let run = || -> Result<Rows> {
            let named = |column: usize| constraints.equal(column).filter(|value| !value.is_null());
            let (Some(kind), Some(piece)) = (named(why::KIND), named(why::PIECE)) else {
                return Err(Error::Argument(
                    "name a kind and a piece: talon_why(kind, piece)".to_owned(),
                ));
            };
            let schema = schema_asked(constraints, why::SCHEMA)?;
            let kind = kind.as_str().unwrap_or_default();
            let mut rows = Vec::new();
            for version in talon.why(&schema, kind, piece)? {
                let mut row = vec![
                    Value::Integer(version.version),
                    Value::Integer(version.stamp),
                    Value::text(&version.site),
                    Value::text(&talon.clock.shown(stamp::ms(version.stamp))),
                ];
                row.make_room(10)?;
                row.push(version.via.as_deref().map_or(Value::Null, Value::text));
                row.push(version.flow.map_or(Value::Null, Value::Integer));
                row.push(version.sent_in.as_deref().map_or(Value::Null, Value::text));
                row.push(Value::text(version.owner));
                row.push(Value::text(&version.rule));
                row.push(Value::text(&version.origin));
                row.push(version.origin_key);
                row.push(Value::text(kind));
                row.push(piece.to_value()?);
                row.push(Value::text(&schema));
                rows.try_push(row)?;
            }
            Ok(Rows::new(rows, &[1, 2, why::KIND, why::PIECE, why::SCHEMA]))
        };
        run().map_err(|error| error.into_failure("talon_why"))
    }
}
