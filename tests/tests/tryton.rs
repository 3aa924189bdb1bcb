//! Talon on software that knows nothing of it: Tryton, an accounting and sales system, on its SQLite backend.
//!
//! `tests/tryton/run.py` tells what happens there.
#![cfg(target_os = "linux")]

use talon_tests::{extension_path, tryton};

#[test]
fn tryton_reads_from_restored_sales_what_it_read_before_the_loss() {
    tryton::run("run.py", &[extension_path().as_os_str()]);
}
