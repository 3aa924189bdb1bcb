//! `talon_audit`: what is wrong with guarded pieces.

use super::arguments::kinds_asked;
use super::rows::row_id;
use crate::domain::audit::{Audit, Finding, Kind};
use crate::domain::talon::Talon;
use crate::error::Result;
use crate::sqlite::{Connection, Constraints, Cursor, Failure, Table, Value, create_module};
use std::rc::Rc;

pub fn register(connection: Connection, talon: &Rc<Talon>) -> std::result::Result<(), Failure> {
    create_module::<AuditTable>(connection, "talon_audit", talon)
}

struct AuditTable;

const KIND: usize = 0;
const PIECE: usize = 1;
const FINDING: usize = 2;
const DETAIL: usize = 3;
const SCHEMA: usize = 4;

impl Table for AuditTable {
    type Data = Talon;
    type Cursor = Scan;
    const DECLARATION: &'static str =
        "CREATE TABLE x(kind TEXT, piece, finding TEXT, detail TEXT, schema TEXT HIDDEN)";
    const PUSHED: &'static [usize] = &[KIND, PIECE, FINDING, SCHEMA];

    fn open(
        talon: &Rc<Talon>,
        constraints: &Constraints<'_>,
    ) -> std::result::Result<Scan, Failure> {
        scan(talon, constraints).map_err(|error| error.into_failure("talon_audit"))
    }
}

/// Findings are looked for as they are read.
struct Scan {
    talon: Rc<Talon>,
    audit: Option<Audit>,
    current: Option<Finding>,
    schema: Value,
}

fn scan(talon: &Rc<Talon>, constraints: &Constraints<'_>) -> Result<Scan> {
    let asked = kinds_asked(talon, constraints, KIND, SCHEMA)?;
    let mut scan = Scan {
        talon: Rc::clone(talon),
        audit: None,
        current: None,
        schema: constraints
            .equal(SCHEMA)
            .map_or_else(|| Ok(Value::text("main")), |schema| schema.to_value())?,
    };
    let Some(place) = asked.place else {
        return Ok(scan);
    };
    let wanted = match constraints.equal(FINDING) {
        None => None,
        Some(name) => {
            match Kind::ALL.into_iter().find(|kind| name.as_str() == Some(kind.text())) {
                Some(kind) => Some(kind),
                // No finding is called so: there are none.
                None => return Ok(scan),
            }
        }
    };
    let piece = constraints.equal(PIECE).map(|piece| -> Result<Value> {
        // The header's own spelling, where one kind is asked about; of all kinds it is the value that counts.
        let kind = asked.kinds.first().filter(|_| constraints.equal(KIND).is_some());
        let mut databases = talon.databases()?;
        let database = &mut databases[place];
        // Of a kind that does not fit the schema any more there is no spelling.
        let own = match kind {
            Some(kind) if database.fits(*kind)? => database.piece_asked(*kind, piece)?,
            _ => None,
        };
        own.map_or_else(|| Ok(piece.to_value()?), |key| key.shown())
    });
    let piece = piece.transpose()?;
    scan.audit = Some(Audit::begin(place, &asked.kinds, wanted, piece));
    scan.step()?;
    Ok(scan)
}

impl Scan {
    fn step(&mut self) -> Result<()> {
        self.current = match &mut self.audit {
            Some(audit) => audit.find_next(&self.talon)?,
            None => None,
        };
        Ok(())
    }
}

impl Cursor for Scan {
    fn eof(&self) -> bool {
        self.current.is_none()
    }
    fn next(&mut self) -> std::result::Result<(), Failure> {
        self.step().map_err(|error| error.into_failure("talon_audit"))
    }
    fn column(&self, index: usize) -> std::result::Result<Value, Failure> {
        let Some(finding) = &self.current else {
            return Ok(Value::Null);
        };
        Ok(match index {
            KIND => Value::text(&finding.kind),
            PIECE => finding.piece.clone(),
            FINDING => Value::text(finding.finding.text()),
            DETAIL => Value::text(&finding.detail),
            SCHEMA => self.schema.clone(),
            _ => Value::Null,
        })
    }
    fn rowid(&self) -> i64 {
        self.current.as_ref().map_or(0, |finding| {
            let [kind, detail] = [&finding.kind, &finding.detail].map(|text| Value::text(text));
            let name = Value::text(finding.finding.text());
            row_id(&[&kind, &finding.piece, &name, &detail, &self.schema])
        })
    }
}
