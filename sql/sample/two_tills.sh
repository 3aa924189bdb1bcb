#!/bin/sh
# Two tills and the central database of a shop, in the real sqlite3 shell and with the program talon: both tills number their
# sales 1, 2, 3; they exchange flows through a folder and by a key; each ends with what all have sold. The clock is set, so that
# the output is the same each time.
#
#     sh sql/sample/two_tills.sh
#
# The README shows it; a test compares. Works in a temporary folder; needs sqlite3, and a Rust toolchain to build.
set -eu

sample=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$sample/../.." && pwd)
me=two_tills.sh
. "$sample/library.sh"
program=${TALON_PROGRAM:-}
if [ -z "$program" ]; then
  program=$target/release/talon
  if command -v cargo >/dev/null; then (cd "$root" && cargo build --release --quiet -p talon-driver); fi
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/talon-tills.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ln -s "$library" "$folder/libtalon.$suffix"
cd "$folder"
mkdir mailbox

moment=2026-11-20T17:00:00+01:00
say() { printf '\n-- %s\n' "$1"; }

# SITE STATEMENT: that statement on the site's database, shown as one would type it.
ask() {
  printf '%s> %s\n' "$1" "$2"
  {
    printf '.load ./libtalon\n.output /dev/null\n'
    printf "SELECT talon_clock('%s');\n" "$moment"
    printf '.output\n.separator " | "\n%s\n' "$2"
  } | sqlite3 -init /dev/null -batch "$1.db" 2>&1 | sed 's/^[A-Za-z]* error near line [0-9]*: /Error: /' || :
}

# ARGUMENTS: the program, shown without the options that only this script needs.
talon() {
  printf '$ talon %s\n' "$*"
  command=$1; shift
  "$program" "$command" --extension "$library" --clock "$moment" "$@" 2>&1
}

for site in central mill bank; do
  { printf '.load ./libtalon\n'; cat <<'SQL'
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, address TEXT, phone TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, number TEXT, customer_id INTEGER REFERENCES customer(id));
CREATE TABLE sale_line(id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sale(id), label TEXT, quantity REAL);
CREATE INDEX sale_line_sale ON sale_line(sale_id);
SELECT talon_site('CENTRAL', 'central'), talon_site('MILL', 'remote'), talon_site('BANK', 'remote');
SELECT talon_guard('sale', '{"header": {"table": "sale"}, "lines": {"table": "sale_line"}, "sync": "piece"}');
SELECT talon_track('customer', '{"record": {"table": "customer"}, "sync": "customer"}');
SQL
  } | sqlite3 -init /dev/null -bail "$site.db" >/dev/null
done

say 'Three databases with the same tables, guards and list of sites; each says once which site it is.'
ask central "SELECT talon_origin('CENTRAL');"
ask mill "SELECT talon_origin('MILL');"
ask bank "SELECT talon_origin('BANK');"

say 'Both tills sell offline, and both number from 1.'
ask mill "INSERT INTO customer VALUES (1, 'Ada', 'Mill Lane 2', '11'); INSERT INTO sale VALUES (1, 'M-1', 1); INSERT INTO sale_line VALUES (1, 1, 'coffee', 2), (2, 1, 'filter', 1);"
ask bank "INSERT INTO sale VALUES (1, 'B-1', NULL); INSERT INTO sale_line VALUES (1, 1, 'tea', 3);"

say 'In the evening each runs the same command; so does the central one, again and again.'
talon sync --db mill.db --mailbox mailbox
talon sync --db bank.db --mailbox mailbox
talon sync --db central.db --mailbox mailbox
talon sync --db mill.db --mailbox mailbox --fetch
talon sync --db bank.db --mailbox mailbox --fetch

say 'What is printed stays; where a number is taken, the row and all that refers to it get another one.'
ask bank "SELECT s.id, s.number, c.name, l.label, l.quantity FROM sale AS s JOIN sale_line AS l ON l.sale_id = s.id LEFT JOIN customer AS c ON c.id = s.customer_id ORDER BY s.id, l.quantity;"

moment=2026-11-21T09:00:00+01:00
say 'A sale that central has taken is not edited at the till any more.'
ask mill "UPDATE sale_line SET quantity = 4 WHERE id = 1;"

say 'The address is changed at one place, the phone at another: both changes stay. This time a key carries the flow.'
ask mill "UPDATE customer SET address = 'Mill Lane 4' WHERE name = 'Ada';"
ask central "UPDATE customer SET phone = '12' WHERE name = 'Ada';"
talon export --db mill.db --to CENTRAL key.talon
talon import --db central.db key.talon
ask central "SELECT name, address, phone FROM customer;"
