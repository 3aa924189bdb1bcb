"""Two tills and a central database, each a Tryton of its own, exchange what is worked through its API.

usage: sites.py CACHE LIBRARY PROGRAM     CACHE keeps the environment between runs, LIBRARY is libtalon, PROGRAM talon

All three start from one template and number on from there, each by itself: 7 is another customer at each. The kinds and
their policies are those of sites.json. Flows are carried by the program, through a folder, while the applications stay
open. After each exchange every sale of every site must read the same at all, through the application.
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import database
import environment
from database import same

HERE = Path(__file__).resolve().parent
KINDS = json.loads((HERE / "sites.json").read_text())

CENTRAL, TILLS = "ASOC", ["BSOC", "CSOC"]
SITES = [CENTRAL, *TILLS]

QUARANTINE = "SELECT direction, kind, origin, origin_key, reason FROM talon_quarantine"


class Site:
    """A database that a Tryton works on, and that talon carries flows from and to."""

    def __init__(self, installed, folder, code, library, program):
        self.installed, self.folder, self.code = installed, folder / code, code
        self.library, self.program, self.mailbox = library, program, folder / "mailbox"
        self.path = installed.copy_template(self.folder)
        self.tryton = None

    def talon(self):
        return database.talon(self.path, self.library)

    def declare(self):
        """As an integrator does it once: who the sites are, what they exchange, which one this is."""
        with self.talon() as connection:
            for code in SITES:
                role = "central" if code == CENTRAL else "remote"
                connection.execute("SELECT talon_site(?, ?)", (code, role)).fetchall()
            for kind, (function, definition) in KINDS.items():
                connection.execute(f"SELECT {function}(?, ?)", (kind, json.dumps(definition))).fetchall()
            connection.execute("SELECT talon_origin(?)", (self.code,)).fetchall()

    def begin(self, shift):
        """Have this site's Tryton, which is started when it is needed, begin a shift."""
        if self.tryton is None:
            with open(self.folder / "log", "w") as log:
                self.tryton = subprocess.Popen(
                    [self.installed.python, "-B", HERE / "till.py", self.folder, self.code],
                    env=self.installed.variables(TALON_LIBRARY=str(self.library)),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.tryton.stdin.write(shift + "\n")
        self.tryton.stdin.flush()

    def end(self, shift):
        """Wait for the shift's end; what Tryton's API showed before it and after."""
        said = self.tryton.stdout.readline()
        if said != f"{shift} is done\n":
            raise RuntimeError(f"{shift} at {self.code}: {said}\n{(self.folder / 'log').read_text()}")
        return json.loads((self.folder / f"{shift}.json").read_text())

    def stop(self):
        if self.tryton is not None:
            self.tryton.kill()
            self.tryton.communicate()

    def sync(self, *more):
        """What `talon sync` does at this site; it has nothing to complain of."""
        command = [self.program, "sync", "--db", self.path, "--extension", self.library,
                   "--mailbox", self.mailbox, *more]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, timeout=60)
        assert ran.returncode == 0, (
            f"talon sync at {self.code} ended with {ran.returncode}:\n{ran.stdout}{self.rows(QUARANTINE)}")

    def rows(self, sql, *values):
        with self.talon() as connection:
            return [list(row) for row in connection.execute(sql, values)]

    def dangling(self):
        """References that are declared in sites.json and mean no row: Tryton declares no foreign key that SQLite could
        check."""
        for kind, (_, definition) in KINDS.items():
            sync = definition["sync"]
            references = {} if isinstance(sync, str) else sync["references"]
            for column, holds in references.items():
                part, column = column.rsplit(".", 1) if "." in column else ("header", column)
                own = database.quote(table_of(kind, part))
                for prefix, to in holds.items() if isinstance(holds, dict) else [("", holds)]:
                    other = database.quote(table_of(*to.split("."), *(() if "." in to else ("header",))))
                    yield from self.rows(
                        f"SELECT '{kind}', '{part}', '{column}', t.id, t.{column} FROM {own} AS t"
                        f" WHERE t.{column} GLOB '{prefix}*'"
                        f" AND t.{column} NOT IN (SELECT CASE '{prefix}' WHEN '' THEN id ELSE '{prefix}' || id END"
                        f" FROM {other})")


