//! A database with Talon beside one without: the same statements on both, and what must hold afterwards.

use super::cell::{Cell, Row, query, run};
use super::model::{Hand, Image, Model, Piece, Pieces, has_lines, read_pieces};
use super::schema::{Role, Schema, quote, quoted_list};
use super::shape::{Shape, Sharing};
use super::statement::{Statement, Step};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use talon_tests::{Db, Shop};

pub type Checked = Result<(), String>;

/// A host's insert that leaves both sides with the same counts.
const EVEN_OUT: &str = "INSERT OR REPLACE INTO host_log VALUES (7)";

pub struct World {
    pub schema: Schema,
    pub model: Model,
    talon: Connection,
    /// Without the extension, on the same file.
    bare: Option<Connection>,
    /// The same host without Talon.
    twin: Connection,
    /// Everything that was run, to be pasted.
    script: Vec<String>,
    _shop: Option<Shop>,
}

/// A snapshot as `talon_snapshots` and `talon_image` show it.
struct Snapshot {
    piece: Piece,
    image: Image,
}

impl World {
    /// Makes the tables, runs some statements unguarded, and guards. With `file` the bare hand can be asked for.
    pub fn begin(shape: &Shape, before: &[Step], file: bool) -> Result<World, String> {
        let shop = file.then(Shop::new);
        let (talon, bare) = match &shop {
            Some(shop) => (shop.open().connection, Some(shop.bare().connection)),
            None => (Db::memory().connection, None),
        };
        let schema = Schema::of(shape);
        let twin = Connection::open_in_memory().map_err(|error| error.to_string())?;
        let model = Model::begin(Pieces::new());
        let mut world = World { schema, model, talon, bare, twin, script: Vec::new(), _shop: shop };
        if file {
            query(&world.talon, "PRAGMA synchronous = OFF")?;
            let bare = world.bare.as_ref().ok_or("a bare connection")?;
            query(bare, "PRAGMA synchronous = OFF")?;
            query(bare, &world.schema.create()[0])?;
        }
        for sql in world
            .schema
            .create()
            .into_iter()
            .chain(["CREATE TABLE host_log(id INTEGER PRIMARY KEY)".to_owned()])
        {
            query(&world.talon, &sql)?;
            query(&world.twin, &sql)?;
            world.script.push(sql);
        }
        for step in before {
            world.same(Hand::Talon, &world.schema.statement(step))?;
        }
        world.settle(Hand::Talon)?;
        for sql in world.schema.guards() {
            query(&world.talon, &sql)?;
            world.script.push(sql);
        }
        if shape.baseline || file {
            for kind in &world.schema.kinds {
                query(&world.talon, &format!("SELECT talon_baseline('{}')", kind.name))?;
            }
        }
        if let Some(bare) = &world.bare {
            // A connection that has read nothing yet can empty the file: SQLite, up to 3.54 at least, does so at
            // SAVEPOINT a; BEGIN IMMEDIATE; ROLLBACK TO a; COMMIT.
            query(bare, "SELECT * FROM host_log")?;
        }
        // Talon's own calls count for the connection they are made on: a host's insert evens that out.
        world.same(Hand::Talon, &Statement::of(EVEN_OUT))?;
        world.model = Model::begin(read_pieces(&world.twin, &world.schema)?);
        Ok(world)
    }

    pub fn script(&self) -> String {
        self.script.join(";\n")
    }

    fn hand(&self, hand: Hand) -> &Connection {
        match (hand, &self.bare) {
            (Hand::Bare, Some(bare)) => bare,
            _ => &self.talon,
        }
    }

    /// Whether no transaction is open.
    pub fn is_idle(&self) -> bool {
        self.twin.is_autocommit()
    }

    pub fn step(&mut self, hand: Hand, step: &Step) -> Checked {
        self.run(hand, &self.schema.statement(step))
    }

