//! Two tills and a central database exchange flows through a folder and by hand, while processes end in the middle, files are
//! damaged, and two run at once.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that lacks what it needs ends there and then"
)]

mod shops;

use clap::Parser;
use shops::{Ran, Shops};
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;
use talon_driver::arguments::{Arguments, Command};
use talon_driver::report::{Report, Way};
use talon_driver::sync;
use talon_tests::extension_path;

/// Everybody sends, central answers, everybody takes: then nothing is under way any more.
fn exchange_all(shops: &Shops) {
    for site in ["BSOC", "CSOC", "ASOC", "BSOC", "CSOC", "ASOC", "BSOC", "CSOC"] {
        shops.sync(site, &[]).well();
    }
}

/// All three have the same sales, so many.
fn all_have(shops: &Shops, count: usize) {
    let sales = shops.sales("ASOC");
    assert_eq!(sales.len(), count);
    for till in ["BSOC", "CSOC"] {
        assert_eq!(shops.sales(till), sales, "{till}");
    }
}

#[test]
fn what_two_tills_sell_is_everywhere_after_an_exchange() {
    let shops = Shops::new();
    shops.sell("BSOC", 3);
    shops.sell("CSOC", 2);
    let out = shops.sync("BSOC", &[]).well();
    assert!(out.contains("sent flow 1 to ASOC: 9 rows, 1 chunk"), "{out}");
    exchange_all(&shops);
    all_have(&shops, 5);
    // Only what is not acknowledged yet lies there still.
    assert!(shops.lying("ASOC").len() <= 2, "{:?}", shops.lying("ASOC"));
    assert!(shops.lying("BSOC").len() <= 1, "{:?}", shops.lying("BSOC"));
}

