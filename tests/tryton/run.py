"""Talon on Tryton: sales are written through Tryton's own API, lost, found, restored, and read back by it.

usage: run.py CACHE LIBRARY      CACHE keeps the environment between runs, LIBRARY is libtalon

Two shops start from one template. The bare one never sees Talon and never loses anything; what it comes to is kept
between runs. The guarded one loads Talon into every connection, loses the lines of half its sales and gets them back.
After each shift both must hold the same: so Tryton does not notice Talon, and a restored shop goes on like one that
had lost nothing.
"""

import contextlib
import json
import pickle
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import database
import environment
from database import same

HERE = Path(__file__).resolve().parent

# Who loses lines, and how (see `lose`). Numbers as shop.py gives them.
WITHOUT_TALON = [1, 9]
WITHOUT_TALON_AND_HEADER_CHANGED = [5]
WITH_TALON = [3, 14]
WITH_TALON_AND_HEADER_CHANGED = [7, 10]
LOST = sorted(WITHOUT_TALON + WITHOUT_TALON_AND_HEADER_CHANGED + WITH_TALON + WITH_TALON_AND_HEADER_CHANGED)
EMPTIED_BY_ITS_USER = 13


class Shop:
    """A database that Tryton works on, shift by shift."""

    def __init__(self, installed, folder, library=None):
        self.installed, self.folder, self.library = installed, folder, library
        self.path = installed.copy_template(folder)
        self.connections = 0
        self.guarded = None

    def work(self, shift, guard=None, forget_talon=False):
        """One shift in a process of its own; the answers of Tryton's API."""
        answers = self.folder / f"{shift}.json"
        variables = {"TALON_LIBRARY": str(self.library)} if self.library and not forget_talon else {}
        arguments = [self.installed.python, "-B", HERE / "shop.py", self.folder, shift, answers]
        self.installed.run(arguments + ([guard] if guard else []), limit_seconds=90, **variables)
        result = json.loads(answers.read_text())
        if variables:
            self.connections += result["connections"]
        self.guarded = self.guarded or result["guarded"]
        return result

    def repair(self):
        return database.talon(self.path, self.library)


def column(connection, sql, *values):
    return [value for value, in connection.execute(sql, values)]


# ── The bare shop ───────────────────────────────────────────────────────────────────────────────────────────

SHIFTS = ["trade", "carry_on", "forgetful", "rebuild", "after_rebuild"]


def work_bare(installed):
    """All shifts without Talon: what the API answered after each, and what it left in the tables."""
    days = database.today()
    shop = Shop(installed, installed.bare / "shop")
    done = {shift: state_after(shop, shop.work(shift)) for shift in SHIFTS}
    days |= database.today()
    (installed.bare / "done").write_bytes(pickle.dumps(comparable(done, days)))
    shutil.rmtree(shop.folder)


def state_after(shop, answer):
    return {
        "the API's journal": answer["journal"],
        "the API's reading": answer["reading"],
        "the tables": database.dump(shop.path, moments=False),
        "the schema": database.schema(shop.path),
    }


def comparable(done, days):
    """Without what the calendar decides: two runs at different times must be the same."""
    return database.settled(done, days, moments=False)


# ── The guarded shop, step by step ──────────────────────────────────────────────────────────────────────────

