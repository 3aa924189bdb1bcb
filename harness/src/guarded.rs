//! What the guards of a scenario say of its tables: `[[pieces]]` says the same, or a judge would look elsewhere than Talon.

use crate::model;
use crate::scenario::{DATABASE, Detail, Host, Pieces, Scenario, Setting};
use crate::session;
use crate::sql;
use crate::tables;
use crate::vfs::{Connection, Disk, Failure, split_script};
use serde_json::Value as Json;
use std::path::Path;
use std::sync::Arc;

/// What a guard declares.
#[derive(Debug)]
pub enum Guarded {
    /// Pieces, as the judge compares them.
    Pieces(Pieces),
    /// Rows without lines, which are not compared.
    Record,
    /// Pieces of which a judge cannot compare everything, and what.
    Beyond(String),
}

/// A disk with a scenario's tables, and a connection that has declared its guards there.
fn declared(
    scenario: &Scenario,
    setting: Setting,
    library: &Path,
) -> Result<(Arc<Disk>, Connection), String> {
    let files = model::schema_files(scenario, setting)
        .map_err(|failure| format!("the schema: {failure}"))?;
    let disk = Disk::new(&files);
    let connection = session::open(&disk, setting, Some(library), &Host::default())
        .map_err(|failure| failure.to_string())?;
    connection.run(&scenario.guard).map_err(|failure| format!("the guards: {failure}"))?;
    Ok((disk, connection))
}

/// What the guards of a scenario declare, by kind.
///
/// # Errors
/// A schema or a guard that fails.
pub fn guarded(
    scenario: &Scenario,
    setting: Setting,
    library: &Path,
) -> Result<Vec<(String, Guarded)>, String> {
    let (disk, connection) = declared(scenario, setting, library)?;
    kinds(&disk, &connection)
}

fn kinds(disk: &Arc<Disk>, connection: &Connection) -> Result<Vec<(String, Guarded)>, String> {
    let plain = |failure: Failure| failure.to_string();
    let rows = connection.query("SELECT kind, definition FROM talon_guards").map_err(plain)?;
    let bare = Connection::open(&disk.path(DATABASE)).map_err(plain)?;
    let mut found = Vec::new();
    for row in rows {
        let [kind, definition] = row.as_slice() else { continue };
        let kind = kind.text().unwrap_or_default().to_owned();
        let definition: Json = serde_json::from_str(definition.text().unwrap_or_default())
            .map_err(|error| format!("the guard of {kind}: {error}"))?;
        let guarded = match definition["lines"].is_null() {
            true => Guarded::Record,
            false => pieces_of(&kind, &definition, &bare).map_err(plain)?,
        };
        found.push((kind, guarded));
    }
    Ok(found)
}

/// Sees that a scenario fits its own tables: its connections open, its statements have their values, and `[[pieces]]` says
/// of each kind what its guard says. Kinds that a step guards later are not looked at.
///
/// # Errors
/// What does not fit, or a schema or a guard that fails.
pub fn agrees(scenario: &Scenario, setting: Setting, library: &Path) -> Result<(), String> {
    let (disk, connection) = declared(scenario, setting, library)?;
    for (name, host) in &scenario.connections {
        session::open(&disk, setting, Some(library).filter(|_| host.talon), host)
            .and_then(Connection::close)
            .map_err(|failure| format!("[connections.{name:?}] opens_with: {failure}"))?;
    }
    let steps = || scenario.before.iter().chain(&scenario.steps);
    let mut statements = steps().flat_map(|step| split_script(&step.sql));
    if let Some(sql) = statements.find(|sql| connection.parameters(sql) > 0) {
        return Err(format!("a parameter without its value in {sql}"));
    }
    let is_later = steps().any(|step| sql::is_declaration(&step.sql));
    let kinds = kinds(&disk, &connection)?;
    let is_unknown =
        |pieces: &&Pieces| !is_later && !kinds.iter().any(|(kind, _)| *kind == pieces.kind);
    if let Some(Pieces { kind, .. }) = scenario.pieces.iter().find(is_unknown) {
        let kinds: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
        return Err(format!("[[pieces]] has kind {kind}; guarded are {}", kinds.join(", ")));
    }
    for (kind, guarded) in kinds {
        let named = scenario.pieces.iter().find(|pieces| pieces.kind == kind);
        match (named, guarded) {
            (Some(named), Guarded::Pieces(guarded)) => differ(named, &guarded)?,
            (Some(_), Guarded::Record) => {
                return Err(format!("kind {kind} has [[pieces]], but its guard has no lines"));
            }
            (None, Guarded::Pieces(_) | Guarded::Beyond(_)) => {
                return Err(format!("kind {kind} is guarded, but has no [[pieces]]"));
            }
            (_, Guarded::Beyond(_)) | (None, Guarded::Record) => {}
        }
    }
    Ok(())
}

