//! The command line.

use std::path::PathBuf;

use crate::{report::Outcome, variants::Variant};

/// The parts of the bench, in the order they are printed.
pub const SECTIONS: [&str; 9] =
    ["time", "anew", "scale", "detect", "recover", "chains", "load", "memory", "sync"];

/// Shown by `--help`.
pub const HELP: &str = "\
Prints what Talon costs, as markdown tables.

  --quick            a minute instead of ten: fewer rounds, smaller databases, coarser figures
  --only A,B         only these: time, anew, scale, detect, recover, chains, load, memory, sync
  --variants A,B     only these: bare, guarded, floor, idle, audit, session
  --bare-peers       audit triggers and session extension without the index by which they find a piece
  --rounds N         how often the variants take turns
  --pieces N         pieces of the largest database (20 lines each: a million take 9 GB for a while)
  --dir FOLDER       where the databases are made and removed, instead of the temporary folder
  --library FILE     another build of the extension than this workspace's";

/// What is to be measured, and how long.
pub struct Options {
    pub sections: Vec<String>,
    pub variants: Vec<Variant>,
    /// Whether the peers keep the index by which they find a piece again.
    pub peer_index: bool,
    pub rounds: u32,
    /// Pieces of the largest database.
    pub pieces: u32,
    /// Pieces restored in one statement.
    pub restored: u32,
    /// Pieces touched in one transaction, and purged in one statement.
    pub touched: u32,
    pub library: Option<PathBuf>,
    dir: PathBuf,
}

impl Options {
    /// Reads the arguments after the program's name; `None` where only help was asked for.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self {
            sections: SECTIONS.map(String::from).to_vec(),
            variants: Variant::ALL.to_vec(),
            peer_index: true,
            rounds: 150,
            pieces: 1_000_000,
            restored: 10_000,
            touched: 100_000,
            library: None,
            dir: std::env::temp_dir(),
        };
        let (mut rounds, mut pieces) = (None, None);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => {
                    (options.rounds, options.pieces) = (30, 50_000);
                    (options.restored, options.touched) = (2_000, 20_000);
                }
                "--bare-peers" => options.peer_index = false,
                "--only" => options.sections = sections(&value()?)?,
                "--variants" => options.variants = variants(&value()?)?,
                "--rounds" => rounds = Some(value()?.parse()?),
                "--pieces" => pieces = Some(value()?.parse()?),
                "--dir" => options.dir = value()?.into(),
                "--library" => options.library = Some(value()?.into()),
                _ => return Err(format!("unknown argument {argument}\n\n{HELP}").into()),
            }
        }
        options.rounds = rounds.unwrap_or(options.rounds).max(1);
        // Below this the day's pieces would be all there are.
        options.pieces = pieces.unwrap_or(options.pieces).max(10_000);
        Ok(Some(options))
    }

    /// Whether a section was asked for.
    pub fn wants(&self, section: &str) -> bool {
        self.sections.iter().any(|name| name == section)
    }

    /// Whether anything asked for loads the extension.
    pub fn needs_library(&self) -> bool {
        let compares = |section: &String| section == "time" || section == "anew";
        self.variants.contains(&Variant::Guarded) || !self.sections.iter().all(compares)
    }

    /// A folder of its own, removed with what lies in it.
    pub fn folder(&self) -> Outcome<tempfile::TempDir> {
        Ok(tempfile::Builder::new().prefix("talon-benches-").tempdir_in(&self.dir)?)
    }
}

fn sections(list: &str) -> Outcome<Vec<String>> {
    let known = |name: &str| {
        if SECTIONS.contains(&name) {
            Ok(name.to_owned())
        } else {
            Err(format!("no section {name}\n\n{HELP}").into())
        }
    };
    list.split(',').map(known).collect()
}

fn variants(list: &str) -> Outcome<Vec<Variant>> {
    let known = |word: &str| {
        let found = Variant::ALL.iter().copied().find(|variant| variant.word() == word);
        found.ok_or_else(|| format!("no variant {word} in this build\n\n{HELP}").into())
    };
    list.split(',').map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parse(line: &str) -> Option<Options> {
        Options::parse(line.split_whitespace().map(String::from)).unwrap()
    }

    #[test]
    fn a_number_given_wins_over_quick_in_either_order() {
        assert_eq!(parse("--quick --rounds 7").unwrap().rounds, 7);
        assert_eq!(parse("--rounds 7 --quick").unwrap().rounds, 7);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        assert!(Options::parse(["--only".into(), "tmie".into()].into_iter()).is_err());
        assert!(Options::parse(["--variants".into(), "guard".into()].into_iter()).is_err());
        assert!(parse("--help").is_none());
    }
}
