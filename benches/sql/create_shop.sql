-- What a till keeps of a sale: a header and its lines, keys and index as most such programs have them.
CREATE TABLE sale_piece (
  id INTEGER PRIMARY KEY,
  number TEXT NOT NULL,
  date TEXT NOT NULL,
  customer_id INTEGER,
  seller_id INTEGER,
  type TEXT NOT NULL,
  total REAL NOT NULL,
  validated INTEGER NOT NULL DEFAULT 0,
  payment TEXT,
  note TEXT
);
CREATE TABLE sale_line (
  id INTEGER PRIMARY KEY,
  sale_id INTEGER NOT NULL REFERENCES sale_piece(id),
  position INTEGER NOT NULL,
  article_id INTEGER,
  label TEXT,
  quantity REAL,
  unit_price REAL,
  discount REAL,
  tax_rate REAL,
  total REAL
);
CREATE INDEX sale_line_sale_id ON sale_line(sale_id);
