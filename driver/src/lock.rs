//! One process at a time: a locked file beside the database, and one in a mailbox that is a folder. The system lets go of a
//! lock when its process ends, however it ends; the file stays, and says who had it last.

use crate::error::{Error, Result};
use fs4::{FileExt, TryLockError};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to sleep before a lock is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum Refusal {
    /// Somebody has it, and this is the error that says so.
    Busy(Error),
    /// The file system has no locks, or the file cannot be made.
    Impossible(std::io::Error),
}

impl Lock {
    /// Locks this file, waiting so long for another process to let go of it. `what` is what it stands for, as a person
    /// calls it.
    pub fn take(path: &Path, what: &str, wait: Duration) -> std::result::Result<Lock, Refusal> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(Refusal::Impossible)?;
        let until = Instant::now() + wait;
        loop {
            match FileExt::try_lock(&file) {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(PAUSE)
                }
                Err(TryLockError::WouldBlock) => {
                    let by = holder(&mut file);
                    let waited_seconds = wait.as_secs();
                    let what = what.to_owned();
                    return Err(Refusal::Busy(Error::Busy { what, by, waited_seconds }));
                }
                Err(TryLockError::Error(error)) => return Err(Refusal::Impossible(error)),
            }
        }
        // Only for people: a lock is a lock without it.
        let _ = sign(&mut file);
        Ok(Lock { _file: file })
    }
}

/// Writes into a locked file who has it.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "process {}", std::process::id())
}

/// Who has a file that is locked, where it says so.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(80).read_to_string(&mut text);
    match text.trim() {
        "" => String::new(),
        text => format!(" ({text})"),
    }
}

/// The lock of a database: `pos.db.talon-lock` beside it, wherever links to it lie.
pub fn of_database(database: &Path, wait: Duration) -> Result<Lock> {
    let whole = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut name = whole.into_os_string();
    name.push(".talon-lock");
    let what = format!("database {}", database.display());
    Lock::take(Path::new(&name), &what, wait).map_err(|refusal| match refusal {
        Refusal::Busy(error) => error,
        Refusal::Impossible(error) => Error::Database {
            path: database.to_owned(),
            reason: format!("{} cannot be locked: {error}", name.display()),
        },
    })
}
