#!/bin/sh
# The main job, in the real sqlite3 shell: a shop is created and guarded, a piece is edited, a crash loses the lines of some
# pieces, they are found and restored, and the result is compared with a copy taken before the loss. Exits with 0 only
# if that comparison holds. Works in a temporary folder; needs a Rust toolchain the first time, and sqlite3.
#
#     sh sql/sample/demo.sh [pieces]        1000 unless told; at least 10
set -eu

pieces=${1:-1000}
case $pieces in
  '' | *[!0-9]* | ? | 0*) echo "demo.sh: the number of pieces is a number from 10 on, not '$pieces'" >&2; exit 2 ;;
esac

sample=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$sample/../.." && pwd)

me=demo.sh
. "$sample/library.sh"

# What went wrong can be looked at: the folder is removed only after a success.
folder=$(mktemp -d "${TMPDIR:-/tmp}/talon-demo.XXXXXX")
finish() {
  status=$?
  if [ "$status" -eq 0 ]; then rm -rf "$folder"; else echo "demo.sh: FAILED; the shop is left in $folder" >&2; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ln -s "$library" "$folder/libtalon.$suffix"
cd "$folder"

say() { printf '\n== %s\n\n' "$1"; }

# The application and the support person: Talon is loaded. -init /dev/null, because a ~/.sqliterc may set other modes.
talon() { sqlite3 -init /dev/null -bail -box -cmd '.load ./libtalon' shop.db; }

# Runs the SQL on its standard input and shows it first, as one would type it into the shell.
show() {
  sql=$(cat)
  printf '%s\n' "$sql" | awk '{ print (inside ? "   ...> " : "sqlite> ") $0; inside = !/;$/ }'
  printf '%s\n' "$sql" | talon
}

# One value, without Talon: what judges Talon does not ask it.
plain() { sqlite3 -init /dev/null -bail -list "$1" "$2"; }

fail() { echo "demo.sh: $1" >&2; exit 1; }

# Every row of the shop as SQL literals: they tell 1 from 1.0 from '1' and NULL from '', and reals have 17 digits or more.
contents() {
  for table in customers suppliers articles stock sale_piece sale_line purchase_piece purchase_line lots; do
    echo "$table"
    sqlite3 -init /dev/null -bail -quote "$1" "SELECT * FROM $table ORDER BY rowid"
  done
}
lines='(SELECT count(*) FROM sale_line) + (SELECT count(*) FROM purchase_line)'

say "A shop with $pieces pieces (schema.sql, generate.sql). It knows nothing of Talon."
sqlite3 -init /dev/null -bail shop.db <"$sample/schema.sql"
sqlite3 -init /dev/null -bail -cmd ".parameter set @pieces $pieces" shop.db <"$sample/generate.sql"
sqlite3 -init /dev/null -bail -box shop.db "
  SELECT 'sale' AS kind, count(*) AS headers, (SELECT count(*) FROM sale_line) AS lines FROM sale_piece
  UNION ALL SELECT 'purchase', count(*), (SELECT count(*) FROM purchase_line) FROM purchase_piece"

say "Load and guard (guard.sql): which tables hold the pieces. A first snapshot of each."
echo "sqlite> .load ./libtalon"
show <<'SQL'
SELECT talon_version();
SQL
talon <"$sample/guard.sql"

say "The shop works as before: at till 2, Marie gives a discount on order 6. Its snapshots:"
show <<'SQL'
SELECT talon_station('till 2', 'marie') AS station;
BEGIN;
UPDATE sale_line SET discount_percent = 5,
    amount_excl_tax_cents = CAST(round(amount_excl_tax_cents * 0.95) AS INTEGER),
    amount_incl_tax_cents = CAST(round(amount_incl_tax_cents * 0.95) AS INTEGER) WHERE id = 601;
UPDATE sale_piece SET (total_excl_tax_cents, total_incl_tax_cents,
                       untransformed_excl_tax_cents, untransformed_incl_tax_cents) =
    (SELECT sum(amount_excl_tax_cents), sum(amount_incl_tax_cents),
            sum(amount_excl_tax_cents), sum(amount_incl_tax_cents) FROM sale_line WHERE piece_id = 6) WHERE id = 6;
COMMIT;
SELECT id, kind, piece, version, taken_at, reason, station, user, lines, bytes
  FROM talon_snapshots WHERE kind = 'sale' AND piece = 6 ORDER BY id;
SQL

# The witness: a copy of the whole file, and its rows as text.
plain shop.db '.backup copy.db'
contents copy.db >before.txt
lines_before=$(plain copy.db "SELECT $lines")

say "The crash (lose.sql): some pieces are saved without their lines."
talon <"$sample/lose.sql"
lines_lost=$((lines_before - $(plain shop.db "SELECT $lines")))
pieces_lost=$(plain shop.db "
  SELECT (SELECT count(*) FROM sale_piece WHERE id NOT IN (SELECT piece_id FROM sale_line))
       + (SELECT count(*) FROM purchase_piece WHERE id NOT IN (SELECT piece_id FROM purchase_line))")
echo "$pieces_lost pieces lost $lines_lost lines."
[ "$lines_lost" -gt 0 ] || fail "lose.sql lost nothing, so there is nothing to show"
contents shop.db >lost.txt

say "Talon finds them."
show <<'SQL'
SELECT kind, piece, number, date, party, type, validated, saved_at, saved_lines, restorable FROM talon_lost;
SQL
pieces_found=$(printf '.mode list\n.headers off\nSELECT count(*) FROM talon_lost;\n' | talon)
[ "$pieces_found" = "$pieces_lost" ] || fail "talon_lost lists $pieces_found pieces, but $pieces_lost have no lines"

say "A dry run: what a restore would do. Nothing is changed."
show <<'SQL'
INSERT INTO talon_restore(kind, piece, dry_run) SELECT kind, piece, 1 FROM talon_lost;
SELECT kind, piece, snapshot, lines, outcome, note FROM talon_restore WHERE dry_run;
SQL
contents shop.db | cmp -s - lost.txt || fail "the dry run changed the shop"

say "Restore."
show <<'SQL'
SELECT talon_station('maintenance', 'support') AS station;
INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost;
SQL

say "The journal."
show <<'SQL'
SELECT id, at, kind, piece, snapshot, lines, outcome, note, station, user FROM talon_restore WHERE NOT dry_run;
SELECT count(*) AS "pieces still without lines" FROM talon_lost;
SQL

say "Compared with the copy taken before the loss: all nine tables, every value, without Talon."
contents shop.db >after.txt
if ! cmp -s before.txt after.txt; then
  diff before.txt after.txt | head -n 20 || :
  fail "NOT restored exactly: above, < is before the loss and > is now"
fi
lines_after=$(plain shop.db "SELECT $lines")
echo "restored exactly: $lines_lost lines of $pieces_lost pieces; all $lines_after lines and their headers equal the copy"

say "Purge: tomorrow morning, today's snapshots may go."
show <<'SQL'
INSERT INTO talon_purge(before) VALUES (date('now', 'localtime', '+1 day'));
SELECT * FROM talon_purge;
SELECT count(*) AS "snapshots left" FROM talon_snapshots;
SQL
