-- Fills the sample shop with N pieces, the same ones every time: 4 of 5 are sales, 1 of 5 is a purchase.
-- Plain SQL without shell commands. N is 1000 unless it is said in one of two ways:
--     sqlite3 -cmd '.parameter set @pieces 100000' shop.db < sql/sample/generate.sql
--     CREATE TEMP TABLE shop_size AS SELECT 100000 AS pieces;    -- on the same connection, from any host
-- (Outside the shell nobody binds @pieces, and an unbound parameter is NULL.)

CREATE TEMP TABLE IF NOT EXISTS shop_size (pieces INTEGER NOT NULL);
INSERT INTO shop_size SELECT coalesce(@pieces, 1000) WHERE NOT EXISTS (SELECT 1 FROM shop_size);

-- How many of each, in one place: every table below counts against this row.
CREATE TEMP TABLE shop_counts AS
  SELECT pieces - pieces / 5      AS sales,
         pieces / 5               AS purchases,
         max(10, pieces / 20)     AS customers,
         max(5, pieces / 100)     AS suppliers,
         min(5000, max(20, pieces / 10)) AS articles
    FROM shop_size;

-- Eleven sale pieces that repeat: a chain that went all the way, one that stopped at the order, a quote nobody took,
-- a counter sale, a credit note, a return, a subscription. `chain_slot` is where the chain began, `upstream_slot` the
-- piece that this one was made from, `downstream_slot` the one made from it. `sign` is -1 where goods come back: a
-- credit note's and a return's quantities are negative, so that sums need no cases.
CREATE TEMP TABLE shop_slots (
  slot INTEGER PRIMARY KEY, stage TEXT, type TEXT, prefix TEXT,
  chain_slot INTEGER, upstream_slot INTEGER, downstream_slot INTEGER, sign INTEGER, validated INTEGER);
INSERT INTO shop_slots VALUES
  ( 0, 'quote',        NULL, 'Q', 0,  NULL, 1,     1, 0),
  ( 1, 'order',        NULL, 'O', 0,  0,    2,     1, 1),
  ( 2, 'delivery',     NULL, 'D', 0,  1,    3,     1, 1),
  ( 3, 'invoice',      'F',  'F', 0,  2,    NULL,  1, 1),
  ( 4, 'quote',        NULL, 'Q', 4,  NULL, 5,     1, 0),
  ( 5, 'order',        NULL, 'O', 4,  4,    NULL,  1, 0),
  ( 6, 'quote',        NULL, 'Q', 6,  NULL, NULL,  1, 0),
  ( 7, 'invoice',      'F',  'F', 7,  NULL, NULL,  1, 1),
  ( 8, 'invoice',      'A',  'A', 8,  NULL, NULL, -1, 1),
  ( 9, 'delivery',     'R',  'R', 9,  NULL, NULL, -1, 1),
  (10, 'subscription', NULL, 'S', 10, NULL, NULL,  1, 0);

-- Purchases: order, delivery, invoice, and now and then a return to the supplier.
CREATE TEMP TABLE purchase_slots (
  slot INTEGER PRIMARY KEY, stage TEXT, type TEXT, prefix TEXT, sign INTEGER, validated INTEGER);
INSERT INTO purchase_slots VALUES
  (0, 'order',    NULL, 'PO', 1, 0), (1, 'delivery', NULL, 'PD', 1, 1), (2, 'invoice',  'F',  'PF', 1, 1),
  (3, 'order',    NULL, 'PO', 1, 1), (4, 'delivery', NULL, 'PD', 1, 1), (5, 'invoice',  'F',  'PF', 1, 0),
  (6, 'delivery', 'R',  'PR', -1, 1);

-- All of it or nothing: a shop cut short would look like the losses that the sample is about.
BEGIN;

WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i, shop_counts WHERE id < customers),
  trade(k, name) AS (VALUES (0, 'Boulangerie'), (1, 'L''Épicerie'), (2, 'Garage'), (3, 'Café'), (4, 'Pharmacie'),
    (5, 'Librairie'), (6, 'Menuiserie')),
  family(k, name) AS (VALUES (0, 'Martin'), (1, 'd''Angelo'), (2, 'Lefèvre'), (3, 'Nguyễn'), (4, 'da Silva'),
    (5, 'O''Brien'), (6, 'Müller'), (7, 'Petit'), (8, 'Żak'), (9, 'Ó Briain'), (10, 'Roux')),
  town(k, name) AS (VALUES (0, 'Lyon'), (1, 'Porto'), (2, 'Liège'), (3, 'Genève'), (4, NULL))
INSERT INTO customers (id, code, name, city)
  SELECT id, printf('C%05d', id), trade.name || ' ' || family.name, town.name
    FROM i CROSS JOIN trade ON trade.k = id % 7 CROSS JOIN family ON family.k = id % 11 CROSS JOIN town ON town.k = id % 5;

WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i, shop_counts WHERE id < suppliers),
  firm(k, name) AS (VALUES (0, 'Minoterie du Rhône'), (1, 'Grossiste "Le Bon Prix"'), (2, 'Vins & Cie'),
    (3, 'Papeterie Générale'))
INSERT INTO suppliers (id, code, name, city)
  SELECT id, printf('S%04d', id), firm.name || ' ' || id, iif(id % 3 = 0, NULL, 'Marseille')
    FROM i CROSS JOIN firm ON firm.k = id % 4;

WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i, shop_counts WHERE id < articles),
  good(k, name, unit, vat_percent) AS (VALUES (0, 'Flour', 'kg', 5.5), (1, 'Crate', 'pc', 20.0), (2, 'Cheese', 'kg', 5.5),
    (3, 'Notebook', 'pc', 20.0), (4, 'Wine', 'pc', 20.0), (5, 'Meal', 'pc', 10.0))
INSERT INTO articles (id, code, name, unit, unit_price_cents, unit_cost_cents, vat_percent, lot_tracked)
  SELECT id, printf('A%05d', id), good.name || ' no. ' || id, unit,
         199 + id * 7919 % 5000, (199 + id * 7919 % 5000) * 6 / 10, vat_percent, id % 4 = 0
    FROM i CROSS JOIN good ON good.k = id % 6;

INSERT INTO stock (article_id, opening_quantity) SELECT id, 10000 FROM articles;

-- Headers first, with zero totals: they are the sums of lines that do not exist yet. A chain is one customer's, a few
-- days from stage to stage.
WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i, shop_counts WHERE id < sales)
INSERT INTO sale_piece (id, number, stage, type, date, customer_id, validated, note)
  SELECT i.id, printf('%s%07d', prefix, i.id), stage, type,
         date('2026-01-02', ((i.id - 1) / 11 * 7919 % 300 + slot * 3) || ' days'),
         1 + ((i.id - 1) / 11 + chain_slot) * 31 % customers,
         validated, iif(i.id % 9 = 0, 'Deliver before 8 o''clock', NULL)
    FROM i, shop_counts CROSS JOIN shop_slots ON slot = (i.id - 1) % 11
   WHERE sales > 0;

WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i, shop_counts WHERE id < purchases)
INSERT INTO purchase_piece (id, number, stage, type, date, supplier_id, validated)
  SELECT i.id, printf('%s%07d', prefix, i.id), stage, type, date('2026-01-01', (i.id * 104729 % 320) || ' days'),
         1 + i.id * 17 % suppliers, validated
    FROM i, shop_counts CROSS JOIN purchase_slots ON slot = (i.id - 1) % 7
   WHERE purchases > 0;

