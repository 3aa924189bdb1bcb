//! What a flow says, line by line: JSON that a person can read with `zstd -dc`.
//!
//! The first line is the flow's head. Each shape (the columns of a kind's parts) stands before the first document that
//! needs it. A document is a piece or a record, its image verbatim as the payload has it; one that was deleted, has left what
//! the receiver gets, or waits, has none. What the sender refused of the receiver stands in lines of its own. The last line counts.
//!
//! `document_reader` reads what is written here.

use super::frame::{FlowName, hexadecimal};
use super::payload::{put, write_row, write_value};
use super::store::Hash;
use crate::error::Result;
use crate::sqlite::{Value, ValueRef};
use std::borrow::Cow;

/// A line of a flow.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// The first one.
    Head(Box<Head>),
    /// How a kind's images are to be read.
    Shape(Shape<'a>),
    /// A piece or a record.
    Document(Document<'a>),
    /// A document of the receiver's that the sender did not take.
    Refused(Refused<'a>),
    /// The last one.
    End(End),
}

/// What a flow says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Which flow.
    pub flow: FlowName,
    /// `changes`, `full` or `return`.
    pub mode: String,
    /// Which answer its sender wants: `now`, `later` or `none`.
    pub answer: String,
    /// The number of the receiver's flow that it answers.
    pub answers: Option<i64>,
    /// Flows of the sender's to the same site before it, from the newest that it knows to be there: their numbers and stamps.
    pub after: Vec<Before>,
    /// The sender's clock when it was written.
    pub stamp: i64,
    /// It covers the sender's changes after this one,
    pub since: i64,
    /// up to this one.
    pub until: i64,
    /// The sender lost what it had, and takes part anew from here.
    pub rejoins: bool,
    /// The version of Talon that wrote it.
    pub program: String,
    /// What the sender has of the receiver's.
    pub acknowledges: Option<Acknowledged>,
    /// Flows of the receiver's that were refused at the sender.
    pub refuses: Vec<RefusedFlow>,
    /// The sites there are, where the sender is the central one.
    pub sites: Vec<SiteLine>,
    /// From a remote site: the load that it asks for. From central: the load that this flow is.
    pub load: Option<Load>,
    /// From central: the kinds that come down, and their versions there. From a remote site that asks for a load: what it has.
    pub tables: Vec<TableLine>,
}

/// A flow that another one follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Before {
    /// Its number.
    pub number: i64,
    /// Its sender's clock when it was written.
    pub stamp: i64,
}

/// How much a load brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// All that the site is to have, and what it is not to have goes.
    Full,
    /// What is newer than what the site has.
    Changes,
}

/// A kind and how far a site has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLine {
    /// Its name.
    pub kind: String,
    /// The newest of central's changes to it.
    pub version: i64,
}

impl Load {
    /// As `talon_load` takes it.
    pub fn text(self) -> &'static str {
        match self {
            Load::Full => "full",
            Load::Changes => "changes",
        }
    }

    /// What `talon_load` takes.
    pub fn from_text(text: &str) -> Option<Load> {
        [Load::Full, Load::Changes].into_iter().find(|load| load.text() == text)
    }
}

/// How far one site has the changes of another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Of the database that made them.
    pub incarnation: i64,
    /// Its newest flow that was applied.
    pub number: i64,
    /// Its changes up to here are there.
    pub until: i64,
    /// The stamp of that flow, by which its sender knows it again.
    pub stamp: i64,
    /// When its application was begun and ended, in ms since 1970.
    pub begun: Option<i64>,
    /// See `begun`.
    pub ended: Option<i64>,
    /// How often it was begun; 0 where that is not said.
    pub runs: i64,
}

/// A flow that somebody at its receiver did not want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFlow {
    /// Of the database that wrote it.
    pub incarnation: i64,
    /// Its number.
    pub number: i64,
    /// Why.
    pub why: String,
}

/// A site as the central one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteLine {
    /// Its code.
    pub code: String,
    /// `central` or `remote`.
    pub role: String,
    /// What people call it.
    pub name: Option<String>,
}

