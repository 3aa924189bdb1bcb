//! Where a chunk of a flow begins and ends in a file, and what its head says. A chunk is a skippable zstd frame with one
//! JSON object, and one ordinary zstd frame of as many bytes as the object's `size`; what is in that one only the
//! extension reads, and whether both are sound only it judges.

use serde::Deserialize;
use std::io::{self, Read};

/// The first bytes of a chunk: the magic number of the skippable frame, as it lies in a file.
const MAGIC: [u8; 4] = 0x184D_2A54_u32.to_le_bytes();

/// The magic number and how long the head is.
const PREAMBLE_BYTES: usize = 8;

/// Heads are a few hundred bytes; a longer one is none.
const LONGEST_HEAD_BYTES: usize = 4096;

/// The longest value that SQLite takes: no chunk is longer.
const LONGEST_CHUNK_BYTES: u64 = 1_000_000_000;

/// What the head of a chunk says of it, as far as carrying it needs that.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Head {
    /// The code of the site that wrote it.
    pub from: String,
    /// The code of the site that it is for.
    pub to: String,
    /// Of the sender's database.
    pub incarnation: i64,
    /// Of the flow, counted for each receiver.
    pub number: i64,
    /// Its place in the flow, from 0.
    pub chunk: i64,
    /// Is it the flow's last one?
    pub last: bool,
    /// Bytes that follow the head.
    size: u64,
}

/// A whole chunk, as it is given to the extension.
#[derive(Debug)]
pub struct Chunk {
    /// What it says of itself; none where a newer program wrote it, or no program of ours: `bytes` then is the head alone,
    /// and the extension says what is wrong with it.
    pub head: Option<Head>,
    /// All of it, the head too.
    pub bytes: Vec<u8>,
}

/// Why what a file holds is not, or not any more, a sequence of chunks.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing is in it.
    #[error("is empty: it was not copied to its end, or is no flow file")]
    Empty,
    /// It begins as no flow does.
    #[error("is no flow file: no chunk of a flow begins at byte 0")]
    NoFlow,
    /// Something else begins there, after sound chunks.
    #[error("no chunk of a flow begins at byte {0}")]
    Foreign(u64),
    /// It ends too early.
    #[error("it is cut off: the chunk that begins at byte {0} has no end")]
    CutOff(u64),
    /// Reading failed.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
}

/// The head of a chunk as it is written, with what stands before it.
pub fn head_bytes(chunk: &[u8]) -> &[u8] {
    let length = chunk.get(MAGIC.len()..).and_then(|rest| rest.first_chunk());
    let length = length.map_or(0, |length| u32::from_le_bytes(*length) as usize);
    chunk.get(..PREAMBLE_BYTES + length).unwrap_or(chunk)
}

/// The chunks of a file, one after the other: one is in memory at a time.
pub struct Chunks<R> {
    source: R,
    /// Where the next chunk begins.
    at: u64,
}

impl<R: Read> Chunks<R> {
    /// Of what this source gives.
    pub fn new(source: R) -> Chunks<R> {
        Chunks { source, at: 0 }
    }

    /// The chunk that comes next, whole; none at the end of the file. After a fault nothing more can be had.
    pub fn take(&mut self) -> Result<Option<Chunk>, Fault> {
        let mut bytes = Vec::new();
        let is_whole = self.read(&mut bytes, PREAMBLE_BYTES as u64)?;
        if bytes.is_empty() {
            return if self.at == 0 { Err(Fault::Empty) } else { Ok(None) };
        }
        if !bytes.iter().zip(MAGIC).all(|(found, wanted)| *found == wanted) {
            return Err(self.foreign());
        }
        let length = match bytes.last_chunk() {
            Some(length) if is_whole => u32::from_le_bytes(*length) as usize,
            _ => return Err(Fault::CutOff(self.at)),
        };
        if length > LONGEST_HEAD_BYTES {
            return Err(self.foreign());
        }
        if !self.read(&mut bytes, length as u64)? {
            return Err(Fault::CutOff(self.at));
        }
        let head = bytes.get(PREAMBLE_BYTES..).unwrap_or_default();
        let head: Option<Head> = serde_json::from_slice(head).ok();
        let size = head.as_ref().map_or(0, |head| head.size);
        if size > LONGEST_CHUNK_BYTES || !self.read(&mut bytes, size)? {
            return Err(Fault::CutOff(self.at));
        }
        self.at += bytes.len() as u64;
        Ok(Some(Chunk { head, bytes }))
    }

