//! What the program says, and with which exit code, when it cannot do what it is asked.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that lacks what it needs ends there and then"
)]

mod shops;

use shops::{Ran, Shops};
use std::process::Command;
use talon_tests::extension_path;

fn talon(arguments: &[&str]) -> Ran {
    let mut run = Command::new(env!("CARGO_BIN_EXE_talon"));
    Ran::of(&run.args(arguments).output().expect("it runs"))
}

#[test]
fn arguments_that_do_not_fit_end_with_two() {
    talon(&[]).ends(2, "Usage: talon <COMMAND>");
    talon(&["sync", "--db", "x.db"]).ends(2, "--mailbox <DIR-OR-URL>");
    talon(&["sync", "--db", "x", "--mailbox", "m", "--fetch", "--answer", "now"])
        .ends(2, "cannot be used with");
    talon(&["sync", "--db", "x", "--mailbox", "m", "--answer", "soon"]).ends(2, "later");
}

#[test]
fn central_is_to_say_for_whom_a_full_flow_is() {
    let shops = Shops::new();
    shops.sync("ASOC", &["--mode", "full"]).ends(2, "for whom it is told only: --to SITE");
    shops.sync("ASOC", &["--mode", "full", "--to", "BSOC"]).well();
}

#[test]
fn the_help_lists_the_exit_codes() {
    let help = talon(&["--help"]).well();
    for code in 0..=7 {
        assert!(help.contains(&format!("\n  {code}  ")), "{code} is not in {help}");
    }
}

#[test]
fn a_database_that_is_none_is_named_with_what_is_missing() {
    let shops = Shops::new();
    let extension = extension_path();
    let status = |db: &str| {
        let mut run = Command::new(env!("CARGO_BIN_EXE_talon"));
        run.args(["flows", "--db", db, "--extension"]).arg(&extension);
        Ran::of(&run.output().expect("it runs"))
    };
    let text = |name: &str| shops.path(name).display().to_string();
    status(&text("missing.db")).ends(5, "missing.db: there is no such file");
    assert!(!shops.path("missing.db").exists());
    std::fs::write(shops.path("letter.db"), "Dear Sir or Madam, ".repeat(100)).expect("written");
    status(&text("letter.db")).ends(5, "file is not a database");
    talon_tests::Db::open(&shops.path("plain.db")).run("CREATE TABLE t(x)");
    status(&text("plain.db"))
        .ends(5, "is no site yet; register all sites (SELECT talon_site(code, role))");
    status(&text("plain.db")).ends(5, "or begin it as a till by a load (talon load)");
}

#[test]
fn a_library_that_is_not_there_or_is_none_is_named() {
    let shops = Shops::new();
    let db = shops.file("BSOC").display().to_string();
    talon(&["flows", "--db", &db, "--extension", "/nowhere/libtalon.so"])
        .ends(5, "extension /nowhere/libtalon.so: No such file or directory");
    let other = shops.path("libtalon.so");
    std::fs::write(&other, "no library").expect("written");
    talon(&["flows", "--db", &db, "--extension", &other.display().to_string()])
        .ends(5, "libtalon.so: ");

    // Beside the program: a copy of it that has no neighbour.
    let alone = shops.path("talon");
    std::fs::copy(env!("CARGO_BIN_EXE_talon"), &alone).expect("copied");
    let ran =
        Ran::of(&Command::new(&alone).args(["flows", "--db", &db]).output().expect("it runs"));
    std::fs::remove_file(&other).expect("removed");
    ran.ends(5, "libtalon.so: ");
    let ran =
        Ran::of(&Command::new(&alone).args(["flows", "--db", &db]).output().expect("it runs"));
    ran.ends(5, "put the library beside this program, or say where it is: --extension PATH");
    std::fs::copy(extension_path(), &other).expect("copied");
    let ran =
        Ran::of(&Command::new(&alone).args(["flows", "--db", &db]).output().expect("it runs"));
    assert!(ran.well().starts_with("id  link  from"));
}

#[test]
fn a_mailbox_that_cannot_be_reached_ends_with_four_and_sends_nothing() {
    let shops = Shops::new();
    let away = shops.path("away").display().to_string();
    let mut run = shops.talon("sync", "BSOC");
    Ran::of(&run.args(["--mailbox", &away]).output().expect("it runs"))
        .ends(4, "away: is not there; make the folder where the mailbox is to be");
    assert_eq!(shops.db("BSOC").rows("SELECT * FROM talon_flows"), [""; 0]);
}

#[test]
fn two_processes_take_turns_on_a_database_and_a_dead_one_blocks_nobody() {
    let shops = Shops::new();
    let lock = shops.path("BSOC.db.talon-lock");
    // Whoever holds the lock is another process, as the system sees it.
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sh", "-c", "echo held; exec sleep 600"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flock (util-linux) runs");
    let out = holder.stdout.take().expect("its output");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a line");
    assert_eq!(line, "held\n");

    shops.sync("BSOC", &["--wait", "0"]).ends(6, "BSOC.db is used by another talon");
    shops
        .run("export", "BSOC", &["--wait", "0", "--to", "ASOC", "never.talon"])
        .ends(6, "waited 0 s for it (--wait)");
    // Looking needs no lock.
    shops.run("flows", "BSOC", &[]).well();
    holder.kill().expect("killed");
    holder.wait().expect("dead");
    let file = shops.path("flow.talon").display().to_string();
    shops.run("export", "BSOC", &["--wait", "0", "--to", "ASOC", &file]).well();
}
