#include "med3d/io/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxStatementBytes = 1 << 20;
constexpr int kMaxColumns = 500;
constexpr int kMaxDepth = 100;
constexpr int kMaxSteps = 1 << 20;

ErrorKind kind_of(int code) {
  switch (code & 0xFF) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_SCHEMA:
      return ErrorKind::kFormat;
    case SQLITE_CONSTRAINT:
      return ErrorKind::kData;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
      return ErrorKind::kUsage;
    default:
      return ErrorKind::kIo;  // busy, locked, full, read-only, no permission, I/O
  }
}

// sqlite3_errmsg names tables and columns; no bound value is ever part of it.
[[noreturn]] void fail(sqlite3* handle, const std::string& source, int code) {
  const char* const said = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  std::string what = fmt::format("{}: {}", source, said);
  if ((code & 0xFF) == SQLITE_BUSY) what += "; another process holds it";
  throw Error(kind_of(code), what);
}

// SQLite makes a missing file with the rights of the umask, and would wait on a FIFO.
void prepare_file(const fs::path& path, bool may_create) {
  const int flags = O_CLOEXEC | O_NONBLOCK | (may_create ? O_RDWR | O_CREAT : O_RDONLY);
  const int fd = ::open(path.c_str(), flags, S_IRUSR | S_IWUSR);
  if (fd < 0) {
    const ErrorKind kind = errno == ENOENT   ? ErrorKind::kNotFound
                           : errno == EISDIR ? ErrorKind::kFormat
                                             : ErrorKind::kIo;
    throw Error(
        kind,
        fmt::format("{}: cannot be opened as a database: {}", path.string(), std::strerror(errno)));
  }
  struct stat info {};
  const bool regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  ::close(fd);
  if (!regular) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: is no regular file, expected a database", path.string()));
  }
}

}  // namespace

// --- Statement ---------------------------------------------------------------------------------

struct Statement::Impl {
  Impl(sqlite3* handle, sqlite3_stmt* prepared, std::string name)
      : database(handle), statement(prepared), source(std::move(name)) {}
  ~Impl() { sqlite3_finalize(statement); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void require(int code) const {
    if (code != SQLITE_OK) fail(database, source, code);
  }
  // SQLite would convert in silence; a value of the wrong type means that the file is not ours.
  void require_type(int column, bool right, std::string_view expected) const {
    if (column < 0 || column >= sqlite3_data_count(statement)) {
      throw Error(ErrorKind::kUsage, fmt::format("{}: no column {} in the row", source, column));
    }
    if (right) return;
    const char* const name = sqlite3_column_name(statement, column);
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: column '{}' holds another type, expected {}",
                            source,
                            name != nullptr ? name : "",
                            expected));
  }
  int type(int column) const { return sqlite3_column_type(statement, column); }

  sqlite3* database;
  sqlite3_stmt* statement;
  std::string source;
};

Statement::Statement(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Statement::Statement(Statement&&) noexcept = default;
Statement& Statement::operator=(Statement&&) noexcept = default;
Statement::~Statement() = default;

void Statement::begin(int parameters) {
  sqlite3_reset(impl_->statement);
  sqlite3_clear_bindings(impl_->statement);
  const int expected = sqlite3_bind_parameter_count(impl_->statement);
  if (parameters != expected) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "{}: {} values for a statement of {} parameters", impl_->source, parameters, expected));
  }
}