    pub fn run(&mut self, hand: Hand, statement: &Statement) -> Checked {
        self.same(hand, statement)?;
        let pieces = read_pieces(&self.twin, &self.schema)?;
        let idle = self.is_idle();
        self.model.ran(hand, statement, pieces, idle);
        Ok(())
    }

    /// Runs a statement on both sides and compares all that a host can see.
    fn same(&mut self, hand: Hand, statement: &Statement) -> Checked {
        let sql = &statement.sql;
        self.script.push(if hand == Hand::Bare {
            format!("/* bare */ {sql}")
        } else {
            sql.clone()
        });
        let told = |side: &Connection| {
            let answer = run(side, sql);
            // Two hands count for themselves.
            let counts = self.bare.is_none().then(|| (side.changes(), side.last_insert_rowid()));
            (answer, counts, side.is_autocommit())
        };
        let (with, without) = (told(self.hand(hand)), told(&self.twin));
        if with == without {
            return Ok(());
        }
        // Where a table has any trigger, SQLite checks a single row's reference after it has inserted it, not before: the
        // row that is refused still counts as the last one.
        let refused = with.0.error.as_ref().is_some_and(|error| error.contains("FOREIGN KEY"));
        if refused && (&with.0, with.2) == (&without.0, without.2) {
            return self.same(hand, &Statement::of(EVEN_OUT));
        }
        Err(format!("with Talon {with:?}\nwithout    {without:?}\nafter {sql}"))
    }

    /// Ends an open transaction, by ROLLBACK where it cannot be committed.
    pub fn settle(&mut self, hand: Hand) -> Checked {
        for end in ["COMMIT", "ROLLBACK"] {
            if !self.is_idle() {
                self.run(hand, &Statement::of(end))?;
            }
        }
        Ok(())
    }

    pub fn host_tables_are_equal(&self) -> Checked {
        for table in &self.schema.tables {
            let sql = format!(
                "SELECT * FROM {} ORDER BY {}",
                quote(&table.name),
                quoted_list("", &table.key)
            );
            let (with, without) = (query(&self.talon, &sql)?, query(&self.twin, &sql)?);
            if with != without {
                return Err(format!("{} with Talon {with:?}\nwithout {without:?}", table.name));
            }
        }
        Ok(())
    }

    fn kind_at(&self, name: &Cell) -> Result<usize, String> {
        let is_it = |kind: &str| *name == super::cell::text(kind);
        self.schema
            .kinds
            .iter()
            .position(|kind| is_it(kind.name))
            .ok_or_else(|| format!("no kind {name:?}"))
    }

    /// A key as Talon shows it: a composite one as JSON.
    fn key(&self, kind: usize, shown: &Cell) -> Result<Row, String> {
        if self.schema.tables[self.schema.kinds[kind].header].key.len() == 1 {
            return Ok(vec![shown.clone().identity()]);
        }
        let Cell::Text(json) = shown else { return Err(format!("no JSON array: {shown:?}")) };
        let keys: Vec<serde_json::Value> =
            serde_json::from_slice(json).map_err(|error| error.to_string())?;
        Ok(keys.iter().map(Cell::from_json).collect())
    }

    fn piece(&self, row: &[Cell]) -> Result<Piece, String> {
        let kind = self.kind_at(&row[0])?;
        Ok((kind, self.key(kind, &row[1])?))
    }

