-- Corrects stored values that are derived from others and that a restore does not correct by itself: the outstanding
-- amounts of customers and suppliers, the stock of articles, whatever talon_derive has declared with "correct": "repair".
-- It needs the database to itself: run it when nobody works, at the end of the day. A piece that a station has open, or
-- another connection at work, stops it, and is named. Pieces that have lost their lines have to be restored first, because
-- what they count for would be taken for nothing. gaps.sql shows beforehand what would be corrected.
--
--     sqlite3 pos.db < sql/maintenance/repair.sql
--
-- Where libtalon is: `.load libtalon` asks the system, which looks in its own library folders (the shell appends .so) and
-- not in the current one. Install it once, `sudo cp libtalon.so /usr/local/lib/ && sudo ldconfig`, or say for this run in
-- which folder it lies, `.` for the current one:
--
--     LD_LIBRARY_PATH=/opt/talon sqlite3 pos.db < sql/maintenance/repair.sql
--
-- Stops at the first error, and then sqlite3 exits with 1; otherwise with 0.

.bail on
-- Another station may be writing: wait a minute for it rather than fail.
.timeout 60000
.load libtalon

-- sqlite3 makes an empty database of a misspelt file name, and "nothing to do" would be a wrong answer about it.
CREATE TEMP TABLE guarded (
  guards INTEGER CONSTRAINT "this database guards no piece: is it the right file?" CHECK (guards > 0));
INSERT INTO guarded SELECT count(*) FROM talon_guards;
CREATE TEMP TABLE declared (
  rules INTEGER CONSTRAINT "this database declares no derived value: see talon_derive" CHECK (rules > 0));
INSERT INTO declared SELECT count(*) FROM talon_rules WHERE type = 'derived';

CREATE TEMP TABLE whole (
  lost INTEGER CONSTRAINT "pieces have lost their lines: run report.sql and restore_all.sql first" CHECK (lost = 0));
INSERT INTO whole SELECT count(*) FROM talon_lost;

-- Snapshots of pieces that are corrected say who did it.
CREATE TEMP TABLE station AS SELECT talon_station('maintenance', 'repair.sql');

.mode list
.headers off
SELECT 'ATTENTION: ' || name || ' is not corrected, its definition does not fit any more: ' || problem
  || char(10) || 'Declare it anew (talon_derive), then run this again.'
  FROM talon_rules WHERE type = 'derived' AND problem IS NOT NULL;

CREATE TEMP TABLE repairs AS
  SELECT place, name FROM talon_rules WHERE type = 'derived' AND correct = 'repair' AND problem IS NULL;
-- What is shown is what was there before; the count of each is what was corrected.
CREATE TEMP TABLE gaps AS
  SELECT place, gap.* FROM repairs CROSS JOIN talon_gaps AS gap ON gap.name = repairs.name;

.headers on
.print
.print CORRECTED NOW
.mode box
-- Each in a transaction of its own.
SELECT name, talon_repair(name) AS corrected FROM repairs ORDER BY place;
SELECT name, "table", key, stored AS was, computed AS "is" FROM gaps ORDER BY place, key;

-- Asked again rather than counted: what matters is what differs now.
CREATE TEMP TABLE still AS
  SELECT gap.* FROM repairs CROSS JOIN talon_gaps AS gap ON gap.name = repairs.name;
.mode list
.headers off
SELECT CASE
    WHEN remain > 0 THEN printf('Values that still differ: %d. They depend on each other, or the table keeps them otherwise: see gaps.sql.', remain)
    WHEN was = 0 THEN 'Every value was what it should be: nothing to correct.'
    ELSE printf('Values corrected: %d. All are what they should be.', was)
  END FROM (SELECT (SELECT count(*) FROM gaps) AS was, (SELECT count(*) FROM still) AS remain);
