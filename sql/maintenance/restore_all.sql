-- Gives all pieces that have lost their lines their lines back, from the newest snapshot that has some, and their headers
-- as they were saved with them. Run it after report.sql has shown the list, and best while nobody works in the
-- application. Pieces that have lines are not touched. Run again, it finds nothing to do.
--
--     sqlite3 pos.db < sql/maintenance/restore_all.sql
--
-- Where libtalon is: `.load libtalon` asks the system, which looks in its own library folders (the shell appends .so) and
-- not in the current one. Install it once, `sudo cp libtalon.so /usr/local/lib/ && sudo ldconfig`, or say for this run in
-- which folder it lies, `.` for the current one:
--
--     LD_LIBRARY_PATH=/opt/talon sqlite3 pos.db < sql/maintenance/restore_all.sql
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

-- The journal says who did it.
CREATE TEMP TABLE station AS SELECT talon_station('maintenance', 'restore_all.sql');

-- Fixed before the first restore: what is shown is what is restored. The journal is long: what comes after its present
-- end is ours.
CREATE TEMP TABLE lost AS SELECT * FROM talon_lost;
CREATE TEMP TABLE journal_end AS SELECT coalesce(max(id), 0) AS id FROM talon_restore;

-- Committed every 100 pieces: other stations are let in between, the journal can be watched from another connection, and
-- after Ctrl-C, an error or a power cut a second run does the rest. A piece that cannot be restored is told in the journal
-- and the others go on.
.print
.print RESTORING
.mode list
.headers off
SELECT talon_restore_all();

.print
.print RESTORED NOW
.mode box
.headers on
SELECT journal.kind, journal.piece, number, date, party, lines, outcome, note
  FROM talon_restore AS journal LEFT JOIN lost ON lost.kind = journal.kind AND lost.piece = journal.piece
 WHERE journal.id > (SELECT id FROM journal_end) ORDER BY journal.id;

-- Asked again rather than counted from the outcomes: what matters is what is empty now.
CREATE TEMP TABLE still_lost AS SELECT * FROM talon_lost;

.mode list
.headers off
SELECT CASE
    WHEN was = 0 THEN 'No piece has lost its lines: nothing to restore.'
    WHEN remain = 0 THEN printf('Pieces that had lost their lines: %d. All have them back, as they were saved.', was)
    ELSE printf('Pieces that had lost their lines: %d. Have them back: %d. The others are listed below: their note',
                was, was - remain)
         || char(10) || 'above says why, or no sound snapshot of them is left and their lines must be typed in again.'
  END FROM (SELECT (SELECT count(*) FROM lost) AS was, (SELECT count(*) FROM still_lost) AS remain);

-- Values come back as saved. What other rows keep of them is looked at as far as talon_derive has declared it: some was
-- corrected (the notes above say so), the rest is for repair.sql.
CREATE TEMP TABLE checked AS SELECT name FROM talon_rules WHERE type = 'derived' AND problem IS NULL;
SELECT CASE
    WHEN declared = 0 THEN 'Values come back as saved. No derived value is declared (talon_derive): check outstanding amounts and stock now.'
    WHEN differ = 0 THEN 'Values come back as saved, and those that are derived from them are what they should be.'
    ELSE printf('Values come back as saved. Derived values that differ: %d. gaps.sql lists them, repair.sql corrects them when nobody works.', differ)
  END
  FROM (SELECT (SELECT count(*) FROM checked) AS declared,
               (SELECT count(*) FROM checked CROSS JOIN talon_gaps AS gap ON gap.name = checked.name) AS differ)
 WHERE (SELECT count(*) FROM lost) > (SELECT count(*) FROM still_lost);
SELECT 'ATTENTION: ' || name || ' is not compared, its definition does not fit any more: ' || problem
  FROM talon_rules WHERE type = 'derived' AND problem IS NOT NULL;

.mode box
.headers on
SELECT kind, piece, number, date, party, saved_at, saved_lines, iif(restorable, 'yes', 'no') AS restorable
  FROM still_lost ORDER BY kind, date, number;