def table_of(kind, part):
    _, definition = KINDS[kind]
    parts = {"header": definition.get("header") or definition.get("record"), "lines": definition.get("lines"),
             **{detail["name"]: detail for detail in definition.get("details", [])}}
    return parts[part]["table"]


class Sites:
    def __init__(self, installed, folder, library, program):
        (folder / "mailbox").mkdir()
        self.sites = {code: Site(installed, folder, code, library, program) for code in SITES}
        self.central = self.sites[CENTRAL]
        self.tills = [self.sites[code] for code in TILLS]

    def work(self, **shifts):
        """Shifts at several sites at the same time; what each showed before and after."""
        for code, shift in shifts.items():
            self.sites[code].begin(shift)
        return {code: self.sites[code].end(shift) for code, shift in shifts.items()}

    def stop(self):
        for site in self.sites.values():
            site.stop()

    def exchange(self):
        """The tills send, central answers, the tills fetch what it has heard from both."""
        for till in self.tills:
            till.sync()
        self.central.sync()
        for till in self.tills:
            till.sync()
        self.central.sync()
        self.check_whole()

    def check_whole(self):
        for code, site in self.sites.items():
            same(f"quarantine at {code}", [], site.rows(QUARANTINE))
            same(f"integrity_check at {code}", [["ok"]], site.rows("PRAGMA integrity_check"))
            same(f"foreign_key_check at {code}", [], site.rows("PRAGMA foreign_key_check"))
            same(f"references to nothing at {code}", [], list(site.dangling()))
            same(f"lost at {code}", [], site.rows("SELECT kind, piece FROM talon_lost"))
            same(f"findings at {code}", [], site.rows("SELECT kind, piece, finding, detail FROM talon_audit"))
            same(f"flows with errors at {code}", [], site.rows(
                "SELECT number, from_site, error FROM talon_flows WHERE error IS NOT NULL OR refused IS NOT NULL"))

    def check_before(self, done):
        """What the sites' applications showed before a shift: the same at all. Gives it."""
        for till in TILLS:
            same(f"what Tryton shows at {till}, against {CENTRAL}", done[CENTRAL]["before"], done[till]["before"])
        return done[CENTRAL]["before"]


def play(sites):
    for site in sites.sites.values():
        site.declare()
    # Before the tills open: what all have from the template becomes central's, and is the same everywhere from then on.
    for till in sites.tills:
        till.rows("SELECT talon_load(NULL, 'full')")
    sites.exchange()
    for code, site in sites.sites.items():
        foreign = "SELECT kind, piece, origin FROM talon_stamps WHERE origin <> ? OR piece <> origin_key"
        same(f"what {code} does not take for central's", [], site.rows(foreign, CENTRAL))

    first = sites.work(BSOC="first_day", CSOC="first_day")
    sites.exchange()
    check_numbers(sites)
    second = sites.work(ASOC="central_day", BSOC="second_day", CSOC="second_day")
    sites.check_before(second)
    check_first_day(first, second[CENTRAL]["before"])
    check_refusals(second)
    sites.exchange()
    third = sites.work(ASOC="look", BSOC="third_day", CSOC="third_day")
    check_second_day(sites, sites.check_before(third))
    sites.exchange()
    last = sites.check_before(sites.work(**dict.fromkeys(SITES, "look")))
    check_third_day(third, last)
    return last


def check_numbers(sites):
    """Each till numbers its sales from 1, and goes on doing so under its own numbers."""
    for till in sites.tills:
        letter = till.code[0]
        own = [[f"{letter}{number}", number] for number in (1, 2, 3, 4)]
        numbered = "SELECT reference, id FROM sale_sale WHERE reference GLOB ? ORDER BY id"
        same(f"{till.code}'s own numbers of its sales", own, till.rows(numbered, letter + "*"))
    numbers = "SELECT substr(reference, 1, 1), group_concat(id) FROM sale_sale GROUP BY 1 ORDER BY 2"
    kept, given = sites.central.rows(numbers)
    same(f"the tills' sales under {CENTRAL}'s numbers", ["1,2,3,4", "5,6,7,8"], [kept[1], given[1]])


