//! The container that flows travel in: a sequence of chunks, all of which `zstd -dc` reads.
//!
//! A chunk is a zstd skippable frame (magic 0x184D2A54) whose content is one JSON object, the chunk's head, and after it
//! an ordinary zstd frame of whole lines. The head names the flow and the chunk, says how many bytes follow and how many
//! they unpack to, and carries two hashes: `hash` (BLAKE3) over the head before it and the zstd frame, so that no bit of a
//! chunk changes unnoticed, and `after`, the hash of the chunk before, so that the last chunk's vouches for all.
//! `docs/flow-format.md` tells the same to those who write their own.

use super::payload::put;
use super::store::Hash;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use zstd_safe::{CCtx, DCtx};

/// The version of the format that this library writes, and the newest it reads.
pub const FORMAT: i64 = 1;
/// Bytes of lines that fill a chunk; one line may take it beyond.
pub const FILLED: usize = 1 << 20;
/// Bytes that a chunk unpacks to at most, wherever it is read: the longest value of SQLite.
pub const MOST_UNPACKED: usize = 1_000_000_000;

/// A skippable frame begins with these bytes.
const SKIPPABLE: [u8; 4] = 0x184D_2A54_u32.to_le_bytes();
/// Magic and length of a skippable frame.
const PREAMBLE: usize = 8;
/// Bytes of a head at most.
const MOST_HEAD: usize = 4096;
/// What stands between the hashed part of a head and the hash.
const BEFORE_HASH: &str = ",\"hash\":\"";
/// zstd's level: JSON of pieces is packed to a tenth at the fastest, and hardly further by slower ones.
const LEVEL: i32 = 1;
/// zstd's `ZSTD_error_memory_allocation`, as its functions return it.
const NO_MEMORY: usize = 0_usize.wrapping_sub(64);

/// Which flow: of a database's incarnation, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowName {
    /// Code of the site that wrote it.
    pub from: String,
    /// Code of the site that it is for.
    pub to: String,
    /// The sender's database: another number is another database.
    pub incarnation: i64,
    /// Counted for each receiver, from 1.
    pub number: i64,
}

impl std::fmt::Display for FlowName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "flow {} from {} to {}", self.number, self.from, self.to)
    }
}

/// A chunk's head without its hash, in the order that it is written.
#[derive(Serialize, Deserialize)]
struct HeadText {
    talon: i64,
    #[serde(default)]
    program: String,
    from: String,
    to: String,
    incarnation: i64,
    number: i64,
    chunk: i64,
    last: bool,
    bytes: u64,
    size: u64,
    after: String,
}

/// What a head of any version has.
#[derive(Deserialize)]
struct Version {
    talon: i64,
    #[serde(default)]
    program: String,
}

/// Packs lines into chunks.
pub struct Packer {
    flow: FlowName,
    context: CCtx<'static>,
    lines: Vec<u8>,
    packed: Vec<u8>,
    chunk: Vec<u8>,
    number: i64,
    after: Option<Hash>,
}

