-- Compares stored values that are derived from others with what they should be (the outstanding amounts of customers and
-- suppliers, the stock of articles, whatever talon_derive has declared) and lists where they differ. Run it after a restore
-- whose note says "check: …", or when an amount looks odd. It changes nothing; repair.sql corrects.
--
--     sqlite3 pos.db < sql/maintenance/gaps.sql
--
-- Where libtalon is: `.load libtalon` asks the system, which looks in its own library folders (the shell appends .so) and
-- not in the current one. Install it once, `sudo cp libtalon.so /usr/local/lib/ && sudo ldconfig`, or say for this run in
-- which folder it lies, `.` for the current one:
--
--     LD_LIBRARY_PATH=/opt/talon sqlite3 pos.db < sql/maintenance/gaps.sql
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

-- What does not fit the tables any more is not compared: that comes before anything reassuring.
.mode list
.headers off
SELECT 'ATTENTION: ' || name || ' is not compared, its definition does not fit any more: ' || problem
  || char(10) || 'Declare it anew (talon_derive), then run this again.'
  FROM talon_rules WHERE type = 'derived' AND problem IS NOT NULL;

-- A lost piece counts for nothing until it is restored.
SELECT printf('ATTENTION: pieces without lines: %d. Values that depend on them differ until they are restored: run report.sql first.',
    count(*)) FROM talon_lost HAVING count(*) > 0;

-- One reading: it is the expensive part. Asked by name, so that a definition that does not fit does not stop the others.
CREATE TEMP TABLE gaps AS
  SELECT rule.place, gap.* FROM talon_rules AS rule CROSS JOIN talon_gaps AS gap ON gap.name = rule.name
   WHERE rule.type = 'derived' AND rule.problem IS NULL;

.headers on
.print
.print DIFFERENCES
.mode box
SELECT name, "table", key, stored, computed FROM gaps ORDER BY place, key;

.print
.print DERIVED VALUES
SELECT rule.name, rule."table", rule."column", rule.correct AS "corrected by",
       (SELECT count(*) FROM gaps WHERE gaps.name = rule.name) AS differences
  FROM talon_rules AS rule WHERE rule.type = 'derived' ORDER BY rule.place;

.mode list
.headers off
SELECT CASE count(*)
    WHEN 0 THEN 'Every value that was compared is what it should be.'
    ELSE printf('Values that differ: %d. When nobody else works, repair.sql corrects those that are corrected by repair.', count(*))
  END FROM gaps;