def check_first_day(first, read):
    """All that the tills sold is at central as they sold it."""
    wanted = {}
    for till in TILLS:
        wanted |= first[till]["after"]["sales"]
    same(f"sales at {CENTRAL} after the first day", wanted, read["sales"])
    assert sorted(wanted) == ["B1", "B2", "B3", "B4", "C1", "C2", "C3", "C4"], wanted.keys()
    # The application finds these by texts such as sale.line,7, in each site's own numbers.
    for reference in ("B3", "C3"):
        sale, customer = read["sales"][reference], {"code": f"{reference[0]}-8"}
        same(f"the invoice of sale {reference}", [[customer, sale["total_amount"]]],
             [[invoice["party."], invoice["total_amount"]] for invoice in sale["invoices."]])
        shipment, = sale["shipments."]
        same(f"the shipment of sale {reference}", [f"{reference[0]}-1", customer],
             [shipment["number"], shipment["customer."]])
        same(f"the moves of sale {reference}", [[shipment["number"]], [shipment["number"]]],
             [[move["shipment."]["rec_name"] for move in line["moves."] if move["shipment."]]
              for line in sale["lines."]])


def check_refusals(second):
    """What the application was told, as its user reads it."""
    for till, (sale, other, foreign) in {"BSOC": (1, "CSOC", 7), "CSOC": (1, "BSOC", 7)}.items():
        told = dict(second[till]["refusals"])
        texts = {
            "a line of a sale that was sent": f"talon: sale {sale} was sent to central on",
            "a sale of the other till": f"talon: sale {foreign} was created at {other} and is editable there and at",
            "a price": f"talon: article 3 is central's and not editable at {till}",
        }
        for what, text in texts.items():
            assert told[what].startswith(text), f"{what}, at {till}: {told[what]}"
        assert told["a line of a sale that was sent"].endswith(f"is no longer editable at {till}"), told


def check_second_day(sites, read):
    sales, parties = read["sales"], read["parties"]
    assert sorted(sales) == ["A1", "B1", "B2", "B3", "B6", "C1", "C2", "C3", "C6"], sales.keys()
    for reference, party in {"A1": "C-7", "B6": "C-7", "C6": "B-7"}.items():
        same(f"the customer of sale {reference}", party, sales[reference]["party."]["code"])
    same("what central made of a till's sale", ["quotation", "A-1"], [sales["B1"]["state"], sales["B1"]["number"]])
    same("the lines of a till's sale that central went on with", ["Cup", "Filter", "Olive oil"],
         [line["product."]["name"] for line in sales["C1"]["lines."]])
    same("a price of the day before central's came", {"Decimal": "3.5000"}, sales["B6"]["lines."][0]["unit_price"])
    same("an address changed at both tills", "Mill Lane 2\nCambridge", parties["6"]["addresses."][0]["full_address"])
    same("a phone added at one of them", ["+B-66"], [found["value"] for found in parties["6"]["contact_mechanisms."]])
    same("a name changed at one till", "Zoë & Töchter", parties["2"]["name"])
    same("and its address at the other", "Hauptstraße 1", parties["2"]["addresses."][0]["full_address"])
    same("users", ["admin", "anna"], sorted(read["users"]))
    # The application writes down when it changed what, in both places.
    for code, site in sites.sites.items():
        found = site.rows("SELECT DISTINCT field FROM talon_conflicts WHERE field <> 'write_date'")
        same(f"conflicts at {code}", [], found)


def check_third_day(third, read):
    for till in TILLS:
        reference = f"{till[0]}7"
        same(f"sale {reference} at all sites", third[till]["after"]["sales"][reference], read["sales"][reference])
        prices = [line["unit_price"]["Decimal"] for line in read["sales"][reference]["lines."]]
        same(f"central's prices in sale {reference}", ["4.2500", "79.9000"], prices)


def run(cache, library, program):
    started = time.monotonic()
    installed = environment.prepare(cache)
    prepared = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="sites-", dir=cache))
    try:
        sites = Sites(installed, folder, library, program)
        try:
            read = play(sites)
        finally:
            sites.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(read['sales'])} sales with {read['lines']} lines read the same in three Trytons; prepared in"
          f" {prepared - started:.1f} s, run in {time.monotonic() - prepared:.1f} s")


if __name__ == "__main__":
    # Stopped from outside: leave through the exits, so that processes and folders of this run go too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("stopped: the time for this test is over"))
    run(*(Path(argument).resolve() for argument in sys.argv[1:]))
