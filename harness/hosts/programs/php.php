<?php
// DATABASE LIBRARY SCRIPT: PHP's SQLite3; its ini file names the folder that extensions may come from.
[, $database, $library, $script] = $argv;
$connection = new SQLite3($database);
$connection->enableExceptions(true);
$connection->loadExtension(basename($library));
// query() would run each SELECT twice: once for itself and once more for the first row.
foreach (['SELECT sqlite_version()', ...file($script)] as $line) {
    if (str_starts_with($line, 'SELECT')) {
        echo $connection->querySingle($line), "\n";
    } else {
        $connection->exec($line);
    }
}
$connection->close();
