#!/bin/sh
# DATABASE LIBRARY SCRIPT: the sqlite3 shell, a line at a time.
{ printf '.bail on\n.load %s\nSELECT sqlite_version();\n' "$2"; sed 's/$/;/' "$3"; } | sqlite3 -init /dev/null -batch "$1"
