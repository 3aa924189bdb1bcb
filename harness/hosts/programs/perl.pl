# DATABASE LIBRARY SCRIPT: Perl's DBD::SQLite.
use strict;
use warnings;
use DBI;
my ($database, $library, $script) = @ARGV;
my $connection = DBI->connect("dbi:SQLite:dbname=$database", '', '', { RaiseError => 1, PrintError => 0 });
$connection->sqlite_enable_load_extension(1);
$connection->sqlite_load_extension($library);
open(my $lines, '<', $script) or die $!;
for my $line ('SELECT sqlite_version()', <$lines>) {
    my $statement = $connection->prepare($line);
    $statement->execute;
    next unless $statement->{NUM_OF_FIELDS};
    while (my $row = $statement->fetch) { print "$row->[0]\n" }
}
$connection->disconnect;
