-- The morning's routine, for a shop whose application does not call talon_daily itself: the first run of a calendar day looks
-- for pieces that have lost their lines and removes the snapshots of the days before, except those of lost pieces and of
-- pieces that a station has open; a later run of the day only reports. Run it at the first start of the day, or by a timer. It
-- changes no piece; report.sql shows the list, restore_all.sql gives the lines back.
--
--     sqlite3 pos.db < sql/maintenance/daily.sql
--
-- Where libtalon is: `.load libtalon` asks the system, which looks in its own library folders (the shell appends .so) and
-- not in the current one. Install it once, `sudo cp libtalon.so /usr/local/lib/ && sudo ldconfig`, or say for this run in
-- which folder it lies, `.` for the current one:
--
--     LD_LIBRARY_PATH=/opt/talon sqlite3 pos.db < sql/maintenance/daily.sql
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

-- The journal of purges says who did it.
CREATE TEMP TABLE station AS SELECT talon_station('maintenance', 'daily.sql');

.mode list
.headers off
WITH answer AS MATERIALIZED (SELECT talon_daily() AS json)
SELECT printf('Day %s%s: snapshots removed: %d, kept for lost pieces: %d, for pieces that are open: %d.',
              json ->> 'day', iif(json ->> 'ran', '', ', done before'),
              json ->> 'purged', json ->> 'kept_lost', json ->> 'kept_edited')
    || coalesce(char(10) || 'ATTENTION: ' || (json ->> 'note'), '')
    || char(10)
    || iif(json ->> 'lost' = 0, 'No piece has lost its lines.',
           printf('Pieces without lines: %d. report.sql lists them.', json ->> 'lost'))
  FROM answer;
-- An edit of another day is mostly a station that died: nobody else may restore what it has open.
SELECT printf('%s %s is open at %s by %s since %s: if nobody works on it, SELECT talon_edit_release(''%s'', %s);',
              kind, piece, station, coalesce(user, ''), since, kind, quote(piece))
  FROM talon_edits WHERE substr(since, 1, 10) < substr(talon_clock(), 1, 10);
