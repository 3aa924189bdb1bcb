//! Where flows lie between two sites: a folder, or another storage that OpenDAL reaches. Objects are written whole or not at
//! all, and removed by the site that wrote them, once they are acknowledged.

use crate::error::{Error, Result};
use crate::layout;
use crate::lock::{Lock, Refusal};
use opendal::{ErrorKind, Operator, services};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// What this program can be built with, as features of its crate and as schemes of URLs.
const SERVICES: [&str; 2] = ["s3", "webdav"];

/// How much of an object is asked for at once.
const STEP_BYTES: u64 = 1 << 20;

/// A mailbox that could be reached.
pub struct Mailbox {
    /// As the user calls it.
    shown: String,
    runtime: Runtime,
    operator: Operator,
    /// Where it lies, if it is a folder.
    folder: Option<PathBuf>,
}

impl Mailbox {
    /// A folder that exists, or a URL of a service that this program was built with.
    ///
    /// # Errors
    /// [`Error::Mailbox`] when it is not there or does not answer: what to do. A folder is never made, because a key that is
    /// not plugged in would otherwise become a folder on the disk.
    pub fn open(place: &str) -> Result<Mailbox> {
        let refused = |reason: String| Error::Mailbox { mailbox: shown_of(place), reason };
        let folder = match place.split_once("://") {
            Some(("file" | "fs", path)) => Some(PathBuf::from(path)),
            Some(_) => None,
            None => Some(PathBuf::from(place)),
        };
        let operator = match &folder {
            Some(folder) => folder_operator(folder).map_err(refused)?,
            None => service_operator(place).map_err(refused)?,
        };
        let mailbox = Mailbox::of(operator, shown_of(place), folder)?;
        if mailbox.folder.is_none() {
            let checked = mailbox.runtime.block_on(mailbox.operator.check());
            checked.map_err(|error| mailbox.failed("cannot be reached", &error))?;
        }
        Ok(mailbox)
    }

    /// One in the memory of this process, for tests.
    pub fn in_memory() -> Result<Mailbox> {
        let operator = Operator::new(services::Memory::default()).map(|built| built.finish());
        let mailbox = "memory".to_owned();
        let operator = operator
            .map_err(|error| Error::Mailbox { mailbox: mailbox.clone(), reason: said(&error) })?;
        Mailbox::of(operator, mailbox, None)
    }

    fn of(operator: Operator, shown: String, folder: Option<PathBuf>) -> Result<Mailbox> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Mailbox {
            mailbox: shown.clone(),
            reason: format!("no runtime to reach it with: {error}"),
        })?;
        Ok(Mailbox { shown, runtime, operator, folder })
    }

    /// Keeps other processes away until the lock is dropped, and clears up what an earlier one left half written. Only
    /// folders have a lock; one on a file system that knows no locks does without, too.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process keeps it for longer than `wait`; [`Error::Mailbox`] when nothing can be written.
    pub fn lock(&self, wait: Duration) -> Result<Option<Lock>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let what = format!("mailbox {}", self.shown);
        match Lock::take(&folder.join(layout::LOCK), &what, wait) {
            Ok(lock) => {
                clear(&folder.join(layout::WRITING));
                Ok(Some(lock))
            }
            Err(Refusal::Busy(error)) => Err(error),
            Err(Refusal::Impossible(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(None)
            }
            Err(Refusal::Impossible(error)) => Err(Error::Mailbox {
                mailbox: self.shown.clone(),
                reason: format!("{} cannot be locked: {error}", layout::LOCK),
            }),
        }
    }

    /// The paths of all flow files that lie there for a site, in the order of their names: chunks of one flow follow each
    /// other.
    pub fn lying_for(&self, receiver: &str) -> Result<Vec<String>> {
        let folder = layout::folder(receiver);
        let entries = match self.runtime.block_on(self.operator.list(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(self.failed("cannot be listed", &error)),
        };
        let files = entries.into_iter().filter(|entry| entry.metadata().is_file());
        let mut paths: Vec<String> = files
            .map(|entry| entry.path().to_owned())
            .filter(|path| path.to_ascii_lowercase().ends_with(".talon"))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// Reads an object from its beginning, a piece at a time.
    pub fn read(&self, path: &str) -> ObjectReader<'_> {
        ObjectReader {
            mailbox: self,
            path: path.to_owned(),
            at: 0,
            length: None,
            piece: io::Cursor::default(),
        }
    }

    /// How long an object is; none when it is not there.
    pub fn length(&self, path: &str) -> Result<Option<u64>> {
        match self.runtime.block_on(self.operator.stat(path)) {
            Ok(found) => Ok(Some(found.content_length())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&format!("{path} cannot be looked at"), &error)),
        }
    }

    /// Writes an object: afterwards all of it is there, or what was there before.
    pub fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let written = self.runtime.block_on(self.operator.write(path, bytes));
        written.map_err(|error| self.failed(&format!("{path} cannot be written"), &error))?;
        Ok(())
    }

    /// Removes an object; one that is not there is no error.
    pub fn remove(&self, path: &str) -> Result<()> {
        let removed = self.runtime.block_on(self.operator.delete(path));
        removed.map_err(|error| self.failed(&format!("{path} cannot be removed"), &error))
    }

    /// What is wrong with it, as an error.
    pub fn fault(&self, reason: String) -> Error {
        Error::Mailbox { mailbox: self.shown.clone(), reason }
    }

    fn failed(&self, what: &str, error: &opendal::Error) -> Error {
        self.fault(format!("{what}: {}", said(error)))
    }
}

