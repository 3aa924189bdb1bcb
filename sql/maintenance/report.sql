-- The report of pieces without lines: which there are, what a restore would bring back, which pieces are open and which
-- were deposited and never written, what was restored and purged last, and how the guards are. Run it when a till reports
-- an empty piece, after a crash, or every morning. It changes no piece; restore_all.sql does.
--
--     sqlite3 pos.db < sql/maintenance/report.sql
--
-- Where libtalon is: `.load libtalon` asks the system, which looks in its own library folders (the shell appends .so) and
-- not in the current one. Install it once, `sudo cp libtalon.so /usr/local/lib/ && sudo ldconfig`, or say for this run in
-- which folder it lies, `.` for the current one:
--
--     LD_LIBRARY_PATH=/opt/talon sqlite3 pos.db < sql/maintenance/report.sql
--
-- The list is also written as CSV, for whatever reads that, to lost_pieces.csv in the current folder (empty where nothing is
-- lost). Where there is a desktop, TALON_SPREADSHEET=1 in front of the command opens it in a spreadsheet as well.
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

-- One reading, so that the list and the sentence below it cannot differ. `validated` stays empty for a kind whose guard
-- does not say what that is.
CREATE TEMP TABLE lost AS SELECT * FROM talon_lost;

.print
.print PIECES WITHOUT LINES
.mode box
SELECT kind, piece, number, date, party, type, iif(validated IS NULL, NULL, iif(validated, 'yes', 'no')) AS validated,
       lost_at, saved_at, saved_lines, iif(restorable, 'yes', 'no') AS restorable
  FROM lost ORDER BY kind, date, number;

.mode list
.headers off
SELECT CASE
    WHEN count(*) = 0 THEN 'No piece has lost its lines.'
    ELSE printf('Without lines: %d. Of these, restore_all.sql can restore: %d.', count(*), sum(iif(restorable, 1, 0)))
         || char(10) || 'A piece that is empty on purpose leaves this list with SELECT talon_dismiss(kind, piece).'
  END FROM lost;

-- Deposits that wait are pieces that somebody typed in and nobody has seen since.
.print
.print DEPOSITED, NEVER WRITTEN
.mode box
.headers on
SELECT kind, piece, detail FROM talon_audit WHERE finding = 'staged' ORDER BY kind, piece;
.mode list
.headers off
SELECT 'None.' WHERE NOT EXISTS (SELECT 1 FROM talon_audit WHERE finding = 'staged');

-- Nobody else restores these, and no purge takes their snapshots.
.print
.print OPEN ON A STATION
.mode box
.headers on
SELECT kind, piece, number, station, user, since, age_s / 60 AS minutes, iif(deleted, 'yes', 'no') AS deleted
  FROM talon_edits ORDER BY since;
.mode list
.headers off
SELECT CASE count(*)
    WHEN 0 THEN 'None.'
    ELSE 'That of a station that died is freed with SELECT talon_edit_release(kind, piece).'
  END FROM talon_edits;

-- What was done before now: the first question when a piece is back, or is not.
.print
.print LAST RESTORES
.mode box
.headers on
SELECT at, kind, piece, lines, outcome, note, station, user FROM talon_restore WHERE NOT dry_run ORDER BY id DESC LIMIT 10;
.mode list
.headers off
SELECT 'Nothing was ever restored.' WHERE NOT EXISTS (SELECT 1 FROM talon_restore WHERE NOT dry_run);

.print
.print LAST PURGES
.mode box
.headers on
SELECT at, before, purged, kept_lost, kept_edited, kept_last, note, station FROM talon_purge ORDER BY id DESC LIMIT 5;
.mode list
.headers off
SELECT 'Nothing was ever purged.' WHERE NOT EXISTS (SELECT 1 FROM talon_purge);

-- A guard with missing triggers or waiting marks explains why a piece has no snapshot: audit.sql tells which.
.print
.print GUARDS
.mode line
SELECT kind, header, lines, details, pieces, snapshots, bytes, triggers, marks, suspect_since, advice FROM talon_guards;

-- Last, because the folder may not be one to write in. A byte-order mark tells a spreadsheet that the text is UTF-8.
CREATE TEMP VIEW list AS
  SELECT kind, piece, number, date, saved_at, party, type,
         iif(validated IS NULL, NULL, iif(validated, 'yes', 'no')) AS validated, saved_lines,
         iif(restorable, 'yes', 'no') AS restorable
    FROM lost ORDER BY kind, date, number;
.mode csv
.headers on
.once --bom lost_pieces.csv
SELECT * FROM list;
.read '| [ -z "$TALON_SPREADSHEET" ] || echo ".once --bom -x" && [ -z "$TALON_SPREADSHEET" ] || echo "SELECT * FROM list;"'
