#include "med3d/io/database.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>

#include "med3d/core/file.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

namespace fs = std::filesystem;

class DatabaseTest : public ::testing::Test {
 protected:
  DatabaseTest()
      : folder_(fs::path(testing::TempDir()) / ("med3d_database_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~DatabaseTest() override { fs::remove_all(folder_); }

  Database with_rows() {
    Database database(path(), DatabaseUse::kAlone);
    database.execute("CREATE TABLE t (name TEXT UNIQUE, n INTEGER, x REAL)");
    return database;
  }
  fs::path path() const { return folder_ / "t.sqlite"; }

  template <class Work>
  static void expect(ErrorKind kind, const std::string& part, const Work& work) {
    try {
      work();
      ADD_FAILURE() << "no error, expected one saying '" << part << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  fs::path folder_;
};

TEST_F(DatabaseTest, GivesBackWhatWasBound) {
  Database database = with_rows();
  Statement insert = database.prepare("INSERT INTO t VALUES (?, ?, ?)");
  // A quote and a statement in a value stay a value.
  insert.bind("a'); DROP TABLE t; --", std::numeric_limits<std::int64_t>::min(), 0.1).run();
  insert.bind(std::string("b\0c", 3), std::optional<std::int64_t>(), std::nan("")).run();
  insert.bind("", 7, std::optional<double>(2.0)).run();

  Statement rows = database.prepare("SELECT name, n, x FROM t ORDER BY rowid");
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.text(0), "a'); DROP TABLE t; --");
  EXPECT_EQ(rows.integer(1), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(rows.real(2), 0.1);
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.text(0), std::string("b\0c", 3));
  EXPECT_FALSE(rows.integer_or_none(1).has_value());
  EXPECT_TRUE(rows.is_null(2));
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.text(0), "");
  EXPECT_EQ(rows.integer_or_none(1), 7);
  EXPECT_EQ(rows.real_or_none(2), 2.0);
  EXPECT_FALSE(rows.step());
  EXPECT_TRUE(rows.step()) << "a statement that ended begins anew";
}

TEST_F(DatabaseTest, KeepsACommitAndUndoesAThrow) {
  {
    Database database = with_rows();
    database.transaction([&] { database.execute("INSERT INTO t VALUES ('kept', 1, 1)"); });
    EXPECT_THROW(database.transaction([&] {
      database.execute("INSERT INTO t VALUES ('lost', 2, 2)");
      throw Error(ErrorKind::kData, "no");
    }),
                 Error);
    database.transaction([&] { database.execute("INSERT INTO t VALUES ('after', 3, 3)"); });
  }
  Database database(path(), DatabaseUse::kRead);
  Statement rows =
      database.prepare("SELECT group_concat(name, ',') FROM (SELECT name FROM t ORDER BY n)");
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.text(0), "kept,after");
}

TEST_F(DatabaseTest, SharedFilesAreReadWhileTheyAreWritten) {
  Database writer(path(), DatabaseUse::kShared);
  writer.execute("CREATE TABLE t (n INTEGER)");
  Database reader(path(), DatabaseUse::kShared);
  writer.transaction([&] {
    writer.execute("INSERT INTO t VALUES (1)");
    Statement count = reader.prepare("SELECT count(*) FROM t");
    ASSERT_TRUE(count.step());
    EXPECT_EQ(count.integer(0), 0);  // before the commit, and without waiting
  });
  Statement count = reader.prepare("SELECT count(*) FROM t");
  ASSERT_TRUE(count.step());
  EXPECT_EQ(count.integer(0), 1);
}

TEST_F(DatabaseTest, SaysThatAnotherProcessHoldsIt) {
  Database first = with_rows();
  Database second(path(), DatabaseUse::kAlone, 1);
  first.transaction([&] {
    expect(ErrorKind::kIo, "another process holds it", [&] { second.transaction([] {}); });
  });
}

TEST_F(DatabaseTest, ANewFileIsItsOwnersAlone) {
  with_rows();
  struct stat info {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(DatabaseTest, KeepsTheVersionOfItsTables) {
  {
    Database database = with_rows();
    EXPECT_EQ(database.user_version(), 0);
    database.set_user_version(42);
  }
  EXPECT_EQ(Database(path(), DatabaseUse::kRead).user_version(), 42);
}

TEST_F(DatabaseTest, RefusesWhatIsNoDatabase) {
  expect(ErrorKind::kNotFound, "cannot be opened", [&] { Database(path(), DatabaseUse::kRead); });
  EXPECT_FALSE(fs::exists(path()));
  write_file_atomic(path(), std::string(5000, 'x'));
  expect(ErrorKind::kFormat, "not a database", [&] { Database(path(), DatabaseUse::kRead); });
  expect(ErrorKind::kFormat, "not a database", [&] { Database(path(), DatabaseUse::kAlone); });
  expect(ErrorKind::kFormat, "", [&] { Database(folder_, DatabaseUse::kAlone); });
  const fs::path fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect(ErrorKind::kFormat, "no regular file", [&] { Database(fifo, DatabaseUse::kRead); });
}

TEST_F(DatabaseTest, NamesTheMistakeAndNoValue) {
  Database database = with_rows();
  expect(ErrorKind::kUsage, "no such table", [&] { database.prepare("SELECT * FROM nowhere"); });
  expect(ErrorKind::kUsage, "exactly one", [&] { database.prepare("SELECT 1; SELECT 2"); });
  expect(ErrorKind::kUsage, "exactly one", [&] { database.prepare(" "); });
  Statement insert = database.prepare("INSERT INTO t VALUES (?, ?, ?)");
  expect(ErrorKind::kUsage, "2 values for a statement of 3", [&] { insert.bind("a", 1); });
  insert.bind("Canary^Name", 1, 1.0).run();
  try {
    insert.bind("Canary^Name", 1, 1.0).run();
    ADD_FAILURE() << "a name twice";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_EQ(std::string(error.what()).find("Canary"), std::string::npos) << error.what();
  }
  Statement row = database.prepare("SELECT name, n FROM t");
  ASSERT_TRUE(row.step());
  expect(ErrorKind::kFormat, "column 'name' holds another type", [&] { row.integer(0); });
  expect(ErrorKind::kUsage, "no column 2", [&] { row.text(2); });
  expect(ErrorKind::kUsage, "inside a transaction", [&] {
    database.transaction([&] { database.transaction([] {}); });
  });
}

TEST_F(DatabaseTest, ADamagedFileIsAnErrorAndNothingWorse) {
  {
    Database database = with_rows();
    Statement insert = database.prepare("INSERT INTO t VALUES (?, ?, ?)");
    database.transaction([&] {
      for (int i = 0; i < 300; ++i) insert.bind("row " + std::to_string(i), i, 0.5 * i).run();
    });
  }
  const std::string whole = read_file(path(), 1 << 20);
  int refused = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    std::string bytes = whole;
    if (i % 2 == 0) {
      bytes.resize(whole.size() * i / 200);
    } else {
      bytes[(i * 7919) % bytes.size()] ^= static_cast<char>(1 + i % 255);
    }
    fs::remove(path());
    std::ofstream(path(), std::ios::binary) << bytes;
    try {
      Database database(path(), DatabaseUse::kRead);
      database.check();
      Statement rows = database.prepare("SELECT name, n FROM t");
      while (rows.step()) {
        if (!rows.is_null(0)) rows.text(0);
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GE(refused, 90) << "nearly all cuts";
}

}  // namespace
}  // namespace med3d
