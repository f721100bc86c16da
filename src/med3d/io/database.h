// An SQLite file: statements with typed values, transactions, errors as Error.
//
//   Database database(path, DatabaseUse::kShared);
//   database.execute("CREATE TABLE IF NOT EXISTS runs (name TEXT PRIMARY KEY, at INTEGER)");
//   Statement insert = database.prepare("INSERT INTO runs VALUES (?, ?)");
//   database.transaction([&] {
//     for (const Run& run : runs) insert.bind(run.name, run.at).run();
//   });
//
// Values always go in by bind, never into the text of a statement. A message holds SQLite's own
// words, the file's name and never a bound value: rows may be about patients.
//
// A database may come from a stranger: it is opened with the defences SQLite names for that
// (trusted_schema off, cell sizes checked, defensive mode, no extension, no attached file), and
// length, columns, depth and steps of a statement are bounded.
//
// Source: sqlite.org/c3ref, sqlite.org/security.html, sqlite.org/wal.html.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace med3d {

class Database;

// A prepared statement. It must not outlive its Database, and belongs to one thread at a time.
class Statement {
 public:
  Statement(Statement&&) noexcept;
  Statement& operator=(Statement&&) noexcept;
  ~Statement();

  // The values of all parameters, in order; what was bound before is forgotten. A std::nullopt and
  // a NaN are NULL. Throws Error(kUsage) if there are more or fewer parameters.
  template <class... Values>
  Statement& bind(const Values&... values) {
    begin(static_cast<int>(sizeof...(values)));
    int index = 0;
    (set(++index, values), ...);
    return *this;
  }

  // The next row; false behind the last one, after which the statement may be bound and run again.
  bool step();
  // For statements without rows: steps to the end.
  void run();

  // Columns of the row, from 0. Text is UTF-8. Throws Error(kFormat) naming the column if the
  // stored value is of another type (a whole number passes as real); the _or_none forms take NULL.
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  bool is_null(int column) const;
  std::optional<std::int64_t> integer_or_none(int column) const;
  std::optional<double> real_or_none(int column) const;

 private:
  friend class Database;
  struct Impl;
  explicit Statement(std::unique_ptr<Impl> impl);
  void begin(int parameters);
  void set(int index, std::int64_t value);
  void set(int index, int value) { set(index, static_cast<std::int64_t>(value)); }
  void set(int index, std::size_t value) { set(index, static_cast<std::int64_t>(value)); }
  void set(int index, double value);
  void set(int index, std::string_view value);
  void set(int index, const std::string& value) { set(index, std::string_view(value)); }
  void set(int index, const char* value) { set(index, std::string_view(value)); }
  void set(int index, std::nullopt_t);
  template <class T>
  void set(int index, const std::optional<T>& value) {
    if (value) {
      set(index, *value);
    } else {
      set(index, std::nullopt);
    }
  }

  std::unique_ptr<Impl> impl_;
};

enum class DatabaseUse {
  kRead,    // must be there; nothing is ever written
  kShared,  // several processes read while one writes: WAL, synced at every commit. Not for network
            // file systems, whose locks and shared memory cannot carry it
  kAlone,   // one process writes, then others read: a rollback journal beside the file while a
            // transaction runs, nothing else; sound on network file systems
};

class Database {
 public:
  // Opens the file, and makes it unless kRead; new ones can be read by their owner alone. Waits up
  // to busy_ms where another process holds it.
  //
  // Throws Error(kNotFound) if it is missing, kFormat if it is no regular file, no SQLite file or
  // is damaged, kIo if the system refuses.
  explicit Database(const std::filesystem::path& path, DatabaseUse use, int busy_ms = 10'000);
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  // One or more statements without parameters and rows.
  void execute(const std::string& statements);

  // Exactly one statement. Throws Error(kUsage) for none, or for text behind it.
  Statement prepare(std::string_view statement);

  // Begins with the right to write, commits after `work`, and rolls back if it throws. May not be
  // nested. Throws Error(kIo) if another process holds the file for longer than busy_ms.
  void transaction(const std::function<void()>& work);

  // A number of the owner's own in the file's header, 0 in a new file: which kind and version of
  // tables it holds.
  std::int64_t user_version();
  void set_user_version(std::int32_t version);

  // Throws Error(kFormat) with SQLite's finding if the file's structure is damaged. Cost: reads the
  // whole file.
  void check();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d
