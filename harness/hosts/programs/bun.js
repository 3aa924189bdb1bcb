// DATABASE LIBRARY SCRIPT: bun:sqlite.
const [database, library, script] = process.argv.slice(2);
const { Database } = require('bun:sqlite');
const connection = new Database(database);
connection.loadExtension(library);
const lines = require('fs').readFileSync(script, 'utf8').split('\n').filter(Boolean);
for (const line of ['SELECT sqlite_version()', ...lines]) {
  for (const row of connection.prepare(line).values()) console.log(row[0]);
}
connection.close();