#[test]
fn nothing_is_removed_before_it_is_acknowledged() {
    let shops = Shops::new();
    shops.sell("BSOC", 1);
    shops.sync("BSOC", &["--answer", "none"]).well();
    let lying = shops.lying("ASOC");
    assert_eq!(lying.len(), 1);
    // Central has applied it, but has not said so.
    shops.sync("ASOC", &[]).well();
    shops.sync("BSOC", &["--fetch"]).well();
    assert_eq!(shops.lying("ASOC"), lying);
    shops.sync("ASOC", &["--to", "BSOC"]).well();
    let out = shops.sync("BSOC", &["--fetch"]).well();
    assert!(out.contains("removed 1 chunk that ASOC has acknowledged"), "{out}");
    assert_eq!(shops.lying("ASOC"), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn an_emptied_mailbox_loses_nothing() {
    let shops = Shops::new();
    shops.sell("BSOC", 2);
    shops.sync("BSOC", &[]).well();
    std::fs::remove_dir_all(shops.path("mailbox")).expect("emptied");
    std::fs::create_dir(shops.path("mailbox")).expect("made anew");
    exchange_all(&shops);
    all_have(&shops, 2);
}

/// Panics after so many chunks have gone one way: what comes after that in a run never happens.
struct Cut {
    way: Way,
    left: u32,
}

impl Report for Cut {
    fn say(&mut self, _: &str) {}
    fn warn(&mut self, line: &str) {
        panic!("warned: {line}");
    }
    fn begin(&mut self, _: &str, _: Option<u64>) {}
    fn moved(&mut self, way: Way, _: &str, _: u64) {
        if way == self.way {
            self.left -= 1;
            // Unlike panic!, it prints nothing.
            assert!(self.left > 0, "cut off");
        }
    }
    fn end(&mut self) {}
}

/// Runs a sync that ends in the middle, once so many chunks have gone one way; whether there were as many.
fn cut_off(shops: &Shops, site: &str, way: Way, after: u32) -> bool {
    let text = |path: std::path::PathBuf| path.display().to_string();
    let arguments = Arguments::parse_from([
        "talon",
        "sync",
        "--db",
        &text(shops.file(site)),
        "--mailbox",
        &text(shops.path("mailbox")),
        "--extension",
        &text(extension_path()),
    ]);
    let Command::Sync(options) = arguments.command else { panic!("it is sync") };
    let mut report = Cut { way, left: after };
    let ran = catch_unwind(AssertUnwindSafe(|| sync::run(&options, &mut report)));
    match ran {
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied().unwrap_or_default();
            assert!(text.contains("cut off"), "{text}");
            true
        }
        Ok(ended) => {
            ended.expect("it ends well");
            false
        }
    }
}

#[test]
fn a_sync_cut_off_after_any_chunk_goes_on_where_it_was() {
    let shops = Shops::new();
    let mut total = 0;
    for after in 1.. {
        shops.sell_large("BSOC", 120);
        total += 120;
        if !cut_off(&shops, "BSOC", Way::Out, after) {
            assert!(after > 4, "there were only {after} chunks to cut between");
            break;
        }
        let written = shops.lying("ASOC");
        let moments = |paths: &[std::path::PathBuf]| -> Vec<_> {
            let read = |path| std::fs::metadata(path).and_then(|found| found.modified());
            paths.iter().map(|path| read(path).expect("it is there")).collect()
        };
        let before = moments(&written);
        let out = shops.sync("BSOC", &[]).well();
        assert!(out.contains("flow") && out.contains("sent"), "{out}");
        assert_eq!(moments(&written), before, "chunks were written again after {after}");

        // And central ends in the middle of taking it, at the same place.
        cut_off(&shops, "ASOC", Way::In, after);
        shops.sync("ASOC", &[]).well();
        assert_eq!(shops.sales("ASOC").len(), total, "after {after}");
    }
    exchange_all(&shops);
    all_have(&shops, total);
}

#[test]
fn a_process_that_is_killed_leaves_what_the_next_one_goes_on_with() {
    let shops = Shops::new();
    shops.sell_large("BSOC", 300);
    for (site, lines) in [("BSOC", 1), ("BSOC", 3), ("ASOC", 0), ("ASOC", 2), ("ASOC", 4)] {
        let mut run = shops.syncing(site);
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        assert_eq!(out.lines().take(lines).filter(|line| line.is_ok()).count(), lines, "{site}");
        child.kill().expect("killed");
        child.wait().expect("dead");
    }
    exchange_all(&shops);
    all_have(&shops, 300);
    for site in ["ASOC", "BSOC", "CSOC"] {
        assert_eq!(shops.db(site).one("PRAGMA integrity_check"), "ok");
    }
}

#[test]
fn a_run_that_is_doubled_changes_nothing_more() {
    let shops = Shops::new();
    shops.sell("BSOC", 2);
    shops.sync("BSOC", &["--answer", "none"]).well();
    shops.sync("ASOC", &[]).well();
    let tables = ["sale", "sale_line", "talon_change", "talon_flow", "talon_snapshot"];
    let once = shops.db("ASOC").contents(&tables);
    let copies = shops.lying("ASOC");
    std::fs::copy(&copies[0], copies[0].with_file_name("again.talon")).expect("copied");
    for _ in 0..3 {
        shops.sync("ASOC", &[]).well();
    }
    assert_eq!(shops.db("ASOC").contents(&tables), once);
}

#[test]
fn several_at_once_wait_for_each_other() {
    let shops = Shops::new();
    shops.sell("BSOC", 20);
    shops.sell("CSOC", 20);
    for _ in 0..3 {
        let start = |site: &str| {
            let mut run = shops.syncing(site);
            run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
        };
        let children = ["BSOC", "BSOC", "ASOC", "CSOC", "ASOC"].map(start);
        for child in children {
            Ran::of(&child.wait_with_output().expect("it ends")).well();
        }
    }
    exchange_all(&shops);
    all_have(&shops, 40);
}

#[test]
fn files_that_are_wrong_are_named_and_left_and_the_others_are_taken() {
    let shops = Shops::new();
    shops.sell("BSOC", 1);
    shops.sync("BSOC", &[]).well();
    let sound = shops.lying("ASOC").remove(0);
    let bytes = std::fs::read(&sound).expect("it is there");
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(sound.with_file_name(name), bytes).expect("written");
    };
    put("a-short.talon", &bytes[..bytes.len() - 7]);
    put("b-letter.talon", b"Dear Sir or Madam");
    put("c-empty.talon", b"");
    put("notes.txt", b"not ours at all");
    for bit in (70..bytes.len() * 8).step_by(bytes.len() * 8 / 12) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        put(&format!("d-flipped-{bit:06}.talon"), &flipped);
    }
    let lying = shops.lying("ASOC");
    let ran = shops.sync("ASOC", &[]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    for wrong in lying.iter().filter(|path| **path != sound) {
        let name = wrong.file_name().and_then(|name| name.to_str()).expect("a name");
        let is_named = ran.err.contains(&format!("talon: to-ASOC/{name}: "));
        assert_eq!(is_named, name != "notes.txt", "{name}: {ran:?}");
    }
    assert!(ran.err.contains("a-short.talon: it is cut off"), "{ran:?}");
    assert!(
        ran.err.contains("b-letter.talon: is no flow file: no chunk of a flow begins at byte 0"),
        "{ran:?}"
    );
    assert_eq!(shops.lying("ASOC"), lying);
    assert_eq!(shops.sales("ASOC").len(), 1);
}

