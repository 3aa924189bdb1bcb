-- The shop as a program keeps it that gives its pieces UUIDs: the same rows, keys of 36 characters.
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA foreign_keys = OFF;
PRAGMA legacy_alter_table = ON;
ALTER TABLE sale_piece RENAME TO numbered_piece;
ALTER TABLE sale_line RENAME TO numbered_line;
DROP INDEX sale_line_sale_id;
CREATE TABLE sale_piece (
  id TEXT PRIMARY KEY,
  number TEXT NOT NULL,
  validated INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE sale_line (
  id INTEGER PRIMARY KEY,
  sale_id TEXT NOT NULL REFERENCES sale_piece(id),
  label TEXT,
  discount REAL
);
CREATE INDEX sale_line_sale_id ON sale_line(sale_id);
INSERT INTO sale_piece
  SELECT printf('%08x-%04x-4000-8000-%012x', id * 40503 & 0xffffffff, id & 0xffff, id), number, validated
  FROM numbered_piece;
INSERT INTO sale_line
  SELECT id, printf('%08x-%04x-4000-8000-%012x', sale_id * 40503 & 0xffffffff, sale_id & 0xffff, sale_id), label, discount
  FROM numbered_line;
DROP TABLE numbered_line;
DROP TABLE numbered_piece;
PRAGMA journal_mode = WAL;
