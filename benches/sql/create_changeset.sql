-- Where the session variant stores the changeset of each transaction; its index is what finds those of a piece.
CREATE TABLE changeset (
  id INTEGER PRIMARY KEY,
  piece INTEGER NOT NULL,
  at INTEGER NOT NULL,
  bytes BLOB NOT NULL
);
CREATE INDEX peer_index ON changeset(piece);
