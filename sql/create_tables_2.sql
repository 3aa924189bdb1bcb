-- What format 2 adds to Talon's own tables. {schema} is the quoted schema name.

-- Marks of one or two values, as most are; triggers write others to talon_touched. Its columns never change either.
CREATE TABLE {schema}.talon_mark(code, key, other);

-- Edits: pieces that a station has open. A piece has one at most.
CREATE TABLE {schema}.talon_edit(
  kind INTEGER NOT NULL,
  key NOT NULL,
  station INTEGER NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- The journal of edits that somebody else ended: whose it was, since when, who freed it.
CREATE TABLE {schema}.talon_released(
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  piece NOT NULL,
  station INTEGER NOT NULL,
  since INTEGER NOT NULL,
  released_by INTEGER
);

-- The days on which the daily routine was done, and what it found.
CREATE TABLE {schema}.talon_day(
  day TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  station INTEGER,
  lost INTEGER NOT NULL,
  purge INTEGER NOT NULL
) WITHOUT ROWID;

-- Derived values and checks, in the order declared.
CREATE TABLE {schema}.talon_rule(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  definition TEXT NOT NULL
);
