# DATABASE LIBRARY SCRIPT: apsw.
import sys

import apsw

database, library, script = sys.argv[1:]
connection = apsw.Connection(database)
connection.enable_load_extension(True)
connection.load_extension(library)
for line in ["SELECT sqlite_version()", *open(script, encoding="utf-8")]:
    for row in connection.execute(line):
        print(row[0])
connection.close()
