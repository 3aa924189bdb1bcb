//! The scripts for maintenance windows, in the real sqlite3 shell, on the sample shop.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use talon_tests::{Shop, extension_path, installed};

fn sql(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql").join(path)
}

fn sample() -> Shop {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| installed("sqlite3", "sqlite3"));
    // The scripts go by the system's clock, for which this is long ago.
    Shop::sample_of("2020-01-31T08:00:00+01:00").0
}

/// Loses the lines of order 28, and of the purchase 6.
const LOSE: &str = "PRAGMA foreign_keys = OFF; DELETE FROM sale_line WHERE piece_id = 28;
    DELETE FROM purchase_line WHERE piece_id = 6";

/// What a maintenance script says, run as its first lines tell; it must succeed.
fn play(shop: &Shop, script: &str, variables: &[(&str, &str)]) -> String {
    let folder = shop.file("");
    let library =
        shop.file(extension_path().file_name().and_then(|name| name.to_str()).expect("a name"));
    if !library.exists() {
        std::os::unix::fs::symlink(extension_path(), &library).expect("a link");
    }
    let script = std::fs::File::open(sql(&format!("maintenance/{script}"))).expect("a script");
    let run = Command::new("sqlite3")
        .args(["-init", "/dev/null", "shop.db"])
        .current_dir(folder)
        .env("LD_LIBRARY_PATH", ".")
        .env("DYLD_LIBRARY_PATH", ".")
        .envs(variables.iter().copied())
        .stdin(Stdio::from(script))
        .output()
        .expect("the shell runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && errors.is_empty(), "{said}{errors}");
    said
}

#[test]
fn the_report_lists_what_is_lost_and_writes_it_as_csv_and_for_a_spreadsheet() {
    let shop = sample();
    shop.open().run(LOSE);
    let said = play(&shop, "report.sql", &[]);
    for line in [
        "Without lines: 2. Of these, restore_all.sql can restore: 2.",
        "Nothing was ever restored.",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let csv = std::fs::read_to_string(shop.file("lost_pieces.csv")).expect("the list");
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some("\u{feff}kind,piece,number,date,saved_at,party,type,validated,saved_lines,restorable")
    );
    let rows: Vec<&str> = lines.collect();
    assert_eq!(rows.len(), 2, "{csv}");
    assert!(
        rows[0].starts_with("purchase,6,PF0000006,2026-08-03,") && rows[0].ends_with(",F,no,3,yes"),
        "{csv}"
    );
    assert!(
        rows[1].starts_with("sale,28,O0000028,2026-09-12,") && rows[1].ends_with(",,no,4,yes"),
        "{csv}"
    );
    // The shell hands the file to the desktop's opener; this one notes what it was given.
    let opener = shop.file("xdg-open");
    std::fs::write(&opener, "#!/bin/sh\ncp \"$1\" opened.csv\n").expect("an opener");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&opener, executable).expect("it can be run");
    let path = format!("{}:{}", shop.file("").display(), std::env::var("PATH").expect("a path"));
    play(&shop, "report.sql", &[("PATH", &path), ("TALON_SPREADSHEET", "1")]);
    assert_eq!(std::fs::read_to_string(shop.file("opened.csv")).expect("it was opened"), csv);
}

