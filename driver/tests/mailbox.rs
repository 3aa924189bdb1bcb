//! Mailboxes: what is written is there as a whole, in order, and one process at a time is at work.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that lacks what it needs ends there and then"
)]

use std::io::Read;
use std::path::Path;
use std::time::Duration;
use talon_driver::error::Error;
use talon_driver::layout;
use talon_driver::mailbox::Mailbox;

fn refusal(place: &str) -> (u8, String) {
    match Mailbox::open(place) {
        Ok(_) => panic!("{place} is no mailbox"),
        Err(error) => (error.exit_code(), error.to_string()),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn read(mailbox: &Mailbox, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    mailbox.read(path).read_to_end(&mut bytes).expect("it is there");
    bytes
}

/// Every kind of mailbox that needs no network, with what keeps it there.
fn mailboxes() -> [(Mailbox, Option<tempfile::TempDir>); 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let in_folder = Mailbox::open(text(folder.path())).expect("a mailbox");
    [(in_folder, Some(folder)), (Mailbox::in_memory().expect("a mailbox"), None)]
}

#[test]
fn what_is_written_is_there_until_it_is_removed() {
    for (mailbox, _folder) in mailboxes() {
        assert_eq!(mailbox.lying_for("ASOC").expect("listed"), [""; 0]);
        let large: Vec<u8> = (0..3_000_001_u32).map(|n| n.to_le_bytes()[1]).collect();
        for (path, bytes) in [
            ("to-ASOC/b.talon", large.clone()),
            ("to-ASOC/a.talon", b"small".to_vec()),
            ("to-ASOC/readme.txt", b"no flow".to_vec()),
            ("to-BSOC/c.talon", Vec::new()),
        ] {
            mailbox.write(path, bytes).expect("written");
        }
        let lying = mailbox.lying_for("asoc").expect("listed");
        assert_eq!(lying, ["to-ASOC/a.talon", "to-ASOC/b.talon"]);
        assert_eq!(read(&mailbox, "to-ASOC/b.talon"), large);
        assert_eq!(read(&mailbox, "to-BSOC/c.talon"), b"");
        assert_eq!(mailbox.length("to-ASOC/a.talon").expect("asked"), Some(5));
        assert_eq!(mailbox.length("to-ASOC/z.talon").expect("asked"), None);

        mailbox.write("to-ASOC/a.talon", b"written anew".to_vec()).expect("written");
        assert_eq!(read(&mailbox, "to-ASOC/a.talon"), b"written anew");
        mailbox.remove("to-ASOC/a.talon").expect("removed");
        mailbox.remove("to-ASOC/a.talon").expect("removed already");
        assert_eq!(mailbox.lying_for("ASOC").expect("listed"), ["to-ASOC/b.talon"]);
    }
}

#[test]
fn an_object_that_has_gone_is_an_error_of_reading() {
    for (mailbox, _folder) in mailboxes() {
        let mut bytes = Vec::new();
        mailbox.read("to-ASOC/a.talon").read_to_end(&mut bytes).expect_err("nothing is there");
    }
}

#[test]
fn a_folder_is_not_made_where_a_key_is_not_plugged_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("usb");
    let (code, problem) = refusal(text(&missing));
    let expected = format!(
        "mailbox {}: is not there; make the folder where the mailbox is to be",
        missing.display()
    );
    assert_eq!((code, problem), (4, expected));
    assert!(!missing.exists());
}

#[test]
fn a_flow_file_is_no_mailbox() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (code, problem) = refusal(text(file.path()));
    assert_eq!(code, 4);
    assert!(
        problem.ends_with("is a file; a mailbox is a folder (a flow file: talon import)"),
        "{problem}"
    );
}

#[test]
#[cfg(not(feature = "s3"))]
fn a_service_that_was_left_out_names_its_feature() {
    assert_eq!(
        refusal("s3://shops/talon?secret_access_key=hidden"),
        (
            4,
            "mailbox s3://shops/talon: this talon was built without s3; build it with: cargo build -p talon-driver \
             --features s3"
                .to_owned()
        )
    );
}

#[test]
fn a_service_that_there_is_not_names_those_that_there_are() {
    assert_eq!(
        refusal("ftp://shops/talon"),
        (
            4,
            "mailbox ftp://shops/talon: ftp is no service that talon can be built with: a mailbox is a folder, or a URL of s3 \
             or webdav"
                .to_owned()
        )
    );
}

#[test]
fn one_process_at_a_time_is_at_work_on_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = Mailbox::open(text(folder.path())).expect("a mailbox");
    let other = Mailbox::open(&format!("file://{}", folder.path().display())).expect("a mailbox");
    let lock = one.lock(Duration::ZERO).expect("free");
    match other.lock(Duration::from_millis(300)) {
        Err(error @ Error::Busy { .. }) => {
            let mine = format!("(process {})", std::process::id());
            assert!(error.to_string().contains(&mine), "{error}");
            assert_eq!(error.exit_code(), 6);
        }
        other => panic!("it is locked, and gave {other:?}"),
    }
    drop(lock);
    assert!(other.lock(Duration::ZERO).expect("free again").is_some());
}

#[test]
fn what_a_dead_process_left_half_written_is_cleared_and_never_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mailbox = Mailbox::open(text(folder.path())).expect("a mailbox");
    let half = folder.path().join(layout::WRITING).join("from-BSOC-1-2-3.talon.Xy");
    std::fs::write(&half, b"half a ch").expect("written");
    assert_eq!(mailbox.lying_for("ASOC").expect("listed"), [""; 0]);
    let _lock = mailbox.lock(Duration::ZERO).expect("free");
    assert!(!half.exists());
}
