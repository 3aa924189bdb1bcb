# DATABASE LIBRARY SCRIPT: Tcl's sqlite3.
package require sqlite3
lassign $argv database library script
fconfigure stdout -encoding utf-8
sqlite3 connection $database
connection enable_load_extension 1
connection eval {SELECT load_extension($library)}
set file [open $script]
fconfigure $file -encoding utf-8
foreach line [linsert [split [string trim [read $file]] \n] 0 {SELECT sqlite_version()}] {
  foreach value [connection eval $line] { puts $value }
}
connection close
