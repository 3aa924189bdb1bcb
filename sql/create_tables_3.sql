-- What format 3 adds to Talon's own tables: synchronisation. {schema} is the quoted schema name.

-- Of a piece or record of a synchronised kind: its newest row in talon_change; which site created it (NULL: this one); the
-- key it has there, where that is another than here.
ALTER TABLE {schema}.talon_piece ADD COLUMN change INTEGER;
ALTER TABLE {schema}.talon_piece ADD COLUMN origin INTEGER;
ALTER TABLE {schema}.talon_piece ADD COLUMN origin_key;
CREATE INDEX {schema}.talon_translated ON talon_piece(kind, origin, origin_key) WHERE origin_key IS NOT NULL;

-- The databases that exchange flows, this one among them: talon_meta's "site" is its id. Clocks are stamps.
CREATE TABLE {schema}.talon_site(
  id INTEGER PRIMARY KEY,
  code TEXT NOT NULL UNIQUE COLLATE NOCASE,
  role TEXT NOT NULL,
  name TEXT,
  -- Of its database, as its flows say: another one is a copy, or was begun anew.
  incarnation INTEGER,
  -- The newest of our flows to it, and of its flows to us.
  number_out INTEGER NOT NULL DEFAULT 0,
  number_in INTEGER NOT NULL DEFAULT 0,
  -- Its clock when it wrote that one.
  stamp_in INTEGER NOT NULL DEFAULT 0,
  -- Our changes up to here are there; its changes up to here are here.
  acknowledged INTEGER NOT NULL DEFAULT 0,
  applied INTEGER NOT NULL DEFAULT 0,
  -- Our newest change when that database of it was first heard of: what came from the site before came from another one.
  begun INTEGER NOT NULL DEFAULT 0,
  -- By how much its clock was off when last heard of, in ms.
  clock_off INTEGER
);

-- Every committed change of a piece or record of a synchronised kind, in the order committed here. `previous` is the same
-- piece's change before, `via` the site that this very state came from (NULL: it was made or merged here).
CREATE TABLE {schema}.talon_change(
  seq INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  key NOT NULL,
  version INTEGER NOT NULL,
  stamp INTEGER NOT NULL,
  site INTEGER NOT NULL,
  snapshot INTEGER,
  previous INTEGER,
  via INTEGER,
  flow INTEGER,
  fields TEXT
);

-- Lines and details that have another key here than where their piece was created.
CREATE TABLE {schema}.talon_alias(
  kind INTEGER NOT NULL,
  part TEXT NOT NULL,
  piece NOT NULL,
  origin_key INTEGER NOT NULL,
  key INTEGER NOT NULL,
  PRIMARY KEY (kind, part, piece, origin_key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX {schema}.talon_alias_here ON talon_alias(kind, part, key);

-- The follow-up of flows, sent and received. Times are ms since 1970; `since` and `until` are the sender's changes that it
-- covers; `progress` is where an application that was cut off goes on; `load` is what it asks for or brings.
CREATE TABLE {schema}.talon_flow(
  id INTEGER PRIMARY KEY,
  sender INTEGER NOT NULL,
  receiver INTEGER NOT NULL,
  incarnation INTEGER NOT NULL,
  number INTEGER NOT NULL,
  link INTEGER,
  mode TEXT NOT NULL,
  answer TEXT NOT NULL,
  stamp INTEGER NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  head TEXT NOT NULL,
  ready INTEGER,
  begun INTEGER,
  ended INTEGER,
  runs INTEGER NOT NULL DEFAULT 0,
  refused INTEGER,
  superseded INTEGER,
  acknowledged INTEGER,
  rows INTEGER,
  bytes INTEGER,
  progress INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  load TEXT,
  UNIQUE (sender, receiver, incarnation, number)
);

-- The bytes of flows, as they travel, until they are acknowledged or applied.
CREATE TABLE {schema}.talon_chunk(
  flow INTEGER NOT NULL,
  number INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (flow, number)
);

-- Pieces that wait for the next flow to a site: reserved when the last one left; refused there, then `reason` says why, and `at`
-- when that was heard; or there before central sent anything ("found"). They wait until `flow`, which carries them, is acknowledged.
CREATE TABLE {schema}.talon_held(
  site INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  key NOT NULL,
  flow INTEGER,
  reason TEXT,
  at INTEGER,
  PRIMARY KEY (site, kind, key)
) WITHOUT ROWID;

-- What a site has of the kinds that are filtered for it.
CREATE TABLE {schema}.talon_reach(
  site INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  key NOT NULL,
  PRIMARY KEY (site, kind, key)
) WITHOUT ROWID;

-- How far the kinds are here that come down, by the numbers of central's changes: at a remote what has come of each and when, and
-- what central said last (NULL: it does not have it); at central what was counted so far.
CREATE TABLE {schema}.talon_table(
  kind TEXT PRIMARY KEY,
  version INTEGER NOT NULL DEFAULT 0,
  newest INTEGER,
  as_of INTEGER
) WITHOUT ROWID;

-- What a full load that is being applied has named: the rest goes.
CREATE TABLE {schema}.talon_listed(
  flow INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  key NOT NULL,
  PRIMARY KEY (flow, kind, key)
) WITHOUT ROWID;

-- Documents that could not be applied here, or may not be sent from here, as they travel. What two sites have made of one waits
-- side by side: neither knows of the other.
CREATE TABLE {schema}.talon_quarantined(
  id INTEGER PRIMARY KEY,
  direction TEXT NOT NULL,
  kind TEXT NOT NULL,
  origin TEXT NOT NULL,
  key NOT NULL,
  stamp INTEGER NOT NULL,
  site TEXT NOT NULL,
  flow INTEGER,
  at INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  reason TEXT NOT NULL,
  document BLOB,
  columns TEXT,
  UNIQUE (direction, kind, origin, key, site)
);

-- What lost a conflict, with what won. `field` is NULL where whole pieces or records were at odds.
CREATE TABLE {schema}.talon_conflict(
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  key NOT NULL,
  field TEXT,
  lost_value,
  lost_site INTEGER NOT NULL,
  lost_stamp INTEGER NOT NULL,
  won_value,
  won_site INTEGER NOT NULL,
  won_stamp INTEGER NOT NULL,
  flow INTEGER,
  shape INTEGER,
  reinstated_at INTEGER
);
CREATE INDEX {schema}.talon_conflict_of ON talon_conflict(kind, key);
