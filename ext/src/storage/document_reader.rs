//! Reads the lines that `document` writes. They come from elsewhere: what is copied of them is reserved before, an image is
//! never copied, and what is wrong is said with its place.

use super::document::{
    Body, Change, Document, End, Line, Reference, Refused, Shape, ShapeReference, Whole,
};
use super::frame::from_hexadecimal;
use super::head_reader::head;
use super::json_reader::{Reader, Result as Reading, Unread, owned};
use super::stamp::MOST;
use super::store::Hash;
use crate::error::{Error, Result};
use crate::sqlite::{Room, Value};
use std::borrow::Cow;

/// Reads a line.
///
/// # Errors
/// [`Error::Flow`] with what is wrong and where in the line; [`Error::Memory`].
pub fn read(line: &[u8]) -> Result<Line<'_>> {
    read_line(line).map_err(|unread| match unread {
        Unread::Memory => Error::Memory,
        Unread::Damaged(problem) => {
            let begin = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
            Error::Flow { problem: format!("a line cannot be read: {problem}, in {begin}…") }
        }
    })
}

/// Reads the names that stand by part in a shape's columns or types.
///
/// # Errors
/// [`Error::Flow`]; [`Error::Memory`].
pub fn names_by_part(json: &str) -> Result<Vec<(String, Vec<String>)>> {
    let read = || {
        let (mut reader, mut parts) = (Reader::new(json.as_bytes()), Vec::new());
        reader.list(b'{', b'}', |reader| {
            let part = owned(reader.name()?)?;
            let names = items(reader, |reader| owned(reader.string()?))?;
            Ok(parts.try_push((part, names))?)
        })?;
        reader.end()?;
        Ok(parts)
    };
    read().map_err(|unread| match unread {
        Unread::Memory => Error::Memory,
        Unread::Damaged(problem) => {
            Error::Flow { problem: format!("a shape cannot be read: {problem}") }
        }
    })
}

fn read_line(line: &[u8]) -> Reading<Line<'_>> {
    // The first name tells.
    let mut reader = Reader::new(line);
    let mut ahead = reader;
    ahead.want(b'{')?;
    let sort = ahead.name()?;
    let line = match &*sort {
        "shape" => Line::Shape(shape(&mut reader)?),
        "flow" => Line::Head(Box::new(within(&mut reader, head)?)),
        "document" => Line::Document(within(&mut reader, document)?),
        "refused" => Line::Refused(within(&mut reader, refused)?),
        "end" => Line::End(within(&mut reader, end)?),
        _ => return Err(Unread::Damaged(format!("{sort:?} is nothing that this version knows"))),
    };
    reader.end()?;
    Ok(line)
}

/// Reads the object of a line that has one member.
fn within<'a, T>(
    reader: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Reading<T>,
) -> Reading<T> {
    let mut found = None;
    reader.list(b'{', b'}', |reader| {
        reader.name()?;
        found = Some(read(reader)?);
        Ok(())
    })?;
    found.ok_or_else(|| missing("its contents"))
}

/// Reads a list.
pub(super) fn items<'a, T>(
    reader: &mut Reader<'a>,
    item: impl Fn(&mut Reader<'a>) -> Reading<T>,
) -> Reading<Vec<T>> {
    let mut items = Vec::new();
    reader.list(b'[', b']', |reader| Ok(items.try_push(item(reader)?)?))?;
    Ok(items)
}

pub(super) fn missing(what: &str) -> Unread {
    Unread::Damaged(format!("{what} is missing"))
}

pub(super) fn integer(reader: &mut Reader<'_>) -> Reading<i64> {
    let value = reader.value()?;
    value.as_ref().as_integer().ok_or_else(|| Unread::Damaged(format!("{value} is no integer")))
}

/// A stamp that a clock can have made.
pub(super) fn stamp(reader: &mut Reader<'_>) -> Reading<i64> {
    match integer(reader)? {
        stamp @ 0..=MOST => Ok(stamp),
        stamp => Err(Unread::Damaged(format!("{stamp} is no stamp"))),
    }
}