impl Packer {
    /// For a flow of which nothing is written yet.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(flow: FlowName) -> Result<Packer> {
        Ok(Packer {
            flow,
            context: CCtx::try_create().ok_or(Error::Memory)?,
            lines: Vec::new(),
            packed: Vec::new(),
            chunk: Vec::new(),
            number: 0,
            after: None,
        })
    }

    /// Appends a line, which `write` writes without its end.
    ///
    /// # Errors
    /// What `write` reports, with nothing appended; [`Error::Memory`].
    pub fn line(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let before = self.lines.len();
        let written = write(&mut self.lines).and_then(|()| put(&mut self.lines, b"\n"));
        if written.is_err() {
            self.lines.truncate(before);
        }
        written
    }

    /// Whether a chunk's worth of lines is there.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= FILLED
    }

    /// Makes a chunk of the lines appended so far, and gives its number and bytes. The last chunk has at least one line.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Flow`] when it would be longer than any chunk may be.
    pub fn pack(&mut self, last: bool) -> Result<(i64, &[u8])> {
        if self.lines.len() > MOST_UNPACKED {
            let problem = format!("a document takes more than {MOST_UNPACKED} bytes");
            return Err(Error::Flow { problem });
        }
        self.packed.clear();
        let room = zstd_safe::compress_bound(self.lines.len());
        self.packed.try_reserve(room).map_err(|_| Error::Memory)?;
        self.context
            .compress(&mut self.packed, &self.lines, LEVEL)
            .map_err(|code| unpackable(code, "the lines could not be packed"))?;
        let head = serde_json::to_string(&HeadText {
            talon: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            from: self.flow.from.clone(),
            to: self.flow.to.clone(),
            incarnation: self.flow.incarnation,
            number: self.flow.number,
            chunk: self.number,
            last,
            bytes: self.lines.len() as u64,
            size: self.packed.len() as u64,
            after: self.after.as_ref().map_or_else(String::new, hexadecimal),
        })
        .map_err(|_| Error::Memory)?;
        let hashed = head.strip_suffix('}').unwrap_or(&head);
        let hash = hash_of(hashed, &self.packed);
        let head = format!("{hashed}{BEFORE_HASH}{}\"}}", hexadecimal(&hash));
        self.chunk.clear();
        put(&mut self.chunk, &SKIPPABLE)?;
        put(&mut self.chunk, &(head.len() as u32).to_le_bytes())?;
        put(&mut self.chunk, head.as_bytes())?;
        put(&mut self.chunk, &self.packed)?;
        let number = self.number;
        self.after = Some(hash);
        self.number += 1;
        self.lines.clear();
        // A large document's room is not kept for the small ones that follow.
        self.lines.shrink_to(2 * FILLED);
        Ok((number, &self.chunk))
    }
}

/// A chunk whose hash is what its head says.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// Whose.
    pub flow: FlowName,
    /// Which of the flow's, from 0.
    pub number: i64,
    /// No further one follows.
    pub last: bool,
    /// Hash of the chunk before; None for the first.
    pub after: Option<Hash>,
    /// Its own.
    pub hash: Hash,
    /// All of it, as it travels.
    pub bytes: &'a [u8],
    frame: &'a [u8],
    unpacked: u64,
}

