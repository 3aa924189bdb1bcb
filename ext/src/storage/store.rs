//! Every statement on Talon's own tables that capture runs, kept prepared.

use super::schema::SYNC_SINCE;
use super::shape::quote_identifier;
use crate::error::{Error, Result};
use crate::sqlite::{Connection, Statement, Value, ValueRef};

/// BLAKE3 over a payload.
pub type Hash = [u8; 32];

/// A row of `talon_piece`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceState {
    /// At least one snapshot is stored.
    pub saved: bool,
    /// How many commits changed the piece.
    pub version: i64,
    /// It was deposited, and none of it has been written yet.
    pub staged: bool,
    /// Its newest snapshot.
    pub last: Option<i64>,
    /// Lines in that snapshot.
    pub lines: i64,
    /// Hash of that snapshot.
    pub hash: Option<Hash>,
    /// The commit that left it without lines, in ms since 1970.
    pub lost_at: Option<i64>,
    /// The commit that deleted it or took it out of its kind, in ms since 1970.
    pub gone_at: Option<i64>,
    /// When its being empty was accepted, in ms since 1970.
    pub dismissed_at: Option<i64>,
    /// What other sites have to do with it; None where nothing, and for kinds that are not synchronised. Apart, because every
    /// touched piece of a transaction has such a state in memory.
    pub sync: Option<Box<SyncState>>,
}

/// What is known of a piece or record that other sites have something to do with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncState {
    /// Its newest row of `talon_change`.
    pub change: Option<i64>,
    /// The site that created it; None for this one.
    pub origin: Option<i64>,
    /// The key that it has there, where that is another than here.
    pub origin_key: Option<i64>,
}

impl PieceState {
    /// Of a piece that Talon sees for the first time.
    pub fn new() -> PieceState {
        PieceState {
            saved: false,
            version: 0,
            staged: false,
            last: None,
            lines: 0,
            hash: None,
            lost_at: None,
            gone_at: None,
            dismissed_at: None,
            sync: None,
        }
    }

    /// Its newest row of `talon_change`.
    pub fn change(&self) -> Option<i64> {
        self.sync.as_ref()?.change
    }

    /// The site that created it; None for this one.
    pub fn origin(&self) -> Option<i64> {
        self.sync.as_ref()?.origin
    }

    /// The key that it has where it was created, where that is another than here.
    pub fn origin_key(&self) -> Option<i64> {
        self.sync.as_ref()?.origin_key
    }

    /// What other sites have to do with it, to be changed.
    pub fn sync_mut(&mut self) -> &mut SyncState {
        self.sync.get_or_insert_default()
    }
}

impl Default for PieceState {
    fn default() -> Self {
        PieceState::new()
    }
}

/// A snapshot to be stored.
pub struct NewSnapshot<'a> {
    /// The kind's row.
    pub kind: i64,
    /// Whose it is.
    pub key: &'a Value,
    /// The piece's version.
    pub version: i64,
    /// The snapshot before.
    pub previous: Option<i64>,
    /// Row of `talon_shape`.
    pub shape: i64,
    /// In ms since 1970.
    pub taken_at: i64,
    /// The station's calendar day.
    pub day: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Row of `talon_station`.
    pub station: Option<i64>,
    /// How many lines.
    pub lines: i64,
    /// BLAKE3 over the payload.
    pub hash: &'a Hash,
    /// The image.
    pub payload: &'a [u8],
}

/// Statements on Talon's tables in one schema.
pub struct Store {
    connection: Connection,
    schema: String,
    piece: Statement,
    insert_snapshot: Statement,
    insert_piece: Statement,
    update_piece: Statement,
    delete_piece: Statement,
    insert_unguarded: Option<Statement>,
    /// The file has the columns of synchronisation.
    has_sync: bool,
    /// The same two with these columns too: only pieces that have something there pay for them.
    synchronised: Option<Synchronised>,
}

