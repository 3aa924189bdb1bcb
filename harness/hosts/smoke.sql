CREATE TABLE sale_piece(id INTEGER PRIMARY KEY, number TEXT UNIQUE, total REAL)
CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale_piece(id), label TEXT, quantity REAL, raw BLOB)
CREATE INDEX sale_line_sale ON sale_line(sale_id)
SELECT talon_guard('sale', 'sale_piece', 'sale_line')
SELECT talon_station('host', 'smoke')
BEGIN
INSERT INTO sale_piece VALUES (42, 'S-0042', 30.5)
INSERT INTO sale_line VALUES (1, 42, 'café ☕', 2, x'00ff'), (2, 42, 'filter', 0.1, NULL)
COMMIT
UPDATE sale_line SET quantity = 3 WHERE id = 1
SELECT changes() || ' changed, rowid ' || last_insert_rowid()
BEGIN
DELETE FROM sale_line
ROLLBACK
SELECT 'versions: ' || group_concat(version || ' ' || reason || ' ' || lines, ', ') FROM (SELECT * FROM talon_snapshots WHERE kind = 'sale' AND piece = 42 ORDER BY id)
DELETE FROM sale_line WHERE sale_id = 42
SELECT 'lost: ' || kind || ' ' || piece || ' ' || number || ', ' || saved_lines || ' lines, restorable ' || restorable FROM talon_lost
INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost
SELECT 'restore: ' || outcome || ' ' || lines || ' by ' || station FROM talon_restore
SELECT 'lines: ' || group_concat(quote(label) || ' ' || quote(quantity) || ' ' || quote(raw), ', ') FROM sale_line
DELETE FROM sale_line WHERE sale_id = 42
SELECT 'all: ' || talon_restore_all('sale')
SELECT 'findings: ' || count(*) FROM talon_audit
INSERT INTO talon_purge(before) VALUES ('2999-01-01')
SELECT 'purged: ' || purged || ', left: ' || (SELECT count(*) FROM talon_snapshots) FROM talon_purge
SELECT 'integrity: ' || integrity_check FROM pragma_integrity_check
