//! Measures the built extension against a bare SQLite, against the floor of what whole images can cost,
//! and against its peers: JSON audit triggers and the session extension.

mod chains;
mod detect;
mod floor;
mod library;
mod load;
mod memory;
mod options;
mod raw;
mod recover;
mod report;
mod scale;
mod schema;
#[cfg(session_extension)]
mod session;
mod sync;
mod time;
mod turns;
mod variants;
mod workload;

use std::process::ExitCode;

use crate::{
    library::Library,
    options::{HELP, Options},
    report::Outcome,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("talon-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == memory::CHILD).is_some() {
        return memory::run_child(arguments);
    }
    let Some(options) = Options::parse(arguments)? else {
        println!("{HELP}");
        return Ok(());
    };
    let library = Library::find(options.library.clone())?;
    // A library that does not load is better known now than after the first minutes.
    if options.needs_library() {
        library.load(&rusqlite::Connection::open_in_memory()?)?;
    }
    type Section = fn(&Options, &Library) -> Outcome;
    let sections: [(&[&str], Section); 8] = [
        (&["time"], time::run),
        (&["anew"], time::run_anew),
        (&["scale", "detect"], scale::run),
        (&["recover"], recover::run),
        (&["chains"], chains::run),
        (&["load"], load::run),
        (&["memory"], memory::run),
        (&["sync"], sync::run),
    ];
    for (names, section) in sections {
        if names.iter().any(|name| options.wants(name)) {
            section(&options, &library)?;
        }
    }
    Ok(())
}