    fn foreign(&self) -> Fault {
        if self.at == 0 { Fault::NoFlow } else { Fault::Foreign(self.at) }
    }

    /// Appends so many bytes of the source, and says whether there were as many.
    fn read(&mut self, bytes: &mut Vec<u8>, wanted: u64) -> io::Result<bool> {
        let read = (&mut self.source).take(wanted).read_to_end(bytes)?;
        Ok(read as u64 == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk, as far as this file reads one.
    fn chunk(number: i64, body: &[u8]) -> Vec<u8> {
        let head = format!(
            r#"{{"talon":1,"from":"B","to":"A","incarnation":-7,"number":12,"chunk":{number},"last":true,"size":{}}}"#,
            body.len()
        );
        framed(&head, body)
    }

    fn framed(head: &str, body: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &(head.len() as u32).to_le_bytes(), head.as_bytes(), body].concat()
    }

    /// The chunks of a file, and how it ends.
    fn read(file: &[u8]) -> (Vec<Vec<u8>>, Option<String>) {
        let mut chunks = Chunks::new(file);
        let mut found = Vec::new();
        loop {
            match chunks.take() {
                Ok(Some(chunk)) => found.push(chunk.bytes),
                Ok(None) => return (found, None),
                Err(fault) => return (found, Some(fault.to_string())),
            }
        }
    }

    #[test]
    fn a_file_is_split_where_its_chunks_end() {
        let chunks = vec![chunk(0, b"{}"), chunk(1, &vec![b'x'; 3_000_000]), chunk(2, b"")];
        assert_eq!(read(&chunks.concat()), (chunks, None));
    }

    #[test]
    fn a_file_cut_off_at_any_byte_gives_the_chunks_before_and_says_where() {
        let (first, second) = (chunk(0, b"first"), chunk(1, b"second"));
        let file = [first.clone(), second].concat();
        for length in 1..file.len() {
            let (found, fault) = read(&file[..length]);
            let at = if length > first.len() { first.len() } else { 0 };
            assert_eq!(found.len(), usize::from(length >= first.len()), "{length} bytes");
            let cut = format!("it is cut off: the chunk that begins at byte {at} has no end");
            let cut = Some(cut).filter(|_| length != first.len());
            assert_eq!(fault, cut, "{length} bytes");
        }
    }

    #[test]
    fn what_is_no_chunk_is_named_so() {
        let none = || Some("is no flow file: no chunk of a flow begins at byte 0".to_owned());
        assert_eq!(read(b"PK\x03\x04 a zip"), (vec![], none()));
        assert_eq!(read(b"x"), (vec![], none()));
        assert_eq!(read(&[&MAGIC[..], &[255; 4]].concat()), (vec![], none()));
        let empty = "is empty: it was not copied to its end, or is no flow file".to_owned();
        assert_eq!(read(b""), (vec![], Some(empty)));
        let sound = chunk(0, b"sound");
        let file = [&sound[..], b"and then something"].concat();
        let after = Some(format!("no chunk of a flow begins at byte {}", sound.len()));
        assert_eq!(read(&file), (vec![sound.clone()], after));
    }

    #[test]
    fn a_head_that_says_nothing_to_us_is_given_on_alone() {
        let newer = framed(r#"{"talon":7,"program":"3.2.1"}"#, b"who knows");
        let mut chunks = Chunks::new(&newer[..]);
        let chunk = chunks.take().expect("no fault").expect("a chunk");
        assert_eq!(chunk.head, None);
        assert_eq!(chunk.bytes.len(), newer.len() - b"who knows".len());
    }
}
