-- A trigger on a host's table. Plain SQL of an old dialect: it works without the extension, where SQLite's own date()
-- gives NULL for what is no date and the body runs. With it, a function of that name and number of arguments takes the
-- touch and answers 1, and nothing is written.
CREATE TRIGGER {schema}.{name} {moment} ON {table}
WHEN {condition}date('talon', {database}, {code}, {values}) IS NULL
BEGIN {body}; END
