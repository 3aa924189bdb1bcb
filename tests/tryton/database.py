"""Databases as bare values: what is stored, not what some application makes of it."""

import contextlib
import datetime
import sqlite3

# The types that Tryton declares for moments, which differ from run to run.
MOMENTS = {"TIMESTAMP"}


@contextlib.contextmanager
def plain(path):
    """A connection as any tool opens it, without Talon; every statement commits by itself."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@contextlib.contextmanager
def talon(path, library):
    """A connection with Talon, at a station of its own; every statement commits by itself."""
    with plain(path) as connection:
        connection.enable_load_extension(True)
        connection.load_extension(str(library))
        connection.enable_load_extension(False)
        connection.execute("SELECT talon_station('office', 'repair')")
        yield connection


def schema(path):
    """Tables and indexes of the application. Talon's triggers are not among them."""
    with plain(path) as connection:
        return sorted(connection.execute(
            "SELECT type, name, sql FROM sqlite_master"
            " WHERE type <> 'trigger' AND tbl_name NOT LIKE 'talon%' AND name NOT LIKE 'sqlite%'"))


def dump(path, moments=True):
    """Every row of every table of the application: storage class and exact value of each column."""
    with plain(path) as connection:
        connection.text_factory = bytes
        tables = [name.decode() for name, in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            " AND name NOT LIKE 'talon%' AND name NOT LIKE 'sqlite_stat%' ORDER BY name")]
        return {table: rows(connection, table, moments) for table in tables}


def rows(connection, table, moments):
    columns = [(name.decode(), declared.decode().upper()) for _, name, declared, *_ in
               connection.execute(f"PRAGMA table_info({quote(table)})")]
    names = [name for name, declared in columns if moments or declared not in MOMENTS]
    wanted = ", ".join(f"typeof({quote(name)}), {quote(name)}" for name in names)
    which = "WHERE name NOT LIKE 'talon%'" if table == "sqlite_sequence" else ""
    answer = {}
    for rowid, *cells in connection.execute(f"SELECT rowid, {wanted} FROM {quote(table)} {which}"):
        pairs = zip(cells[::2], cells[1::2])
        # A float as hexadecimal text: equal to the bit, and -0.0 is not 0.0.
        row = {name: (kind, value.hex() if isinstance(value, float) else value)
               for name, (kind, value) in zip(names, pairs)}
        # The bookkeeping of AUTOINCREMENT is known by table: its rows have no key of their own.
        answer[row["name"][1] if table == "sqlite_sequence" else rowid] = row
    if table == "sqlite_sequence":
        answer = {name: row["seq"] for name, row in answer.items()}
    return answer


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def settled(value, days, moments=True):
    """The same value with what the calendar decides blanked: the days of this run, moments too if so asked."""
    if isinstance(value, dict):
        if not moments and value.keys() == {"datetime"}:
            return "a moment"
        return {key: settled(item, days, moments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [settled(item, days, moments) for item in value]
    return "today" if value in days else value


def today():
    """The current date, as the application's API writes it and as a dump shows it."""
    text = datetime.date.today().isoformat()
    return {text, text.encode()}


def differences(wanted, got, path=""):
    """Where two nested values differ, one line each."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in sorted(wanted.keys() | got.keys(), key=str):
            if key not in got:
                yield f"{path}/{key}: missing, was {wanted[key]!r:.200}"
            elif key not in wanted:
                yield f"{path}/{key}: should not be there: {got[key]!r:.200}"
            else:
                yield from differences(wanted[key], got[key], f"{path}/{key}")
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for index, pair in enumerate(zip(wanted, got)):
            yield from differences(*pair, f"{path}/{index}")
    elif wanted != got or type(wanted) is not type(got):
        yield f"{path}: {got!r:.300}, should be {wanted!r:.300}"


def same(what, wanted, got):
    found = list(differences(wanted, got))
    if found:
        more = f"\n… and {len(found) - 20} more" if len(found) > 20 else ""
        raise AssertionError(f"{what}:\n" + "\n".join(found[:20]) + more)
