//! Tryton for tests: a Python with what it takes, and the scripts of `tests/tryton` run with it, in bounded time.
//!
//! The environment is kept under the target directory: the first run installs Tryton and sets up a company, later ones
//! copy it. With TALON_OFFLINE set nothing is installed and nothing is run.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Debian's own: the Python of version managers is often built without loadable extensions.
const PYTHON: &str = "/usr/bin/python3";

/// For everything, a first installation included.
const LIMIT: Duration = Duration::from_secs(290);

/// Runs a script of `tests/tryton` with the cache folder and these arguments, and shows what it says.
///
/// # Panics
/// When Python or what it takes cannot be had, and with all that the script said when that fails.
pub fn run(script: &str, arguments: &[&OsStr]) {
    if std::env::var_os("TALON_OFFLINE").is_some_and(|value| !value.is_empty()) {
        say(&format!(
            "tests/tryton/{script} was NOT run: TALON_OFFLINE says that this machine cannot install Tryton"
        ));
        return;
    }
    let deadline = Instant::now() + LIMIT;
    install_python(deadline);

    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Where cargo has test programs keep what they make: one place for those of all packages.
    let programs = crate::extension_path();
    let target = programs.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let cache = target.expect("a target directory").join("tmp").join("tryton");
    let mut run = Command::new(PYTHON);
    run.arg("-B").arg(tests.join("tryton").join(script)).arg(cache).args(arguments);
    let output = bounded(&run, deadline);
    let text = text_of(&output);
    assert!(output.status.success(), "tests/tryton/{script} ended with {}:\n{text}", output.status);
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
