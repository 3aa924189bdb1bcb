//! What objects of a mailbox are called: a folder per receiver, an object per chunk. `docs/mailbox.md` tells the same to
//! people. Names are a convenience: what an object is, its bytes say.

use crate::chunk::Head;

/// Where files are written before they get their names; only folders need that.
pub const WRITING: &str = ".talon-writing";

/// The file whose lock says that a process is at work on the mailbox; only folders have it.
pub const LOCK: &str = ".talon-lock";

/// The folder of what lies there for a site, such as `to-ASOC/`.
pub fn folder(receiver: &str) -> String {
    format!("to-{}/", spelled(receiver))
}

/// The path of a chunk, such as `to-ASOC/from-BSOC-00000000009f3c21-00000012-0000.talon`. The last one of a flow ends with `-last`, so
/// that a person sees whether all are there.
pub fn object(head: &Head) -> String {
    let last = if head.last { "-last" } else { "" };
    format!("{}{}{:04}{last}.talon", folder(&head.to), flow_prefix(head), head.chunk)
}

/// How the names of a flow's chunks begin, within their folder.
fn flow_prefix(head: &Head) -> String {
    let from = spelled(&head.from);
    format!("from-{from}-{:016x}-{:08}-", head.incarnation, head.number)
}

/// What the name of an object says, where it is a name of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Of the sender's database, in hexadecimal, as `talon_sites` shows it.
    pub incarnation: String,
    /// Of the flow.
    pub number: i64,
    /// Its place in the flow.
    pub chunk: i64,
    /// Is it the flow's last one?
    pub last: bool,
}

/// Reads the name of an object that this site sent or gets, with its folder or without.
pub fn named(path: &str, sender: &str) -> Option<Named> {
    let name = path.rsplit('/').next()?.strip_suffix(".talon")?;
    let name = name.strip_prefix("from-")?.strip_prefix(&spelled(sender))?.strip_prefix('-')?;
    let (name, last) = match name.strip_suffix("-last") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let mut parts = name.split('-');
    let named = Named {
        incarnation: parts.next()?.to_owned(),
        number: parts.next()?.parse().ok()?,
        chunk: parts.next()?.parse().ok()?,
        last,
    };
    parts.next().is_none().then_some(named)
}

/// A site's code as names have it: in capitals, because codes that differ in case only are one site, and with %XX for what
/// some file systems do not take.
pub fn spelled(code: &str) -> String {
    let mut spelled = String::with_capacity(code.len());
    for byte in code.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
                spelled.push(char::from(byte.to_ascii_uppercase()));
            }
            _ => spelled.push_str(&format!("%{byte:02X}")),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(from: &str, incarnation: i64, last: bool) -> Head {
        let text = format!(
            r#"{{"from":"{from}","to":"asoc","incarnation":{incarnation},"number":12,"chunk":3,"last":{last},"size":0}}"#
        );
        serde_json::from_str(&text).expect("a head")
    }

    #[test]
    fn a_chunk_lies_in_its_receivers_folder_under_its_flow() {
        let path = object(&head("BSOC", 0x9f3c, false));
        assert_eq!(path, "to-ASOC/from-BSOC-0000000000009f3c-00000012-0003.talon");
        let path = object(&head("Été-2", -1, true));
        assert_eq!(path, "to-ASOC/from-%C3%89T%C3%A9-2-ffffffffffffffff-00000012-0003-last.talon");
    }

    #[test]
    fn a_name_is_read_back_and_others_are_not() {
        for (from, incarnation, last) in [("BSOC", 0x9f3c, false), ("b-1.x", -1, true)] {
            let found = named(&object(&head(from, incarnation, last)), from);
            let incarnation = format!("{incarnation:016x}");
            assert_eq!(found, Some(Named { incarnation, number: 12, chunk: 3, last }));
        }
        let others = ["from-BSOC-1-2.talon", "from-BSOC-1-2-3-4.talon", "from-C-1-2-3.talon", "x"];
        for name in others {
            assert_eq!(named(name, "BSOC"), None, "{name}");
        }
    }
}
