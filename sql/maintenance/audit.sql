-- Compares every guarded piece with its last snapshot and lists each difference that no transaction with Talon made:
-- lost, partial and changed lines, vanished headers, orphaned lines, pieces without a snapshot; and what the checks find
-- that talon_check has declared. Run it after a crash, after an import or a migration by another program, after a repair
-- of the file, or once a week. It reads every piece and every last snapshot, so that it takes a while on a large database;
-- it changes no piece.
--
--     sqlite3 pos.db < sql/maintenance/audit.sql
--
-- Where libtalon is: `.load libtalon` asks the system, which looks in its own library folders (the shell appends .so) and
-- not in the current one. Install it once, `sudo cp libtalon.so /usr/local/lib/ && sudo ldconfig`, or say for this run in
-- which folder it lies, `.` for the current one:
--
--     LD_LIBRARY_PATH=/opt/talon sqlite3 pos.db < sql/maintenance/audit.sql
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

-- One reading: it is the expensive part.
CREATE TEMP TABLE audit AS SELECT * FROM talon_audit;

-- The words of Talon, said as a support person would to the shop, with what to do.
CREATE TEMP TABLE meaning (finding TEXT PRIMARY KEY, severity INTEGER, means TEXT, remedy TEXT);
INSERT INTO meaning VALUES
  ('lost',        1, 'the piece has no line any more',               'report.sql, then restore_all.sql'),
  ('partial',     2, 'fewer or other lines than saved',              'compare with talon_image, restore that snapshot'),
  ('vanished',    3, 'the header is gone, nobody deleted it',        'restore it by a row in talon_restore'),
  ('staged',      4, 'deposited, and none of it was written',        'restore it, or talon_dismiss(kind, piece)'),
  ('orphaned',    5, 'lines whose header is gone',                   'restore the piece, or delete the lines'),
  ('drifted',     6, 'same lines, other values than saved',          'compare with talon_image'),
  ('check',       7, 'the application''s own rule is not kept',       'see the detail, correct the piece'),
  ('unguarded',   8, 'changed while Talon or its triggers were out', 'nothing, if the change was meant'),
  ('unprotected', 9, 'no snapshot until the next edit',              'nothing after a purge, else talon_baseline(kind)');

-- After a purge most pieces are unprotected until somebody edits them: they are only counted, below.
.print
.print FINDINGS
.mode box
SELECT kind, piece, audit.finding, detail
  FROM audit LEFT JOIN meaning USING (finding) WHERE audit.finding <> 'unprotected'
 ORDER BY severity IS NULL, severity, kind, piece;

-- Counted, because a long list is not read to its end.
SELECT audit.finding, count(*) AS pieces, means, remedy AS "what to do"
  FROM audit LEFT JOIN meaning USING (finding) GROUP BY audit.finding ORDER BY severity IS NULL, severity;

.mode list
.headers off
SELECT CASE
    WHEN findings > 0 THEN printf('Findings: %d.', findings)
    WHEN unprotected > 0 THEN 'Nothing else found: every piece that has a snapshot is as it says.'
    ELSE 'Nothing found: every guarded piece is as its last snapshot says.'
  END FROM (SELECT count(*) FILTER (WHERE finding <> 'unprotected') AS findings,
                   count(*) FILTER (WHERE finding = 'unprotected') AS unprotected FROM audit);