/// What is written of synchronised pieces.
pub struct Synchronised {
    insert_piece: Statement,
    update_piece: Statement,
}

/// What is written of every piece.
const COLUMNS: &str = "version, last, lines, hash, lost_at, gone_at, dismissed_at";

/// Rows that are counted at a commit at most: some hundredths of a second's work, however much was deleted at a stroke.
pub const MOST_COUNTED: i32 = 100_000;

/// Makes the connection's `changes()` answer `count`, up to [`MOST_COUNTED`]: each costs a row written.
///
/// # Errors
/// What SQLite reports.
pub fn leave_changes(connection: Connection, schema: &str, count: i32) -> Result<()> {
    let (sql, values) = leaving_changes(count);
    Ok(connection.run(&sql.replace("{s}", &quote_identifier(schema)), values.as_slice())?)
}

/// The statement that does so, and its values.
pub fn leaving_changes(count: i32) -> (&'static str, Option<ValueRef<'static>>) {
    if count == 0 {
        return ("DELETE FROM {s}.talon_tally WHERE id < 0", None);
    }
    // Writing the same row over itself counts, and leaves its page as it is.
    let sql = "INSERT OR REPLACE INTO {s}.talon_tally(id, value)
         WITH RECURSIVE counted(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM counted WHERE n < ?1)
         SELECT 1, 0 FROM counted";
    (sql, Some(ValueRef::Integer(i64::from(count.min(MOST_COUNTED)))))
}

fn optional(value: Option<i64>) -> ValueRef<'static> {
    value.map_or(ValueRef::Null, ValueRef::Integer)
}

impl Store {
    /// Prepares the statements for tables of this format, to be kept for the connection's life.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare(connection: Connection, schema: &str, format: i64) -> Result<Store> {
        let quoted = quote_identifier(schema);
        let prepare = |sql: String| connection.prepare_kept(&sql);
        let has_sync = format >= SYNC_SINCE;
        let asked = format!(
            "SELECT saved, {COLUMNS}, {} FROM {quoted}.talon_piece WHERE kind = ?1",
            if has_sync { "change, origin, origin_key" } else { "NULL, NULL, NULL" }
        );
        Ok(Store {
            piece: prepare(format!(
                "{asked} AND saved = 1 AND key = ?2 UNION ALL {asked} AND saved = 0 AND key = ?2"
            ))?,
            insert_snapshot: prepare(format!(
                "INSERT INTO {quoted}.talon_snapshot(id, kind, key, version, previous, shape, taken_at, day, reason,
                   station, lines, bytes, hash, payload)
                 VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
            ))?,
            insert_piece: prepare(format!(
                "INSERT INTO {quoted}.talon_piece(kind, saved, key, {COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            ))?,
            update_piece: prepare(format!(
                "UPDATE {quoted}.talon_piece SET ({COLUMNS}) = (?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 WHERE kind = ?1 AND saved = ?2 AND key = ?3"
            ))?,
            delete_piece: prepare(format!(
                "DELETE FROM {quoted}.talon_piece WHERE kind = ?1 AND saved = ?2 AND key = ?3"
            ))?,
            insert_unguarded: None,
            has_sync,
            synchronised: None,
            connection,
            schema: schema.to_owned(),
        })
    }

    /// Whether SQLite compiled a look-up or an insertion anew since this was last asked: the schema has changed.
    #[inline]
    pub fn was_reprepared(&mut self) -> bool {
        let looked_up = self.piece.was_reprepared();
        self.insert_snapshot.was_reprepared() || looked_up
    }

