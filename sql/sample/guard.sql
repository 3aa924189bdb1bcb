-- Says once which tables hold the sample shop's pieces, and takes a first snapshot of each. Needs libtalon loaded:
--     sqlite3 -cmd '.load target/release/libtalon' shop.db < sql/sample/guard.sql
-- Run again, it replaces the definitions and keeps the snapshots.

-- Keys, foreign key and indexes are read from the schema. What the schema cannot say: that a subscription is no piece,
-- in which order lines are shown, and how a report should name a piece to a person (`h` is the header's row).
SELECT talon_guard('sale', json_object(
  'header', json_object(
    'table', 'sale_piece',
    'where', 'h.stage <> ''subscription''',
    'labels', json_object(
      'number', 'h.number',
      'date', 'h.date',
      'party', '(SELECT name FROM customers WHERE id = h.customer_id)',
      'type', 'h.type',
      'validated', 'h.validated')),
  'lines', json_object('table', 'sale_line', 'piece', 'piece_id', 'order', 'position'))) AS guarded;

SELECT talon_guard('purchase', json_object(
  'header', json_object(
    'table', 'purchase_piece',
    'labels', json_object(
      'number', 'h.number',
      'date', 'h.date',
      'party', '(SELECT name FROM suppliers WHERE id = h.supplier_id)',
      'type', 'h.type',
      'validated', 'h.validated')),
  'lines', json_object('table', 'purchase_line', 'piece', 'piece_id', 'order', 'position'))) AS guarded;

-- The pieces that were there before Talon have no snapshot until they are next changed: without a baseline, what they
-- lose before that is lost.
SELECT talon_baseline('sale') AS sales_saved, talon_baseline('purchase') AS purchases_saved;
