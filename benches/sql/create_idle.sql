-- Triggers as a guard has them, whose condition is never true: what SQLite takes for having them at all.
CREATE TABLE idle_mark(code, key, other);
CREATE TRIGGER idle_piece_inserting BEFORE INSERT ON sale_piece WHEN NEW.number IS NULL
BEGIN INSERT INTO idle_mark VALUES (1, NEW.id, NULL); END;
CREATE TRIGGER idle_piece_inserted AFTER INSERT ON sale_piece WHEN NEW.number IS NULL
BEGIN INSERT INTO idle_mark VALUES (2, NEW.id, NULL); END;
CREATE TRIGGER idle_piece_updating BEFORE UPDATE ON sale_piece WHEN OLD.number IS NULL
BEGIN INSERT INTO idle_mark VALUES (3, OLD.id, NULL); END;
CREATE TRIGGER idle_piece_deleting BEFORE DELETE ON sale_piece WHEN OLD.number IS NULL
BEGIN INSERT INTO idle_mark VALUES (4, OLD.id, NULL); END;
CREATE TRIGGER idle_line_inserting BEFORE INSERT ON sale_line WHEN NEW.sale_id IS NULL
BEGIN INSERT INTO idle_mark VALUES (5, NEW.sale_id, NULL); END;
CREATE TRIGGER idle_line_updating BEFORE UPDATE ON sale_line WHEN OLD.sale_id IS NULL
BEGIN INSERT INTO idle_mark VALUES (6, OLD.sale_id, NEW.sale_id); END;
CREATE TRIGGER idle_line_deleting BEFORE DELETE ON sale_line WHEN OLD.sale_id IS NULL
BEGIN INSERT INTO idle_mark VALUES (7, OLD.sale_id, NULL); END;
