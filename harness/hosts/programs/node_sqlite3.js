// DATABASE LIBRARY SCRIPT: node-sqlite3, whose statements run on threads of a pool.
const [database, library, script] = process.argv.slice(2);
const connection = new (require('sqlite3').Database)(database);
const fail = (error) => { if (error) { console.error(error); process.exit(1); } };
const lines = require('fs').readFileSync(script, 'utf8').split('\n').filter(Boolean);
connection.serialize(() => {
  connection.loadExtension(library, fail);
  for (const line of ['SELECT sqlite_version()', ...lines]) {
    connection.all(line, (error, rows) => {
      fail(error);
      for (const row of rows) console.log(Object.values(row)[0]);
    });
  }
  connection.close(fail);
});