fn differ(named: &Pieces, guarded: &Pieces) -> Result<(), String> {
    let words = |text: &Option<String>| {
        let words = text.iter().flat_map(|text| text.split_whitespace());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let details = |pieces: &Pieces| {
        let mut details: Vec<String> = pieces
            .details
            .iter()
            .map(|Detail { name, table, piece, line_key }| {
                let to = match line_key.is_empty() {
                    true => "the header".to_owned(),
                    false => format!("lines by {}", line_key.join(", ")),
                };
                format!("{name} (table {table}, {} refers to {to})", piece.join(", "))
            })
            .collect();
        details.sort_unstable();
        details
    };
    let one = |text: &String| vec![text.clone()];
    let said = [
        ("header", one(&named.header), one(&guarded.header)),
        ("key", named.key.clone(), guarded.key.clone()),
        ("lines", one(&named.lines), one(&guarded.lines)),
        ("piece", named.piece.clone(), guarded.piece.clone()),
        ("where", words(&named.header_where), words(&guarded.header_where)),
        ("lines_where", words(&named.lines_where), words(&guarded.lines_where)),
        ("details", details(named), details(guarded)),
    ];
    let is_alike = |these: &[String], those: &[String]| {
        these.len() == those.len()
            && these.iter().zip(those).all(|(this, that)| this.eq_ignore_ascii_case(that))
    };
    let shown = |what: &[String], name: &str| match what {
        [] => "nothing".to_owned(),
        words if name.ends_with("where") => words.join(" "),
        several => several.join(", "),
    };
    // A condition whose columns a step renames cannot stand in the scenario, nor hold in all of it: `1` says so.
    let is_all = |name: &str, these: &[String]| name.ends_with("where") && these == ["1"];
    let other =
        said.iter().find(|(name, these, those)| !is_alike(these, those) && !is_all(name, these));
    match other {
        None => Ok(()),
        Some((name, these, those)) => Err(format!(
            "[[pieces]] of kind {} has {} as `{name}`, its guard {}",
            named.kind,
            shown(these, name),
            shown(those, name)
        )),
    }
}

fn columns(json: &Json) -> Option<Vec<String>> {
    match json {
        Json::String(one) => Some(vec![one.clone()]),
        Json::Array(several) => several.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn pieces_of(kind: &str, definition: &Json, connection: &Connection) -> Result<Guarded, Failure> {
    let text = |json: &Json| json.as_str().map(str::to_owned);
    let (header, lines) = (&definition["header"], &definition["lines"]);
    let table = |json: &Json| text(&json["table"]).unwrap_or_default();
    let key = |json: &Json| match columns(&json["key"]) {
        Some(key) => Ok(key),
        None => tables::primary_key(connection, &table(json)),
    };
    let reference = |json: &Json, to: &Json, key: &[String]| match columns(&json["piece"]) {
        Some(piece) => Ok(piece),
        None => tables::reference(connection, &table(json), &table(to), key),
    };
    let (header_key, line_key) = (key(header)?, key(lines)?);
    let mut found = Pieces {
        header: table(header),
        lines: table(lines),
        piece: reference(lines, header, &header_key)?,
        header_where: text(&header["where"]),
        lines_where: text(&lines["where"]),
        details: Vec::new(),
        key: header_key,
        kind: kind.to_owned(),
    };
    for detail in definition["details"].as_array().into_iter().flatten() {
        let of = detail["of"].as_str().unwrap_or("header");
        let (parent, parent_key) = match of {
            "header" => (header, &found.key),
            "lines" => (lines, &line_key),
            other => {
                return Ok(Guarded::Beyond(format!(
                    "kind {kind}: what the detail {} has below {other} cannot be compared",
                    table(detail)
                )));
            }
        };
        if !detail["where"].is_null() {
            return Ok(Guarded::Beyond(format!(
                "kind {kind}: the condition of detail {} cannot be compared",
                table(detail)
            )));
        }
        found.details.push(Detail {
            name: text(&detail["name"]).unwrap_or_else(|| table(detail)),
            table: table(detail),
            piece: reference(detail, parent, parent_key)?,
            line_key: if of == "lines" { line_key.clone() } else { Vec::new() },
        });
    }
    Ok(Guarded::Pieces(found))
}
