//! The same work: kept in four ways, or not at all, with triggers and without.

use rusqlite::Connection;

#[cfg(session_extension)]
use crate::session::Recorder;
use crate::{
    floor::Floor,
    library::{Library, number},
    report::Outcome,
    schema,
    workload::{Host, Random, Work},
};

/// What is done besides the host's own work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Bare,
    Guarded,
    Floor,
    Idle,
    Audit,
    #[cfg(session_extension)]
    Session,
}

impl Variant {
    pub const ALL: &[Self] = &[
        Self::Bare,
        Self::Guarded,
        Self::Floor,
        Self::Idle,
        Self::Audit,
        #[cfg(session_extension)]
        Self::Session,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Guarded => "guarded",
            Self::Floor => "floor",
            Self::Idle => "idle triggers",
            Self::Audit => "JSON audit triggers",
            #[cfg(session_extension)]
            Self::Session => "session extension",
        }
    }

    /// How `--variants` calls it.
    pub fn word(self) -> &'static str {
        self.name().split(' ').find(|word| *word != "JSON").unwrap_or_default()
    }

    /// Adds what this variant needs to a shop.
    pub fn install(self, connection: &Connection, library: &Library) -> Outcome {
        match self {
            Self::Bare => Ok(()),
            Self::Guarded => library.guard(connection),
            Self::Floor => Ok(connection.execute_batch(schema::CREATE_FLOOR)?),
            Self::Idle => Ok(connection.execute_batch(schema::CREATE_IDLE)?),
            Self::Audit => Ok(connection.execute_batch(schema::CREATE_AUDIT)?),
            #[cfg(session_extension)]
            Self::Session => Ok(connection.execute_batch(schema::CREATE_CHANGESET)?),
        }
    }

    /// How many transactions (rows, for the triggers) this variant has kept: none means that it did not run.
    pub fn kept(self, connection: &Connection) -> Outcome<Option<i64>> {
        let table = match self {
            Self::Bare | Self::Idle => return Ok(None),
            Self::Guarded => "talon_snapshots",
            Self::Floor => "floor_snapshot",
            Self::Audit => "audit",
            #[cfg(session_extension)]
            Self::Session => "changeset",
        };
        number(connection, &format!("SELECT count(*) FROM {table}")).map(Some)
    }
}

/// What runs around the host's statements.
enum Keeper<'c> {
    /// Nothing, or triggers: the host's own statements do it.
    None,
    Floor(Floor<'c>),
    #[cfg(session_extension)]
    Session(Recorder<'c>),
}

/// A host at work on its own database.
pub struct Subject<'c> {
    pub variant: Variant,
    pub connection: &'c Connection,
    host: Host<'c>,
    keeper: Keeper<'c>,
    random: Random,
}

impl<'c> Subject<'c> {
    /// The variant must be installed.
    pub fn new(variant: Variant, connection: &'c Connection) -> Outcome<Self> {
        let keeper = match variant {
            Variant::Floor => Keeper::Floor(Floor::new(connection)?),
            #[cfg(session_extension)]
            Variant::Session => Keeper::Session(Recorder::new(connection)?),
            _ => Keeper::None,
        };
        // One seed for all: every variant does the same work.
        Ok(Self {
            variant,
            connection,
            host: Host::new(connection)?,
            keeper,
            random: Random::new(1),
        })
    }

    /// A host that keeps no statement and only knows [`Subject::create_anew`]; for variants that need nothing around it.
    pub fn keeping_nothing(variant: Variant, connection: &'c Connection) -> Self {
        let host = Host::keeping_nothing(connection);
        Self { variant, connection, host, keeper: Keeper::None, random: Random::new(1) }
    }

    /// One transaction; `pieces` were there from the start, with `LINES` lines each.
    pub fn transaction(&mut self, work: Work, pieces: u32) -> Outcome {
        #[cfg(session_extension)]
        if let Keeper::Session(recorder) = &mut self.keeper {
            recorder.begin()?;
        }
        self.host.begin()?;
        let piece = match work {
            Work::Create(lines) => self.host.create(lines, &mut self.random)?,
            Work::EditLine => self.host.edit_line(pieces, &mut self.random)?,
            Work::Rewrite => self.host.rewrite(pieces, &mut self.random)?,
        };
        match &mut self.keeper {
            Keeper::None => {}
            Keeper::Floor(floor) => floor.snapshot(piece)?,
            #[cfg(session_extension)]
            Keeper::Session(recorder) => recorder.store(piece)?,
        }
        self.host.commit()?;
        #[cfg(session_extension)]
        if let Keeper::Session(recorder) = &mut self.keeper {
            recorder.end();
        }
        Ok(())
    }

    /// A create by a host that prepares every statement anew.
    pub fn create_anew(&mut self, lines: u32) -> Outcome {
        self.host.create_anew(lines, &mut self.random)?;
        Ok(())
    }
}