/// Reads the chunk that stands first, and gives what follows it.
///
/// # Errors
/// [`Error::Flow`] with what is wrong: it is no chunk, cut off, or damaged; [`Error::NewerFlow`].
pub fn read_chunk(bytes: &[u8]) -> Result<(Chunk<'_>, &[u8])> {
    let cut_off = || bad("the bytes end in the middle of a chunk");
    if !bytes.starts_with(&SKIPPABLE[..bytes.len().min(SKIPPABLE.len())]) {
        return Err(bad("these bytes are no flow: no chunk begins where one is wanted"));
    }
    let (preamble, rest) = bytes.split_at_checked(PREAMBLE).ok_or_else(cut_off)?;
    let length = preamble.last_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
    if length > MOST_HEAD {
        return Err(bad("these bytes are no flow: no chunk begins where one is wanted"));
    }
    let (head, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
    let unreadable = |why: String| bad(&format!("the head of a chunk cannot be read: {why}"));
    let text = std::str::from_utf8(head).map_err(|error| unreadable(error.to_string()))?;
    let version: Version =
        serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    if version.talon > FORMAT {
        return Err(Error::NewerFlow {
            found: version.talon,
            known: FORMAT,
            program: version.program,
        });
    }
    let read: HeadText =
        serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    let (hashed, hash) = hash_in(text).ok_or_else(|| unreadable("it has no hash".to_owned()))?;
    let size = usize::try_from(read.size).unwrap_or(usize::MAX);
    let (frame, following) = rest.split_at_checked(size).ok_or_else(cut_off)?;
    if hash_of(hashed, frame) != hash {
        let problem = format!("chunk {} is damaged: its hash is not the one it has", read.chunk);
        return Err(bad(&problem));
    }
    let after = match read.after.as_str() {
        "" => None,
        after => {
            let hash = from_hexadecimal(after);
            Some(hash.ok_or_else(|| unreadable(format!("{after:?} is no hash")))?)
        }
    };
    if version.talon < 1 || read.chunk < 0 || read.number < 1 || after.is_some() != (read.chunk > 0)
    {
        return Err(unreadable("its numbers make no sense".to_owned()));
    }
    let HeadText { from, to, incarnation, number, .. } = read;
    let chunk = Chunk {
        flow: FlowName { from, to, incarnation, number },
        number: read.chunk,
        last: read.last,
        after,
        hash,
        bytes: &bytes[..bytes.len() - following.len()],
        frame,
        unpacked: read.bytes,
    };
    Ok((chunk, following))
}

/// Unpacks chunks.
pub struct Unpacker {
    context: DCtx<'static>,
}

impl Unpacker {
    /// For as many chunks as one likes.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new() -> Result<Unpacker> {
        Ok(Unpacker { context: DCtx::try_create().ok_or(Error::Memory)? })
    }

    /// Puts a chunk's lines, `most` bytes at most, in the place of what `lines` has.
    ///
    /// # Errors
    /// [`Error::Flow`] with what is wrong; [`Error::Memory`].
    pub fn unpack(&mut self, chunk: &Chunk<'_>, most: usize, lines: &mut Vec<u8>) -> Result<()> {
        lines.clear();
        let damaged = |what: &str| format!("chunk {} is damaged: {what}", chunk.number);
        let wanted = usize::try_from(chunk.unpacked).unwrap_or(usize::MAX);
        if wanted > most.min(MOST_UNPACKED) {
            let most = most.min(MOST_UNPACKED);
            let problem = format!(
                "chunk {} unpacks to {wanted} bytes, and this database takes values of {most} at most",
                chunk.number
            );
            return Err(bad(&problem));
        }
        // What a frame can hold is counted before anything is reserved for what it claims.
        let is_one_frame =
            zstd_safe::find_frame_compressed_size(chunk.frame) == Ok(chunk.frame.len());
        let says_so = matches!(
            zstd_safe::get_frame_content_size(chunk.frame), Ok(Some(size)) if size == chunk.unpacked
        );
        if !is_one_frame || !says_so {
            return Err(bad(&damaged("it is not the zstd frame that its head speaks of")));
        }
        lines.try_reserve_exact(wanted).map_err(|_| Error::Memory)?;
        let unpacked = self
            .context
            .decompress(lines, chunk.frame)
            .map_err(|code| unpackable(code, &damaged("zstd cannot unpack it")))?;
        if unpacked != wanted || lines.last() != Some(&b'\n') {
            return Err(bad(&damaged("it does not end with a whole line")));
        }
        Ok(())
    }
}

fn bad(problem: &str) -> Error {
    Error::Flow { problem: problem.to_owned() }
}

/// What zstd reports.
fn unpackable(code: usize, problem: &str) -> Error {
    if code == NO_MEMORY {
        return Error::Memory;
    }
    bad(&format!("{problem} ({})", zstd_safe::get_error_name(code)))
}

fn hash_of(head: &str, frame: &[u8]) -> Hash {
    *blake3::Hasher::new().update(head.as_bytes()).update(frame).finalize().as_bytes()
}

/// A head's text as far as it is hashed, and its hash.
fn hash_in(head: &str) -> Option<(&str, Hash)> {
    let rest = head.strip_suffix("\"}")?;
    let (hashed, hash) = rest.rsplit_once(BEFORE_HASH)?;
    Some((hashed, from_hexadecimal(hash)?))
}

