-- The sample shop: what a small trading company keeps in its commercial software. Nothing in it knows Talon.
-- Plain SQL without shell commands, so that a test or another host runs the same text as the sqlite3 shell:
--     sqlite3 shop.db < sql/sample/schema.sql

-- Half a schema helps nobody.
BEGIN;

-- Who buys and who sells. `outstanding_cents` is kept by the application, not computed when read, as most
-- commercial software does: the sum of the validated invoices, credit notes being negative.
CREATE TABLE customers (
  id                INTEGER PRIMARY KEY,
  code              TEXT    NOT NULL UNIQUE,
  name              TEXT    NOT NULL,
  city              TEXT,
  outstanding_cents INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE suppliers (
  id                INTEGER PRIMARY KEY,
  code              TEXT    NOT NULL UNIQUE,
  name              TEXT    NOT NULL,
  city              TEXT,
  outstanding_cents INTEGER NOT NULL DEFAULT 0
);

-- Sold by the piece (`pc`) or by weight (`kg`): quantities are therefore REAL, amounts are whole cents.
CREATE TABLE articles (
  id               INTEGER PRIMARY KEY,
  code             TEXT    NOT NULL UNIQUE,
  name             TEXT    NOT NULL,
  unit             TEXT    NOT NULL CHECK (unit IN ('pc', 'kg')),
  unit_price_cents INTEGER NOT NULL,
  unit_cost_cents  INTEGER NOT NULL,
  vat_percent      REAL    NOT NULL,
  lot_tracked      INTEGER NOT NULL DEFAULT 0 CHECK (lot_tracked IN (0, 1))
);

-- What should be on the shelf: opening + purchase deliveries - sale deliveries - counter sales (an invoice line
-- without an upstream line). Kept by the application.
CREATE TABLE stock (
  article_id       INTEGER PRIMARY KEY REFERENCES articles (id),
  opening_quantity REAL    NOT NULL DEFAULT 0,
  on_hand_quantity REAL    NOT NULL DEFAULT 0
);

-- One header table for all sales, told apart by `stage`. `type` is set where money or goods change direction:
-- F invoice, A credit note (avoir), R return; NULL for a quote, an order, a plain delivery. The three untransformed
-- values say what is still to be turned into the next stage, as sums over the lines: stored, not computed.
-- A subscription lives in this table and is no piece: it is never edited as one, and the guard leaves it out.
CREATE TABLE sale_piece (
  id                           INTEGER PRIMARY KEY,
  number                       TEXT    NOT NULL UNIQUE,
  stage                        TEXT    NOT NULL CHECK (stage IN ('quote', 'order', 'delivery', 'invoice', 'subscription')),
  type                         TEXT    CHECK (type IN ('F', 'A', 'R')),
  date                         TEXT    NOT NULL,
  customer_id                  INTEGER NOT NULL REFERENCES customers (id),
  validated                    INTEGER NOT NULL DEFAULT 0 CHECK (validated IN (0, 1)),
  note                         TEXT,
  total_excl_tax_cents         INTEGER NOT NULL DEFAULT 0,
  total_incl_tax_cents         INTEGER NOT NULL DEFAULT 0,
  untransformed_quantity       REAL    NOT NULL DEFAULT 0,
  untransformed_excl_tax_cents INTEGER NOT NULL DEFAULT 0,
  untransformed_incl_tax_cents INTEGER NOT NULL DEFAULT 0
);

-- quote -> order -> delivery -> invoice: a line knows the line it was made from (`upstream_line_id`), and the upstream
-- line keeps how much of it was turned on: a quoted 10, ordered 6, has 6 transformed and 4 untransformed.
-- The reference to itself is deferred, because many applications save a piece by deleting all its lines and inserting
-- them again in one transaction.
CREATE TABLE sale_line (
  id                     INTEGER PRIMARY KEY,
  piece_id               INTEGER NOT NULL REFERENCES sale_piece (id),
  position               INTEGER NOT NULL,
  article_id             INTEGER NOT NULL REFERENCES articles (id),
  description            TEXT,
  quantity               REAL    NOT NULL,
  unit_price_cents       INTEGER NOT NULL,
  discount_percent       REAL,
  vat_percent            REAL    NOT NULL,
  amount_excl_tax_cents  INTEGER NOT NULL,
  amount_incl_tax_cents  INTEGER NOT NULL,
  upstream_line_id       INTEGER REFERENCES sale_line (id) DEFERRABLE INITIALLY DEFERRED,
  transformed_quantity   REAL    NOT NULL DEFAULT 0,
  untransformed_quantity REAL    NOT NULL DEFAULT 0
);

CREATE TABLE purchase_piece (
  id                   INTEGER PRIMARY KEY,
  number               TEXT    NOT NULL UNIQUE,
  stage                TEXT    NOT NULL CHECK (stage IN ('order', 'delivery', 'invoice')),
  type                 TEXT    CHECK (type IN ('F', 'A', 'R')),
  date                 TEXT    NOT NULL,
  supplier_id          INTEGER NOT NULL REFERENCES suppliers (id),
  validated            INTEGER NOT NULL DEFAULT 0 CHECK (validated IN (0, 1)),
  total_excl_tax_cents INTEGER NOT NULL DEFAULT 0,
  total_incl_tax_cents INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE purchase_line (
  id                    INTEGER PRIMARY KEY,
  piece_id              INTEGER NOT NULL REFERENCES purchase_piece (id),
  position              INTEGER NOT NULL,
  article_id            INTEGER NOT NULL REFERENCES articles (id),
  quantity              REAL    NOT NULL,
  unit_cost_cents       INTEGER NOT NULL,
  vat_percent           REAL    NOT NULL,
  amount_excl_tax_cents INTEGER NOT NULL,
  amount_incl_tax_cents INTEGER NOT NULL
);

-- Lots are recorded while the line is typed, before the piece is saved, so that they survive when the lines are lost
-- and still tell the quantity of each. For the same reason the line is no foreign key: a lot may come before its
-- line and outlive it. Once all is well, the lots of a line add up to its quantity.
CREATE TABLE lots (
  id               INTEGER PRIMARY KEY,
  number           TEXT    NOT NULL,
  article_id       INTEGER NOT NULL REFERENCES articles (id),
  sale_line_id     INTEGER,
  purchase_line_id INTEGER,
  quantity         REAL    NOT NULL,
  expires_on       TEXT,
  CHECK ((sale_line_id IS NULL) <> (purchase_line_id IS NULL))
);

-- Reading one piece's lines must not scan the table: this is also what Talon does at every commit.
CREATE INDEX sale_line_piece ON sale_line (piece_id, position);
CREATE INDEX purchase_line_piece ON purchase_line (piece_id, position);

-- From a line to what was made of it, and from a line to its lots.
CREATE INDEX sale_line_upstream ON sale_line (upstream_line_id) WHERE upstream_line_id IS NOT NULL;
CREATE INDEX lots_sale_line ON lots (sale_line_id) WHERE sale_line_id IS NOT NULL;
CREATE INDEX lots_purchase_line ON lots (purchase_line_id) WHERE purchase_line_id IS NOT NULL;

-- SQLite looks the children up when a parent row goes: without these, deleting a customer or an article scans. What is
-- derived of them (an outstanding amount, a stock) is computed along the same way.
CREATE INDEX sale_piece_customer ON sale_piece (customer_id);
CREATE INDEX purchase_piece_supplier ON purchase_piece (supplier_id);
CREATE INDEX sale_line_article ON sale_line (article_id);
CREATE INDEX purchase_line_article ON purchase_line (article_id);

COMMIT;