class Guarded:
    def __init__(self, shop):
        self.shop = shop
        self.seen = 0  # the newest snapshot when it was last looked
        self.done = {}  # what each shift answered and left, to be held against the bare shop

    def work(self, shift, **more):
        answer = self.shop.work(shift, **more)
        self.done[shift] = state_after(self.shop, answer)
        return answer

    def run(self):
        definition = json.dumps(json.loads((HERE / "guard.json").read_text()))
        traded = self.work("trade", guard=definition)
        self.check_reasons()
        self.check_history(traded["journal"])

        before = database.dump(self.shop.path)
        self.find_and_restore()
        same("the tables after the restore", before, database.dump(self.shop.path))
        read = self.shop.work("look")["reading"]
        self.readings = (traded["reading"], read)

        self.skip_history()
        self.check_history(self.work("carry_on")["journal"])

        forgotten = self.work("forgetful", forget_talon=True)
        self.check_marks(forgotten["journal"])

        self.work("rebuild")
        rebuilt = self.work("after_rebuild")
        self.check_window(rebuilt["journal"])
        self.check_protected_after_rebuild()
        self.check_whole()

    def check_reasons(self):
        """Each sale was created once, then edited, by the station that the application's connections name."""
        with self.shop.repair() as connection:
            reasons = defaultdict(list)
            for piece, *rest in connection.execute(
                    "SELECT piece, reason, station, user FROM talon_snapshots WHERE lines > 0 ORDER BY piece, id"):
                reasons[int(piece)].append(rest)
        for piece, got in reasons.items():
            wanted = [[reason, "counter", "tryton"] for reason in ["create"] + ["edit"] * (len(got) - 1)]
            same(f"why sale {piece} has its snapshots", wanted, got)

    def check_history(self, journal):
        """One snapshot a sale and transaction, with the lines that the API showed after it."""
        wanted = defaultdict(list)
        for entry in journal:
            if entry.get("lines") and not entry.get("unchanged"):
                lines = [[key, sequence, kind, quantity, price and price["Decimal"]]
                         for key, sequence, kind, quantity, price, _ in entry["lines"]]
                # A confirmed sale is processed in a second transaction, by the application's own queue.
                wanted[entry["sale"]] += [lines] * (2 if entry["operation"] == "confirm" else 1)
        got = defaultdict(list)
        with self.shop.repair() as connection:
            for snapshot, piece, count in connection.execute(
                    "SELECT id, piece, lines FROM talon_snapshots WHERE kind = 'sale' AND id > ? AND lines > 0"
                    " ORDER BY piece, id", (self.seen,)).fetchall():
                rows = [json.loads(row) for row in column(
                    connection, "SELECT row FROM talon_image(?) WHERE part = 'lines' ORDER BY position", snapshot)]
                lines = [[row["id"], row["sequence"], row["type"], row["quantity"], price_of(row)] for row in rows]
                assert len(lines) == count, f"snapshot {snapshot} says {count} lines and holds {len(lines)}"
                got[int(piece)].append(lines)
        same("snapshots against the API's journal", dict(wanted), dict(got))
        self.skip_history()

    def skip_history(self):
        with self.shop.repair() as connection:
            self.seen, = column(connection, "SELECT max(id) FROM talon_snapshots")

    def find_and_restore(self):
        path = self.shop.path
        with self.shop.repair() as connection:
            same("found in a whole shop, but for the sale emptied on purpose", [EMPTIED_BY_ITS_USER],
                 [int(piece) for piece in column(connection, "SELECT piece FROM talon_lost")])
            connection.execute("SELECT talon_dismiss('sale', ?)", (EMPTIED_BY_ITS_USER,)).fetchall()

        wanted = labels(path)
        lose(self.shop)
        with self.shop.repair() as connection:
            found = {int(piece): list(row) for piece, *row in connection.execute(
                "SELECT piece, number, date, party, type, validated, saved_lines, restorable <> 0"
                " FROM talon_lost WHERE kind = 'sale'")}
            same("talon_lost", wanted, found)
            audited = column(connection, "SELECT piece FROM talon_audit WHERE finding = 'lost' ORDER BY piece")
            same("talon_audit", LOST, [int(piece) for piece in audited])

            lossy = database.dump(path)
            connection.execute("INSERT INTO talon_restore(kind, piece, dry_run) SELECT kind, piece, 1 FROM talon_lost")
            same("the tables after a dry run", lossy, database.dump(path))
            connection.execute("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost")

            restored = {int(piece): lines for piece, lines in connection.execute(
                "SELECT piece, lines FROM talon_restore WHERE NOT dry_run")}
            same("the journal of restores", {piece: row[5] for piece, row in wanted.items()}, restored)
            same("still lost", [], column(connection, "SELECT piece FROM talon_lost"))

    def check_marks(self, journal):
        """Edits by a process without Talon: marked, then imaged and listed by the next connection with it."""
        edited = sorted(entry["sale"] for entry in journal)
        with database.plain(self.shop.path) as connection:
            waiting, = column(connection, "SELECT count(*) FROM talon_mark")
            assert waiting >= len(edited), f"{waiting} marks for {len(edited)} sales"
        with self.shop.repair() as connection:
            absorbed, = column(connection, "SELECT talon_absorb()")
            same("absorbed", len(edited), absorbed)
            unguarded = column(connection, "SELECT DISTINCT piece FROM talon_audit WHERE finding = 'unguarded'")
            assert set(edited) <= {int(piece) for piece in unguarded}, f"audit lists {unguarded}, not all of {edited}"
        self.check_history(journal)

    def check_window(self, journal):
        """The triggers went with the old tables: what was edited meanwhile is imaged, and they are back."""
        with self.shop.repair() as connection:
            connection.execute("SELECT talon_absorb()").fetchall()
            same("triggers after the migration", ["whole"], column(connection, "SELECT triggers FROM talon_guards"))
        self.check_history(journal)

    def check_protected_after_rebuild(self):
        """The tables are new ones since the migration, and guarded like the old ones."""
        path = self.shop.path
        with self.shop.repair() as connection:
            connection.execute("UPDATE sale_line SET note = 'seen', quantity = quantity / 3 WHERE sale = 4")
            images = column(connection, "SELECT reason FROM talon_snapshots WHERE piece = 4 AND id > ?", self.seen)
            same("snapshots of an edit after the migration", ["edit"], images)
        before = database.dump(path)
        with database.plain(path) as connection:
            connection.execute("DELETE FROM sale_line WHERE sale IN (4, 6)")
        with self.shop.repair() as connection:
            lost = column(connection, "SELECT piece FROM talon_lost ORDER BY piece")
            same("lost after the migration", [4, 6], [int(piece) for piece in lost])
            connection.execute("INSERT INTO talon_restore(kind, piece) SELECT kind, piece FROM talon_lost")
        same("the tables after a restore into rebuilt ones", before, database.dump(path))

    def check_whole(self):
        with self.shop.repair() as connection:
            same("integrity_check", ["ok"], column(connection, "PRAGMA integrity_check"))
            findings = connection.execute(
                "SELECT piece, finding, detail FROM talon_audit WHERE finding <> 'unguarded'").fetchall()
            same("findings at the end", [], findings)