/// A hash as 64 digits.
pub fn hexadecimal(hash: &Hash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// Reads what [`hexadecimal`] writes; None where it is nothing of the kind.
pub fn from_hexadecimal(text: &str) -> Option<Hash> {
    let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let hash = blake3::Hash::from_hex(text).ok().filter(|_| is_lower)?;
    Some(*hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> FlowName {
        FlowName { from: "BSOC".to_owned(), to: "A\"/1".to_owned(), incarnation: -7, number: 12 }
    }

    /// Three chunks of some lines each, the last one short.
    fn written() -> (Vec<u8>, Vec<String>) {
        let mut packer = Packer::new(name()).unwrap();
        let (mut bytes, mut lines) = (Vec::new(), Vec::new());
        for chunk in 0..3 {
            for line in 0..40 {
                let line = format!("{{\"document\":{{\"key\":{chunk}{line:02}}}}}");
                packer.line(|text| put(text, line.as_bytes())).unwrap();
                lines.push(line);
            }
            bytes.extend_from_slice(packer.pack(chunk == 2).unwrap().1);
        }
        (bytes, lines)
    }

    fn read(mut bytes: &[u8]) -> Result<Vec<String>> {
        let (mut unpacker, mut unpacked) = (Unpacker::new()?, Vec::new());
        let (mut lines, mut before) = (Vec::new(), None);
        while !bytes.is_empty() {
            let (chunk, rest) = read_chunk(bytes)?;
            assert_eq!((&chunk.flow, chunk.after), (&name(), before));
            assert_eq!(chunk.last, rest.is_empty());
            before = Some(chunk.hash);
            unpacker.unpack(&chunk, usize::MAX, &mut unpacked)?;
            lines.extend(String::from_utf8(unpacked.clone()).unwrap().lines().map(str::to_owned));
            bytes = rest;
        }
        Ok(lines)
    }

    fn problem(bytes: &[u8]) -> String {
        read(bytes).expect_err("it is wrong").to_string()
    }

    /// A chunk of any head and frame, with the hash that is right for them.
    fn chunk_of(head: &str, frame: &[u8]) -> Vec<u8> {
        let hash = hexadecimal(&hash_of(head, frame));
        let head = format!("{head}{BEFORE_HASH}{hash}\"}}");
        let length = (head.len() as u32).to_le_bytes();
        [&SKIPPABLE[..], &length, head.as_bytes(), frame].concat()
    }

    fn head(bytes: usize, size: usize) -> String {
        format!(
            r#"{{"talon":1,"from":"BSOC","to":"A\"/1","incarnation":-7,"number":12,"chunk":0,"last":true,"bytes":{bytes},"size":{size},"after":"""#
        )
    }

    #[test]
    fn lines_come_back_in_order() {
        let (bytes, lines) = written();
        assert_eq!(read(&bytes).unwrap(), lines);
    }

    #[test]
    fn a_chunk_is_full_at_its_size_and_a_line_that_fails_leaves_nothing() {
        let mut packer = Packer::new(name()).unwrap();
        packer.line(|text| put(text, &vec![b'a'; FILLED - 2])).unwrap();
        assert!(!packer.is_full());
        let failed = packer.line(|text| {
            put(text, b"half")?;
            Err(Error::Memory)
        });
        assert!(failed.is_err() && !packer.is_full());
        packer.line(|_| Ok(())).unwrap();
        assert!(packer.is_full());
        assert_eq!(packer.pack(false).unwrap().0, 0);
        assert!(!packer.is_full());
    }

    #[test]
    fn a_flow_that_is_cut_off_anywhere_is_said_to_be() {
        let (bytes, _) = written();
        for length in 0..bytes.len() {
            let mut rest = &bytes[..length];
            let ended = loop {
                match read_chunk(rest) {
                    Ok((_, following)) => rest = following,
                    Err(error) => break error,
                }
            };
            // Where a chunk ends, nothing is left to be read.
            assert_eq!(ended.to_string(), "the bytes end in the middle of a chunk", "{length}");
        }
    }

    #[test]
    fn no_bit_of_a_flow_can_be_turned_unnoticed() {
        let (bytes, _) = written();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..4000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let bit = usize::try_from(seed % (bytes.len() as u64 * 8)).unwrap();
            let mut turned = bytes.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            let mut rest = turned.as_slice();
            let error = loop {
                match read_chunk(rest) {
                    Ok((_, following)) => rest = following,
                    Err(error) => break error,
                }
            };
            assert!(!rest.is_empty(), "bit {bit} was not noticed");
            assert!(!matches!(error, Error::Memory), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_names_both_versions() {
        let head = r#"{"talon":7,"program":"3.2.1","anything":[]"#;
        assert_eq!(
            problem(&chunk_of(head, b"whatever")),
            format!(
                "the flow has format 7, written by talon 3.2.1; this is talon {}, which reads up to 1: load a newer \
                 libtalon here, or write the flow with an older one",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn what_is_no_chunk_is_said_to_be_none() {
        assert_eq!(
            problem(b"SQLite format 3\0"),
            "these bytes are no flow: no chunk begins where one is wanted"
        );
        assert_eq!(
            problem(b"{\"flow\":{}}\n"),
            "these bytes are no flow: no chunk begins where one is wanted"
        );
        // A skippable frame of somebody else's.
        let others = [&SKIPPABLE[..], &[4, 0, 0, 0], b"abcd"].concat();
        assert!(problem(&others).starts_with("the head of a chunk cannot be read: expected value"));
        let large = [&SKIPPABLE[..], &u32::MAX.to_le_bytes(), b"{}"].concat();
        assert_eq!(problem(&large), "these bytes are no flow: no chunk begins where one is wanted");
        let text = r#"{"talon":1,"from":"B","to":"A""#;
        assert!(problem(&chunk_of(text, b"")).contains("missing field `incarnation`"));
        let hashless = format!("{}}}", head(1, 0));
        let length = (hashless.len() as u32).to_le_bytes();
        let hashless = [&SKIPPABLE[..], &length, hashless.as_bytes()].concat();
        assert_eq!(problem(&hashless), "the head of a chunk cannot be read: it has no hash");
        let after = head(1, 0).replace("\"after\":\"\"", "\"after\":\"x\"");
        assert!(problem(&chunk_of(&after, b"")).ends_with("\"x\" is no hash"));
        let number = head(1, 0).replace("\"number\":12", "\"number\":0");
        assert!(problem(&chunk_of(&number, b"")).ends_with("its numbers make no sense"));
    }

    #[test]
    fn a_frame_that_is_not_what_its_head_says_is_not_unpacked() {
        let packed = zstd_safe_compress(b"a line\n");
        let sound = chunk_of(&head(7, packed.len()), &packed);
        assert_eq!(read(&sound).unwrap(), ["a line"]);
        let damaged = "chunk 0 is damaged: it is not the zstd frame that its head speaks of";
        // More than it holds, less than it holds, two frames, no frame.
        assert_eq!(problem(&chunk_of(&head(8, packed.len()), &packed)), damaged);
        assert_eq!(problem(&chunk_of(&head(6, packed.len()), &packed)), damaged);
        let two = [packed.clone(), packed.clone()].concat();
        assert_eq!(problem(&chunk_of(&head(14, two.len()), &two)), damaged);
        assert_eq!(problem(&chunk_of(&head(7, 7), b"a line\n")), damaged);
        let open = zstd_safe_compress(b"no line");
        assert_eq!(
            problem(&chunk_of(&head(7, open.len()), &open)),
            "chunk 0 is damaged: it does not end with a whole line"
        );
    }

    #[test]
    fn a_bomb_is_refused_before_it_takes_memory() {
        let claimed = head(2_000_000_000, 4);
        assert_eq!(
            problem(&chunk_of(&claimed, b"abcd")),
            "chunk 0 unpacks to 2000000000 bytes, and this database takes values of 1000000000 at most"
        );
        // A frame that claims what its few bytes cannot hold.
        let packed = zstd_safe_compress(b"a line\n");
        let damaged = "chunk 0 is damaged: it is not the zstd frame that its head speaks of";
        assert_eq!(problem(&chunk_of(&head(999_999_999, packed.len()), &packed)), damaged);
        // One that really holds more than this database takes.
        let many = zstd_safe_compress(&vec![b'\n'; 5000]);
        let bytes = chunk_of(&head(5000, many.len()), &many);
        let (chunk, _) = read_chunk(&bytes).unwrap();
        let mut lines = Vec::new();
        let refused = Unpacker::new().unwrap().unpack(&chunk, 4999, &mut lines).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "chunk 0 unpacks to 5000 bytes, and this database takes values of 4999 at most"
        );
        assert_eq!(lines.capacity(), 0);
    }

    fn zstd_safe_compress(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
        zstd_safe::compress(&mut packed, text, 3).unwrap();
        packed
    }
}
