#!/bin/sh
# Writes src/bindings.rs from SQLite's own headers: ext/sys/regenerate.sh DIR, where DIR holds sqlite3.h and
# sqlite3ext.h of the newest SQLite. Needs bindgen (cargo install bindgen-cli), libclang and rustfmt; the build itself
# needs none of them.
set -eu
cd "$(dirname "$0")"
bindgen "$1/sqlite3ext.h" \
  --allowlist-type 'sqlite3_(api_routines|module|index_info|vtab|vtab_cursor)' \
  --allowlist-var 'SQLITE_.*' \
  --blocklist-function '.*' --blocklist-var 'SQLITE_(VERSION|SOURCE_ID|STDCALL).*|sqlite3_api' \
  --no-layout-tests --no-doc-comments --merge-extern-blocks --use-core \
  --raw-line '// Written by ../regenerate.sh from sqlite3ext.h; do not edit.' \
  -o src/bindings.rs
# The few entries that take a va_list are never called: a pointer keeps the file the same on every platform.
sed -i 's/^pub type __builtin_va_list = .*/pub type __builtin_va_list = *mut ::core::ffi::c_void;/' src/bindings.rs
# sqlite-loadable fills in the module struct of SQLite 3.39; the field after its last is read from iVersion 4 on only.
sed -i '/^    pub xIntegrity: /,/^    >,$/d' src/bindings.rs
