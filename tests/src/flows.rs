//! Flows as tests handle them: written, looked into, carried, damaged.

use crate::{Db, Shop};
use rusqlite::types::Value;

/// Customers and articles as records, sales of a header and lines that refer to them.
pub const TILL: &str = "
    CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, phone TEXT);
    CREATE TABLE article(id INTEGER PRIMARY KEY, label TEXT, price REAL);
    CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, shop TEXT, customer_id INTEGER REFERENCES customer(id));
    CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id),
      article_id INTEGER REFERENCES article(id), quantity REAL);
    CREATE INDEX sale_line_sale ON sale_line(sale_id);
";

/// Declares them, and the sites ASOC (central), BSOC and CSOC.
pub const DECLARE: &str = r#"
    SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote'), talon_site('CSOC', 'remote');
    SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
    SELECT talon_track('article', '{"record": {"table": "article"}, "sync": "article"}');
    SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"},
      "sync": {"preset": "piece", "freeze": false}}');
"#;

/// The database of a site, in a folder of its own.
pub fn site(code: &str) -> (Shop, Db) {
    let shop = Shop::with(TILL);
    let db = shop.open();
    db.run("SELECT talon_clock('2026-11-20T08:00:00+01:00')");
    db.run(DECLARE);
    db.run(&format!("SELECT talon_origin('{code}')"));
    (shop, db)
}

impl Db {
    /// Writes a flow; gives its id.
    pub fn emit(&self, site: &str, mode: &str, answer: &str) -> i64 {
        let id = self.one(&format!("SELECT talon_emit('{site}', '{mode}', '{answer}')"));
        id.parse().expect("an id")
    }

    /// The chunks of a flow, as they travel.
    pub fn chunks(&self, flow: i64) -> Vec<Vec<u8>> {
        let query = "SELECT bytes FROM talon_chunks WHERE flow = ?1 ORDER BY number";
        let mut statement = self.connection.prepare(query).expect("the chunks");
        let rows = statement.query_map([flow], |row| row.get(0)).expect("a scan");
        rows.map(|bytes| bytes.expect("bytes")).collect()
    }

    /// Writes a flow; gives its bytes.
    pub fn flow(&self, site: &str, mode: &str, answer: &str) -> Vec<u8> {
        self.chunks(self.emit(site, mode, answer)).concat()
    }

    /// Takes bytes in; gives the flow's id, or the error's text.
    pub fn receive(&self, bytes: &[u8]) -> Result<i64, String> {
        let bytes = Value::Blob(bytes.to_vec());
        let taken =
            self.connection.query_row("SELECT talon_receive(?1)", [bytes], |row| row.get(0));
        taken.map_err(|error| error.to_string())
    }

    /// The documents that a new flow for a site holds, as `kind key [gone|left]`.
    pub fn sends(&self, site: &str) -> Vec<String> {
        documents(&self.flow(site, "changes", "none"))
    }
}

/// The lines of chunks.
pub fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let length = |from: usize| {
            let bytes = bytes[from..from + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        // A skippable frame, then an ordinary one.
        let frame = &bytes[8 + length(4)..];
        let size = zstd_safe::find_frame_compressed_size(frame).expect("a frame");
        let unpacked = zstd_safe::get_frame_content_size(frame).expect("a size").expect("known");
        let mut text = Vec::with_capacity(unpacked as usize);
        zstd_safe::decompress(&mut text, &frame[..size]).expect("it unpacks");
        lines.extend(String::from_utf8(text).expect("UTF-8").lines().map(str::to_owned));
        bytes = &frame[size..];
    }
    lines
}

/// A flow of one chunk with these lines, sealed as a site would: for flows that are sound but for what they say.
pub fn sealed(lines: &[String]) -> Vec<u8> {
    let db = Db { connection: rusqlite::Connection::open_in_memory().expect("memory") };
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
    zstd_safe::compress(&mut frame, text.as_bytes(), 3).expect("it packs");
    let first = lines[0].replace('\'', "''");
    let flow = "'from', f ->> 'from', 'to', f ->> 'to', 'incarnation', f ->> 'incarnation', 'number', f ->> 'number'";
    let (bytes, size) = (text.len(), frame.len());
    let mut head = db.one(&format!(
        "SELECT json_object('talon', 1, 'program', '', {flow}, 'chunk', 0, 'last', json('true'),
           'bytes', {bytes}, 'size', {size}, 'after', '') FROM (SELECT '{first}' -> 'flow' AS f)"
    ));
    head.pop();
    let mut hasher = blake3::Hasher::new();
    let hash = hasher.update(head.as_bytes()).update(&frame).finalize().to_hex();
    head.push_str(&format!(",\"hash\":\"{hash}\"}}"));
    let mut chunk = 0x184D_2A54_u32.to_le_bytes().to_vec();
    chunk.extend((head.len() as u32).to_le_bytes());
    chunk.extend(head.into_bytes());
    chunk.extend(frame);
    chunk
}

/// The documents in chunks, as `kind key [gone|left]`.
pub fn documents(bytes: &[u8]) -> Vec<String> {
    let db = Db { connection: rusqlite::Connection::open_in_memory().expect("memory") };
    let of = |line: &String| {
        db.one(&format!(
            "SELECT printf('%s %s', d ->> 'kind', d ->> 'key') || iif(d ->> 'gone', ' gone', '') || iif(d ->> 'left', ' left', '')
             FROM (SELECT '{}' -> 'document' AS d)",
            line.replace('\'', "''")
        ))
    };
    lines(bytes).iter().filter(|line| line.starts_with("{\"document\"")).map(of).collect()
}

/// A flow of one chunk in which a text stands in the place of another, with hashes that say so.
pub fn rewritten(bytes: &[u8], was: &str, is: &str) -> Vec<u8> {
    let (chunk, _) = talon::storage::frame::read_chunk(bytes).expect("a chunk");
    let mut packer = talon::storage::frame::Packer::new(chunk.flow).expect("a packer");
    let text = lines(bytes).join("\n");
    assert!(text.contains(was), "no {was} in {text}");
    let line = text.replacen(was, is, 1);
    let put = |text: &mut Vec<u8>| {
        text.extend_from_slice(line.as_bytes());
        Ok(())
    };
    packer.line(put).expect("a line");
    packer.pack(true).expect("a chunk").1.to_vec()
}