/// The columns that images of a kind were written with.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape<'a> {
    /// What documents of this flow call it by.
    pub number: i64,
    /// Of which kind.
    pub kind: Cow<'a, str>,
    /// Names by part, as JSON: the text that `talon_shape` keeps.
    pub columns: Cow<'a, str>,
    /// Declared types by part, as JSON in the same order; empty lists where they are not known any more.
    pub types: Cow<'a, str>,
    /// Columns that refer to other pieces and records.
    pub references: Vec<ShapeReference>,
}

/// A column that refers to another piece, record or line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeReference {
    /// `header`, `lines` or a detail's name.
    pub part: String,
    /// The column.
    pub column: String,
    /// A kind, or `kind.part`.
    pub kind: String,
    /// Whose numbers stand there unless the document says otherwise: a site's code; None for the document's own origin.
    pub origin: Option<String>,
}

/// A piece or a record, as it travels.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'a> {
    /// Its kind.
    pub kind: Cow<'a, str>,
    /// Its key at its origin, as it is shown: a value, or a JSON array as a text.
    pub key: Value,
    /// Code of the site that created it.
    pub origin: Cow<'a, str>,
    /// What travels of it.
    pub body: Body<'a>,
}

/// What travels of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Body<'a> {
    /// All of it.
    Whole(Change<'a>, Whole<'a>),
    /// That it was deleted.
    Gone(Change<'a>),
    /// That the receiver is to have it no longer, though it exists.
    Left,
    /// That it is held back for a later flow: of what the receiver has, it stays as it is.
    Waits,
}

/// The change that made a document what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// How many changes it has seen.
    pub version: i64,
    /// When it was changed.
    pub stamp: i64,
    /// Code of the site that changed it.
    pub site: Cow<'a, str>,
    /// Stamps by column, as JSON, where it is merged by field.
    pub fields: Option<Cow<'a, str>>,
}

/// The rows of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole<'a> {
    /// Number of a shape that stands before it in the flow.
    pub shape: i64,
    /// How many lines it has.
    pub lines: i64,
    /// BLAKE3 over the image.
    pub hash: Hash,
    /// References that mean another site's numbers than the shape says.
    pub references: Vec<Reference<'a>>,
    /// The canonical image, verbatim.
    pub image: &'a [u8],
}

/// A reference whose number means something else than the shape says: another site's number, a line of another piece, or
/// nothing but itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference<'a> {
    /// `header`, `lines` or a detail's name.
    pub part: Cow<'a, str>,
    /// The column.
    pub column: Cow<'a, str>,
    /// What stands there.
    pub key: Value,
    /// Code of the site whose number it is; None where the sender knows nothing by that number.
    pub origin: Option<Cow<'a, str>>,
    /// The piece that the line belongs to, as its origin numbers it, where it refers to a line of another piece.
    pub piece: Option<Value>,
    /// Which rows of the part it speaks of, from 0; all that have this number there, where the list is empty.
    pub rows: Vec<i64>,
}

/// A document that was not taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused<'a> {
    /// Its kind.
    pub kind: Cow<'a, str>,
    /// Code of the site that created it.
    pub origin: Cow<'a, str>,
    /// Its key there.
    pub key: Value,
    /// Why.
    pub reason: Cow<'a, str>,
}

/// What was written before the last line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct End {
    /// Documents of all sorts.
    pub documents: i64,
    /// Headers, lines and details of whole ones.
    pub rows: i64,
}

impl Whole<'_> {
    /// Whether the image is the one that the hash was made of.
    pub fn is_sound(&self) -> bool {
        *blake3::hash(self.image).as_bytes() == self.hash
    }
}

/// Writes an object member by member.
struct Object<'a>(&'a mut Vec<u8>);

