//! Committed changes of synchronised kinds, in the order committed here: statements on `talon_change`.

use crate::sqlite::{Rows, Value, ValueRef};

/// A row of `talon_change`, as it is before it has its number.
#[derive(Debug, Clone)]
pub struct NewChange<'a> {
    /// Row of `talon_kind`.
    pub kind: i64,
    /// The piece.
    pub key: &'a Value,
    /// Its version.
    pub version: i64,
    /// When the change was made.
    pub stamp: i64,
    /// The site that made it.
    pub site: i64,
    /// The piece's image; None where it was deleted.
    pub snapshot: Option<i64>,
    /// The change before.
    pub previous: Option<i64>,
    /// The site that this very state came from; None where it was made or merged here.
    pub via: Option<i64>,
    /// The flow that brought it.
    pub flow: Option<i64>,
    /// Stamps by column, as JSON, where it is merged by field.
    pub fields: Option<&'a str>,
}

/// Stores a change, with the values of [`NewChange::values`].
pub const INSERT_CHANGE: &str = "INSERT INTO {s}.talon_change(kind, key, version, stamp, site, snapshot, previous, via, flow, fields)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Takes back a change that the same transaction stored.
pub const DELETE_CHANGE: &str = "DELETE FROM {s}.talon_change WHERE seq = ?1";

/// Has a change follow its piece to another key.
pub const MOVE_CHANGE: &str = "UPDATE {s}.talon_change SET key = ?2 WHERE seq = ?1";

/// Gives a change the image that says what it says, in place of one that was purged.
pub const SHOW_CHANGE: &str =
    "UPDATE {s}.talon_change SET snapshot = ?2 WHERE seq = ?1 AND snapshot IS NOT NULL";

/// Says that another flow brought a change as well.
pub const BRING_CHANGE: &str = "UPDATE {s}.talon_change SET flow = ?2 WHERE seq = ?1";

/// The stamp of the newest change, and the highest that was received before.
pub const SELECT_LATEST: &str =
    "SELECT (SELECT stamp FROM {s}.talon_change ORDER BY seq DESC LIMIT 1),
    (SELECT value FROM {s}.talon_meta WHERE name = 'clock')";

/// The number of the newest change.
pub const SELECT_NEWEST: &str = "SELECT max(seq) FROM {s}.talon_change";

/// A change by its number, to be read by [`change`].
pub const SELECT_CHANGE: &str =
    "SELECT seq, version, stamp, site, snapshot, previous, via, flow, fields
    FROM {s}.talon_change WHERE seq = ?1";

impl NewChange<'_> {
    /// The values that [`INSERT_CHANGE`] stores.
    pub fn values(&self) -> [ValueRef<'_>; 10] {
        let optional = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
        [
            ValueRef::Integer(self.kind),
            self.key.as_ref(),
            ValueRef::Integer(self.version),
            ValueRef::Integer(self.stamp),
            ValueRef::Integer(self.site),
            optional(self.snapshot),
            optional(self.previous),
            optional(self.via),
            optional(self.flow),
            self.fields.map_or(ValueRef::Null, |fields| ValueRef::Text(fields.as_bytes())),
        ]
    }
}

/// A stored change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Its number here.
    pub seq: i64,
    /// The piece's version.
    pub version: i64,
    /// When it was made.
    pub stamp: i64,
    /// The site that made it.
    pub site: i64,
    /// The piece's image; None where it was deleted.
    pub snapshot: Option<i64>,
    /// The change before.
    pub previous: Option<i64>,
    /// The site that this very state came from.
    pub via: Option<i64>,
    /// The flow that brought it.
    pub flow: Option<i64>,
    /// Stamps by column, as JSON.
    pub fields: Option<String>,
}

/// Reads a row of [`SELECT_CHANGE`].
pub fn change(row: &Rows<'_>) -> Change {
    let integer = |place: usize| row.column(place).as_integer();
    Change {
        seq: integer(0).unwrap_or(0),
        version: integer(1).unwrap_or(0),
        stamp: integer(2).unwrap_or(0),
        site: integer(3).unwrap_or(0),
        snapshot: integer(4),
        previous: integer(5),
        via: integer(6),
        flow: integer(7),
        fields: row.column(8).as_str().map(str::to_owned),
    }
}
