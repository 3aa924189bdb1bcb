//! What can go wrong, as a person reads it, and which exit code it is.

use std::path::PathBuf;

/// An error of the driver. Errors of the extension come with its own text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arguments that clap accepts but that do not go together.
    #[error("{0}")]
    Usage(String),
    /// The mailbox is not there, or does not answer.
    #[error("mailbox {mailbox}: {reason}")]
    Mailbox {
        /// As it was given.
        mailbox: String,
        /// What happened, and what would help.
        reason: String,
    },
    /// A file named by hand cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// As it was given.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The database cannot be opened, is none, or has no sites.
    #[error("database {path}: {reason}")]
    Database {
        /// As it was given.
        path: PathBuf,
        /// What happened, and what would help.
        reason: String,
    },
    /// The library is not found or does not load.
    #[error("{0}")]
    Extension(String),
    /// SQL failed: mostly the extension's own words.
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    /// Another process has the database or the mailbox.
    #[error("{what} is used by another talon{by}; waited {waited_seconds} s for it (--wait)")]
    Busy {
        /// The database or the mailbox.
        what: String,
        /// Which process, where its lock file tells: ` (process 42)`.
        by: String,
        /// How long this process waited.
        waited_seconds: u64,
    },
    /// The answer that was waited for did not come.
    #[error("no answer to flow {flow} within {waited_seconds} s: the next talon sync takes it")]
    NoAnswer {
        /// The flow's id in this database.
        flow: i64,
        /// How long this process waited.
        waited_seconds: u64,
    },
}

/// Done, but a file or a flow was refused, or documents are in quarantine.
pub const FINDINGS: u8 = 3;

impl Error {
    /// The exit code, as `talon --help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::File { .. } | Error::Mailbox { .. } => 4,
            Error::Database { .. } | Error::Extension(_) | Error::Sql(_) => 5,
            Error::Busy { .. } => 6,
            Error::NoAnswer { .. } => 7,
        }
    }
}

/// A result of the driver.
pub type Result<T> = std::result::Result<T, Error>;
