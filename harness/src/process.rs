//! Kills a host's process at any moment, by the system's own means and on the system's own files.

use crate::bench::Bench;
use crate::judge::Verdict;
use crate::model::{Excluded, Outcome};
use crate::replay::{Options, allowed_of};
use crate::scenario::{Scenario, Setting};
use crate::session::{Kept, Script, Session};
use crate::vfs::{Content, Files};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The host begins its steps.
const READY: &str = "ready";
/// It was told that a transaction is committed.
const COMMITTED: &str = "committed";
/// It was given a value that its scenario keeps.
const KEPT: &str = "kept ";
/// What it keeps from before its steps, in its folder.
const KEPT_BEFORE: &str = "kept.txt";
/// It has done all, and waits for its end with its connections open.
const DONE: &str = "done";

/// Is the host: does a scenario's steps on the files in a folder, and says what was committed. What a killing parent starts.
///
/// # Errors
/// A setting that the scenario has not, an output that cannot be written.
pub fn host(
    scenario: &Scenario,
    setting: &str,
    folder: &Path,
    options: &Options,
) -> Result<bool, Box<dyn std::error::Error>> {
    let settings = scenario.settings();
    let Some(setting) = settings.iter().find(|one| one.to_string() == setting) else {
        return Err(format!("{} has no setting {setting}", scenario.name).into());
    };
    let script = Script::of(scenario);
    let mut session = Session::new(folder, *setting, Some(&options.library), &script);
    let kept = std::fs::read_to_string(folder.join(KEPT_BEFORE))?;
    session.kept = kept.lines().filter_map(kept_of).collect();
    if !scenario.cold {
        session.open_all()?;
    }
    let mut out = io::stdout().lock();
    let mut say = |text: &str| writeln!(out, "{text}").and_then(|()| out.flush());
    say(READY)?;
    for act in script.steps() {
        let outcome = Outcome::of(&mut session, act);
        if let Some((name, value)) =
            act.keeps.as_ref().and_then(|name| session.kept.get_key_value(name))
        {
            say(&format!("{KEPT}{name} {value}"))?;
        }
        if outcome.commits {
            say(COMMITTED)?;
        }
        if act.closes {
            session.close(act.on)?;
        }
    }
    say(DONE)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(true)
}

/// A kept value as a host is told it and says it.
fn kept_of(line: &str) -> Option<(String, String)> {
    line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// What a killed host leaves.
pub(crate) struct Killed {
    pub files: Files,
    /// Commits that it had said.
    pub commits: usize,
    /// Values that it had said it keeps.
    pub kept: Kept,
    /// How long it worked.
    worked: Duration,
}

struct Host {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl Drop for Host {
    fn drop(&mut self) {
        // Gone already in most cases: nothing to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    fn start(
        program: &Path,
        path: &Path,
        setting: Setting,
        folder: &Path,
        library: &Path,
    ) -> io::Result<Host> {
        let mut child = Command::new(program)
            .arg("host")
            .args([path, Path::new(&setting.to_string()), folder])
            .arg("--library")
            .arg(library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut host = Host { child, lines: BufReader::new(out).lines() };
        match host.lines.next().transpose()? {
            Some(line) if line == READY => Ok(host),
            other => Err(io::Error::other(format!("the host said {other:?} before it began"))),
        }
    }

    /// Kills it after a while, or when it has done all.
    fn kill(mut self, after: Option<Duration>, folder: &Path) -> io::Result<Killed> {
        let start = Instant::now();
        let (mut commits, mut kept) = (0, Kept::new());
        if let Some(after) = after {
            std::thread::sleep(after);
            self.child.kill()?;
        }
        for line in self.lines.by_ref() {
            match line?.as_str() {
                COMMITTED => commits += 1,
                line => match line.strip_prefix(KEPT) {
                    Some(said) => kept.extend(kept_of(said)),
                    None => break,
                },
            }
        }
        let worked = start.elapsed();
        self.child.kill()?;
        self.child.wait()?;
        Ok(Killed { files: read_files(folder)?, commits, kept, worked })
    }
}

fn write_files(files: &Files, folder: &Path) -> io::Result<()> {
    files
        .iter()
        .try_for_each(|(name, content)| std::fs::write(folder.join(name), content.to_bytes()))
}

/// The files of a folder, without the index of the write-ahead log: nobody who opens it first trusts that.
fn read_files(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with("-shm") && name != KEPT_BEFORE {
            files.insert(name, Content::from_bytes(&std::fs::read(entry.path())?));
        }
    }
    Ok(files)
}

/// A host's program and a scenario's file: what it takes to kill hosts.
pub(crate) struct Killing {
    pub program: PathBuf,
    pub path: PathBuf,
}

/// What a host finds when it is started to be killed.
pub(crate) struct Beginning<'a> {
    pub files: &'a Files,
    pub kept: &'a Kept,
    pub setting: Setting,
    pub library: &'a Path,
}

impl Killing {
    fn run(&self, from: &Beginning<'_>, after: Option<Duration>) -> io::Result<Killed> {
        let folder = tempfile::tempdir()?;
        write_files(from.files, folder.path())?;
        let kept = from.kept.iter().map(|(name, value)| format!("{name} {value}\n"));
        std::fs::write(folder.path().join(KEPT_BEFORE), kept.collect::<String>())?;
        Host::start(&self.program, &self.path, from.setting, folder.path(), from.library)?
            .kill(after, folder.path())
    }

    /// Kills a host at a moment that the seed chooses. `worked` is how long one takes for all, measured when not known.
    ///
    /// # Errors
    /// A host that cannot be started or does not do as it should.
    pub fn kill(
        &self,
        from: &Beginning<'_>,
        worked: &mut Option<Duration>,
        seed: u64,
    ) -> Result<Killed, String> {
        let span = match worked {
            Some(span) => *span,
            None => {
                let whole = self.run(from, None).map_err(|error| format!("a host: {error}"))?;
                *worked.insert(whole.worked)
            }
        };
        // Sometimes it is killed with all done and its connections open.
        let part = fastrand::Rng::with_seed(seed).f64() * 1.1;
        self.run(from, Some(span.mul_f64(part)))
            .map_err(|error| format!("a host that is killed: {error}"))
    }
}

impl Bench<'_> {
    /// Kills a host at a moment that the seed chooses; gives what the judge says.
    ///
    /// # Errors
    /// A host that cannot be started or does not do as it should.
    pub fn kill(&mut self, killing: &Killing, seed: u64) -> Result<Verdict, String> {
        let from = Beginning {
            files: &self.base,
            kept: &Kept::new(),
            setting: self.setting,
            library: &self.options.library,
        };
        let killed = killing.kill(&from, &mut self.worked, seed)?;
        let known = self.known(&Excluded::new())?;
        let told = known.reference.setup + killed.commits;
        let last = known.reference.commits.len();
        let allowed = allowed_of(&known, told..=(told + 1).min(last));
        Ok(self.judge.judge(&killed.files, &allowed, seed))
    }
}