/// Reads an object in pieces that are fetched when they are needed.
pub struct ObjectReader<'a> {
    mailbox: &'a Mailbox,
    path: String,
    /// Where the piece after this one begins.
    at: u64,
    length: Option<u64>,
    piece: io::Cursor<Vec<u8>>,
}

impl ObjectReader<'_> {
    fn fetch(&mut self) -> opendal::Result<()> {
        let Mailbox { runtime, operator, .. } = self.mailbox;
        let length = match self.length {
            Some(length) => length,
            None => runtime.block_on(operator.stat(&self.path))?.content_length(),
        };
        self.length = Some(length);
        let end = (self.at + STEP_BYTES).min(length);
        if self.at < end {
            let range = operator.read_with(&self.path).range(self.at..end);
            self.piece = io::Cursor::new(runtime.block_on(async { range.await })?.to_vec());
            self.at = end;
        }
        Ok(())
    }
}

impl Read for ObjectReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.piece.read(into)?;
        if read > 0 || into.is_empty() {
            return Ok(read);
        }
        self.fetch().map_err(|error| io::Error::other(said(&error)))?;
        self.piece.read(into)
    }
}

/// A folder is there already; files get their names when they are whole and on the disk.
fn folder_operator(folder: &Path) -> std::result::Result<Operator, String> {
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err("is a file; a mailbox is a folder (a flow file: talon import)".to_owned());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("is not there; make the folder where the mailbox is to be".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    }
    let text = |path: &Path| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err("has a path that is not UTF-8".to_owned()),
    };
    let writing = folder.join(layout::WRITING);
    let builder = services::Fs::default().root(&text(folder)?).atomic_write_dir(&text(&writing)?);
    Operator::new(builder).map(|built| built.finish()).map_err(|error| said(&error))
}

/// A service by its URL.
fn service_operator(url: &str) -> std::result::Result<Operator, String> {
    opendal::init_default_registry();
    let operator = Operator::from_uri(url).map_err(|error| match error.kind() {
        ErrorKind::Unsupported => {
            let scheme = url.split("://").next().unwrap_or_default();
            match SERVICES.contains(&scheme) {
                true => format!(
                    "this talon was built without {scheme}; build it with: cargo build -p talon-driver --features {scheme}"
                ),
                false => format!(
                    "{scheme} is no service that talon can be built with: a mailbox is a folder, or a URL of {}",
                    SERVICES.join(" or ")
                ),
            }
        }
        _ => said(&error),
    })?;
    #[cfg(feature = "network")]
    let operator = operator
        .layer(opendal::layers::TimeoutLayer::new())
        .layer(opendal::layers::RetryLayer::new());
    Ok(operator)
}

/// What a person is told of an error of OpenDAL: its cause, or its own words.
fn said(error: &opendal::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None if error.message().is_empty() => error.kind().to_string(),
        None => error.message().to_owned(),
    }
}

/// A URL without the password and the options that may hold keys.
fn shown_of(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("://") else { return place.to_owned() };
    let rest = rest.split('?').next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/{path}")
}

/// Removes what a process that ended in the middle of writing has left. What cannot be removed does no harm.
fn clear(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = std::fs::remove_file(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let shown = shown_of("webdav://anna:secret@shop.example/talon/a?token=hidden");
        assert_eq!(shown, "webdav://shop.example/talon/a");
        assert_eq!(shown_of("/mnt/central"), "/mnt/central");
    }
}
