// DATABASE LIBRARY SCRIPT: sqlite-jdbc.
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

public class Jdbc {
  public static void main(String[] arguments) throws Exception {
    var out = new PrintStream(System.out, true, "UTF-8");
    var settings = new Properties();
    settings.setProperty("enable_load_extension", "true");
    List<String> lines = new ArrayList<>(Files.readAllLines(Path.of(arguments[2])));
    lines.add(0, "SELECT sqlite_version()");
    try (var connection = DriverManager.getConnection("jdbc:sqlite:" + arguments[0], settings);
        var statement = connection.createStatement()) {
      statement.execute("SELECT load_extension('" + arguments[1] + "')");
      for (String line : lines) {
        if (!statement.execute(line)) continue;
        try (var rows = statement.getResultSet()) {
          while (rows.next()) out.println(rows.getString(1));
        }
      }
    }
  }
}