#[test]
fn everything_is_restored_and_a_second_run_finds_nothing_to_do() {
    let shop = sample();
    let before = shop.bare().contents(&["sale_line", "purchase_line", "sale_piece"]);
    shop.open().run(LOSE);
    let said = play(&shop, "restore_all.sql", &[]);
    assert!(said.contains(r#"{"lost":2,"restored":2}"#), "{said}");
    assert!(said.contains("Pieces that had lost their lines: 2. All have them back"), "{said}");
    assert!(said.contains("those that are derived from them are what they should be."), "{said}");
    assert_eq!(shop.bare().contents(&["sale_line", "purchase_line", "sale_piece"]), before);
    let said = play(&shop, "restore_all.sql", &[]);
    assert!(said.contains("No piece has lost its lines: nothing to restore."), "{said}");
}

#[test]
fn after_a_restore_the_script_says_which_derived_values_are_left_to_look_at() {
    let shop = sample();
    let db = shop.open();
    db.run(LOSE);
    db.run("UPDATE stock SET on_hand_quantity = 1 WHERE article_id IN (3, 4)");
    let said = play(&shop, "restore_all.sql", &[]);
    assert!(said.contains("Derived values that differ: 2. gaps.sql lists them"), "{said}");
    db.run(LOSE);
    db.run(
        "ALTER TABLE stock RENAME COLUMN on_hand_quantity TO here;
         SELECT talon_derive(name, NULL) FROM talon_rules WHERE type = 'derived' AND name <> 'stock'",
    );
    let said = play(&shop, "restore_all.sql", &[]);
    for wanted in [
        "No derived value is declared (talon_derive): check outstanding amounts and stock now.",
        "ATTENTION: stock is not compared, its definition does not fit any more: ",
    ] {
        assert!(said.contains(wanted), "{wanted} in {said}");
    }
}

#[test]
fn a_kind_without_the_label_is_neither_validated_nor_not() {
    let shop = sample();
    let db = shop.open();
    db.run("SELECT talon_guard('purchase', 'purchase_piece', 'purchase_line'); DELETE FROM purchase_line WHERE piece_id = 6");
    db.run("SELECT talon_guard('sale', 'sale_piece', 'sale_line'); ALTER TABLE sale_piece RENAME COLUMN validated TO final");
    db.run("DELETE FROM sale_line WHERE piece_id = 30");
    let said = play(&shop, "report.sql", &[]);
    let csv = std::fs::read_to_string(shop.file("lost_pieces.csv")).expect("the list");
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    assert!(rows[0].starts_with("purchase,6,") && rows[0].ends_with(",F,no,3,yes"), "{csv}");
    let sale: Vec<&str> = rows[1].split(',').collect();
    assert_eq!((sale[1], sale[7], sale[9]), ("30", "", "yes"), "{csv}");
    assert!(said.contains("Without lines: 2."), "{said}");
}

#[test]
fn the_audit_says_what_to_do_with_a_deposit_that_waits() {
    let shop = sample();
    shop.open().run(
        r#"SELECT talon_stage('purchase', 900, '{"header":{"id":900,"number":"N","stage":"order","date":"2026-11-20","supplier_id":1},
             "lines":[{"id":9000,"position":1,"article_id":1,"quantity":1,"unit_cost_cents":100,"vat_percent":20,
               "amount_excl_tax_cents":100,"amount_incl_tax_cents":120}]}')"#,
    );
    let said = play(&shop, "audit.sql", &[]);
    assert!(said.contains("restore it, or talon_dismiss(kind, piece)"), "{said}");
}

/// Each can be copied to a till by itself, and so opens by itself: in the same words.
#[test]
fn the_scripts_open_alike() {
    let folder = sql("maintenance");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a script");
    let part = |text: &str, from: &str, to: &str| {
        let start = text.find(from).unwrap_or_else(|| panic!("no {from:?} in {text}"));
        let end = text[start..].find(to).unwrap_or_else(|| panic!("no {to:?} in {text}"));
        text[start..start + end + to.len()].to_owned()
    };
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the scripts") {
        let name = entry.expect("a file").file_name().into_string().expect("a name");
        let (text, model) = (read(&name).replace(&name, "purge.sql"), read("purge.sql"));
        for [from, to] in [
            ["-- Where libtalon is:", "< sql/maintenance/purge.sql\n--\n"],
            ["-- Stops at the first error", "FROM talon_guards;"],
        ] {
            assert_eq!(part(&text, from, to), part(&model, from, to), "{name}");
        }
        let unfit = ["-- A guard that no longer fits", "LIKE 'does not fit%';"];
        if text.contains(unfit[0]) {
            assert_eq!(part(&text, unfit[0], unfit[1]), part(&model, unfit[0], unfit[1]), "{name}");
        }
        count += 1;
    }
    assert!(count >= 7, "only {count} scripts");
}

#[test]
fn the_daily_script_does_the_routine_once_and_names_edits_of_another_day() {
    let shop = sample();
    let db = shop.open();
    db.run(
        "SELECT talon_station('till 2', 'marie'), talon_clock('2020-01-31T17:00:00+01:00');
         SELECT talon_edit_begin('sale', 5)",
    );
    db.run(LOSE);
    let said = play(&shop, "daily.sql", &[]);
    assert!(said.contains("kept for lost pieces: 2, for pieces that are open: 1."), "{said}");
    assert!(said.contains("Pieces without lines: 2. report.sql lists them."), "{said}");
    assert!(
        said.contains("sale 5 is open at till 2 by marie since 2020-01-31T")
            && said.contains("if nobody works on it, SELECT talon_edit_release('sale', 5);"),
        "{said}"
    );
    let said = play(&shop, "daily.sql", &[]);
    assert!(said.contains(", done before: "), "{said}");
}

#[test]
fn the_report_names_pieces_that_are_open_and_deposits_that_wait() {
    let shop = sample();
    let said = play(&shop, "report.sql", &[]);
    assert!(said.contains("DEPOSITED, NEVER WRITTEN\nNone."), "{said}");
    assert!(said.contains("OPEN ON A STATION\nNone."), "{said}");
    let db = shop.open();
    db.run("SELECT talon_station('till 2', 'marie'), talon_edit_begin('sale', 5)");
    db.run(
        r#"SELECT talon_stage('purchase', 900, '{"header":{"id":900,"number":"N","stage":"order","date":"2026-11-20","supplier_id":1},
             "lines":[{"id":9000,"position":1,"article_id":1,"quantity":1,"unit_cost_cents":100,"vat_percent":20,
               "amount_excl_tax_cents":100,"amount_incl_tax_cents":120}]}')"#,
    );
    let said = play(&shop, "report.sql", &[]);
    for wanted in [
        "│ purchase │ 900   │ deposited 20",
        "till 2  │ marie",
        "That of a station that died is freed with SELECT talon_edit_release(kind, piece).",
    ] {
        assert!(said.contains(wanted), "{wanted} in {said}");
    }
}
