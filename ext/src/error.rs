//! What can go wrong, one variant a situation.

use crate::sqlite::{Failure, code};

/// Characters of an error's text at most.
const LONGEST_TEXT: usize = 1000;

/// Why Talon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite reported it.
    #[error("{0}")]
    Sqlite(Failure),
    /// One of several writes that belong together was refused, after others were made: what they were made in must not
    /// be committed.
    #[error("{0}")]
    HalfWritten(Failure),
    /// Memory for an image could not be had.
    #[error("out of memory")]
    Memory,
    /// An argument of a function or a column of an INSERT.
    #[error("{0}")]
    Argument(String),
    /// A guard's definition does not fit the schema.
    #[error("{kind}: {problem}")]
    Definition {
        /// The kind that was to be guarded.
        kind: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// There is no such schema on the connection.
    #[error("no database {0:?} is attached to this connection")]
    UnknownSchema(String),
    /// Nothing was ever guarded there.
    #[error("nothing is guarded in {0:?} yet: SELECT talon_guard(kind, header table, lines table)")]
    NotInstalled(String),
    /// Talon's tables are of a version that this library does not know.
    #[error(
        "Talon's tables in {schema:?} have format {found}; this library knows {known}: load a newer libtalon"
    )]
    NewerFormat {
        /// The schema's name.
        schema: String,
        /// What the file says.
        found: i64,
        /// The newest format this library reads.
        known: i64,
    },
    /// The application has a table that is called as one of Talon's own is to be.
    #[error(
        "{schema:?} has {taken} already that is none of Talon's: rename it, names with talon_ are Talon's own"
    )]
    NameTaken {
        /// The schema's name.
        schema: String,
        /// What has the name: its type with an article, and the name.
        taken: String,
    },
    /// No guard of this name.
    #[error("{kind:?} is not guarded; guarded: {known}")]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// What there is.
        known: String,
    },
    /// No derived value, or no check, of this name.
    #[error("{name:?} is not {what}; there are: {known}")]
    UnknownRule {
        /// What was asked for.
        name: String,
        /// `a derived value` or `a check`.
        what: &'static str,
        /// What there is.
        known: String,
    },
    /// No site of this code.
    #[error("{code:?} is no site; there are: {known}")]
    UnknownSite {
        /// What was asked for.
        code: String,
        /// What there is.
        known: String,
    },
    /// Neither a header nor a snapshot.
    #[error("there is no {kind} {piece}")]
    UnknownPiece {
        /// Its kind.
        kind: String,
        /// Its key.
        piece: String,
    },
    /// Restoring was asked for a piece that is whole.
    #[error("{kind} {piece} has {lines} line{}, nothing to recover", if *.lines == 1 { "" } else { "s" })]
    HasLines {
        /// Its kind.
        kind: String,
        /// Its key.
        piece: String,
        /// How many it has.
        lines: i64,
    },
    /// A record that is there.
    #[error(
        "{kind} {piece} is there, and a record has no lines to lose; to bring an older state back, name its snapshot"
    )]
    NothingLost {
        /// Its kind.
        kind: String,
        /// Its key.
        piece: String,
    },
    /// Nothing to restore from.
    #[error("{kind} {piece} has no snapshot{detail}")]
    NoSnapshot {
        /// Its kind.
        kind: String,
        /// Its key.
        piece: String,
        /// Which one was asked for, or which ones there are.
        detail: String,
    },
    /// It was deleted on purpose, or so it is recorded.
    #[error("{kind} {piece} was deleted; to bring it back all the same, name one of its snapshots")]
    Deleted {
        /// Its kind.
        kind: String,
        /// Its key.
        piece: String,
    },
    /// Many pieces were being restored, and some are.
    #[error("stopped after {done} of {listed} lost pieces, the others stay listed: {failure}")]
    Stopped {
        /// How many were dealt with and committed.
        done: usize,
        /// How many were listed.
        listed: usize,
        /// What stopped it.
        failure: Failure,
    },
    /// Another station has it open.
    #[error("{kind} {piece} is being edited {holder}")]
    BeingEdited {
        /// Its kind.
        kind: String,
        /// Its key.
        piece: String,
        /// Where, by whom, since when.
        holder: String,
    },
    /// No station has it open.
    #[error("{kind} {piece} is not being edited")]
    NotEdited {
        /// Its kind.
        kind: String,
        /// Its key.
        piece: String,
    },
    /// Talon's tables are an older library's, and may not be written now.
    #[error(
        "Talon's tables in {schema:?} have format {found}, this needs {needed}: call it once where the file may be written"
    )]
    OlderFormat {
        /// The schema's name.
        schema: String,
        /// What the file says.
        found: i64,
        /// What it would have to say.
        needed: i64,
    },
    /// The rules of its kind do not let it be changed at this site.
    #[error("{0}")]
    NotEditable(String),
    /// A check is violated that forbids an UPDATE: its own text.
    #[error("{0}")]
    Forbidden(String),
    /// Bytes that are no sound flow, or one that is not to be taken here: what is wrong, and what to do.
    #[error("{problem}")]
    Flow {
        /// In words.
        problem: String,
    },
    /// A flow of a format that this library does not know.
    #[error(
        "the flow has format {found}, written by talon {program}; this is talon {}, which reads up to {known}: load a newer \
         libtalon here, or write the flow with an older one",
        env!("CARGO_PKG_VERSION")
    )]
    NewerFlow {
        /// What it says.
        found: i64,
        /// The newest format that this library reads.
        known: i64,
        /// The version that wrote it.
        program: String,
    },
    /// A snapshot that cannot be read.
    #[error("snapshot {snapshot} cannot be read: {problem}")]
    Unreadable {
        /// Its id.
        snapshot: i64,
        /// Why.
        problem: String,
    },
}

