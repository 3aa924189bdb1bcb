-- Says once which stored values of the sample shop must equal what they are derived from, and what must hold before a
-- piece is validated. Needs libtalon loaded and the
-- guards declared:
--     sqlite3 -cmd '.load target/release/libtalon' shop.db < sql/sample/rules.sql
-- Run again, it replaces the definitions. `t` is the row that holds the value, `:piece` the piece that was restored.

-- Upstream chains. What was made of a line is what the lines made from it say together, so that an order made from two
-- quotes and a quote delivered by two orders need nothing of their own. After a restore the lines upstream are looked at,
-- over as many levels as there are (UNION, so that a circle in damaged data ends), and then their headers.
SELECT talon_derive('transformed', json_object(
  'table', 'sale_line', 'column', 'transformed_quantity',
  'value', '(SELECT total(quantity) FROM sale_line WHERE upstream_line_id = t.id)',
  'after_restore', json_object('sale',
    'WITH RECURSIVE upstream(id) AS (
       SELECT upstream_line_id FROM sale_line WHERE piece_id = :piece
       UNION SELECT upstream_line_id FROM upstream JOIN sale_line USING (id))
     SELECT id FROM upstream WHERE id IS NOT NULL'))) AS derived;

SELECT talon_derive('untransformed', json_object(
  'table', 'sale_line', 'column', 'untransformed_quantity',
  'value', 'quantity - transformed_quantity',
  'after_restore', json_object('sale',
    'WITH RECURSIVE upstream(id) AS (
       SELECT upstream_line_id FROM sale_line WHERE piece_id = :piece
       UNION SELECT upstream_line_id FROM upstream JOIN sale_line USING (id))
     SELECT id FROM upstream WHERE id IS NOT NULL'))) AS derived;

-- The headers of the lines above: what is left to be transformed of each piece. A line's amounts are taken in the
-- proportion of what is left of it and rounded a line at a time, as the application does.
WITH headers(name, what) AS (VALUES
  ('untransformed_quantity', 'total(untransformed_quantity)'),
  ('untransformed_excl_tax_cents',
   'coalesce(sum(CAST(round(amount_excl_tax_cents * untransformed_quantity / quantity) AS INTEGER)), 0)'),
  ('untransformed_incl_tax_cents',
   'coalesce(sum(CAST(round(amount_incl_tax_cents * untransformed_quantity / quantity) AS INTEGER)), 0)'))
SELECT talon_derive(name, json_object(
  'table', 'sale_piece', 'column', name,
  'value', '(SELECT ' || what || ' FROM sale_line WHERE piece_id = t.id)',
  'after_restore', json_object('sale',
    'WITH RECURSIVE upstream(id) AS (
       SELECT upstream_line_id FROM sale_line WHERE piece_id = :piece
       UNION SELECT upstream_line_id FROM upstream JOIN sale_line USING (id))
     SELECT DISTINCT piece_id FROM upstream JOIN sale_line USING (id)'))) AS derived
  FROM headers;

-- What customers and suppliers owe and are owed, and what is on the shelf: after a restore the journal says where these
-- differ, but they are corrected in a maintenance window only (talon_repair), when nobody else works.
SELECT talon_derive('customer outstanding', json_object(
  'table', 'customers', 'column', 'outstanding_cents', 'correct', 'repair',
  'value', '(SELECT coalesce(sum(total_incl_tax_cents), 0) FROM sale_piece
              WHERE customer_id = t.id AND stage = ''invoice'' AND validated)',
  'after_restore', json_object('sale', 'SELECT customer_id FROM sale_piece WHERE id = :piece'))) AS derived;

SELECT talon_derive('supplier outstanding', json_object(
  'table', 'suppliers', 'column', 'outstanding_cents', 'correct', 'repair',
  'value', '(SELECT coalesce(sum(total_incl_tax_cents), 0) FROM purchase_piece
              WHERE supplier_id = t.id AND stage = ''invoice'' AND validated)',
  'after_restore', json_object('purchase', 'SELECT supplier_id FROM purchase_piece WHERE id = :piece'))) AS derived;

SELECT talon_derive('stock', json_object(
  'table', 'stock', 'column', 'on_hand_quantity', 'correct', 'repair',
  'value', 'opening_quantity
     + (SELECT total(quantity) FROM purchase_line AS line JOIN purchase_piece AS piece ON piece.id = piece_id
         WHERE line.article_id = t.article_id AND stage = ''delivery'')
     - (SELECT total(quantity) FROM sale_line AS line JOIN sale_piece AS piece ON piece.id = piece_id
         WHERE line.article_id = t.article_id
           AND (stage = ''delivery'' OR (stage = ''invoice'' AND upstream_line_id IS NULL)))',
  'after_restore', json_object(
    'sale', 'SELECT DISTINCT article_id FROM sale_line AS line JOIN sale_piece AS piece ON piece.id = piece_id
              WHERE piece.id = :piece AND stage IN (''delivery'', ''invoice'')',
    'purchase', 'SELECT DISTINCT article_id FROM purchase_line AS line JOIN purchase_piece AS piece ON piece.id = piece_id
                  WHERE piece.id = :piece AND stage = ''delivery'''))) AS derived;

-- Lots are typed before the piece is saved and are none of its lines: a restore never touches them. Where a line came back
-- with another quantity, they tell the right one. Until the line is corrected the audit lists it, and the piece cannot be
-- validated.
SELECT talon_check('sale lots', json_object(
  'kind', 'sale', 'text', 'the lots of a line do not add up to its quantity',
  'query', 'SELECT line.id AS line, line.quantity, total(lots.quantity) AS lots
      FROM sale_piece AS piece JOIN sale_line AS line ON piece_id = piece.id JOIN articles ON articles.id = line.article_id
      LEFT JOIN lots ON sale_line_id = line.id
     WHERE piece.id = :piece AND stage = ''delivery'' AND lot_tracked
     GROUP BY line.id HAVING total(lots.quantity) <> line.quantity',
  'blocks', 'OLD.validated = 0 AND NEW.validated = 1')) AS checked;

SELECT talon_check('purchase lots', json_object(
  'kind', 'purchase', 'text', 'the lots of a line do not add up to its quantity',
  'query', 'SELECT line.id AS line, line.quantity, total(lots.quantity) AS lots
      FROM purchase_piece AS piece JOIN purchase_line AS line ON piece_id = piece.id
      JOIN articles ON articles.id = line.article_id LEFT JOIN lots ON purchase_line_id = line.id
     WHERE piece.id = :piece AND stage = ''delivery'' AND lot_tracked
     GROUP BY line.id HAVING total(lots.quantity) <> line.quantity',
  'blocks', 'OLD.validated = 0 AND NEW.validated = 1')) AS checked;
