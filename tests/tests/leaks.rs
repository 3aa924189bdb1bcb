//! Hosts that open a connection for each request open many. Alone in its program, whose memory it measures.

use std::time::Duration;
use talon_tests::Shop;

/// What the process holds in memory.
#[cfg(target_os = "linux")]
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the process's figures");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_connections_opened_used_and_closed_leave_no_memory_behind() {
    let (shop, first) = Shop::of_sales();
    first.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    let visit = |turn: u32| {
        let db = shop.open();
        db.connection.busy_timeout(Duration::from_secs(60)).expect("a timeout");
        db.run("PRAGMA synchronous = OFF");
        // Most go in the middle of a transaction; some commit, ask, restore, purge.
        match turn % 100 {
            0 => db.run(&format!("UPDATE sale_line SET quantity = {} WHERE id = 10", turn % 200)),
            1 => db.run(
                "BEGIN IMMEDIATE; DELETE FROM sale_line WHERE sale_id = 1; SELECT * FROM talon_lost;
                 INSERT INTO talon_restore(kind, piece) VALUES ('sale', 1); ROLLBACK",
            ),
            2 => assert_eq!(db.findings(), [""; 0]),
            // So that the file, and the cache for it, stay as large as they are.
            3 => db.run("INSERT INTO talon_purge(before, keep_last) VALUES ('2999-01-01', 1)"),
            _ => db.run("BEGIN IMMEDIATE; UPDATE sale_line SET quantity = 7 WHERE id = 10"),
        }
        db.connection.close().expect("no statement is left");
    };
    let visit_all = |from: u32, to: u32| {
        let middle = (from + to) / 2;
        std::thread::scope(|threads| {
            threads.spawn(|| (from..middle).for_each(visit));
            threads.spawn(|| (middle..to).for_each(visit));
        });
    };
    visit_all(0, 1_000);
    let warm = resident_kib();
    visit_all(1_000, 11_000);
    let grown = resident_kib().saturating_sub(warm);
    // A hundred bytes a connection would be a megabyte.
    assert!(grown < 1024, "{grown} KiB more after ten thousand connections");
}
