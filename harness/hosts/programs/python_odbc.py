# DATABASE LIBRARY SCRIPT: the SQLite ODBC driver, by way of pyodbc.
import sys

import pyodbc

database, library, script = sys.argv[1:]
connection = pyodbc.connect(f"DRIVER=SQLite3;Database={database};LoadExt={library}", autocommit=True)
connection.setdecoding(pyodbc.SQL_CHAR, encoding="utf-8")
for line in ["SELECT sqlite_version()", *open(script, encoding="utf-8")]:
    cursor = connection.execute(line.strip())
    if cursor.description:
        for row in cursor.fetchall():
            print(row[0])
    cursor.close()
connection.close()
