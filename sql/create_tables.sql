-- Talon's own tables, in the host's file beside the host's. {schema} is the quoted schema name.

-- One fact a name: "database", the number that triggers call this file by; "format", the version of these tables.
CREATE TABLE {schema}.talon_meta(
  name TEXT PRIMARY KEY,
  value NOT NULL
) WITHOUT ROWID;

-- The guards. A kind that is no longer guarded keeps its row, because its snapshots keep its id.
CREATE TABLE {schema}.talon_kind(
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL UNIQUE,
  definition TEXT NOT NULL,
  guarded INTEGER NOT NULL,
  schema_version INTEGER NOT NULL,
  suspect_since INTEGER
);

-- Column names of a kind's tables as they were, once for all snapshots taken while they were so.
CREATE TABLE {schema}.talon_shape(
  id INTEGER PRIMARY KEY,
  columns TEXT NOT NULL,
  hash BLOB NOT NULL
);

-- Who snapshots and journals speak of.
CREATE TABLE {schema}.talon_station(
  id INTEGER PRIMARY KEY,
  station TEXT NOT NULL,
  user TEXT NOT NULL,
  UNIQUE (station, user)
);

-- One row a piece: what is asked often. It leads with `saved`, so that the few pieces that have snapshots lie together
-- among the many that had some once. `version` counts the commits that changed the piece; of one that was deposited and is
-- yet to be written it is -1 less that number.
CREATE TABLE {schema}.talon_piece(
  kind INTEGER NOT NULL,
  saved INTEGER NOT NULL,
  key NOT NULL,
  version INTEGER NOT NULL,
  last INTEGER,
  lines INTEGER NOT NULL,
  hash BLOB,
  lost_at INTEGER,
  gone_at INTEGER,
  dismissed_at INTEGER,
  PRIMARY KEY (kind, saved, key)
) WITHOUT ROWID;

-- Append-only. `previous` chains the snapshots of a piece from talon_piece.last backwards, which spares an index.
CREATE TABLE {schema}.talon_snapshot(
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  key,
  version INTEGER,
  previous INTEGER,
  shape INTEGER,
  taken_at INTEGER,
  day TEXT,
  reason TEXT,
  station INTEGER,
  lines INTEGER,
  bytes INTEGER,
  hash BLOB,
  payload TEXT
);

-- Marks that connections without Talon leave. Its columns never change: triggers of every age write here.
CREATE TABLE {schema}.talon_touched(code INTEGER NOT NULL, k1, k2, k3, k4, k5, k6, k7, k8);

-- Changes that no snapshot was taken of when they were made.
CREATE TABLE {schema}.talon_unguarded(
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  key NOT NULL,
  at INTEGER NOT NULL,
  day TEXT NOT NULL,
  detail TEXT NOT NULL
);

-- The journals behind talon_restore and talon_purge.
CREATE TABLE {schema}.talon_restored(
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  piece NOT NULL,
  snapshot INTEGER,
  lines INTEGER,
  outcome TEXT NOT NULL,
  note TEXT,
  station INTEGER,
  dry_run INTEGER NOT NULL
);
CREATE TABLE {schema}.talon_purged(
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  before TEXT NOT NULL,
  keep_last INTEGER NOT NULL,
  purged INTEGER NOT NULL,
  kept_lost INTEGER NOT NULL,
  kept_edited INTEGER NOT NULL,
  kept_last INTEGER NOT NULL,
  note TEXT,
  station INTEGER
);

-- A whole row that is written again, unchanged, to leave changes() at what the host's last statement made it.
CREATE TABLE {schema}.talon_tally(id INTEGER PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO {schema}.talon_tally VALUES (1, 0);