/// How many changes a document has seen.
fn version(reader: &mut Reader<'_>) -> Reading<i64> {
    match integer(reader)? {
        version @ 0..=MOST => Ok(version),
        version => Err(Unread::Damaged(format!("{version} is no version of a document"))),
    }
}

pub(super) fn boolean(reader: &mut Reader<'_>) -> Reading<bool> {
    match reader.raw()? {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => reader.damaged("true or false"),
    }
}

pub(super) fn optional_string(reader: &mut Reader<'_>) -> Reading<Option<String>> {
    if reader.peek() == Some(b'n') {
        reader.value()?;
        return Ok(None);
    }
    Ok(Some(owned(reader.string()?)?))
}

/// JSON text as it stands.
fn raw_text<'a>(reader: &mut Reader<'a>) -> Reading<Cow<'a, str>> {
    match std::str::from_utf8(reader.raw()?) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => reader.damaged("text in UTF-8"),
    }
}

fn hash(reader: &mut Reader<'_>) -> Reading<Hash> {
    let text = reader.string()?;
    from_hexadecimal(&text).ok_or_else(|| Unread::Damaged("its hash is none".to_owned()))
}

fn shape<'a>(reader: &mut Reader<'a>) -> Reading<Shape<'a>> {
    let (mut number, mut kind, mut columns, mut types) = (None, None, None, None);
    let mut references = Vec::new();
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "shape" => number = Some(integer(reader)?),
            "kind" => kind = Some(reader.string()?),
            "columns" => columns = Some(raw_text(reader)?),
            "types" => types = Some(raw_text(reader)?),
            "references" => references = items(reader, shape_reference)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(Shape {
        number: number.ok_or_else(|| missing("its number"))?,
        kind: kind.ok_or_else(|| missing("its kind"))?,
        columns: columns.ok_or_else(|| missing("columns"))?,
        types: types.ok_or_else(|| missing("types"))?,
        references,
    })
}

fn shape_reference(reader: &mut Reader<'_>) -> Reading<ShapeReference> {
    let (mut part, mut column, mut kind, mut origin) = (None, None, None, None);
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "part" => part = Some(owned(reader.string()?)?),
            "column" => column = Some(owned(reader.string()?)?),
            "kind" => kind = Some(owned(reader.string()?)?),
            "origin" => origin = optional_string(reader)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(ShapeReference {
        part: part.ok_or_else(|| missing("a reference's part"))?,
        column: column.ok_or_else(|| missing("a reference's column"))?,
        kind: kind.ok_or_else(|| missing("a reference's kind"))?,
        origin,
    })
}

/// What may stand in a document.
#[derive(Default)]
struct Members<'a> {
    kind: Option<Cow<'a, str>>,
    key: Option<Value>,
    origin: Option<Cow<'a, str>>,
    version: Option<i64>,
    stamp: Option<i64>,
    site: Option<Cow<'a, str>>,
    fields: Option<Cow<'a, str>>,
    shape: Option<i64>,
    lines: Option<i64>,
    hash: Option<Hash>,
    references: Vec<Reference<'a>>,
    image: Option<&'a [u8]>,
    is_gone: bool,
    has_left: bool,
    waits: bool,
}