def price_of(row):
    """The unit price in an image's line: Tryton stores the text of the decimal as a blob."""
    return row["unit_price"] and bytes.fromhex(row["unit_price"]["blob"]).decode()


def labels(path):
    """What talon_lost should say of each sale that is about to lose its lines."""
    marks = ", ".join("?" * len(LOST))
    with database.plain(path) as connection:
        return {piece: row for piece, *row in connection.execute(
            "SELECT s.id, s.number, s.sale_date, p.name,"
            " CASE WHEN s.state IN ('draft', 'quotation') THEN 'quotation' ELSE 'order' END,"
            " s.state IN ('confirmed', 'processing', 'done'),"
            " (SELECT count(*) FROM sale_line WHERE sale = s.id), 1"
            f" FROM sale_sale s JOIN party_party p ON p.id = s.party WHERE s.id IN ({marks})", LOST)}


def lose(shop):
    """Behind Tryton's back: on a connection without Talon, then on one with it."""
    with database.plain(shop.path) as connection:
        for sale in WITHOUT_TALON:
            lose_lines(connection, sale)
        for sale in WITHOUT_TALON_AND_HEADER_CHANGED:
            with transaction(connection):
                spoil_header(connection, sale)
                lose_lines(connection, sale)
    with shop.repair() as connection:
        for sale in WITH_TALON:
            with transaction(connection):
                lose_taxes(connection, sale)
                lose_lines(connection, sale)
        for sale in WITH_TALON_AND_HEADER_CHANGED:
            with transaction(connection):
                spoil_header(connection, sale)
                lose_taxes(connection, sale)
                lose_lines(connection, sale)


@contextlib.contextmanager
def transaction(connection):
    connection.execute("BEGIN")
    yield
    connection.execute("COMMIT")


def lose_lines(connection, sale):
    """The lines alone: their taxes stay, for no foreign key is declared between any of these tables."""
    connection.execute("DELETE FROM sale_line WHERE sale = ?", (sale,))


def lose_taxes(connection, sale):
    connection.execute(
        'DELETE FROM "sale_line-account_tax" WHERE line IN (SELECT id FROM sale_line WHERE sale = ?)', (sale,))


def spoil_header(connection, sale):
    """In the transaction of the loss: the state from before it is the one that must come back."""
    connection.execute(
        "UPDATE sale_sale SET comment = 'spoilt', untaxed_amount_cache = 0, write_date = NULL WHERE id = ?", (sale,))


# ── The run ─────────────────────────────────────────────────────────────────────────────────────────────────

def run(cache, library):
    started = time.monotonic()
    installed = environment.prepare(cache, work_bare)
    prepared = time.monotonic()
    days = database.today()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    try:
        guarded = Guarded(Shop(installed, folder / "guarded", library))
        guarded.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    days |= database.today()
    before, after = guarded.readings
    same("the API's reading after the restore", database.settled(before, days), database.settled(after, days))
    bare = pickle.loads((installed.bare / "done").read_bytes())
    done = comparable(guarded.done, days)
    for shift in SHIFTS:
        for what, wanted in bare[shift].items():
            same(f"{what} after {shift}, with Talon", wanted, done[shift][what])

    sales, lines = (len(after[model]) for model in ("sale.sale", "sale.line"))
    print(guarded.shop.guarded)
    print(f"{sales} sales with {lines} lines on {guarded.shop.connections} connections: {len(LOST)} sales lost and"
          f" restored; prepared in {prepared - started:.1f} s, run in {time.monotonic() - prepared:.1f} s")


if __name__ == "__main__":
    # Stopped from outside: leave through the exits, so that processes and folders of this run go too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("stopped: the time for this test is over"))
    run(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