    /// What is known of a piece.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn piece(&mut self, kind: i64, key: &Value) -> Result<Option<PieceState>> {
        let values = [ValueRef::Integer(kind), key.as_ref()];
        Ok(self.piece.first(&values, |row| {
            let integer = |index: usize| row.column(index).as_integer();
            let hash = match row.column(4) {
                ValueRef::Blob(bytes) => Hash::try_from(bytes).ok(),
                _ => None,
            };
            let version = integer(1).unwrap_or(0);
            let staged = version < 0;
            Ok(PieceState {
                saved: integer(0) == Some(1),
                version: if staged { -1 - version } else { version },
                staged,
                last: integer(2),
                lines: integer(3).unwrap_or(0),
                hash,
                lost_at: integer(5),
                gone_at: integer(6),
                dismissed_at: integer(7),
                sync: (8..11).any(|index| !row.column(index).is_null()).then(|| {
                    Box::new(SyncState {
                        change: integer(8),
                        origin: integer(9),
                        origin_key: integer(10),
                    })
                }),
            })
        })?)
    }

    /// Writes what is known of a piece over what was known before (`was`), or removes it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn put_piece(
        &mut self,
        kind: i64,
        key: &Value,
        was: Option<&PieceState>,
        now: Option<&PieceState>,
    ) -> Result<()> {
        let place = |saved: bool| {
            [ValueRef::Integer(kind), ValueRef::Integer(i64::from(saved)), key.as_ref()]
        };
        if let Some(was) = was
            && now.is_none_or(|now| now.saved != was.saved)
        {
            self.delete_piece.run(&place(was.saved))?;
        }
        let Some(now) = now else { return Ok(()) };
        let [kind, saved, key] = place(now.saved);
        let is_update = was.is_some_and(|was| was.saved == now.saved);
        let is_synchronised = now.sync.is_some() || was.is_some_and(|was| was.sync.is_some());
        let values = [
            kind,
            saved,
            key,
            ValueRef::Integer(if now.staged { -1 - now.version } else { now.version }),
            optional(now.last),
            ValueRef::Integer(now.lines),
            now.hash.as_ref().map_or(ValueRef::Null, |hash| ValueRef::Blob(hash)),
            optional(now.lost_at),
            optional(now.gone_at),
            optional(now.dismissed_at),
            optional(now.change()),
            optional(now.origin()),
            optional(now.origin_key()),
        ];
        let (statement, count) = match is_synchronised && self.has_sync {
            false if is_update => (&mut self.update_piece, values.len() - 3),
            false => (&mut self.insert_piece, values.len() - 3),
            true => {
                let wide = self.prepare_synchronised()?;
                let wide = if is_update { &mut wide.update_piece } else { &mut wide.insert_piece };
                (wide, values.len())
            }
        };
        Ok(statement.run(&values[..count])?)
    }

    /// Prepares what is written of synchronised pieces, before the writes that it belongs to.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare_synchronised(&mut self) -> Result<&mut Synchronised> {
        let statements = match self.synchronised.take() {
            Some(statements) => statements,
            None => {
                let quoted = quote_identifier(&self.schema);
                let columns = format!("{COLUMNS}, change, origin, origin_key");
                Synchronised {
                    insert_piece: self.connection.prepare_kept(&format!(
                        "INSERT INTO {quoted}.talon_piece(kind, saved, key, {columns})
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
                    ))?,
                    update_piece: self.connection.prepare_kept(&format!(
                        "UPDATE {quoted}.talon_piece
                         SET ({columns}) = (?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                         WHERE kind = ?1 AND saved = ?2 AND key = ?3"
                    ))?,
                }
            }
        };
        Ok(self.synchronised.insert(statements))
    }

    /// Removes whatever is known of a piece.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn remove_piece(&mut self, kind: i64, key: &Value) -> Result<()> {
        for saved in [0, 1] {
            let place = [ValueRef::Integer(kind), ValueRef::Integer(saved), key.as_ref()];
            self.delete_piece.run(&place)?;
        }
        Ok(())
    }

    /// Stores a snapshot and gives its id. `last_insert_rowid()` is left at it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert_snapshot(&mut self, snapshot: &NewSnapshot<'_>) -> Result<i64> {
        self.insert_snapshot.run(&[
            ValueRef::Integer(snapshot.kind),
            snapshot.key.as_ref(),
            ValueRef::Integer(snapshot.version),
            optional(snapshot.previous),
            ValueRef::Integer(snapshot.shape),
            ValueRef::Integer(snapshot.taken_at),
            ValueRef::Text(snapshot.day.as_bytes()),
            ValueRef::Text(snapshot.reason.as_bytes()),
            optional(snapshot.station),
            ValueRef::Integer(snapshot.lines),
            ValueRef::Integer(snapshot.payload.len() as i64),
            ValueRef::Blob(snapshot.hash),
            ValueRef::Text(snapshot.payload),
        ])?;
        self.inserted("talon_snapshot")
    }

    /// Takes back a snapshot that the same transaction stored.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_snapshot(&mut self, id: i64) -> Result<()> {
        self.run("DELETE FROM {s}.talon_snapshot WHERE id = ?1", &[ValueRef::Integer(id)])
    }

    /// The row of `talon_station` for a station and its user, made when missing.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn station(&mut self, station: &str, user: &str) -> Result<i64> {
        let who = [ValueRef::Text(station.as_bytes()), ValueRef::Text(user.as_bytes())];
        self.row_of(
            "SELECT id FROM {s}.talon_station WHERE station = ?1 AND user = ?2",
            "INSERT INTO {s}.talon_station(station, user) VALUES (?1, ?2)",
            &who,
        )
    }

    /// The row of `talon_shape` for these columns, made when missing.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn shape(&mut self, columns: &str) -> Result<i64> {
        let hash = *blake3::hash(columns.as_bytes()).as_bytes();
        self.row_of(
            "SELECT id FROM {s}.talon_shape WHERE columns = ?1 AND hash = ?2",
            "INSERT INTO {s}.talon_shape(columns, hash) VALUES (?1, ?2)",
            &[ValueRef::Text(columns.as_bytes()), ValueRef::Blob(&hash)],
        )
    }

    /// Prepares what [`Store::insert_unguarded`] runs, before the writes that it belongs to.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn prepare_unguarded(&mut self) -> Result<&mut Statement> {
        let statement = match self.insert_unguarded.take() {
            Some(statement) => statement,
            None => self.connection.prepare_kept(&format!(
                "INSERT INTO {}.talon_unguarded(kind, key, at, day, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
                quote_identifier(&self.schema)
            ))?,
        };
        Ok(self.insert_unguarded.insert(statement))
    }

    /// Lists a change that no snapshot was taken of when it was made.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert_unguarded(
        &mut self,
        kind: i64,
        key: &Value,
        at: i64,
        day: &str,
        detail: &str,
    ) -> Result<()> {
        Ok(self.prepare_unguarded()?.run(&[
            ValueRef::Integer(kind),
            key.as_ref(),
            ValueRef::Integer(at),
            ValueRef::Text(day.as_bytes()),
            ValueRef::Text(detail.as_bytes()),
        ])?)
    }

    fn row_of(&mut self, find: &str, insert: &str, values: &[ValueRef<'_>]) -> Result<i64> {
        let schema = quote_identifier(&self.schema);
        let found = self.connection.value(&find.replace("{s}", &schema), values)?;
        if let Some(Value::Integer(id)) = found {
            return Ok(id);
        }
        self.run(insert, values)?;
        self.inserted("a table of Talon's own")
    }

    /// The id of the row just inserted, which a trigger of somebody else may have kept out (RAISE(IGNORE)).
    fn inserted(&self, table: &str) -> Result<i64> {
        match self.connection.changes() {
            1 => Ok(self.connection.last_insert_rowid()),
            _ => Err(Error::Argument(format!("a trigger on {table} keeps rows out of it"))),
        }
    }

    fn run(&mut self, sql: &str, values: &[ValueRef<'_>]) -> Result<()> {
        let schema = quote_identifier(&self.schema);
        Ok(self.connection.run(&sql.replace("{s}", &schema), values)?)
    }
}
