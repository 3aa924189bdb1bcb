#!/bin/sh
# Breaks the extension on purpose, once for each patch in this folder (or each one named), and shows that the scenario
# named in the patch notices: red with the patch, green without. Ends with 1 where a break survives.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [ $# -gt 0 ]; then patches=$(printf "$here/%s.patch\n" "$@"); else patches=$(ls "$here"/*.patch); fi

cd "$root"
cargo build --quiet --locked -p harness
harness=${CARGO_TARGET_DIR:-$root/target}/debug/harness

# The breaks are made in a copy with a target folder of its own.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export GIT_CEILING_DIRECTORIES="${copy%/*}"
trap 'exit 130' INT TERM
tar -cf - --exclude=./target --exclude=./.git . | tar -xf - -C "$copy"
cd "$copy"
library=$copy/target/debug/libtalon.so
[ "$(uname)" = Darwin ] && library=$copy/target/debug/libtalon.dylib

build() { CARGO_TARGET_DIR=$copy/target cargo build --quiet --locked -p talon >"$copy/build.txt" 2>&1; }
value() { sed -n "s/^$2: //p" "$1"; }
# Most breaks show without a fault already: one power cut a journal mode is enough. Others say what it takes.
replay() {
  scenario=$(value "$1" Scenario)
  options=$(value "$1" Options)
  # shellcheck disable=SC2086 # options are words
  "$harness" replay "$root/harness/scenarios/$scenario.toml" --library "$library" \
    ${options:---settings full-1024 --only power-kept --most 1} >"$copy/said.txt" 2>&1
}

survived=0
build || { cat build.txt; exit 2; }
for patch in $patches; do
  replay "$patch" || { echo "$scenario is red without a break:"; cat said.txt; exit 2; }
done
printf '%-26s %-26s %s\n' mutation scenario outcome
for patch in $patches; do
  outcome=red
  git apply "$patch"
  if ! build; then
    outcome='DOES NOT BUILD'
  elif replay "$patch"; then
    outcome=GREEN
  elif ! grep -q '^WRONG\|^LOST' said.txt; then
    outcome='NOT RUN'
  fi
  git apply -R "$patch"
  printf '%-26s %-26s %s\n' "$(basename "$patch" .patch)" "$(value "$patch" Scenario)" "$outcome"
  case $outcome in
    red) [ -z "${TALON_MUTATIONS_SAY:-}" ] || grep -m1 '^WRONG\|^LOST' said.txt ;;
    *) survived=$((survived + 1)); cat build.txt said.txt ;;
  esac
done
[ $survived = 0 ] || { echo "$survived of the breaks were not noticed"; exit 1; }
echo 'every break is noticed'
