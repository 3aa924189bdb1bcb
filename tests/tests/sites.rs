//! Sites are registered, and a database says once which of them it is; what a guard says of other sites is held against
//! its schema.

use talon_tests::*;

const SITES: &str = "SELECT code, role, name, this, sent, received, acknowledged FROM talon_sites";

#[test]
fn sites_are_registered_and_one_of_them_is_this_database() {
    let db = Db::memory();
    assert_eq!(db.one("SELECT talon_site('ASOC', 'central', 'Head office')"), "ASOC");
    assert_eq!(db.one("SELECT talon_site('BSOC', 'remote')"), "BSOC");
    assert_eq!(
        db.rows(SITES),
        ["ASOC|central|Head office|NULL|NULL|NULL|NULL", "BSOC|remote|NULL|NULL|NULL|NULL|NULL"]
    );
    assert_eq!(db.one("SELECT talon_origin('bsoc')"), "BSOC");
    assert_eq!(db.one("SELECT talon_origin('BSOC')"), "BSOC");
    assert_eq!(db.rows("SELECT code FROM talon_sites WHERE this"), ["BSOC"]);
    assert_eq!(db.one("SELECT length(incarnation) FROM talon_sites WHERE this"), "16");
}

#[test]
fn a_site_gets_another_name_and_keeps_its_role() {
    let db = Db::memory();
    db.run("SELECT talon_site('BSOC', 'remote', 'Market')");
    assert_eq!(db.one("SELECT talon_site('bsoc', 'remote', 'Station')"), "BSOC");
    assert_eq!(db.rows("SELECT code, name FROM talon_sites"), ["BSOC|Station"]);
    db.run("SELECT talon_site('BSOC', 'remote')");
    assert_eq!(db.rows("SELECT code, name FROM talon_sites"), ["BSOC|Station"]);
    assert_eq!(
        db.error("SELECT talon_site('BSOC', 'central')"),
        "talon_site: BSOC is remote, and stays so: register another site"
    );
}

#[test]
fn there_is_one_central() {
    let db = Db::memory();
    db.run("SELECT talon_site('ASOC', 'central')");
    assert_eq!(
        db.error("SELECT talon_site('ZSOC', 'central')"),
        "talon_site: ASOC is central already, and there is one: ZSOC can be 'remote'"
    );
}

#[test]
fn what_is_no_code_or_role_is_refused_by_name() {
    let db = Db::memory();
    assert_eq!(
        db.error("SELECT talon_site('BSOC', 'middle')"),
        "talon_site: \"middle\" is no role: a site is 'central' or 'remote'"
    );
    let long = "X".repeat(33);
    for code in ["B/SOC", "..", " B", "É", long.as_str()] {
        let error = db.error(&format!("SELECT talon_site('{code}', 'remote')"));
        assert!(
            error.starts_with(&format!("talon_site: {code:?} is no code for a site")),
            "{error}"
        );
    }
    assert_eq!(db.error("SELECT talon_site('', 'remote')"), "talon_site: the code is empty");
    assert_eq!(db.rows(SITES), [""; 0]);
}

#[test]
fn an_origin_is_a_registered_site() {
    let db = Db::memory();
    assert_eq!(
        db.error("SELECT talon_origin('BSOC')"),
        "talon_origin: \"BSOC\" is no site; there are: none"
    );
    db.run("SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote')");
    assert_eq!(
        db.error("SELECT talon_origin('CSOC')"),
        "talon_origin: \"CSOC\" is no site; there are: ASOC, BSOC"
    );
}

#[test]
fn an_origin_may_be_corrected_while_there_is_no_work_in_the_database() {
    let db = Db::memory();
    db.run("SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote')");
    db.run("SELECT talon_origin('ASOC'); SELECT talon_origin('BSOC')");
    assert_eq!(db.rows("SELECT code FROM talon_sites WHERE this"), ["BSOC"]);
}

#[test]
fn sites_that_are_rolled_back_are_gone() {
    let db = Db::memory();
    db.run("BEGIN; SELECT talon_site('ASOC', 'central'); SELECT talon_origin('ASOC'); ROLLBACK");
    assert_eq!(db.rows(SITES), [""; 0]);
    assert_eq!(db.rows("SELECT name FROM sqlite_schema"), [""; 0]);
    db.run("SELECT talon_site('ASOC', 'central'); BEGIN; SELECT talon_origin('ASOC'); ROLLBACK");
    assert_eq!(db.rows("SELECT code FROM talon_sites WHERE this"), [""; 0]);
}