fn document<'a>(reader: &mut Reader<'a>) -> Reading<Document<'a>> {
    let mut read = Members::default();
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "kind" => read.kind = Some(reader.string()?),
            "key" => read.key = Some(reader.value()?),
            "origin" => read.origin = Some(reader.string()?),
            "version" => read.version = Some(version(reader)?),
            "stamp" => read.stamp = Some(stamp(reader)?),
            "site" => read.site = Some(reader.string()?),
            "fields" => read.fields = Some(raw_text(reader)?),
            "shape" => read.shape = Some(integer(reader)?),
            "lines" => read.lines = Some(integer(reader)?),
            "hash" => read.hash = Some(hash(reader)?),
            "references" => read.references = items(reader, reference)?,
            "image" => read.image = Some(reader.raw()?),
            "gone" => read.is_gone = boolean(reader)?,
            "left" => read.has_left = boolean(reader)?,
            "waits" => read.waits = boolean(reader)?,
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    let key = read.key.take().filter(|key| *key != Value::Null);
    Ok(Document {
        kind: read.kind.take().ok_or_else(|| missing("kind"))?,
        key: key.ok_or_else(|| missing("key"))?,
        origin: read.origin.take().ok_or_else(|| missing("origin"))?,
        body: read.body()?,
    })
}

impl<'a> Members<'a> {
    fn body(self) -> Reading<Body<'a>> {
        if self.has_left {
            return Ok(Body::Left);
        }
        if self.waits {
            return Ok(Body::Waits);
        }
        let change = Change {
            version: self.version.ok_or_else(|| missing("version"))?,
            stamp: self.stamp.ok_or_else(|| missing("stamp"))?,
            site: self.site.ok_or_else(|| missing("site"))?,
            fields: self.fields,
        };
        if self.is_gone {
            return Ok(Body::Gone(change));
        }
        let whole = Whole {
            shape: self.shape.ok_or_else(|| missing("shape"))?,
            lines: self.lines.ok_or_else(|| missing("lines"))?,
            hash: self.hash.ok_or_else(|| missing("hash"))?,
            references: self.references,
            image: self.image.ok_or_else(|| missing("image"))?,
        };
        Ok(Body::Whole(change, whole))
    }
}

/// `["lines","article_id",77,"BSOC"]`, with a piece and rows behind it where it needs them.
fn reference<'a>(reader: &mut Reader<'a>) -> Reading<Reference<'a>> {
    let (mut part, mut column, mut key, mut origin) = (None, None, None, None);
    let (mut piece, mut rows, mut place) = (None, Vec::new(), 0);
    reader.list(b'[', b']', |reader| {
        match place {
            0 => part = Some(reader.string()?),
            1 => column = Some(reader.string()?),
            2 => key = Some(reader.value()?),
            3 if reader.peek() == Some(b'n') => {
                reader.value()?;
                origin = Some(None);
            }
            3 => origin = Some(Some(reader.string()?)),
            4 => piece = Some(reader.value()?).filter(|piece| *piece != Value::Null),
            5 => rows = items(reader, integer)?,
            _ => return reader.damaged("the end of a reference"),
        }
        place += 1;
        Ok(())
    })?;
    match (part, column, key, origin) {
        (Some(part), Some(column), Some(key), Some(origin)) => {
            Ok(Reference { part, column, key, origin, piece, rows })
        }
        _ => Err(missing("a part of a reference")),
    }
}

fn refused<'a>(reader: &mut Reader<'a>) -> Reading<Refused<'a>> {
    let (mut kind, mut key, mut origin, mut reason) = (None, None, None, None);
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "kind" => kind = Some(reader.string()?),
            "key" => key = Some(reader.value()?),
            "origin" => origin = Some(reader.string()?),
            "reason" => reason = Some(reader.string()?),
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(Refused {
        kind: kind.ok_or_else(|| missing("kind"))?,
        key: key.ok_or_else(|| missing("key"))?,
        origin: origin.ok_or_else(|| missing("origin"))?,
        reason: reason.ok_or_else(|| missing("reason"))?,
    })
}