#[test]
fn a_flow_that_is_damaged_on_its_way_is_made_good_by_the_next() {
    let shops = Shops::new();
    shops.sell_large("BSOC", 150);
    shops.sync("BSOC", &[]).well();
    let chunk = shops.lying("ASOC").remove(1);
    let mut bytes = std::fs::read(&chunk).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&chunk, bytes).expect("damaged");
    shops.sync("ASOC", &[]).ends(3, "chunk 1 is damaged");
    assert_eq!(shops.sales("ASOC").len(), 0);
    shops.sync("BSOC", &[]).well();
    // The damaged one lies there until a later one is acknowledged.
    shops.sync("ASOC", &[]);
    assert_eq!(shops.sales("ASOC").len(), 150);
    shops.sync("BSOC", &[]).well();
    assert!(!chunk.exists());
    exchange_all(&shops);
    all_have(&shops, 150);
}

/// BSOC has sold and sent, is brought back from a backup of before, and has sold something else.
fn gone_back() -> Shops {
    let shops = Shops::new();
    shops.sell("BSOC", 1);
    for site in ["BSOC", "ASOC", "BSOC"] {
        shops.sync(site, &[]).well();
    }
    shops.db("BSOC").run(&format!("VACUUM INTO '{}'", shops.path("backup.db").display()));
    shops.sell("BSOC", 2);
    for site in ["BSOC", "ASOC"] {
        shops.sync(site, &[]).well();
    }
    shops.remove("BSOC");
    std::fs::copy(shops.path("backup.db"), shops.file("BSOC")).expect("brought back");
    shops.sell("BSOC", 9);
    shops
}

#[test]
fn a_flow_of_a_restored_backup_is_refused_by_name_though_its_number_is_known() {
    let shops = gone_back();
    shops.lying("ASOC").iter().for_each(|path| std::fs::remove_file(path).expect("removed"));
    // What lies there for it was written for what it was; it does not wait for that.
    shops.sync("BSOC", &[]);
    let text = "was here before with other content: BSOC went back to an older state";
    shops.sync("ASOC", &[]).ends(3, text);
    shops.sync("ASOC", &[]).ends(3, text);
    assert_eq!(shops.sales("ASOC").len(), 3);
}

