//! Logs of hosts become scenarios that replay.

// A test that lacks what it needs ends there and then: expect and panic are its way of saying so.
#![allow(clippy::expect_used, clippy::panic)]

use harness::record::{Recorded, Source, record};
use harness::replay::{self, Event, Options};
use harness::vfs;

const LOG: &str = r#"
.open shop.db
CREATE TABLE "sale piece"(shop TEXT, no INTEGER, total REAL, PRIMARY KEY (shop, no));
CREATE TABLE line(id INTEGER PRIMARY KEY, no INTEGER, shop TEXT, label TEXT,
  FOREIGN KEY (shop, no) REFERENCES "sale piece"(shop, no));
CREATE TABLE lot(id INTEGER PRIMARY KEY, line INTEGER REFERENCES line, code TEXT);
SELECT talon_guard('sale', '{"header": {"table": "sale piece"}, "lines": {"table": "line"},
  "details": [{"table": "lot", "of": "lines"}]}');
BEGIN;
INSERT INTO "sale piece" VALUES ('p', 1, 1.5), ('p', 2, 2.5);
INSERT INTO line VALUES (10, 1, 'p', 'x;y'), (11, 1, 'p', NULL), (12, 2, 'p', 'z');
INSERT INTO lot VALUES (1, 10, 'l');
COMMIT;
INSERT INTO line VALUES (10, 1, 'p', 'twice');
[till 2] BEGIN;
UPDATE line SET label = 'w' WHERE id = 12;
[till] SELECT count(*) FROM line;
[till 2] DELETE FROM line WHERE id = 12;
-- TRIGGER tt;
COMMIT;
INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost;
[till] UPDATE line SET label = 'v';
INSERT INTO talon_purge(before) VALUES ('2999-01-01');
"#;

fn recorded(log: &str, last: usize) -> Result<Recorded, String> {
    vfs::install().expect("nothing has used SQLite before");
    let library = harness::built_library().expect("cargo builds the extension, a dependency");
    let source = Source { name: "shop".to_owned(), log: log.to_owned(), last, ..Source::default() };
    record(&source, &library)
}

#[test]
fn a_log_becomes_a_scenario_that_replays() {
    let recorded = recorded(LOG, 4).expect("a scenario");
    assert_eq!((recorded.statements, recorded.commands), (14, 1));
    assert!(recorded.failing.len() == 1 && recorded.failing[0].contains("UNIQUE"));
    let scenario = &recorded.scenario;
    let pieces = &scenario.pieces[0];
    assert_eq!((&pieces.key, &pieces.piece), (&vec!["shop".into(), "no".into()], &pieces.key));
    assert_eq!(pieces.details[0].line_key, ["id"]);
    // The last four statements begin in a transaction that is open: its beginning is tried with them.
    let on: Vec<&str> = scenario.steps.iter().map(|step| step.on.as_str()).collect();
    assert_eq!(on, ["till 2", "till", "till 2", "till 2", "till", "till"]);
    assert!(scenario.steps[0].sql.starts_with("BEGIN;\nUPDATE"));
    assert_eq!(scenario.before.len(), 2);
    let options = Options {
        library: harness::built_library().expect("as above"),
        seed: 1,
        settings: Some("wal-full-4096".to_owned()),
        most: 3,
        ..Options::default()
    };
    let mut problems = Vec::new();
    let figures = replay::scenario(scenario, &options, &mut |event| {
        if let Event::Problem(name, verdict) = event {
            problems.push(format!("{name}: {verdict:?}"));
        }
    });
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(figures.injected > 20, "{figures:?}");
}

#[test]
fn a_log_says_what_it_lacks() {
    let text = |log: &str| recorded(log, 30).expect_err("no scenario");
    assert_eq!(
        text("CREATE TABLE a(x); DELETE FROM a;"),
        "the log calls no talon_guard: give the guards with --guard FILE"
    );
    let guard = LOG.split_inclusive(";\n").find(|sql| sql.contains("talon_guard"));
    assert_eq!(
        text(guard.expect("the guard")),
        "the log does not begin with CREATE statements: give the tables with --schema FILE"
    );
    let without_values = LOG.replace("'v'", ":label");
    assert_eq!(
        text(&without_values),
        "a parameter without its value in UPDATE line SET label = :label;: trace with --expanded (1)"
    );
}

#[test]
fn what_a_shell_and_talon_add_to_a_log_is_left_out_or_refused() {
    let log = format!(
        "SELECT 1;\nPRAGMA foreign_keys = ON;\n{LOG}REPLACE INTO temp.sqlite_parameters(key, value) VALUES ('a', 1);\n\
         INSERT INTO line VALUES (20, 2, 'p', date('now'));\n"
    );
    let made = recorded(&log, 4).expect("a scenario");
    assert_eq!((made.statements, made.commands), (17, 2));
    assert_eq!(made.changing, ["INSERT INTO line VALUES (20, 2, 'p', date('now'));"]);
    let quoting = LOG.replacen(
        "DELETE FROM line WHERE id = 12;",
        "-- TRIGGER talon_1_1_deleting;\nDELETE FROM line WHERE id = 12;\nUPDATE line SET label = 'talon_lost';",
        1,
    );
    let made = recorded(&quoting.replacen("BEGIN;", "PRAGMA synchronous = OFF;\nBEGIN;", 1), 4);
    let made = made.expect("a scenario");
    let calls = made.scenario.before.iter().chain(&made.scenario.steps);
    assert_eq!(calls.filter(|step| step.journaled.is_some()).count(), 2);
    assert_eq!(made.commands, 2);
    let attached = LOG.replacen("BEGIN;", "ATTACH 'other.db' AS other;\nBEGIN;", 1);
    assert_eq!(
        recorded(&attached, 4).expect_err("no scenario"),
        "shop: a run has files of its own, and none outside: ATTACH 'other.db' AS other;"
    );
    let tracked = LOG.replacen("BEGIN;", "SELECT talon_track('lot', 'lot');\nBEGIN;", 1);
    let made = recorded(&tracked, 4).expect("a scenario");
    assert_eq!(made.records, ["lot"]);
    let of_talon = format!("{LOG}SELECT version FROM \"main\".talon_piece WHERE kind = 1;");
    assert_eq!(
        recorded(&of_talon, 4).expect_err("no scenario"),
        "trace the host without Talon: the log has what Talon does of itself, such as SELECT version FROM \"main\".talon_piece \
         WHERE kind = 1;"
    );
    let (schema, rest) = LOG.split_once("SELECT talon_guard").expect("the guard");
    let dump = format!(
        "{}CREATE TABLE talon_kind(id);\nINSERT INTO talon_kind VALUES (1);",
        schema.replace(".open shop.db", "")
    );
    let source = Source {
        name: "shop".to_owned(),
        log: format!("SELECT talon_guard{rest}"),
        schema: Some(dump),
        last: 4,
        ..Source::default()
    };
    let library = harness::built_library().expect("as above");
    let made = record(&source, &library).expect("a scenario");
    assert_eq!(made.talons, 2);
}
