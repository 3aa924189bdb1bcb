# DATABASE LIBRARY SCRIPT [MODULE]: Python's sqlite3, or another module with its interface.
import importlib
import sys

database, library, script, *module = sys.argv[1:]
sqlite3 = importlib.import_module(module[0] if module else "sqlite3")
connection = sqlite3.connect(database, isolation_level=None)
connection.enable_load_extension(True)
connection.load_extension(library)
connection.enable_load_extension(False)
for line in ["SELECT sqlite_version()", *open(script, encoding="utf-8")]:
    for row in connection.execute(line):
        print(row[0])
connection.close()