    fn snapshots(&self) -> Result<Vec<Snapshot>, String> {
        let mut snapshots = Vec::new();
        for row in query(&self.talon, "SELECT kind, piece, id FROM talon_snapshots")? {
            let piece = self.piece(&row)?;
            let kind = &self.schema.kinds[piece.0];
            let mut image = Image::new();
            let sql = format!("SELECT part, row FROM talon_image({})", row[2].literal());
            for shown in query(&self.talon, &sql)? {
                let [Cell::Text(part), Cell::Text(json)] = shown.as_slice() else {
                    return Err(format!("{shown:?}"));
                };
                let part = String::from_utf8_lossy(part).into_owned();
                let object: serde_json::Value =
                    serde_json::from_slice(json).map_err(|error| error.to_string())?;
                let table = match kind.parts.iter().find(|known| known.name == part) {
                    Some(part) => part.table,
                    None => kind.header,
                };
                let columns = self.schema.tables[table].stored();
                image
                    .entry(part)
                    .or_default()
                    .push(columns.iter().map(|name| Cell::from_json(&object[name])).collect());
            }
            image.values_mut().for_each(|rows| rows.sort());
            snapshots.push(Snapshot { piece, image });
        }
        Ok(snapshots)
    }

    /// Promise 1: what was committed has a snapshot; nothing else has one.
    pub fn commits_are_captured(&self) -> Checked {
        let snapshots = self.snapshots()?;
        for snapshot in &snapshots {
            // A before-image may come after REPLACE took a line away unseen, within one statement.
            let is_excused = self.model.ever_stolen.contains(&snapshot.piece);
            if !is_excused
                && !self.model.history.contains(&(snapshot.piece.0, snapshot.image.clone()))
            {
                return Err(format!("never committed: {:?} {:?}", snapshot.piece, snapshot.image));
            }
        }
        let stored: HashSet<(usize, &Image)> =
            snapshots.iter().map(|snapshot| (snapshot.piece.0, &snapshot.image)).collect();
        for (kind, image) in &self.model.due {
            if !stored.contains(&(*kind, image)) {
                return Err(format!("no snapshot of {} {image:?}", self.schema.kinds[*kind].name));
            }
        }
        for (piece, image) in &self.model.committed {
            let is_due = has_lines(image) && self.model.changed.contains(piece);
            if is_due
                && !self.model.stolen.contains(piece)
                && !self.model.unseen.contains_key(piece)
            {
                let is_own =
                    |snapshot: &Snapshot| snapshot.piece == *piece && snapshot.image == *image;
                if !snapshots.iter().any(is_own) {
                    return Err(format!("no snapshot under its own key: {piece:?} {image:?}"));
                }
            }
        }
        Ok(())
    }

