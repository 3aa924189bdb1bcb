//! Flows of any lines: packed and hashed as the format says (docs/flow-format.md), so that what is tried is read.

/// What makes the shop of the other inputs a central database that BSOC sends flows to.
pub const SITES: &str = r#"
SELECT talon_site('ASOC', 'central'), talon_site('BSOC', 'remote');
SELECT talon_guard('sale', '{"header": {"table": "sale_piece"}, "lines": {"table": "sale_line"}, "details": [{"table": "payment"}],
  "sync": {"preset": "piece", "references": {"lines.upstream": "sale.lines"}}}');
SELECT talon_track('product', '{"record": {"table": "product"}, "sync": "customer"}');
SELECT talon_origin('ASOC');
INSERT INTO product VALUES (1, 'coffee', 'bean');
"#;
/// Applies what came, and reads all that there is to read.
pub const APPLY: &str = "
SELECT talon_process();
SELECT * FROM talon_sites; SELECT * FROM talon_flows; SELECT * FROM talon_chunks; SELECT * FROM talon_stamps;
SELECT * FROM talon_quarantine; SELECT * FROM talon_conflicts;
UPDATE sale_line SET label = 'after' WHERE id = 1; UPDATE product SET name = 'tea';
SELECT talon_emit('BSOC', 'return', 'none'), talon_emit('BSOC', 'full', 'none');
SELECT talon_refuse(1, 'no');
";

/// One chunk of these lines: the only one of its flow. Images get the hashes that they have.
pub fn packed(lines: &[u8]) -> Vec<u8> {
    let mut lines: Vec<u8> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .flat_map(|line| [&hashed(line)[..], b"\n"].concat())
        .collect();
    if lines.is_empty() {
        lines.push(b'\n');
    }
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(lines.len()));
    if zstd_safe::compress(&mut frame, &lines, 1).is_err() {
        return Vec::new();
    }
    let head = format!(
        r#"{{"talon":1,"program":"0.1.0","from":"BSOC","to":"ASOC","incarnation":7,"number":1,"chunk":0,"last":true,"bytes":{},"size":{},"after":"""#,
        lines.len(),
        frame.len()
    );
    let hash = blake3::Hasher::new().update(head.as_bytes()).update(&frame).finalize();
    let head = format!("{head},\"hash\":\"{hash}\"}}");
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&0x184D_2A54_u32.to_le_bytes()[..], &length, head.as_bytes(), &frame].concat()
}

/// A document's line with the hash of the image that it has.
fn hashed(line: &[u8]) -> Vec<u8> {
    const HASH: &[u8] = b"\"hash\":\"";
    const IMAGE: &[u8] = b"\"image\":";
    let find = |wanted: &[u8]| {
        let at = line.windows(wanted.len()).position(|part| part == wanted);
        at.map(|at| at + wanted.len())
    };
    let mut line_hashed = line.to_vec();
    if let (Some(hash), Some(image)) = (find(HASH), find(IMAGE))
        && let Some(image) = line[image..].strip_suffix(b"}}")
        && let Some(place) = line_hashed.get_mut(hash..hash + 64)
    {
        place.copy_from_slice(blake3::hash(image).to_hex().as_bytes());
    }
    line_hashed
}
