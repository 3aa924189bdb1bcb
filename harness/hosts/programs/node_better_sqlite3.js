// DATABASE LIBRARY SCRIPT: better-sqlite3.
const [database, library, script] = process.argv.slice(2);
const connection = new (require('better-sqlite3'))(database);
connection.loadExtension(library);
const lines = require('fs').readFileSync(script, 'utf8').split('\n').filter(Boolean);
for (const line of ['SELECT sqlite_version()', ...lines]) {
  const statement = connection.prepare(line);
  if (!statement.reader) statement.run();
  else for (const row of statement.raw().all()) console.log(row[0]);
}
connection.close();