void Statement::set(int index, std::int64_t value) {
  impl_->require(sqlite3_bind_int64(impl_->statement, index, value));
}
void Statement::set(int index, double value) {
  impl_->require(sqlite3_bind_double(impl_->statement, index, value));
}
void Statement::set(int index, std::string_view value) {
  // A null pointer would be NULL, yet an empty text is a value.
  const char* const data = value.data() != nullptr ? value.data() : "";
  impl_->require(sqlite3_bind_text64(
      impl_->statement, index, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}
void Statement::set(int index, std::nullopt_t) {
  impl_->require(sqlite3_bind_null(impl_->statement, index));
}

bool Statement::step() {
  const int code = sqlite3_step(impl_->statement);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) {
    try {
      fail(impl_->database, impl_->source, code);
    } catch (const Error&) {
      // A statement that is left half-way would keep its lock.
      sqlite3_reset(impl_->statement);
      throw;
    }
  }
  sqlite3_reset(impl_->statement);
  return false;
}

void Statement::run() {
  while (step()) {
  }
}

bool Statement::is_null(int column) const {
  const int type = impl_->type(column);
  impl_->require_type(column, true, "");
  return type == SQLITE_NULL;
}
std::int64_t Statement::integer(int column) const {
  impl_->require_type(column, impl_->type(column) == SQLITE_INTEGER, "a whole number");
  return sqlite3_column_int64(impl_->statement, column);
}
double Statement::real(int column) const {
  const int type = impl_->type(column);
  impl_->require_type(column, type == SQLITE_FLOAT || type == SQLITE_INTEGER, "a number");
  return sqlite3_column_double(impl_->statement, column);
}
std::string Statement::text(int column) const {
  impl_->require_type(column, impl_->type(column) == SQLITE_TEXT, "text");
  const auto* const data = sqlite3_column_text(impl_->statement, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(impl_->statement, column));
  if (data == nullptr) fail(impl_->database, impl_->source, SQLITE_NOMEM);
  return std::string(reinterpret_cast<const char*>(data), size);
}
std::optional<std::int64_t> Statement::integer_or_none(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}
std::optional<double> Statement::real_or_none(int column) const {
  if (is_null(column)) return std::nullopt;
  return real(column);
}

// --- Database ----------------------------------------------------------------------------------

struct Database::Impl {
  ~Impl() { sqlite3_close_v2(handle); }

  void require(int code) const {
    if (code != SQLITE_OK) fail(handle, source, code);
  }
  void execute(const char* statements) const {
    require(sqlite3_exec(handle, statements, nullptr, nullptr, nullptr));
  }

  sqlite3* handle = nullptr;
  std::string source;
  bool in_transaction = false;
};

Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

Database::Database(const fs::path& path, DatabaseUse use, int busy_ms)
    : impl_(std::make_unique<Impl>()) {
  impl_->source = path.string();
  prepare_file(path, use != DatabaseUse::kRead);
  // NOFOLLOW: a link may not lead a writer elsewhere. EXRESCODE is left out: kind_of looks at the
  // primary code.
  const int flags = (use == DatabaseUse::kRead ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  impl_->require(sqlite3_open_v2(path.c_str(), &impl_->handle, flags, nullptr));
  impl_->require(sqlite3_busy_timeout(impl_->handle, busy_ms));

  sqlite3_db_config(impl_->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(impl_->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_limit(impl_->handle, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(impl_->handle, SQLITE_LIMIT_SQL_LENGTH, kMaxStatementBytes);
  sqlite3_limit(impl_->handle, SQLITE_LIMIT_COLUMN, kMaxColumns);
  sqlite3_limit(impl_->handle, SQLITE_LIMIT_EXPR_DEPTH, kMaxDepth);
  sqlite3_limit(impl_->handle, SQLITE_LIMIT_VDBE_OP, kMaxSteps);
  sqlite3_limit(
      impl_->handle, SQLITE_LIMIT_LENGTH, static_cast<int>(limits().table_cell_bytes << 4));
  impl_->execute("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON");
  if (use == DatabaseUse::kShared) {
    impl_->execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  } else if (use == DatabaseUse::kAlone) {
    impl_->execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL");
  }
  user_version();  // reads the header: what is no database is told here
}

void Database::execute(const std::string& statements) { impl_->execute(statements.c_str()); }

Statement Database::prepare(std::string_view statement) {
  sqlite3_stmt* prepared = nullptr;
  const char* rest = nullptr;
  impl_->require(sqlite3_prepare_v2(
      impl_->handle, statement.data(), static_cast<int>(statement.size()), &prepared, &rest));
  auto out = std::make_unique<Statement::Impl>(impl_->handle, prepared, impl_->source);
  const std::string_view behind(
      rest, static_cast<std::size_t>(statement.data() + statement.size() - rest));
  if (prepared == nullptr || behind.find_first_not_of(" \t\r\n;") != behind.npos) {
    throw Error(ErrorKind::kUsage, impl_->source + ": expected exactly one statement");
  }
  return Statement(std::move(out));
}

void Database::transaction(const std::function<void()>& work) {
  if (impl_->in_transaction) {
    throw Error(ErrorKind::kUsage, impl_->source + ": a transaction inside a transaction");
  }
  impl_->execute("BEGIN IMMEDIATE");
  impl_->in_transaction = true;
  try {
    work();
    impl_->execute("COMMIT");
  } catch (...) {
    impl_->in_transaction = false;
    // Some errors have rolled back already; then there is nothing to undo and this says so.
    sqlite3_exec(impl_->handle, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  impl_->in_transaction = false;
}

std::int64_t Database::user_version() {
  Statement statement = prepare("PRAGMA user_version");
  statement.step();
  return statement.integer(0);
}

void Database::set_user_version(std::int32_t version) {
  execute(fmt::format("PRAGMA user_version = {}", version));
}

void Database::check() {
  Statement statement = prepare("PRAGMA quick_check(1)");
  statement.step();
  const std::string found = statement.text(0);
  if (found != "ok") {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: damaged database: {}", impl_->source, found.substr(0, 200)));
  }
}

}  // namespace med3d
