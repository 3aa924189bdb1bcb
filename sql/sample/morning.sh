#!/bin/sh
# A host's morning, played in the real sqlite3 shell on the sample shop: pieces are opened and reserved, a crash loses lines
# in the middle of a save, and the next morning the daily routine finds them, a dry run shows what a restore would do, and
# the restore corrects what depends on them. The clock is Talon's, so that the output is the same each time.
#
#     sh sql/sample/morning.sh
#
# The README shows it; a test compares. Works in a temporary folder; needs sqlite3, and a Rust toolchain to build the library.
set -eu

sample=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$sample/../.." && pwd)
me=morning.sh
. "$sample/library.sh"

folder=$(mktemp -d "${TMPDIR:-/tmp}/talon-morning.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ln -s "$library" "$folder/libtalon.$suffix"
cd "$folder"

plain() { sqlite3 -init /dev/null -bail shop.db; }
say() { printf '\n-- %s\n' "$1"; }

# STATION USER MOMENT: that station runs the statements on standard input, each on a connection of its own, shown as one
# would type it. An error is part of the session; only its place in the input is left out.
as() {
  prompt="$1> " statement=
  while IFS= read -r line; do
    printf '%s%s\n' "$prompt" "$line"
    prompt=$(printf '%s' "$prompt" | tr -c ' ' ' ')
    statement="$statement$line
"
    case $line in *';') ;; *) continue ;; esac
    {
      printf '.load ./libtalon\n.output /dev/null\n'
      printf "SELECT talon_station('%s', '%s'), talon_clock('%s');\n" "$1" "$2" "$3"
      printf '.output\n.separator " | "\n%s' "$statement"
    } | sqlite3 -init /dev/null -batch shop.db 2>&1 | sed 's/^[A-Za-z]* error near line [0-9]*: /Error: /' || :
    prompt="$1> " statement=
  done
}

plain <"$sample/schema.sql"
sqlite3 -init /dev/null -bail -cmd '.parameter set @pieces 60' shop.db <"$sample/generate.sql"
{ echo '.load ./libtalon'; echo "SELECT talon_clock('2026-11-20T08:00:00+01:00');"
  cat "$sample/guard.sql" "$sample/rules.sql"; } | plain >/dev/null

friday=2026-11-20 monday=2026-11-23

say 'Friday afternoon. Marie opens order 28 for modification: that reserves it and takes its image.'
as 'till 2' marie "${friday}T16:40:00+01:00" <<'SQL'
SELECT talon_edit_begin('sale', 28);
SQL

say 'Paul wants it too. He opens return 32 instead, which was taken back into work.'
as 'till 1' paul "${friday}T16:45:00+01:00" <<'SQL'
SELECT talon_edit_begin('sale', 28);
UPDATE sale_piece SET validated = 0 WHERE id = 32;
SELECT talon_edit_begin('sale', 32);
SQL

say 'Marie changes a quantity from 6 to 4. Paul counts three of two articles instead of two, and types the lots of one. Saving,
-- the tills run out of memory: the quote above the order, the stock and the lots are written, the lines are gone.'
{
  echo '.load ./libtalon'
  echo "SELECT talon_clock('${friday}T16:50:00+01:00');"
  echo 'UPDATE sale_line SET transformed_quantity = 4, untransformed_quantity = 6 WHERE id = 2703;
        UPDATE sale_piece SET untransformed_quantity = untransformed_quantity + 2 WHERE id = 27;
        DELETE FROM sale_line WHERE piece_id = 28;'
  echo 'UPDATE lots SET quantity = -3 WHERE sale_line_id = 3203;
        UPDATE stock SET on_hand_quantity = on_hand_quantity + 1 WHERE article_id IN (1, 4);
        DELETE FROM sale_line WHERE piece_id = 32;'
} | plain >/dev/null

say 'Till 3 enters a new order. Before it writes the first row, it deposits the piece; then it goes the same way, after the header.'
as 'till 3' jean "${friday}T16:55:00+01:00" <<'SQL'
SELECT talon_stage('sale', 49, '{
         "header": {"id": 49, "number": "O0000049", "stage": "order", "date": "2026-11-20", "customer_id": 1,
           "untransformed_quantity": 2, "untransformed_excl_tax_cents": 2000, "untransformed_incl_tax_cents": 2400},
         "lines": [{"id": 4901, "position": 1, "article_id": 9, "quantity": 2, "unit_price_cents": 1000, "vat_percent": 20,
           "amount_excl_tax_cents": 2000, "amount_incl_tax_cents": 2400, "untransformed_quantity": 2}]}');
INSERT INTO sale_piece(id, number, stage, date, customer_id) VALUES (49, 'O0000049', 'order', '2026-11-20', 1);
SQL

say 'Monday morning, the first start of the application.'
as 'till 1' paul "${monday}T08:00:00+01:00" <<'SQL'
SELECT talon_daily();
SELECT kind, piece, station, user, since FROM talon_edits;
SQL

say 'Three pieces have no lines. The edits are from Friday: the stations are gone.'
as 'till 1' paul "${monday}T08:01:00+01:00" <<'SQL'
SELECT talon_edit_release('sale', piece) FROM talon_edits;
SELECT piece, number, date, saved_at, party, type, validated FROM talon_lost;
SQL

say 'What would a restore do?'
as 'till 1' paul "${monday}T08:02:00+01:00" <<'SQL'
INSERT INTO talon_restore(kind, piece, dry_run) SELECT kind, piece, 1 FROM talon_lost;
SELECT piece, lines, outcome, replace(note, '; ', char(10) || '  ') FROM talon_restore WHERE dry_run;
SQL

say 'Correct all. The chain above the order is put right at once; stock and lots are only reported.'
as 'till 1' paul "${monday}T08:03:00+01:00" <<'SQL'
SELECT talon_restore_all();
SELECT id, quantity, transformed_quantity, untransformed_quantity FROM sale_line WHERE id IN (2703, 2803);
SELECT * FROM talon_gaps;
SELECT piece, detail FROM talon_audit WHERE finding = 'check';
SQL

say 'The lots tell what the quantity was. Until the line is put right, the return cannot be validated.'
as 'till 1' paul "${monday}T08:10:00+01:00" <<'SQL'
UPDATE sale_piece SET validated = 1 WHERE id = 32;
UPDATE sale_line SET quantity = -3, untransformed_quantity = -3 WHERE id = 3203;
UPDATE sale_piece SET validated = 1, untransformed_quantity = untransformed_quantity - 1 WHERE id = 32;
SQL

say 'At the end of the day, when nobody works: the stock of the other article.'
as 'till 1' paul "${monday}T19:00:00+01:00" <<'SQL'
SELECT * FROM talon_gaps;
SELECT talon_repair('stock');
SQL

say 'Tuesday: nothing is lost any more, and the images of the days before go.'
as 'till 1' paul '2026-11-24T08:00:00+01:00' <<'SQL'
SELECT talon_daily();
SQL