fn end(reader: &mut Reader<'_>) -> Reading<End> {
    let (mut documents, mut rows) = (None, None);
    reader.list(b'{', b'}', |reader| {
        match &*reader.name()? {
            "documents" => documents = Some(integer(reader)?),
            "rows" => rows = Some(integer(reader)?),
            _ => drop(reader.raw()?),
        }
        Ok(())
    })?;
    Ok(End {
        documents: documents.ok_or_else(|| missing("documents"))?,
        rows: rows.ok_or_else(|| missing("rows"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::document::{
        Acknowledged, Before, Head, Load, RefusedFlow, SiteLine, TableLine,
    };
    use crate::storage::frame::FlowName;

    fn head() -> Head {
        let flow = FlowName { from: "BSOC".into(), to: "ASOC".into(), incarnation: -3, number: 12 };
        Head {
            flow,
            mode: "changes".into(),
            answer: "now".into(),
            answers: Some(11),
            after: vec![Before { number: 11, stamp: 3 }],
            stamp: MOST,
            since: 4,
            until: 9,
            rejoins: true,
            program: "0.1.0".into(),
            acknowledges: Some(Acknowledged {
                incarnation: 5,
                number: 6,
                until: 7,
                stamp: 8,
                begun: Some(9),
                ended: Some(10),
                runs: 2,
            }),
            refuses: vec![RefusedFlow { incarnation: 5, number: 4, why: "its \"day\"".into() }],
            sites: vec![
                SiteLine { code: "ASOC".into(), role: "central".into(), name: Some("É\"".into()) },
                SiteLine { code: "BSOC".into(), role: "remote".into(), name: None },
            ],
            load: Some(Load::Full),
            tables: vec![TableLine { kind: "article".into(), version: 3 }],
        }
    }

    fn change(fields: Option<&str>) -> Change<'_> {
        let fields = fields.map(Cow::Borrowed);
        Change { version: 3, stamp: 77, site: "CSOC".into(), fields }
    }

    fn document<'a>(key: Value, body: Body<'a>) -> Document<'a> {
        Document { kind: "sale \"1\"".into(), key, origin: "BSOC".into(), body }
    }

    fn whole(image: &[u8]) -> Whole<'_> {
        let reference = |column: &'static str| Reference {
            part: "lines".into(),
            column: column.into(),
            key: Value::Integer(77),
            origin: Some("CSOC".into()),
            piece: None,
            rows: Vec::new(),
        };
        let references = vec![
            reference("article_id"),
            Reference { origin: None, ..reference("seller_id") },
            Reference { piece: Some(Value::Integer(12)), ..reference("upstream_line_id") },
            Reference { rows: vec![0, 3], ..reference("lot_id") },
        ];
        let hash = *blake3::hash(image).as_bytes();
        Whole { shape: 2, lines: 1, hash, references, image }
    }

    const IMAGE: &[u8] = br#"{"header":[42,"a\\\"}]",{"blob":"00ff"}],"lines":[[1,42,1.0]]}"#;

    fn all() -> Vec<Line<'static>> {
        let columns = r#"{"header":["id","a,\"b"],"lines":["id"]}"#;
        let types = r#"{"header":["INTEGER",""],"lines":["TEXT"]}"#;
        let reference = |origin: Option<&str>| ShapeReference {
            part: "lines".into(),
            column: "article_id".into(),
            kind: "article".into(),
            origin: origin.map(str::to_owned),
        };
        let fields = change(Some(r#"{"name":[5,"ASOC",8]}"#));
        vec![
            Line::Head(Box::new(head())),
            Line::Shape(Shape {
                number: 2,
                kind: "sale".into(),
                columns: columns.into(),
                types: types.into(),
                references: vec![reference(Some("ASOC")), reference(None)],
            }),
            Line::Document(document(Value::Integer(42), Body::Whole(fields, whole(IMAGE)))),
            Line::Document(document(Value::text("[\"A\",7]"), Body::Gone(change(None)))),
            Line::Document(document(Value::Blob(vec![0, 255].into()), Body::Left)),
            Line::Document(document(Value::Integer(43), Body::Waits)),
            Line::Refused(Refused {
                kind: "sale".into(),
                origin: "BSOC".into(),
                key: Value::Integer(-1),
                reason: "no article 7\n".into(),
            }),
            Line::End(End { documents: 3, rows: 2 }),
        ]
    }

    fn text(line: &Line<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        match line {
            Line::Head(head) => head.write(&mut text),
            Line::Shape(shape) => shape.write(&mut text),
            Line::Document(document) => document.write(&mut text),
            Line::Refused(refused) => refused.write(&mut text),
            Line::End(end) => end.write(&mut text),
        }
        .unwrap();
        text
    }

    fn problem(line: &str) -> String {
        read(line.as_bytes()).expect_err(line).to_string()
    }

    #[test]
    fn every_line_reads_back_and_is_json() {
        for line in all() {
            let text = text(&line);
            assert!(!text.contains(&b'\n'));
            let _: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(read(&text).unwrap(), line);
        }
    }

    #[test]
    fn an_image_stays_verbatim_and_its_hash_tells_when_it_is_another() {
        let line = text(&all()[2]);
        let Ok(Line::Document(Document { body: Body::Whole(_, read), .. })) = read(&line) else {
            panic!("no whole document");
        };
        assert_eq!(read.image, IMAGE);
        assert!(read.is_sound());
        let other = Whole { image: &IMAGE[1..], ..read };
        assert!(!other.is_sound());
    }

    #[test]
    fn a_line_that_is_cut_off_anywhere_is_an_error() {
        for line in all() {
            let text = text(&line);
            for length in 0..text.len() {
                assert!(read(&text[..length]).is_err(), "{length} of {line:?}");
            }
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let line = r#"{"end":{"documents":3,"colour":{"a":["}"]},"rows":2}}"#;
        assert_eq!(read(line.as_bytes()).unwrap(), Line::End(End { documents: 3, rows: 2 }));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (line, said) in [
            ("", "'{' is wanted at byte 0, not its end"),
            (r#"{"colour":1}"#, r#""colour" is nothing that this version knows"#),
            (r#"{"end":{"documents":3}}"#, "rows is missing"),
            (r#"{"end":{"documents":"3"}}"#, "3 is no integer"),
            (r#"{"document":{"kind":"sale"}}"#, "key is missing"),
            (r#"{"document":{"kind":"sale","key":null}}"#, "key is missing"),
            (r#"{"document":{"kind":"sale","key":1,"origin":"B"}}"#, "version is missing"),
            (r#"{"document":{"kind":7}}"#, "'\"' is wanted at byte 20, not \"7}}\""),
            (r#"{"document":{"stamp":9223372036854775807}}"#, "9223372036854775807 is no stamp"),
            (r#"{"document":{"stamp":-1}}"#, "-1 is no stamp"),
            (r#"{"document":{"version":-1}}"#, "-1 is no version of a document"),
            (r#"{"document":{"left":1}}"#, "true or false is wanted"),
            (r#"{"document":{"hash":"00"}}"#, "its hash is none"),
            (r#"{"document":{"references":[["lines"]]}}"#, "a part of a reference is missing"),
            (
                r#"{"document":{"references":[["a","b",1,"C",2,[1],7]]}}"#,
                "the end of a reference is wanted",
            ),
            (r#"{"shape":1}"#, "its kind is missing"),
            (r#"{"flow":{"from":"A"}}"#, "to is missing"),
            (r#"{"end":{"documents":3,"rows":2}} x"#, "the end is wanted"),
        ] {
            let problem = problem(line);
            let wanted = format!("a line cannot be read: {said}");
            assert!(problem.starts_with(&wanted), "{line}: {problem}");
        }
    }

    #[test]
    fn names_stand_by_part() {
        let parts = names_by_part(r#"{"header":["id","a\"b"],"lines":[]}"#).unwrap();
        assert_eq!(parts[0], ("header".to_owned(), vec!["id".to_owned(), "a\"b".to_owned()]));
        assert_eq!(parts[1], ("lines".to_owned(), vec![]));
        assert!(names_by_part("{").is_err() && names_by_part(r#"{"a":[1]}"#).is_err());
    }
}