    fn findings(&self) -> Result<BTreeMap<Piece, Vec<(String, String)>>, String> {
        let mut findings: BTreeMap<Piece, Vec<(String, String)>> = BTreeMap::new();
        for row in query(&self.talon, "SELECT kind, piece, finding, detail FROM talon_audit")? {
            let (Cell::Text(finding), Cell::Text(detail)) = (&row[2], &row[3]) else {
                return Err(format!("{row:?}"));
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            findings.entry(self.piece(&row)?).or_default().push((text(finding), text(detail)));
        }
        Ok(findings)
    }

    /// The audit finds what REPLACE took away unseen, what was lost or orphaned, and nothing else.
    pub fn audit_finds_what_there_is(&self) -> Checked {
        let model = &self.model;
        let findings = self.findings()?;
        for (piece, found) in &findings {
            for (finding, detail) in found {
                let is_expected = match finding.as_str() {
                    "lost" => model.is_lost(piece) != Some(false),
                    "partial" | "drifted" => model.stolen.contains(piece),
                    "vanished" => {
                        !model.committed.contains_key(piece) && model.ambiguous.contains(piece)
                    }
                    // Its header is gone or was never there.
                    "orphaned" => !model.committed.contains_key(piece),
                    // What REPLACE takes away from a piece that was never imaged is no touch of it.
                    "unprotected" => {
                        model.committed.contains_key(piece)
                            && (!model.changed.contains(piece) || model.ever_stolen.contains(piece))
                    }
                    // What REPLACE took away unseen is noticed at a later touch.
                    "unguarded" => self.bare.is_some() || model.ever_stolen.contains(piece),
                    _ => false,
                };
                if !is_expected {
                    return Err(format!(
                        "{piece:?} is {finding}: {detail}\n{:?}",
                        model.committed.get(piece)
                    ));
                }
            }
        }
        let snapshots = self.snapshots()?;
        for piece in &model.stolen {
            let Some(image) = model.committed.get(piece).filter(|image| has_lines(image)) else {
                continue;
            };
            let is_stored = snapshots
                .iter()
                .any(|snapshot| snapshot.piece == *piece && snapshot.image == *image);
            if !is_stored && !findings.contains_key(piece) {
                return Err(format!(
                    "changed by REPLACE, and the audit does not say so: {piece:?} {image:?}"
                ));
            }
        }
        Ok(())
    }

    /// Deletes the lines of some pieces, restores them, and gets them back exactly.
    pub fn lost_pieces_come_back(&mut self, chosen: &[u8]) -> Checked {
        let whole: Vec<Piece> = self.model.committed.keys().cloned().collect();
        for pick in chosen {
            let Some(piece) = whole.get(usize::from(*pick) % whole.len().max(1)) else { continue };
            let softly = self.schema.shape.lines_where && pick % 2 == 1;
            self.run(Hand::Talon, &Statement::of(&self.lose_lines(piece, softly)))?;
        }
        let lost = self.lost()?;
        self.lost_is_what_the_model_says(&lost)?;
        for (piece, shown) in &lost {
            if self.model.is_lost(piece) == Some(true) {
                self.restore(piece, shown)?;
            }
        }
        query(
            &self.talon,
            "INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost",
        )?;
        self.what_stays_lost_has_its_reason()
    }

    fn what_stays_lost_has_its_reason(&self) -> Checked {
        let journal = query(&self.talon, "SELECT kind, piece, outcome FROM talon_restore")?;
        for (piece, shown) in self.lost()? {
            let refused = ["conflict", "constraint"].map(super::cell::text);
            let is_its = |row: &Row| row[1].clone().identity() == shown.clone().identity();
            let is_refused = journal.iter().any(|row| is_its(row) && refused.contains(&row[2]));
            if !is_refused {
                return Err(format!("{piece:?} is still lost: {journal:?}"));
            }
        }
        self.no_piece_is_half_back()
            .map_err(|wrong| format!("after the restore {wrong}\n{journal:?}"))
    }

    /// No piece that its last image speaks of has other lines or values since.
    fn no_piece_is_half_back(&self) -> Checked {
        // A row of two pieces may be as one of them had it.
        let is_shared = self.schema.shape.sharing == Sharing::LinesByTwoLinks;
        for (piece, found) in self.findings()? {
            let is_excused = is_shared || self.model.ever_stolen.contains(&piece);
            let wrong = found
                .iter()
                .find(|(finding, _)| ["partial", "drifted"].contains(&finding.as_str()));
            if let (Some(wrong), false) = (wrong, is_excused) {
                return Err(format!("{piece:?} is {wrong:?}"));
            }
        }
        Ok(())
    }

    /// Looks at everything, as a host may at any time.
    pub fn look(&self) -> Checked {
        for table in ["talon_lost", "talon_audit", "talon_snapshots", "talon_guards"] {
            query(&self.talon, &format!("SELECT * FROM {table}"))?;
        }
        Ok(())
    }

    fn lose_lines(&self, (kind, key): &Piece, softly: bool) -> String {
        let lines = &self.schema.kinds[*kind].parts[0];
        let terms: Vec<String> = lines
            .link
            .iter()
            .zip(key)
            .map(|(link, value)| format!("{} = {}", quote(link), value.literal()))
            .collect();
        let (table, terms) = (&self.schema.tables[lines.table], terms.join(" AND "));
        match table.column(Role::Deleted).filter(|_| softly) {
            Some(deleted) => {
                format!("UPDATE {} SET {} = 1 WHERE {terms}", quote(&table.name), quote(deleted))
            }
            None => format!("DELETE FROM {} WHERE {terms}", quote(&table.name)),
        }
    }

    /// The lost pieces, each as Talon shows it.
    fn lost(&self) -> Result<BTreeMap<Piece, Cell>, String> {
        let rows = query(&self.talon, "SELECT kind, piece FROM talon_lost")?;
        rows.into_iter().map(|row| Ok((self.piece(&row)?, row[1].clone()))).collect()
    }

    fn lost_is_what_the_model_says(&self, lost: &BTreeMap<Piece, Cell>) -> Checked {
        for piece in self.model.committed.keys().chain(lost.keys()) {
            let is_listed = lost.contains_key(piece);
            if self.model.is_lost(piece).is_some_and(|is_lost| is_lost != is_listed) {
                return Err(format!(
                    "{piece:?} is listed as lost: {is_listed}; {:?}",
                    self.model.committed.get(piece)
                ));
            }
        }
        Ok(())
    }

    fn restore(&self, piece: &Piece, shown: &Cell) -> Checked {
        let before = read_pieces(&self.talon, &self.schema)?;
        let rows_before = self.rows_of_parts(piece.0)?;
        let (kind, shown) = (self.schema.kinds[piece.0].name, shown.literal());
        query(
            &self.talon,
            &format!("INSERT INTO talon_restore(kind, piece) VALUES ('{kind}', {shown})"),
        )?;
        let journal =
            query(&self.talon, "SELECT outcome, note FROM talon_restore ORDER BY id DESC LIMIT 1")?;
        let after = read_pieces(&self.talon, &self.schema)?;
        let (now, wanted) = (after.get(piece), self.model.newest.get(piece));
        // A row in the way or a rule that no longer holds is an outcome, and leaves everything as it is.
        let is_refused = journal
            .iter()
            .any(|row| ["conflict", "constraint"].map(super::cell::text).contains(&row[0]));
        if is_restored(&rows_before, now, wanted) || is_refused && after == before {
            return Ok(());
        }
        Err(format!("{piece:?} was restored to {now:?}\nnot {wanted:?}\n{journal:?}"))
    }

    /// Restores to points in time: each comes back exactly or leaves everything as it is, and a dry run says which.
    pub fn points_in_time_come_back(&self, chosen: &[u8]) -> Checked {
        for pick in chosen {
            let listed = query(&self.talon, "SELECT kind, piece, id FROM talon_snapshots")?;
            let images = self.snapshots()?;
            let at = usize::from(*pick) % listed.len().max(1);
            let (Some(row), Some(snapshot)) = (listed.get(at), images.get(at)) else { continue };
            let before = self.contents()?;
            let restore = |dry_run: bool| -> Result<String, String> {
                let sql = format!(
                    "INSERT INTO talon_restore(kind, piece, snapshot, dry_run) VALUES ({}, {}, {}, {dry_run})",
                    row[0].literal(),
                    row[1].literal(),
                    row[2].literal()
                );
                query(&self.talon, &sql)?;
                let last = "SELECT outcome, note FROM talon_restore ORDER BY id DESC LIMIT 1";
                match query(&self.talon, last)?.first().map(|row| row[0].clone()) {
                    Some(Cell::Text(outcome)) => Ok(String::from_utf8_lossy(&outcome).into_owned()),
                    other => Err(format!("no outcome: {other:?}")),
                }
            };
            let expected = restore(true)?;
            let told = format!("{:?} to {:?}: {expected}", snapshot.piece, snapshot.image);
            if self.contents()? != before {
                return Err(format!("a dry run changed something: {told}"));
            }
            let outcome = restore(false)?;
            match outcome.as_str() {
                "restored" if expected == "would restore" => {
                    self.is_as_it_was(snapshot).map_err(|problem| format!("{problem}\n{told}"))?;
                }
                "conflict" | "constraint" if outcome == expected => {
                    if self.contents()? != before {
                        return Err(format!("refused, and changed something: {told}"));
                    }
                }
                other => return Err(format!("{other}, and a dry run said {told}")),
            }
        }
        Ok(())
    }

    /// A piece is what a snapshot of it says, and nothing else of it or of others is wrong since.
    fn is_as_it_was(&self, snapshot: &Snapshot) -> Checked {
        let pieces = read_pieces(&self.talon, &self.schema)?;
        let now = pieces.get(&snapshot.piece);
        let table = &self.schema.tables[self.schema.kinds[snapshot.piece.0].header];
        let columns = table.stored();
        let key_of = |image: &Image| -> Option<Row> {
            let row = image.get("header")?.first()?;
            let at = |name: &String| columns.iter().position(|column| column == name);
            table.key.iter().map(|name| row.get(at(name)?).cloned()).collect()
        };
        // Under another key, or another spelling of it, it goes on under that.
        let is_renamed = now.is_some_and(|now| key_of(now) != key_of(&snapshot.image));
        if !is_renamed && now != Some(&snapshot.image) {
            return Err(format!("it is {now:?}"));
        }
        self.no_piece_is_half_back().map_err(|wrong| format!("after that {wrong}"))
    }

    /// Every row of the host's tables.
    fn contents(&self) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        for table in &self.schema.tables {
            let mut found = query(&self.talon, &format!("SELECT * FROM {}", quote(&table.name)))?;
            found.sort();
            rows.extend(found);
        }
        Ok(rows)
    }

