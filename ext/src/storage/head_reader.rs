//! Reads a flow's head, which `document` writes.

use super::document::{Acknowledged, Before, Head, Load, RefusedFlow, SiteLine, TableLine};
use super::document_reader::{boolean, integer, items, missing, optional_string, stamp};
use super::frame::FlowName;
use super::json_reader::{Reader, Result as Reading, Unread, owned};

pub(super) fn head(reader: &mut Reader<'_>) -> Reading<Head> {
    let (mut from, mut to, mut mode, mut answer) = (None, None, None, None);
    let (mut incarnation, mut number) = (None, None);
    let (mut when, mut since, mut until) = (None, None, None);
    let (mut answers, mut acknowledges, mut loads) = (None, None, None);
    let (mut rejoins, mut program) = (false, String::new());
    let (mut sites, mut tables) = (Vec::new(), Vec::new());
    let (mut after, mut refuses) = (Vec::new(), Vec::new());
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "from" => from = Some(owned(reader.string()?)?),
            "to" => to = Some(owned(reader.string()?)?),
            "mode" => mode = Some(owned(reader.string()?)?),
            "answer" => answer = Some(owned(reader.string()?)?),
            "program" => program = owned(reader.string()?)?,
            "incarnation" => incarnation = Some(integer(reader)?),
            "number" => number = Some(integer(reader)?),
            "answers" => answers = Some(integer(reader)?),
            "stamp" => when = Some(stamp(reader)?),
            "since" => since = Some(integer(reader)?),
            "until" => until = Some(integer(reader)?),
            "rejoins" => rejoins = boolean(reader)?,
            "after" => after = items(reader, before)?,
            "acknowledges" => acknowledges = Some(acknowledged(reader)?),
            "refuses" => refuses = items(reader, refused_flow)?,
            "sites" => sites = items(reader, site)?,
            "load" => loads = Some(load(reader)?),
            "tables" => tables = items(reader, table)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    let need = |value: Option<i64>, what: &str| value.ok_or_else(|| missing(what));
    Ok(Head {
        flow: FlowName {
            from: from.ok_or_else(|| missing("from"))?,
            to: to.ok_or_else(|| missing("to"))?,
            incarnation: need(incarnation, "incarnation")?,
            number: need(number, "number")?,
        },
        mode: mode.ok_or_else(|| missing("mode"))?,
        answer: answer.ok_or_else(|| missing("answer"))?,
        answers,
        after,
        stamp: need(when, "stamp")?,
        since: need(since, "since")?,
        until: need(until, "until")?,
        rejoins,
        program,
        acknowledges,
        refuses,
        sites,
        load: loads,
        tables,
    })
}

fn acknowledged(reader: &mut Reader<'_>) -> Reading<Acknowledged> {
    let mut read = Acknowledged::default();
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "incarnation" => read.incarnation = integer(reader)?,
            "number" => read.number = integer(reader)?,
            "until" => read.until = integer(reader)?,
            "stamp" => read.stamp = integer(reader)?,
            "begun" => read.begun = Some(integer(reader)?),
            "ended" => read.ended = Some(integer(reader)?),
            "runs" => read.runs = integer(reader)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(read)
}

fn before(reader: &mut Reader<'_>) -> Reading<Before> {
    let mut read = Before::default();
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "number" => read.number = integer(reader)?,
            "stamp" => read.stamp = integer(reader)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(read)
}

fn refused_flow(reader: &mut Reader<'_>) -> Reading<RefusedFlow> {
    let mut read = RefusedFlow { incarnation: 0, number: 0, why: String::new() };
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "incarnation" => read.incarnation = integer(reader)?,
            "number" => read.number = integer(reader)?,
            "why" => read.why = owned(reader.string()?)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(read)
}

fn site(reader: &mut Reader<'_>) -> Reading<SiteLine> {
    let (mut code, mut role, mut name) = (None, None, None);
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "code" => code = Some(owned(reader.string()?)?),
            "role" => role = Some(owned(reader.string()?)?),
            "name" => name = optional_string(reader)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(SiteLine {
        code: code.ok_or_else(|| missing("a site's code"))?,
        role: role.ok_or_else(|| missing("a site's role"))?,
        name,
    })
}

fn load(reader: &mut Reader<'_>) -> Reading<Load> {
    let text = reader.string()?;
    Load::from_text(&text)
        .ok_or_else(|| Unread::Damaged(format!("{text:?} is no load: \"full\" or \"changes\"")))
}

fn table(reader: &mut Reader<'_>) -> Reading<TableLine> {
    let (mut kind, mut version) = (None, None);
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "kind" => kind = Some(owned(reader.string()?)?),
            "version" => version = Some(integer(reader)?),
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    let version = version.ok_or_else(|| missing("a table's version"))?;
    if version < 0 {
        return Err(Unread::Damaged(format!("{version} is no version of a table")));
    }
    Ok(TableLine { kind: kind.ok_or_else(|| missing("a table's kind"))?, version })
}
