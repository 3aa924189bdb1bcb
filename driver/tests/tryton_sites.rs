//! Two tills and a central database that are Tryton's, and know nothing of each other but what the program carries.
//!
//! `tests/tryton/sites.py` tells what happens there.
#![cfg(target_os = "linux")]

use std::path::Path;
use talon_tests::{extension_path, tryton};

#[test]
fn what_two_trytons_sell_reads_the_same_in_all_three_after_an_exchange() {
    let program = Path::new(env!("CARGO_BIN_EXE_talon"));
    tryton::run("sites.py", &[extension_path().as_os_str(), program.as_os_str()]);
}
