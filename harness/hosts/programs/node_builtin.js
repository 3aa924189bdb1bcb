// DATABASE LIBRARY SCRIPT: node:sqlite, in Node since 22.5.
const [database, library, script] = process.argv.slice(2);
const { DatabaseSync } = require('node:sqlite');
const connection = new DatabaseSync(database, { allowExtension: true });
connection.loadExtension(library);
const lines = require('fs').readFileSync(script, 'utf8').split('\n').filter(Boolean);
for (const line of ['SELECT sqlite_version()', ...lines]) {
  for (const row of connection.prepare(line).all()) console.log(Object.values(row)[0]);
}
connection.close();
