//! What must hold once everybody has met everybody again.

use super::history::History;
use super::schema::{CONTENTS, NOT_WHOLE};
use super::site::Site;
use crate::observe::line;
use crate::vfs::{Failure, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What does not hold.
///
/// # Errors
/// What SQLite reports.
pub fn judge(sites: &[Site], history: &History) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    // What was kept of what lost or waits; and the lists as people read them.
    let (mut kept, mut listed) = (String::new(), String::new());
    let (mut contents, mut set_aside) = (Vec::new(), Vec::new());
    for site in sites {
        let code = site.code();
        for sql in ["PRAGMA integrity_check", "PRAGMA foreign_key_check", NOT_WHOLE] {
            let found = shown(&site.query(sql)?);
            if found != "'ok'\n" && !found.is_empty() {
                problems.push(format!("{code}: {sql}: {found}"));
            }
        }
        let findings = shown(&site.query("SELECT kind, piece, finding, detail FROM talon_audit")?);
        if !findings.is_empty() {
            problems.push(format!("{code}: the audit finds {findings}"));
        }
        kept += &shown(&site.query("SELECT lost_value FROM talon_conflicts")?);
        kept += &shown(&site.query("SELECT document FROM talon_quarantine")?);
        for list in ["talon_conflicts", "talon_quarantine"] {
            listed += &shown(&site.query(&format!("SELECT * FROM {list}"))?);
        }
        contents.push(held(&site.query(CONTENTS)?));
        let aside = site.query(SET_ASIDE)?;
        problems.extend(aside.iter().filter_map(|row| unexpected(code, row)));
        set_aside.push(aside);
    }
    let central = &contents[0];
    let documents: BTreeSet<&String> = contents.iter().flat_map(BTreeMap::keys).collect();
    let is_aside = |document: &str, sites: &[usize]| {
        sites.iter().any(|site| set_aside[*site].iter().any(|row| is_of(row, document)))
    };
    let all: Vec<usize> = (0..sites.len()).collect();
    for (place, site) in sites.iter().enumerate().skip(1) {
        for document in &documents {
            let (here, there) = (contents[place].get(*document), central.get(*document));
            // One that cannot be applied, and says why, may differ; nothing else may.
            let is_aside = |document: &str| is_aside(document, &[0, place]);
            if here != there
                && !is_aside(document)
                && here.map(|here| without_lines_of(here, is_aside))
                    != there.map(|there| without_lines_of(there, is_aside))
            {
                problems.push(format!(
                    "{} has {document} as {here:?}, central as {there:?}",
                    site.code()
                ));
            }
        }
    }
    let stands = registers(central);
    let is_listed = |token: &str| kept.contains(token);
    problems.extend(history.problems(&stands, &is_listed, &|register| is_aside(register, &all)));
    for register in history.living() {
        if !stands.contains_key(register) && !is_aside(register, &all) {
            problems.push(format!("{register} is gone, and nobody deleted it"));
        }
    }
    if !problems.is_empty() && !listed.is_empty() {
        problems.push(format!("conflicts and quarantine: {listed}"));
    }
    Ok(problems)
}

/// A document's content that says of lines of such sales only whose they are: such a line is the same one on both sides, and
/// has not become the same yet.
fn without_lines_of(content: &str, is_such: impl Fn(&str) -> bool) -> String {
    let lines = content.split(';').map(|line| match line.rsplit_once(',') {
        Some((before, upstream)) => match upstream.split_once('.') {
            Some((sale, _)) if is_such(&format!("sale {sale}")) => format!("{before},{sale}"),
            _ => line.to_owned(),
        },
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join(";")
}

fn shown(rows: &[Vec<Value>]) -> String {
    rows.iter().map(|row| line(row) + "\n").collect()
}

fn held(rows: &[Vec<Value>]) -> BTreeMap<String, String> {
    let text = |value: Option<&Value>| value.and_then(Value::text).unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(row.first()), text(row.get(1)))).collect()
}

/// What is in quarantine: why, as it travels, and the name of the sale that it would delete.
const SET_ASIDE: &str = "
SELECT q.reason, q.document, s.tag FROM talon_quarantine AS q
LEFT JOIN talon_stamps AS t ON t.kind = q.kind AND t.origin = q.origin AND t.origin_key = q.origin_key
  AND t.field IS NULL AND q.kind = 'sale'
LEFT JOIN sale AS s ON s.id = t.piece";

/// Whether a row of the quarantine is of a document.
fn is_of(row: &[Value], document: &str) -> bool {
    let Some((_, tag)) = document.split_once(' ') else { return false };
    row[1].text().is_some_and(|text| text.contains(&format!("\"{tag}\"")))
        || row[2].text() == Some(tag)
}

/// A reason for which nothing may be in quarantine any more: all edits are over, and no rule was broken.
fn unexpected(code: &str, row: &[Value]) -> Option<String> {
    let reason = row[0].text().unwrap_or_default();
    let is_expected = reason.contains("is not here")
        || reason.contains("foreign key")
        || reason.contains("refers to it")
        || reason.contains("to a row that");
    (!is_expected).then(|| format!("{code} has in quarantine: {reason}: {}", row[1]))
}

/// What each register came to: customers by field, documents by the state that they are in.
fn registers(contents: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut stands = BTreeMap::new();
    for (document, content) in contents {
        let mut values = content.split('|').map(str::to_owned);
        if document.starts_with("customer ") {
            for (field, value) in ["name", "address", "phone"].iter().zip(values) {
                stands.insert(format!("{document} {field}"), value);
            }
        } else {
            stands.insert(document.clone(), values.next().unwrap_or_default());
        }
    }
    stands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_sale_that_waits_is_named_by_its_sale() {
        let waits = |document: &str| document == "sale B-s5";
        let content = "w9.|2|C-c1|A-s1.w9..0,w9.,8.75,A-a11,B-s5.w7..2;A-s1.w9..1,w9.,2.0,?,-";
        let other = content.replace("B-s5.w7..2", "B-s5.w10..0");
        assert_eq!(without_lines_of(content, waits), without_lines_of(&other, waits));
        for another in ["B-s6.w10..0", "-"] {
            let other = content.replace("B-s5.w7..2", another);
            assert_ne!(without_lines_of(content, waits), without_lines_of(&other, waits));
        }
        assert_eq!(without_lines_of(content, |_| false), content);
    }
}
