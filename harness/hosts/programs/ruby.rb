# DATABASE LIBRARY SCRIPT: Ruby's sqlite3.
require 'sqlite3'
database, library, script = ARGV
connection = SQLite3::Database.new(database)
connection.enable_load_extension(true)
connection.load_extension(library)
['SELECT sqlite_version()', *File.readlines(script, encoding: 'UTF-8')].each do |line|
  connection.execute(line).each { |row| puts row[0] }
end
connection.close