#[test]
fn an_attached_database_has_sites_of_its_own() {
    let shop = Shop::new();
    let db = shop.open();
    db.run(&format!("ATTACH '{}' AS other", shop.file("other.db").display()));
    db.run("SELECT talon_site('BSOC', 'remote', NULL, 'other'), talon_origin('BSOC', 'other')");
    assert_eq!(db.rows(SITES), [""; 0]);
    assert_eq!(db.rows("SELECT code, this FROM talon_sites WHERE schema = 'other'"), ["BSOC|1"]);
    assert_eq!(
        db.error("SELECT talon_site('BSOC', 'remote', NULL, 'nowhere')"),
        "talon_site: no database \"nowhere\" is attached to this connection"
    );
}

#[test]
fn the_host_does_not_notice_that_a_site_is_registered() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    db.run("INSERT INTO sale_piece VALUES (7, 'A', 1.0), (9, 'B', 1.0)");
    db.run("SELECT talon_site('ASOC', 'central'), talon_origin('ASOC')");
    assert_eq!(db.one("SELECT last_insert_rowid(), changes()"), "9|2");
}

#[test]
fn a_guard_says_how_its_kind_is_synchronised() {
    let shop = Shop::with(SALES);
    let db = shop.open();
    let guard = |sync: &str| {
        format!(
            "SELECT talon_guard('sale', '{{\"header\": {{\"table\": \"sale_piece\"}},
               \"lines\": {{\"table\": \"sale_line\"}}, \"sync\": {sync}}}')"
        )
    };
    db.run(&guard("\"piece\""));
    assert_eq!(
        db.one("SELECT json_extract(definition, '$.sync.preset') FROM talon_guards"),
        "piece"
    );
    db.run(&guard(
        "{\"preset\": \"piece\", \"filter\": \"h.number LIKE :site || ''%''\", \"when\": \"h.total < 9\",
          \"references\": {\"lines.position\": \"article\"}}",
    ));
    for (sync, expected) in [
        (
            "\"peace\"",
            "unknown variant `peace`, expected one of `customer`, `article`, `piece`, `till`",
        ),
        (
            "\"customer\"",
            "sync.merge: a piece is merged by \"row\": only records, which have no lines, are merged by \"field\"",
        ),
        (
            "{\"direction\": \"sideways\"}",
            "unknown variant `sideways`, expected one of `up`, `down`, `both`",
        ),
        ("{\"direction\": \"down\", \"owner\": \"origin\"}", "what only comes down is central"),
        ("{\"when\": \"h.nowhere\"}", "sync.when: no such column: h.nowhere in \"h.nowhere\""),
        ("{\"when\": \"h.id = :site\"}", "sync.when: it has a parameter in"),
        (
            "{\"filter\": \"h.id = :side\"}",
            "sync.filter: it has a parameter :side; there is :site only in",
        ),
        (
            "{\"references\": {\"lines.article\": \"article\"}}",
            "sync.references: lines.article: \"sale_line\" has no column \"article\"",
        ),
        (
            "{\"references\": {\"taxes.id\": \"tax\"}}",
            "sync.references: taxes.id: no part of that name; there are: header, lines",
        ),
        ("{\"wen\": \"1\"}", "unknown field `wen`"),
    ] {
        let error = db.error(&guard(sync));
        assert!(error.contains(expected), "{sync}: {error}");
    }
}

#[test]
fn a_flow_is_on_the_disk_before_its_number_is_told_and_the_host_keeps_its_own_pace() {
    let (_shop, db) = Shop::of_sales();
    db.run(
        "SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote'), talon_origin('BSOC')",
    );
    for level in ["0", "1", "2", "3"] {
        db.run(&format!("PRAGMA synchronous = {level}"));
        db.run("SELECT talon_emit('ASOC', 'changes')");
        assert_eq!(db.one("PRAGMA synchronous"), level);
    }
    db.run("PRAGMA synchronous = NORMAL; BEGIN; SELECT talon_emit('ASOC', 'changes'); COMMIT");
    assert_eq!(db.one("PRAGMA synchronous"), "1");
    db.run("PRAGMA synchronous = NORMAL");
    assert!(!db.error("SELECT talon_emit('ZSOC', 'changes')").is_empty());
    assert_eq!(db.one("PRAGMA synchronous"), "1");
}
