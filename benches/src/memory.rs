//! Peak memory of a connection that touches very many pieces in one transaction.
//!
//! A process never gets smaller in its peak, so each measurement is a process of its own: this program again,
//! which does the transaction and prints what the kernel says of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    library::Library,
    options::Options,
    report::{Outcome, Table, figure, grouped, note, progress},
    schema,
    workload::LINES,
};

/// The first argument that makes this program a child; what follows is a work, a database and a library.
pub const CHILD: &str = "--memory-child";

/// How the pieces are touched.
const WORKS: [(&str, &str); 3] = [
    ("lines", "a line of each, one UPDATE a piece"),
    ("headers", "all headers, one UPDATE"),
    ("keys", "another key for each"),
];

/// Starts the children and prints the differences.
pub fn run(options: &Options, library: &Library) -> Outcome {
    if peak_kib()?.is_none() {
        note("No peak memory: this system does not tell it in /proc.");
        return Ok(());
    }
    let pieces = grouped(f64::from(options.touched));
    progress(format_args!("memory of touching {pieces} pieces"));
    let folder = options.folder()?;
    let bare = folder.path().join("bare.db");
    schema::build_shop(&bare, options.touched, LINES)?;
    let columns = ["bare", "guarded", "difference", "to reach"].map(String::from);
    let table = Table::start(
        &format!("Peak memory in MiB, {pieces} pieces touched in one transaction"),
        &columns,
    );
    measure(&table, folder.path(), &bare, library, "integer keys")?;
    schema::use_text_keys(&bare)?;
    measure(&table, folder.path(), &bare, library, "keys of 36 characters")
}

/// One row a work.
fn measure(table: &Table, folder: &Path, bare: &Path, library: &Library, keys: &str) -> Outcome {
    for (work, title) in WORKS {
        let [plain, guarded] = ["plain", "guarded"].map(|name| folder.join(name));
        fs::copy(bare, &plain)?;
        let plain_mib = child(work, &plain, None)?;
        // Nothing saved yet: every touch has to take the image from before.
        fs::copy(bare, &guarded)?;
        library.guard(&schema::open(&guarded)?)?;
        let guarded_mib = child(work, &guarded, Some(library))?;
        for path in [plain, guarded] {
            fs::remove_file(path)?;
        }
        let cells =
            [figure(plain_mib), figure(guarded_mib), figure(guarded_mib - plain_mib), "64".into()];
        table.row(&format!("{title}, {keys}"), &cells);
    }
    Ok(())
}

/// Runs one transaction in a process of its own; returns its peak in MiB.
pub fn child(work: &str, path: &Path, library: Option<&Library>) -> Outcome<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([CHILD, work]).arg(path).stderr(Stdio::inherit());
    if let Some(library) = library {
        command.arg(&library.path);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the process that touches {work} ended with {}", output.status).into());
    }
    let kib: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(kib / 1024.0)
}

/// What the child does with the arguments after `CHILD`.
pub fn run_child(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let (Some(work), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err(format!("{CHILD} wants a work and a database").into());
    };
    let connection = schema::open(Path::new(&path))?;
    if let Some(library) = arguments.next() {
        Library::find(Some(PathBuf::from(library)))?.load(&connection)?;
    }
    if ["idle", "emit", "apply"].contains(&work.as_str()) {
        crate::sync::child(&work, &connection, Path::new(&path))?;
        println!("{}", peak_kib()?.ok_or("no peak memory in /proc")?);
        return Ok(());
    }
    connection.execute_batch("BEGIN")?;
    if work == "headers" {
        connection.execute("UPDATE sale_piece SET validated = 1", [])?;
    } else if work == "keys" {
        // Adding makes a number of a text; either way the key is another one.
        connection.execute(
            "UPDATE sale_piece SET id = CASE typeof(id) WHEN 'text' THEN '+' || id ELSE -id END",
            [],
        )?;
        connection.execute("UPDATE sale_line SET sale_id = CASE typeof(sale_id) WHEN 'text' THEN '+' || sale_id ELSE -sale_id END", [])?;
    } else {
        let pieces: i64 =
            connection.query_row("SELECT count(*) FROM sale_piece", [], |row| row.get(0))?;
        let mut update =
            connection.prepare("UPDATE sale_line SET discount = discount + 1 WHERE id = ?1")?;
        for piece in 0..pieces {
            update.execute([piece * i64::from(LINES) + 1])?;
        }
    }
    connection.execute_batch("COMMIT")?;
    println!("{}", peak_kib()?.ok_or("no peak memory in /proc")?);
    Ok(())
}

/// Largest resident size of this process so far; `None` where the system does not tell.
fn peak_kib() -> Outcome<Option<u64>> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return Ok(None);
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.map(|line| line.trim().trim_end_matches(" kB").parse()).transpose()?)
}
