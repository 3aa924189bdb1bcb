// DATABASE LIBRARY SCRIPT: Go with mattn/go-sqlite3.
package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"log"
	"os"

	sqlite "github.com/mattn/go-sqlite3"
)

func main() {
	sql.Register("talon", &sqlite.SQLiteDriver{Extensions: []string{os.Args[2]}})
	database, err := sql.Open("talon", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer database.Close()
	// BEGIN and COMMIT are lines of the script: one connection for all.
	database.SetMaxOpenConns(1)
	script, err := os.Open(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	run(database, "SELECT sqlite_version()")
	for lines := bufio.NewScanner(script); lines.Scan(); {
		run(database, lines.Text())
	}
}

func run(database *sql.DB, line string) {
	rows, err := database.Query(line)
	if err != nil {
		log.Fatal(line, ": ", err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	for rows.Next() {
		var value string
		if len(columns) > 0 {
			if err := rows.Scan(&value); err != nil {
				log.Fatal(line, ": ", err)
			}
			fmt.Println(value)
		}
	}
	if err := rows.Err(); err != nil {
		log.Fatal(line, ": ", err)
	}
}