impl Error {
    /// The error as an SQL user reads it, said by the function or table `speaker`.
    pub fn into_failure(self, speaker: &str) -> Failure {
        let code = match &self {
            Error::Sqlite(failure)
            | Error::HalfWritten(failure)
            | Error::Stopped { failure, .. } => failure.code,
            Error::Memory => code::NOMEM,
            Error::BeingEdited { .. } | Error::Forbidden(_) | Error::NotEditable(_) => {
                code::CONSTRAINT_TRIGGER
            }
            _ => code::ERROR,
        };
        let mut text = match &self {
            // The host's own words.
            Error::Forbidden(text) => text.clone(),
            _ => format!("{speaker}: {self}"),
        };
        // A caller may have passed a name as long as a file.
        if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
            text.truncate(end);
            text.push('…');
        }
        Failure::with_code(code, text)
    }

    /// The same error, where it came between writes that belong together.
    pub fn between_writes(self) -> Error {
        match self {
            Error::Memory | Error::HalfWritten(_) => self,
            Error::Sqlite(failure) => Error::HalfWritten(failure),
            other => Error::HalfWritten(Failure::new(other.to_string())),
        }
    }

    /// Whether writing is switched off.
    pub fn is_readonly(&self) -> bool {
        matches!(self, Error::Sqlite(failure) if failure.primary() == code::READONLY)
    }

    /// Whether SQLite's own state forbids going on: memory, disk, locks. Everything else is about one piece, or a text that
    /// somebody has declared.
    pub fn is_fatal(&self) -> bool {
        match self {
            Error::Memory | Error::HalfWritten(_) => true,
            Error::Sqlite(failure) => matches!(
                failure.primary(),
                code::NOMEM
                    | code::IOERR
                    | code::FULL
                    | code::CANTOPEN
                    | code::CORRUPT
                    | code::NOTADB
                    | code::BUSY
                    | code::LOCKED
                    | code::PROTOCOL
                    | code::INTERRUPT
            ),
            _ => false,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        // Wherever it was that memory ran short, it is one situation.
        if failure.primary() == code::NOMEM { Error::Memory } else { Error::Sqlite(failure) }
    }
}

/// A result of Talon's own.
pub type Result<T> = std::result::Result<T, Error>;