    /// Every row of the tables of a kind's parts, whoever it belongs to.
    fn rows_of_parts(&self, kind: usize) -> Result<Image, String> {
        let mut image = Image::new();
        for part in &self.schema.kinds[kind].parts {
            let table = &self.schema.tables[part.table];
            let sql =
                format!("SELECT {} FROM {}", quoted_list("", &table.stored()), quote(&table.name));
            image.insert(part.name.clone(), query(&self.talon, &sql)?);
        }
        Ok(image)
    }

    /// Marks: what changed on a connection without Talon is imaged, and listed.
    pub fn marks_are_absorbed(&mut self) -> Checked {
        query(&self.talon, "SELECT talon_absorb()")?;
        let (snapshots, findings) = (self.snapshots()?, self.findings()?);
        for (piece, known) in &self.model.unseen {
            let now = self.model.committed.get(piece);
            // What was renamed is listed under its new key.
            let is_renamed = now.is_none() && self.model.ambiguous.contains(piece);
            if self.model.stolen.contains(piece) || now == known.as_ref() || is_renamed {
                continue;
            }
            let is_stored = |image: &Image| {
                snapshots
                    .iter()
                    .any(|snapshot| snapshot.piece == *piece && snapshot.image == *image)
            };
            if now.is_some_and(|now| has_lines(now) && !is_stored(now)) {
                return Err(format!("no snapshot of {piece:?} {now:?}"));
            }
            if !findings.contains_key(piece) {
                return Err(format!("neither listed nor found: {piece:?} {now:?}, was {known:?}"));
            }
        }
        Ok(())
    }
}

/// Whether a piece has its header and lines back exactly, and its details beside those that were there: its own, and those
/// that waited for a line to come back.
fn is_restored(was: &Image, now: Option<&Image>, wanted: Option<&Image>) -> bool {
    let (Some(now), Some(wanted)) = (now, wanted) else { return false };
    let rows = |image: &Image, part: &str| image.get(part).cloned().unwrap_or_default();
    let mut parts = now.keys().chain(wanted.keys());
    parts.all(|part| match part.as_str() {
        "header" | "lines" => rows(now, part) == rows(wanted, part),
        part => {
            let (was, now, wanted) = (rows(was, part), rows(now, part), rows(wanted, part));
            wanted.iter().all(|row| now.contains(row))
                && now.iter().all(|row| wanted.contains(row) || was.contains(row))
        }
    })
}
