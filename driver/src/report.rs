//! What a run tells: lines on standard output, warnings on standard error, and on a terminal a bar while bytes move.

use indicatif::{ProgressBar, ProgressStyle};
use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Which way a chunk went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the database.
    In,
    /// Out of it.
    Out,
}

/// Who is told what happens.
pub trait Report {
    /// Something is done: a line for whoever reads the log tomorrow.
    fn say(&mut self, line: &str);
    /// Something wants a look.
    fn warn(&mut self, line: &str);
    /// Something begins that takes a while: so many bytes, if that is known.
    fn begin(&mut self, what: &str, bytes: Option<u64>);
    /// A chunk is where it belongs, for good.
    fn moved(&mut self, way: Way, name: &str, bytes: u64);
    /// What began is over.
    fn end(&mut self);
}

/// What takes so long that a log shows it chunk by chunk.
const LONG_BYTES: u64 = 1 << 20;

/// Standard output and standard error.
#[derive(Default)]
pub struct Console {
    bar: Option<ProgressBar>,
    /// Is so much on its way that each chunk is worth a line?
    is_long: bool,
    /// Could a line not be written? Nobody may be told what happened then.
    pub is_broken: bool,
}

impl Console {
    fn print(&mut self, line: &str) {
        let bar = self.bar.clone();
        let print = || writeln!(std::io::stdout(), "{}", printable(line)).is_ok();
        let is_printed = match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
        self.is_broken |= !is_printed;
    }
}

/// A line that stays one: what names of files and texts of others hold that would move a terminal's cursor is shown instead.
fn printable(line: &str) -> Cow<'_, str> {
    if !line.contains(char::is_control) {
        return Cow::Borrowed(line);
    }
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    Cow::Owned(line.chars().map(shown).collect())
}

impl Report for Console {
    fn say(&mut self, line: &str) {
        self.print(line);
    }

    fn warn(&mut self, line: &str) {
        let print = || eprintln!("talon: {}", printable(line));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn begin(&mut self, what: &str, bytes: Option<u64>) {
        self.end();
        self.is_long = bytes.is_some_and(|bytes| bytes >= LONG_BYTES);
        if !std::io::stderr().is_terminal() {
            return;
        }
        let (bar, template) = match bytes {
            Some(bytes) => {
                (ProgressBar::new(bytes), "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}")
            }
            None => (ProgressBar::new_spinner(), "{msg} {spinner} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    fn moved(&mut self, way: Way, name: &str, bytes: u64) {
        match &self.bar {
            Some(bar) => bar.inc(bytes),
            None if !self.is_long => {}
            None => {
                let way = if way == Way::In { "in " } else { "out" };
                self.print(&format!("  {way} {name} {bytes} bytes"));
            }
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_shown() {
        assert_eq!(printable("L'Épicerie: 3"), "L'Épicerie: 3");
        assert_eq!(printable("a\nb\u{1b}[2J\u{9b}"), "a\\nb\\u{1b}[2J\\u{9b}");
    }
}