#[test]
fn what_another_state_of_the_same_database_has_sent_is_not_written_over() {
    let shops = gone_back();
    let read = || -> Vec<_> {
        let read = |path| std::fs::read(path).expect("it is there");
        shops.lying("ASOC").into_iter().map(read).collect()
    };
    let lying = read();
    let text = "lies there with other content: BSOC went back to an older state";
    shops.sync("BSOC", &[]).ends(4, text);
    assert_eq!(read(), lying);
    // What it sends after that is told by what went before it.
    shops.sync("BSOC", &[]);
    shops.sync("ASOC", &[]).ends(3, "BSOC went back to an older state");
    assert_eq!(shops.sales("ASOC").len(), 3);
}

#[test]
fn what_is_for_others_or_from_strangers_is_refused() {
    let (shops, strangers) = (Shops::new(), Shops::new());
    shops.sell("BSOC", 1);
    shops.sync("BSOC", &[]).well();
    let chunk = shops.lying("ASOC").remove(0);
    let misplaced = shops.path("mailbox").join("to-CSOC");
    std::fs::create_dir_all(&misplaced).expect("a folder");
    std::fs::copy(&chunk, misplaced.join("misplaced.talon")).expect("copied");
    shops.sync("CSOC", &["--fetch"]).ends(
        3,
        "to-CSOC/misplaced.talon: talon_receive: this database is CSOC, and flow 1 from BSOC to ASOC is not for it",
    );
    strangers.db("ASOC").run("SELECT talon_site('DSOC', 'remote')");
    let dsoc = strangers.db("CSOC");
    dsoc.run("SELECT talon_site('DSOC', 'remote'); SELECT talon_origin('DSOC')");
    drop(dsoc);
    let file = shops.path("strange.talon").display().to_string();
    strangers.run("export", "CSOC", &["--to", "ASOC", &file]).well();
    shops.run("import", "ASOC", &[&file]).ends(3, "DSOC");
    assert_eq!(shops.sales("ASOC"), [""; 0]);
}

#[test]
fn a_key_and_a_folder_can_be_mixed() {
    let shops = Shops::new();
    let key = shops.path("key");
    std::fs::create_dir(&key).expect("a key");
    let key = key.display().to_string();
    shops.sell("BSOC", 2);
    let out = shops.run("export", "BSOC", &["--to", "asoc", &key]).well();
    assert!(out.ends_with("BSOC-to-ASOC-00000001.talon\n"), "{out}");
    let carried = shops.path("key").join("BSOC-to-ASOC-00000001.talon").display().to_string();
    // A file that is there is not replaced, and no flow is made for it.
    shops
        .run("export", "BSOC", &["--to", "ASOC", "--flow", "1", &key])
        .ends(4, "is there already; name another file, or remove it");
    shops
        .run("export", "BSOC", &["--to", "ASOC", &carried])
        .ends(4, "is there already; name another file, or remove it");
    assert_eq!(shops.db("BSOC").one("SELECT count(*) FROM talon_flows"), "1");

    // More is sold and sent by the folder; the key arrives between, before and after, once more than needed.
    shops.sell("BSOC", 1);
    let out = shops.run("import", "ASOC", &[&carried, &carried]).well();
    assert!(out.contains("applied flow 1 of BSOC"), "{out}");
    assert!(out.contains("talon export --to BSOC FILE"), "{out}");
    assert_eq!(shops.sales("ASOC").len(), 2);
    shops.sync("BSOC", &[]).well();
    shops.sync("ASOC", &[]).well();
    assert_eq!(shops.sales("ASOC").len(), 3);
    let out = shops.run("import", "ASOC", &[&carried]).well();
    assert!(out.contains("flow 1 of BSOC was applied already"), "{out}");

    // The answer goes back on the key.
    shops.sell("CSOC", 1);
    shops.sync("CSOC", &[]).well();
    shops.sync("ASOC", &[]).well();
    shops.sell("BSOC", 1);
    shops.run("export", "BSOC", &["--to", "ASOC", &key]).well();
    let asked = shops.path("key").join("BSOC-to-ASOC-00000003.talon").display().to_string();
    shops.run("import", "ASOC", &[&asked]).well();
    let answer = shops.path("answer.talon").display().to_string();
    shops.run("export", "ASOC", &["--to", "BSOC", &answer]).well();
    shops.run("import", "BSOC", &[&answer]).well();
    assert_eq!(shops.sales("BSOC"), shops.sales("ASOC"));
    assert_eq!(shops.sales("BSOC").len(), 5);
    exchange_all(&shops);
    all_have(&shops, 5);
}

