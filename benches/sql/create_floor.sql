-- Where the floor variant appends its images: nothing but what a restore needs, no index besides the key.
CREATE TABLE floor_snapshot (
  id INTEGER PRIMARY KEY,
  piece INTEGER NOT NULL,
  taken_at INTEGER NOT NULL,
  lines INTEGER NOT NULL,
  hash BLOB NOT NULL,
  payload TEXT NOT NULL
);