impl Object<'_> {
    fn begin<'a>(text: &'a mut Vec<u8>, opening: &str) -> Result<Object<'a>> {
        put(text, opening.as_bytes())?;
        Ok(Object(text))
    }

    fn name(&mut self, name: &str) -> Result<&mut Vec<u8>> {
        if self.0.last() != Some(&b'{') {
            put(self.0, b",")?;
        }
        put(self.0, b"\"")?;
        put(self.0, name.as_bytes())?;
        put(self.0, b"\":")?;
        Ok(self.0)
    }

    fn text(&mut self, name: &str, value: &str) -> Result<()> {
        write_value(self.name(name)?, ValueRef::Text(value.as_bytes()))
    }

    fn number(&mut self, name: &str, value: i64) -> Result<()> {
        write_value(self.name(name)?, ValueRef::Integer(value))
    }

    fn raw(&mut self, name: &str, json: &[u8]) -> Result<()> {
        put(self.name(name)?, json)
    }

    /// An array, each item written by `write`.
    fn list<T>(
        &mut self,
        name: &str,
        items: &[T],
        write: impl Fn(&mut Vec<u8>, &T) -> Result<()>,
    ) -> Result<()> {
        let text = self.name(name)?;
        put(text, b"[")?;
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                put(text, b",")?;
            }
            write(text, item)?;
        }
        put(text, b"]")
    }
}

impl Head {
    /// Appends the line.
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn write(&self, text: &mut Vec<u8>) -> Result<()> {
        let mut object = Object::begin(text, "{\"flow\":{")?;
        object.text("from", &self.flow.from)?;
        object.text("to", &self.flow.to)?;
        object.number("incarnation", self.flow.incarnation)?;
        object.number("number", self.flow.number)?;
        object.text("mode", &self.mode)?;
        object.text("answer", &self.answer)?;
        if let Some(answers) = self.answers {
            object.number("answers", answers)?;
        }
        if !self.after.is_empty() {
            object.list("after", &self.after, |text, before| {
                let mut object = Object::begin(text, "{")?;
                object.number("number", before.number)?;
                object.number("stamp", before.stamp)?;
                put(object.0, b"}")
            })?;
        }
        object.number("stamp", self.stamp)?;
        object.number("since", self.since)?;
        object.number("until", self.until)?;
        if self.rejoins {
            object.raw("rejoins", b"true")?;
        }
        object.text("program", &self.program)?;
        if let Some(acknowledged) = &self.acknowledges {
            let mut object = Object::begin(object.name("acknowledges")?, "{")?;
            object.number("incarnation", acknowledged.incarnation)?;
            object.number("number", acknowledged.number)?;
            object.number("until", acknowledged.until)?;
            object.number("stamp", acknowledged.stamp)?;
            if let Some(begun) = acknowledged.begun {
                object.number("begun", begun)?;
            }
            if let Some(ended) = acknowledged.ended {
                object.number("ended", ended)?;
            }
            if acknowledged.runs > 0 {
                object.number("runs", acknowledged.runs)?;
            }
            put(object.0, b"}")?;
        }
        if !self.refuses.is_empty() {
            object.list("refuses", &self.refuses, |text, refused| {
                let mut object = Object::begin(text, "{")?;
                object.number("incarnation", refused.incarnation)?;
                object.number("number", refused.number)?;
                object.text("why", &refused.why)?;
                put(object.0, b"}")
            })?;
        }
        if !self.sites.is_empty() {
            object.list("sites", &self.sites, |text, site| {
                let mut object = Object::begin(text, "{")?;
                object.text("code", &site.code)?;
                object.text("role", &site.role)?;
                if let Some(name) = &site.name {
                    object.text("name", name)?;
                }
                put(object.0, b"}")
            })?;
        }
        if let Some(load) = self.load {
            object.text("load", load.text())?;
        }
        if !self.tables.is_empty() {
            object.list("tables", &self.tables, |text, table| {
                let mut object = Object::begin(text, "{")?;
                object.text("kind", &table.kind)?;
                object.number("version", table.version)?;
                put(object.0, b"}")
            })?;
        }
        put(text, b"}}")
    }
}

