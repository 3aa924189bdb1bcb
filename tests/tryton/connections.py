"""Loads Talon into every SQLite connection that this process opens.

Import it before anything else of the application. The application itself stays as it was installed: it
calls `sqlite3.connect`, which is wrapped here. Without TALON_LIBRARY in the environment connections are
opened as ever, so that the same script runs with Talon and without it.
"""

import os
import sqlite3

LIBRARY = os.environ.get("TALON_LIBRARY")

opened = 0
_connect = sqlite3.connect


def load(connection):
    """Load the library, then shut the door behind it, as a careful host does."""
    connection.enable_load_extension(True)
    try:
        connection.load_extension(LIBRARY)
    finally:
        connection.enable_load_extension(False)
    connection.execute("SELECT talon_station('counter', 'tryton')")


def connect(*arguments, **options):
    global opened
    connection = _connect(*arguments, **options)
    if LIBRARY:
        try:
            load(connection)
        except BaseException:
            connection.close()
            raise
    opened += 1
    return connection


sqlite3.connect = sqlite3.dbapi2.connect = connect
