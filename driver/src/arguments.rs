//! What can be asked of the program.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the output could not be written
  2  the arguments do not fit
  3  done, but something wants a look: a file or a flow was refused, or documents are in quarantine
  4  the mailbox, or a file named by hand, could not be reached; what was carried before that stays
  5  the database or the extension failed, with its text
  6  another talon is at work on the database or the mailbox
  7  no answer came within --patience";

/// Carries flows between the databases of a shop, by a mailbox or by hand.
#[derive(Debug, Parser)]
#[command(name = "talon", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive what lies in the mailbox, apply it, answer, and send what is to be sent
    Sync(Sync),
    /// Load this till from central: ask for it, or take the answer that lies in the mailbox
    Load(Load),
    /// Write a flow into a file, to be carried by hand
    Export(Export),
    /// Take flow files that were carried by hand, and apply them
    Import(Import),
    /// Show the flows that were sent and received, the newest first
    Flows(Flows),
    /// Show how this database stands with the others, on one screen
    Status(Status),
}

/// Which database, and with which library.
#[derive(Debug, Args)]
pub struct Place {
    /// The database
    #[arg(long, value_name = "FILE")]
    pub db: PathBuf,
    /// The library [default: libtalon beside this program]
    #[arg(long, value_name = "PATH")]
    pub extension: Option<PathBuf>,
    /// Seconds to wait for another talon, and for a locked database
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// The time that it is, for rehearsals, such as 2026-11-20T21:00:00+01:00 (talon_clock)
    #[arg(long, value_name = "MOMENT", hide_short_help = true)]
    pub clock: Option<String>,
}

impl Place {
    /// How long to wait for what others have locked.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// When the receiver is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Answer {
    /// As soon as it has applied the flow
    Now,
    /// At central's common hour (talon_return_at)
    Later,
    /// Not at all
    None,
}

impl Answer {
    /// As SQL calls it.
    pub fn text(self) -> &'static str {
        match self {
            Answer::Now => "now",
            Answer::Later => "later",
            Answer::None => "none",
        }
    }
}

/// What a flow has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// What changed since the last acknowledged flow
    Changes,
    /// Everything that the receiver is to have
    Full,
}

impl Mode {
    /// As SQL calls it.
    pub fn text(self) -> &'static str {
        match self {
            Mode::Changes => "changes",
            Mode::Full => "full",
        }
    }
}

/// What a new flow is to be like.
#[derive(Debug, Args)]
pub struct Wanted {
    /// What it has in it
    #[arg(long, value_enum, default_value_t = Mode::Changes)]
    pub mode: Mode,
    /// When it is to be answered [default: now, none from central]
    #[arg(long, value_enum)]
    pub answer: Option<Answer>,
}

/// `talon sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// Which database, and with which library.
    #[command(flatten)]
    pub place: Place,
    /// A folder, or the URL of a service that this program was built with
    #[arg(long, value_name = "DIR-OR-URL")]
    pub mailbox: String,
    /// What the new flow is to be like.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Send a new flow to this site; a remote site sends one to central without being told
    #[arg(long, value_name = "SITE")]
    pub to: Vec<String>,
    /// Make no new flow: only receive, apply, answer, and finish what was cut off
    #[arg(long, conflicts_with_all = ["to", "mode", "answer"])]
    pub fetch: bool,
    /// Seconds to wait for the answer to the flow that was sent
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub patience: u64,
}

/// `talon load`.
#[derive(Debug, Args)]
pub struct Load {
    /// Which database, and with which library.
    #[command(flatten)]
    pub place: Place,
    /// A folder, or the URL of a service that this program was built with
    #[arg(long, value_name = "DIR-OR-URL")]
    pub mailbox: String,
    /// Who loads: the query that was declared by talon_till gives this user's till
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// All that the till is to have, and nothing else (the default)
    #[arg(long)]
    pub full: bool,
    /// Only what is newer than what it has
    #[arg(long, conflicts_with = "full")]
    pub changes: bool,
    /// Seconds to wait for central's answer
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub patience: u64,
}

impl Load {
    /// What it brings.
    pub fn mode(&self) -> Mode {
        if self.changes { Mode::Changes } else { Mode::Full }
    }
}

/// `talon export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Which database, and with which library.
    #[command(flatten)]
    pub place: Place,
    /// For which site
    #[arg(long, value_name = "SITE")]
    pub to: String,
    /// What the new flow is to be like.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Write this flow, by its id in talon flows, again, and make no new one
    #[arg(long, value_name = "ID", conflicts_with_all = ["mode", "answer"])]
    pub flow: Option<i64>,
    /// The file to write, or a folder to write it into; a file that is there is not replaced
    pub file: PathBuf,
}

/// `talon import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Which database, and with which library.
    #[command(flatten)]
    pub place: Place,
    /// The files, in any order
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// `talon flows`.
#[derive(Debug, Args)]
pub struct Flows {
    /// Which database, and with which library.
    #[command(flatten)]
    pub place: Place,
    /// At most so many
    #[arg(long, default_value_t = 40)]
    pub most: u32,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `talon status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Which database, and with which library.
    #[command(flatten)]
    pub place: Place,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}
