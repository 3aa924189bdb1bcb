-- Removes the snapshots of the days before today, so that they do not fill the disk. Run it once a day, at the first start
-- or by a timer, or when the database has grown. Snapshots of a piece that has lost its lines stay until the piece is
-- restored or dismissed; no piece is changed. A day is this machine's local calendar day.
--
--     sqlite3 pos.db < sql/maintenance/purge.sql
--
-- Where libtalon is: `.load libtalon` asks the system, which looks in its own library folders (the shell appends .so) and
-- not in the current one. Install it once, `sudo cp libtalon.so /usr/local/lib/ && sudo ldconfig`, or say for this run in
-- which folder it lies, `.` for the current one:
--
--     LD_LIBRARY_PATH=/opt/talon sqlite3 pos.db < sql/maintenance/purge.sql
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

-- A guard that no longer fits its tables watches nothing: that comes before anything reassuring.
.mode list
.headers off
SELECT 'ATTENTION: ' || kind || ' is neither watched nor checked, its definition ' || triggers
  || char(10) || 'Declare the guard anew (talon_guard), then run this again.'
  FROM talon_guards WHERE triggers LIKE 'does not fit%';
.headers on

-- The journal says who did it. What comes after its last row is ours.
CREATE TEMP TABLE station AS SELECT talon_station('maintenance', 'purge.sql');
CREATE TEMP TABLE journal_end AS SELECT coalesce(max(id), 0) AS id FROM talon_purge;

-- Today's stay: they are what brings back a piece that is lost this afternoon.
INSERT INTO talon_purge (before) VALUES (date('now', 'localtime'));

CREATE TEMP TABLE purged AS SELECT * FROM talon_purge WHERE id > (SELECT id FROM journal_end);

.print
.print PURGED NOW
.mode box
SELECT before, purged, kept_lost, kept_edited, kept_last, note FROM purged;

.mode list
.headers off
SELECT CASE
    WHEN purged > 0 THEN printf('Snapshots of days before %s are purged: %d.', before, purged)
    WHEN kept_lost + kept_edited + kept_last > 0 THEN printf('No snapshot of a day before %s could go.', before)
    ELSE printf('No snapshot is from a day before %s: nothing to purge.', before)
  END FROM purged;
SELECT printf('Kept because the piece has lost its lines or its header: %d. Run report.sql and audit.sql, then restore.', kept_lost)
  FROM purged WHERE kept_lost > 0;
SELECT printf('Kept because the piece is being edited: %d. They go tomorrow.', kept_edited)
  FROM purged WHERE kept_edited > 0;
