//! The tables that every site has, and what is declared about them.

/// Central first, then the remote ones.
pub const SITES: [&str; 6] = ["ASOC", "BSOC", "CSOC", "DSOC", "ESOC", "FSOC"];

pub const SCHEMA: &str = "
CREATE TABLE customer(id INTEGER PRIMARY KEY, tag TEXT NOT NULL, name TEXT, address TEXT, phone TEXT);
CREATE TABLE article(id INTEGER PRIMARY KEY, tag TEXT NOT NULL, label TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, tag TEXT NOT NULL, rev TEXT, lines INTEGER,
  customer_id INTEGER REFERENCES customer(id));
CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id), tag TEXT NOT NULL, rev TEXT,
  quantity REAL, article_id INTEGER REFERENCES article(id), upstream_id INTEGER REFERENCES sale_line(id));
CREATE INDEX sale_line_sale ON sale_line(sale_id);
CREATE INDEX sale_line_upstream ON sale_line(upstream_id);
CREATE TABLE closing(id INTEGER PRIMARY KEY, tag TEXT NOT NULL, rev TEXT);";

pub const DECLARATIONS: [&str; 4] = [
    r#"SELECT talon_track('customer', '{"record":{"table":"customer"},"sync":"customer"}')"#,
    r#"SELECT talon_track('article', '{"record":{"table":"article"},"sync":"article"}')"#,
    r#"SELECT talon_track('closing', '{"record":{"table":"closing"},"sync":"till"}')"#,
    r#"SELECT talon_guard('sale', '{"header":{"table":"sale"},"lines":{"table":"sale_line"},"sync":"piece"}')"#,
];

/// What a site holds, by document, in words that mean the same at every site: keys differ, tags do not.
pub const CONTENTS: &str = "
SELECT 'customer ' || tag, name || '|' || address || '|' || phone FROM customer
UNION ALL SELECT 'article ' || tag, label FROM article
UNION ALL SELECT 'closing ' || tag, rev FROM closing
UNION ALL SELECT 'sale ' || s.tag, s.rev || '|' || s.lines || '|'
  || coalesce((SELECT c.tag FROM customer AS c WHERE c.id = s.customer_id), '?') || '|'
  || coalesce((SELECT group_concat(line, ';') FROM (
       SELECT l.tag || ',' || l.rev || ',' || l.quantity || ','
         || coalesce((SELECT a.tag FROM article AS a WHERE a.id = l.article_id), '?') || ','
         || coalesce((SELECT u.tag FROM sale_line AS u WHERE u.id = l.upstream_id), '-') AS line
       FROM sale_line AS l WHERE l.sale_id = s.id ORDER BY l.tag)), '')
  FROM sale AS s";

/// Documents that are not whole: a header and lines of different states, or lines missing.
pub const NOT_WHOLE: &str = "
SELECT s.tag FROM sale AS s WHERE s.lines <> (
  SELECT count(*) FROM sale_line AS l WHERE l.sale_id = s.id AND l.rev = s.rev)
  OR EXISTS (SELECT 1 FROM sale_line AS l WHERE l.sale_id = s.id AND l.rev <> s.rev)";
