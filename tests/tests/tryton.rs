//! Talon on software that knows nothing of it: Tryton, an accounting and sales system, on its SQLite backend.
//!
//! `tests/tryton/run.py` tells what happens there. This file finds Python and the library, bounds the time and
//! shows what went wrong. The environment is kept under the target directory: the first run installs Tryton and
//! sets up a company, later ones copy it. With TALON_OFFLINE set nothing is installed and nothing is run.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test that lacks what it needs ends here")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Debian's own: the Python of version managers is often built without loadable extensions.
const PYTHON: &str = "/usr/bin/python3";

/// For everything, a first installation included.
const LIMIT: Duration = Duration::from_secs(290);

#[test]
fn tryton_reads_from_restored_sales_what_it_read_before_the_loss() {
    if std::env::var_os("TALON_OFFLINE").is_some_and(|value| !value.is_empty()) {
        say(
            "the test on Tryton was NOT run: TALON_OFFLINE says that this machine cannot install it",
        );
        return;
    }
    let deadline = Instant::now() + LIMIT;
    install_python(deadline);

    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tryton");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tryton");
    let mut run = Command::new(PYTHON);
    run.arg("-B").arg(scripts.join("run.py")).arg(cache).arg(talon_tests::extension_path());
    let output = bounded(&run, deadline);
    let text = text_of(&output);
    assert!(output.status.success(), "tests/tryton/run.py ended with {}:\n{text}", output.status);
    say(text.trim_end());
}

/// Has Debian's Python with `venv`, installing what is missing where that is allowed.
fn install_python(deadline: Instant) {
    let mut probe = Command::new(PYTHON);
    probe.args(["-c", "import ensurepip, sqlite3, venv; sqlite3.Connection.enable_load_extension"]);
    let is_ready = || Path::new(PYTHON).exists() && bounded(&probe, deadline).status.success();
    if is_ready() {
        return;
    }
    let mut log = String::new();
    if text_of(&bounded(Command::new("id").arg("-u"), deadline)).trim() == "0" {
        for arguments in [&["update"][..], &["install", "--yes", "python3", "python3-venv"]] {
            let mut apt = Command::new("apt-get");
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            log += &text_of(&bounded(&apt, deadline));
        }
    }
    assert!(
        is_ready(),
        "this test needs {PYTHON} with venv and loadable extensions: apt-get install python3 python3-venv, or set \
         TALON_OFFLINE where nothing can be installed\n{log}"
    );
}

/// Runs a command to its end or to the deadline; then it and all that it started are ended.
fn bounded(command: &Command, deadline: Instant) -> Output {
    let left = deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
    let mut run = Command::new("timeout");
    run.arg("--kill-after=5")
        .arg(left.to_string())
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        run.env(name, value.unwrap_or_default());
    }
    run.stdin(Stdio::null()).output().expect("timeout (coreutils) runs")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Past the test harness, which keeps the output of tests that pass to itself.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("standard error can be written");
}
