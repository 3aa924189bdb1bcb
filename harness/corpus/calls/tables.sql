SELECT * FROM talon_image WHERE snapshot = 1 AND part = 'lines'; SELECT * FROM talon_lost WHERE kind = 'sale' AND piece = 42;
SELECT * FROM talon_snapshots WHERE schema = 'main' AND id BETWEEN -1 AND 9e999; SELECT * FROM talon_edits WHERE age_s > 1;
INSERT INTO talon_restore(kind, piece, snapshot, dry_run) VALUES ('sale', 42, 1, 1); SELECT * FROM talon_audit WHERE piece = x'2a';
INSERT INTO talon_purge(before, keep_last) VALUES ('2026-01-01', 1); DELETE FROM talon_lost; UPDATE talon_restore SET piece = 1;
SELECT * FROM talon_gaps WHERE name = 'r'; SELECT date('talon', 1, 1, 42), talon_row(1, 2, 3); ATTACH ':memory:' AS other;
SELECT talon_guard('sale', 'sale_piece', 'sale_line', 'other');
SELECT * FROM talon_tables WHERE kind = 'sale' AND version > 0;