#[test]
fn files_that_are_missing_or_no_flows_are_told_once() {
    let shops = Shops::new();
    let [letter, away] =
        ["schema.sql", "away.talon"].map(|name| shops.path(name).display().to_string());
    std::fs::write(&letter, "CREATE TABLE t(x);").expect("written");
    let ran = shops.run("import", "ASOC", &[&away, &letter]);
    assert_eq!(ran.err.matches("away.talon").count(), 1, "{ran:?}");
    ran.ends(4, "schema.sql: is no flow file: no chunk of a flow begins at byte 0");
}

#[test]
fn an_applied_flow_says_how_many_of_its_documents_were_set_aside() {
    let shops = Shops::new();
    shops.sell("BSOC", 2);
    // One number twice is against a rule of central's own.
    shops.db("ASOC").run(
        "CREATE UNIQUE INDEX number ON sale(number); INSERT INTO sale VALUES (900, 'BSOC-1', NULL)",
    );
    shops.sync("BSOC", &[]).well();
    let ran = shops.sync("ASOC", &[]);
    assert!(ran.out.contains("applied flow 1 of BSOC: 6 rows, 1 document set aside"), "{ran:?}");
    ran.ends(3, "1 document in quarantine; talon status names them");
}

#[test]
fn an_answer_can_be_waited_for() {
    let shops = Shops::new();
    shops.sell("CSOC", 1);
    shops.sync("CSOC", &[]).well();
    shops.sync("BSOC", &["--patience", "1"]).ends(7, "no answer to flow");
    let mut run = shops.syncing("BSOC");
    run.args(["--patience", "60"]);
    shops.answered(run).well();
    assert_eq!(shops.sales("BSOC"), shops.sales("CSOC"));
}

#[test]
fn status_and_flows_tell_how_a_site_stands() {
    let shops = Shops::new();
    shops.sell("BSOC", 2);
    shops.sync("BSOC", &[]).well();
    let screen = shops.run("status", "BSOC", &[]).well();
    assert!(screen.starts_with("BSOC, remote: "), "{screen}");
    assert!(screen.contains("not acknowledged: 1\n  flow 1 to ASOC of "), "{screen}");
    assert!(screen.contains("quarantine: none\n"), "{screen}");
    let json = shops.run("status", "BSOC", &["--json"]).well();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["this"]["code"], "BSOC");
    assert_eq!(json["to_send"][0]["rows"], 6);
    let changed = |site: &str| {
        let json = shops.run("status", site, &["--json"]).well();
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let sites = json["sites"].as_array().expect("sites").clone();
        let shown = |other: &serde_json::Value| format!("{} {}", other["code"], other["changed"]);
        sites.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(changed("BSOC"), [r#""ASOC" 2"#, r#""CSOC" null"#]);
    assert_eq!(changed("ASOC"), [r#""BSOC" 0"#, r#""CSOC" 0"#]);
    shops.sync("ASOC", &[]).well();
    assert_eq!(changed("ASOC"), [r#""BSOC" 0"#, r#""CSOC" 2"#]);
    shops.sync("BSOC", &["--fetch"]).well();
    assert_eq!(changed("BSOC"), [r#""ASOC" 0"#, r#""CSOC" null"#]);
    exchange_all(&shops);
    let flows = shops.run("flows", "ASOC", &[]).well();
    assert!(flows.lines().count() >= 5, "{flows}");
    let json = shops.run("flows", "ASOC", &["--json", "--most", "2"]).well();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    let screen = shops.run("status", "ASOC", &[]).well();
    assert!(screen.lines().count() <= 24, "{screen}");
}
