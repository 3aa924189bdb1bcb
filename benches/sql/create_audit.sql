-- The peer that most projects write themselves: a row with every column, old and new, for each changed row.
-- Its index is what finds the history of a row again.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  tbl TEXT NOT NULL,
  op TEXT NOT NULL,
  key INTEGER NOT NULL,
  at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
  old TEXT,
  new TEXT
);
CREATE INDEX peer_index ON audit(tbl, key);
CREATE TRIGGER audit_sale_piece_insert AFTER INSERT ON sale_piece BEGIN
  INSERT INTO audit(tbl, op, key, old, new) VALUES ('sale_piece', 'INSERT', NEW.id,
    NULL,
    json_object('id', NEW.id, 'number', NEW.number, 'date', NEW.date, 'customer_id', NEW.customer_id,
      'seller_id', NEW.seller_id, 'type', NEW.type, 'total', NEW.total, 'validated', NEW.validated,
      'payment', NEW.payment, 'note', NEW.note));
END;
CREATE TRIGGER audit_sale_piece_update AFTER UPDATE ON sale_piece BEGIN
  INSERT INTO audit(tbl, op, key, old, new) VALUES ('sale_piece', 'UPDATE', NEW.id,
    json_object('id', OLD.id, 'number', OLD.number, 'date', OLD.date, 'customer_id', OLD.customer_id,
      'seller_id', OLD.seller_id, 'type', OLD.type, 'total', OLD.total, 'validated', OLD.validated,
      'payment', OLD.payment, 'note', OLD.note),
    json_object('id', NEW.id, 'number', NEW.number, 'date', NEW.date, 'customer_id', NEW.customer_id,
      'seller_id', NEW.seller_id, 'type', NEW.type, 'total', NEW.total, 'validated', NEW.validated,
      'payment', NEW.payment, 'note', NEW.note));
END;
CREATE TRIGGER audit_sale_piece_delete AFTER DELETE ON sale_piece BEGIN
  INSERT INTO audit(tbl, op, key, old, new) VALUES ('sale_piece', 'DELETE', OLD.id,
    json_object('id', OLD.id, 'number', OLD.number, 'date', OLD.date, 'customer_id', OLD.customer_id,
      'seller_id', OLD.seller_id, 'type', OLD.type, 'total', OLD.total, 'validated', OLD.validated,
      'payment', OLD.payment, 'note', OLD.note),
    NULL);
END;
CREATE TRIGGER audit_sale_line_insert AFTER INSERT ON sale_line BEGIN
  INSERT INTO audit(tbl, op, key, old, new) VALUES ('sale_line', 'INSERT', NEW.id,
    NULL,
    json_object('id', NEW.id, 'sale_id', NEW.sale_id, 'position', NEW.position, 'article_id', NEW.article_id,
      'label', NEW.label, 'quantity', NEW.quantity, 'unit_price', NEW.unit_price, 'discount', NEW.discount,
      'tax_rate', NEW.tax_rate, 'total', NEW.total));
END;
CREATE TRIGGER audit_sale_line_update AFTER UPDATE ON sale_line BEGIN
  INSERT INTO audit(tbl, op, key, old, new) VALUES ('sale_line', 'UPDATE', NEW.id,
    json_object('id', OLD.id, 'sale_id', OLD.sale_id, 'position', OLD.position, 'article_id', OLD.article_id,
      'label', OLD.label, 'quantity', OLD.quantity, 'unit_price', OLD.unit_price, 'discount', OLD.discount,
      'tax_rate', OLD.tax_rate, 'total', OLD.total),
    json_object('id', NEW.id, 'sale_id', NEW.sale_id, 'position', NEW.position, 'article_id', NEW.article_id,
      'label', NEW.label, 'quantity', NEW.quantity, 'unit_price', NEW.unit_price, 'discount', NEW.discount,
      'tax_rate', NEW.tax_rate, 'total', NEW.total));
END;
CREATE TRIGGER audit_sale_line_delete AFTER DELETE ON sale_line BEGIN
  INSERT INTO audit(tbl, op, key, old, new) VALUES ('sale_line', 'DELETE', OLD.id,
    json_object('id', OLD.id, 'sale_id', OLD.sale_id, 'position', OLD.position, 'article_id', OLD.article_id,
      'label', OLD.label, 'quantity', OLD.quantity, 'unit_price', OLD.unit_price, 'discount', OLD.discount,
      'tax_rate', OLD.tax_rate, 'total', OLD.total),
    NULL);
END;