impl Shape<'_> {
    /// Appends the line.
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn write(&self, text: &mut Vec<u8>) -> Result<()> {
        let mut object = Object::begin(text, "{")?;
        object.number("shape", self.number)?;
        object.text("kind", &self.kind)?;
        object.raw("columns", self.columns.as_bytes())?;
        object.raw("types", self.types.as_bytes())?;
        object.list("references", &self.references, |text, reference| {
            let mut object = Object::begin(text, "{")?;
            object.text("part", &reference.part)?;
            object.text("column", &reference.column)?;
            object.text("kind", &reference.kind)?;
            if let Some(origin) = &reference.origin {
                object.text("origin", origin)?;
            }
            put(object.0, b"}")
        })?;
        put(text, b"}")
    }
}

impl Document<'_> {
    /// Appends the line.
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn write(&self, text: &mut Vec<u8>) -> Result<()> {
        let mut object = Object::begin(text, "{\"document\":{")?;
        object.text("kind", &self.kind)?;
        write_value(object.name("key")?, self.key.as_ref())?;
        object.text("origin", &self.origin)?;
        match &self.body {
            Body::Left => object.raw("left", b"true")?,
            Body::Waits => object.raw("waits", b"true")?,
            Body::Gone(change) => {
                change.write(&mut object)?;
                object.raw("gone", b"true")?;
            }
            Body::Whole(change, whole) => {
                change.write(&mut object)?;
                object.number("shape", whole.shape)?;
                object.number("lines", whole.lines)?;
                object.text("hash", &hexadecimal(&whole.hash))?;
                if !whole.references.is_empty() {
                    object.list("references", &whole.references, |text, reference| {
                        reference.write(text)
                    })?;
                }
                object.raw("image", whole.image)?;
            }
        }
        put(text, b"}}")
    }
}

impl Reference<'_> {
    /// `["lines","article_id",77,"BSOC"]`, further `,12` for the piece and `,[0,3]` for the rows.
    fn write(&self, text: &mut Vec<u8>) -> Result<()> {
        put(text, b"[")?;
        write_value(text, ValueRef::Text(self.part.as_bytes()))?;
        put(text, b",")?;
        write_value(text, ValueRef::Text(self.column.as_bytes()))?;
        put(text, b",")?;
        write_value(text, self.key.as_ref())?;
        put(text, b",")?;
        let origin = self.origin.as_ref();
        write_value(text, origin.map_or(ValueRef::Null, |site| ValueRef::Text(site.as_bytes())))?;
        if self.piece.is_some() || !self.rows.is_empty() {
            put(text, b",")?;
            write_value(text, self.piece.as_ref().map_or(ValueRef::Null, Value::as_ref))?;
        }
        if !self.rows.is_empty() {
            put(text, b",")?;
            write_row(text, self.rows.iter().map(|row| ValueRef::Integer(*row)))?;
        }
        put(text, b"]")
    }
}

impl Change<'_> {
    fn write(&self, object: &mut Object<'_>) -> Result<()> {
        object.number("version", self.version)?;
        object.number("stamp", self.stamp)?;
        object.text("site", &self.site)?;
        match &self.fields {
            Some(fields) => object.raw("fields", fields.as_bytes()),
            None => Ok(()),
        }
    }
}

impl Refused<'_> {
    /// Appends the line.
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn write(&self, text: &mut Vec<u8>) -> Result<()> {
        let mut object = Object::begin(text, "{\"refused\":{")?;
        object.text("kind", &self.kind)?;
        write_value(object.name("key")?, self.key.as_ref())?;
        object.text("origin", &self.origin)?;
        object.text("reason", &self.reason)?;
        put(text, b"}}")
    }
}

impl End {
    /// Appends the line.
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn write(&self, text: &mut Vec<u8>) -> Result<()> {
        let mut object = Object::begin(text, "{\"end\":{")?;
        object.number("documents", self.documents)?;
        object.number("rows", self.rows)?;
        put(text, b"}}")
    }
}
