//! The program: arguments to a run, its outcome to an exit code.

use clap::Parser;
use std::process::ExitCode;
use talon_driver::arguments::{Arguments, Command};
use talon_driver::error::FINDINGS;
use talon_driver::report::{Console, Report};
use talon_driver::{by_hand, flows, load, status, sync};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut console = Console::default();
    let outcome = match &arguments.command {
        Command::Sync(options) => sync::run(options, &mut console),
        Command::Load(options) => load::run(options, &mut console),
        Command::Export(options) => by_hand::export(options, &mut console),
        Command::Import(options) => by_hand::import(options, &mut console),
        Command::Flows(options) => flows::run(options, &mut console),
        Command::Status(options) => status::run(options, &mut console),
    };
    console.end();
    match outcome {
        Err(error) => {
            console.warn(&error.to_string());
            ExitCode::from(error.exit_code())
        }
        Ok(_) if console.is_broken => ExitCode::FAILURE,
        Ok(findings) if findings.are_there() => ExitCode::from(FINDINGS),
        Ok(_) => ExitCode::SUCCESS,
    }
}