-- Lines: 1 to 12 a piece, the same number along a chain (`seed` is the chain's first piece). A line's key is its piece's
-- times 100 plus its position, so that the line upstream is found by arithmetic and rows are appended in key order.
-- Quantities: a quote asks 4 to 12, the order takes six tenths of it (10 becomes 6), the delivery now and then leaves
-- one out, the invoice follows the delivery; one or two come back. What is sold by weight has eighths of a kilogram: exact
-- in binary, so that sums in any order are equal. What was transformed is the next stage's quantity, if that piece exists.
-- CROSS JOIN, here and below, keeps SQLite to the order of the loops as written, which is the order of the keys.
WITH RECURSIVE position(position) AS (SELECT 1 UNION ALL SELECT position + 1 FROM position WHERE position < 12),
  piece AS MATERIALIZED (
    SELECT p.id, slot, sign, upstream_slot,
           p.id - slot + chain_slot AS seed,
           downstream_slot IS NOT NULL AND p.id + downstream_slot - slot <= sales AS is_transformed
      FROM sale_piece AS p, shop_counts CROSS JOIN shop_slots ON slot = (p.id - 1) % 11),
  chosen AS (
    SELECT piece.id, position, slot, sign, upstream_slot, is_transformed,
           1 + (seed * 131 + position * 37) % articles AS article_id,
           4 + (seed * 7 + position * 5) % 9 AS asked,
           (seed * 3 + position) % 8 / 8.0 AS eighths,
           (seed + position) % 5 = 0 AS leaves_one_out,
           iif((seed + position * 3) % 7 = 0, 10.0, NULL) AS discount_percent
      FROM piece, shop_counts CROSS JOIN position
     WHERE position <= 1 + seed * 5 % 12),
  quantities AS (
    SELECT chosen.*, articles.name, unit_price_cents, vat_percent,
           asked + iif(unit = 'kg', eighths, 0.0) AS quoted,
           asked * 6 / 10 + iif(unit = 'kg', eighths, 0.0) AS ordered,
           asked * 6 / 10 + iif(unit = 'kg', eighths, 0.0) - leaves_one_out AS delivered,
           1 + asked % 2 + iif(unit = 'kg', eighths, 0.0) AS returned
      FROM chosen CROSS JOIN articles ON articles.id = article_id),
  transformed AS (
    SELECT *,
           sign * CASE WHEN sign < 0 THEN returned WHEN slot IN (1, 5) THEN ordered WHEN slot IN (2, 3) THEN delivered
                       ELSE quoted END AS quantity,
           CASE WHEN NOT is_transformed THEN 0.0 WHEN slot IN (0, 4) THEN ordered
                ELSE delivered END AS transformed_quantity
      FROM quantities),
  priced AS (
    SELECT *, CAST(round(quantity * unit_price_cents * (1 - coalesce(discount_percent, 0) / 100)) AS INTEGER)
                AS excl_tax_cents
      FROM transformed)
INSERT INTO sale_line (id, piece_id, position, article_id, description, quantity, unit_price_cents, discount_percent,
                       vat_percent, amount_excl_tax_cents, amount_incl_tax_cents, upstream_line_id,
                       transformed_quantity, untransformed_quantity)
  SELECT id * 100 + position, id, position, article_id, iif(position % 4 = 0, NULL, name), quantity, unit_price_cents,
         discount_percent, vat_percent, excl_tax_cents,
         CAST(round(excl_tax_cents * (1 + vat_percent / 100)) AS INTEGER),
         iif(upstream_slot IS NULL, NULL, (id + upstream_slot - slot) * 100 + position),
         transformed_quantity, quantity - transformed_quantity
    FROM priced;

WITH RECURSIVE position(position) AS (SELECT 1 UNION ALL SELECT position + 1 FROM position WHERE position < 20),
  bought AS (
    SELECT p.id, position, articles.id AS article_id, unit_cost_cents, vat_percent,
           sign * (20 + (p.id * 11 + position * 3) % 80 + iif(unit = 'kg', 0.5, 0.0)) AS quantity
      FROM purchase_piece AS p, shop_counts CROSS JOIN purchase_slots ON slot = (p.id - 1) % 7
     CROSS JOIN position CROSS JOIN articles ON articles.id = 1 + (p.id * 59 + position * 41) % articles
     WHERE position <= 1 + p.id * 7 % 20),
  priced AS (SELECT *, CAST(round(quantity * unit_cost_cents) AS INTEGER) AS excl_tax_cents FROM bought)
INSERT INTO purchase_line (id, piece_id, position, article_id, quantity, unit_cost_cents, vat_percent,
                           amount_excl_tax_cents, amount_incl_tax_cents)
  SELECT id * 100 + position, id, position, article_id, quantity, unit_cost_cents, vat_percent, excl_tax_cents,
         CAST(round(excl_tax_cents * (1 + vat_percent / 100)) AS INTEGER)
    FROM priced;

-- Lots, where goods of a tracked article move: the quantity is the line's. Most lots expire.
INSERT INTO lots (number, article_id, purchase_line_id, quantity, expires_on)
  SELECT printf('L%05d-%d', article_id, line.id), article_id, line.id, quantity,
         iif(line.id % 3 = 0, NULL, date(date, '1 year'))
    FROM purchase_piece AS piece CROSS JOIN purchase_line AS line ON piece_id = piece.id
    JOIN articles ON articles.id = article_id
   WHERE stage = 'delivery' AND lot_tracked;
INSERT INTO lots (number, article_id, sale_line_id, quantity, expires_on)
  SELECT printf('L%05d-%d', article_id, line.id), article_id, line.id, quantity,
         iif(line.id % 3 = 0, NULL, date(date, '1 year'))
    FROM sale_piece AS piece CROSS JOIN sale_line AS line ON piece_id = piece.id
    JOIN articles ON articles.id = article_id
   WHERE stage = 'delivery' AND lot_tracked;

-- What is derived from the lines, now that they are there. A header's untransformed amounts are the lines' amounts in
-- the proportion of what is left of each, rounded a line at a time.
UPDATE sale_piece SET
    (total_excl_tax_cents, total_incl_tax_cents, untransformed_quantity,
     untransformed_excl_tax_cents, untransformed_incl_tax_cents) =
    (SELECT sum(amount_excl_tax_cents), sum(amount_incl_tax_cents), sum(untransformed_quantity),
            sum(CAST(round(amount_excl_tax_cents * untransformed_quantity / quantity) AS INTEGER)),
            sum(CAST(round(amount_incl_tax_cents * untransformed_quantity / quantity) AS INTEGER))
       FROM sale_line WHERE piece_id = sale_piece.id);
UPDATE purchase_piece SET
    (total_excl_tax_cents, total_incl_tax_cents) =
    (SELECT sum(amount_excl_tax_cents), sum(amount_incl_tax_cents) FROM purchase_line WHERE piece_id = purchase_piece.id);

UPDATE customers SET outstanding_cents = coalesce(
    (SELECT sum(total_incl_tax_cents) FROM sale_piece
      WHERE customer_id = customers.id AND stage = 'invoice' AND validated), 0);
UPDATE suppliers SET outstanding_cents = coalesce(
    (SELECT sum(total_incl_tax_cents) FROM purchase_piece
      WHERE supplier_id = suppliers.id AND stage = 'invoice' AND validated), 0);

-- Summed once over all lines: a sum an article would scan the lines for each.
WITH moved(article_id, quantity) AS (
    SELECT article_id, sum(quantity) FROM (
      SELECT article_id, quantity FROM purchase_line AS line JOIN purchase_piece AS piece ON piece.id = piece_id
       WHERE stage = 'delivery'
      UNION ALL
      SELECT article_id, -quantity FROM sale_line AS line JOIN sale_piece AS piece ON piece.id = piece_id
       WHERE stage = 'delivery' OR (stage = 'invoice' AND upstream_line_id IS NULL))
     GROUP BY article_id)
UPDATE stock SET on_hand_quantity = opening_quantity + coalesce(
    (SELECT quantity FROM moved WHERE moved.article_id = stock.article_id), 0);

COMMIT;

DROP TABLE purchase_slots;
DROP TABLE shop_slots;
DROP TABLE shop_counts;
DROP TABLE shop_size;
