#include "med3d/pipeline/run_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "med3d/core/hash.h"
#include "med3d/io/database.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::expect_error;
using testing::TempFolder;

// A run folder with one item whose file holds `text`.
ItemRecord one_item(const TempFolder& folder,
                    const std::string& item = "a",
                    const std::string& text = "0123456789") {
  folder.write("out/" + item + ".txt", text);
  return {"extract",
          item,
          "key",
          ItemState::kDone,
          "",
          {{"out/" + item + ".txt", 0, ""}},
          {{"tiles", 3}}};
}

std::string bytes_of(const fs::path& path) { return read_file(path, 1 << 20); }

void put_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Puts both times of a file back to what they were.
class KeptTimes {
 public:
  explicit KeptTimes(fs::path path) : path_(std::move(path)) { ::stat(path_.c_str(), &info_); }
  ~KeptTimes() {
    const struct timespec times[2] = {info_.st_atim, info_.st_mtim};
    ::utimensat(AT_FDCWD, path_.c_str(), times, 0);
  }

 private:
  fs::path path_;
  struct stat info_ {};
};

StoreOptions with_notes(std::vector<std::string>& notes) {
  StoreOptions options;
  options.note = [&notes](const std::string& text) { notes.push_back(text); };
  return options;
}

StoreOptions reading() {
  StoreOptions options;
  options.use = StoreUse::kRead;
  return options;
}

StoreOptions shard(int index, int count) {
  StoreOptions options;
  options.shard = {index, count};
  return options;
}

// Another holder's row, as another machine would have written it.
void plant_lease(const fs::path& folder,
                 std::int64_t pid,
                 std::int64_t started,
                 const std::string& host,
                 const std::string& machine,
                 Shard of = {}) {
  Database database(folder / "state.sqlite", DatabaseUse::kShared);
  database.prepare("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, 0)")
      .bind("planted", of.index, of.count, pid, started, host, machine)
      .run();
}

struct OwnLease {
  std::int64_t pid = 0, started = 0;
  std::string machine;
};
OwnLease own_lease(const fs::path& folder) {
  const RunStore store(folder, {});
  Database database(folder / "state.sqlite", DatabaseUse::kRead);
  Statement select = database.prepare("SELECT pid, started, machine FROM leases");
  select.step();
  return {select.integer(0), select.integer(1), select.text(2)};
}

std::int64_t dead_pid() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return child;
}

// --- Items -------------------------------------------------------------------------------------

TEST(RunStore, KnowsAnItemUnderItsKeyInAnotherProcessOnly) {
  const TempFolder folder;
  {
    RunStore store(folder.path(), {});
    EXPECT_FALSE(store.finished("extract", "a", "key"));
    store.record(one_item(folder));
    EXPECT_TRUE(store.finished("extract", "a", "key"));
  }
  RunStore store(folder.path(), {});
  const auto found = store.finished("extract", "a", "key");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->facts.at("tiles"), 3);
  ASSERT_EQ(found->files.size(), 1U);
  EXPECT_EQ(found->files[0].size, 10U);
  // SHA-256 of "0123456789" (sha256sum).
  EXPECT_EQ(found->files[0].sha256,
            "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882");
  EXPECT_FALSE(store.finished("extract", "a", "other key"));
  EXPECT_FALSE(store.finished("tile", "a", "key"));
  EXPECT_FALSE(store.finished("extract", "b", "key"));
}

TEST(RunStore, DoesNotTakeSkippedAndFailedItemsForFinished) {
  const TempFolder folder;
  RunStore store(folder.path(), {});
  store.record({"extract", "a", "key", ItemState::kFailed, "TIFF is cut short", {}, {}});
  store.record({"extract", "b", "key", ItemState::kSkipped, "frozen section", {}, {}});
  EXPECT_FALSE(store.finished("extract", "a", "key"));
  EXPECT_FALSE(store.finished("extract", "b", "key"));
  const auto items = store.items("extract");
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].item, "a");
  EXPECT_EQ(items[0].reason, "TIFF is cut short");
  EXPECT_EQ(items[1].state, ItemState::kSkipped);
  EXPECT_EQ(store.find("extract", "b")->reason, "frozen section");
  EXPECT_FALSE(store.find("extract", "c"));
}

TEST(RunStore, TheLastRecordOfAnItemCounts) {
  const TempFolder folder;
  RunStore store(folder.path(), {});
  store.record(one_item(folder));
  store.record({"extract", "a", "key 2", ItemState::kFailed, "unreadable", {}, {}});
  EXPECT_FALSE(store.finished("extract", "a", "key"));
  EXPECT_EQ(store.items("extract").size(), 1U);
  store.record(one_item(folder, "a", "new bytes"));
  EXPECT_TRUE(store.finished("extract", "a", "key"));
}

TEST(RunStore, ForgetsAnItemOnRequest) {
  const TempFolder folder;
  {
    RunStore store(folder.path(), {});
    store.record(one_item(folder));
    store.forget("extract", "a");
    store.forget("extract", "never there");
    EXPECT_TRUE(store.items("extract").empty());
  }
  // Nor does it come back from the records.
  fs::remove(folder.path() / "state.sqlite");
  RunStore store(folder.path(), {});
  EXPECT_TRUE(store.items("extract").empty());
}

TEST(RunStore, RefusesRecordsThatCannotBeTrue) {
  const TempFolder folder;
  RunStore store(folder.path(), {});
  const auto refuse = [&](ErrorKind kind, std::string_view part, const ItemRecord& record) {
    expect_error(kind, part, [&] { store.record(record); });
    EXPECT_TRUE(store.items("extract").empty());
  };
  ItemRecord record = one_item(folder);
  record.files[0].path = "out/missing.txt";
  refuse(ErrorKind::kNotFound, "missing.txt", record);
  for (const char* path : {"../a", "/etc/passwd", "", "out/../../a", "out/"}) {
    record.files[0].path = path;
    refuse(ErrorKind::kUsage, "outside the run folder", record);
  }
  record.files[0].path = "out";
  refuse(ErrorKind::kFormat, "no regular file", record);
  record = one_item(folder);
  record.files[0].size = 10;
  record.files[0].sha256 = std::string(64, '0');
  refuse(ErrorKind::kData, "has other bytes than its record says", record);
  record = one_item(folder);
  record.item.clear();
  refuse(ErrorKind::kUsage, "without a stage or an item", record);
}

// A cache entry that was damaged is a miss: by a flipped byte, a cut, its loss, another kind of
// file.
TEST(RunStore, DoesNotTrustAFileThatWasChanged) {
  const TempFolder folder;
  const fs::path file = folder.path() / "out/a.txt";
  RunStore store(folder.path(), {});
  const auto damaged = [&](const char* what, const std::function<void()>& damage) {
    store.record(one_item(folder));
    ASSERT_TRUE(store.finished("extract", "a", "key"));
    damage();
    EXPECT_FALSE(store.finished("extract", "a", "key")) << what;
    fs::remove_all(file);
  };
  damaged("flipped", [&] { put_bytes(file, "0123456788"); });
  // The times tell nothing here; the time of change, which nobody can set, does.
  damaged("flipped, times put back", [&] {
    const KeptTimes times(file);
    put_bytes(file, "0123456788");
  });
  damaged("cut", [&] { fs::resize_file(file, 9); });
  damaged("longer", [&] { put_bytes(file, "01234567890"); });
  damaged("gone", [&] { fs::remove(file); });
  damaged("a folder", [&] {
    fs::remove(file);
    fs::create_directory(file);
  });
  damaged("a pipe", [&] {
    fs::remove(file);
    ::mkfifo(file.c_str(), 0600);
  });
  // The same bytes anew are as good as the old ones.
  store.record(one_item(folder));
  fs::remove(file);
  put_bytes(file, "0123456789");
  EXPECT_TRUE(store.finished("extract", "a", "key"));
}

// What was found right once is not read again: a file that may not be read shows it (root may read
// all, so the hash that is remembered is changed instead: it is not looked at either).
TEST(RunStore, ReadsAFileAgainOnlyIfItLooksOtherwise) {
  const TempFolder folder;
  {
    RunStore store(folder.path(), {});
    store.record(one_item(folder));
  }
  const auto seen = [&] {
    Database database(folder.path() / "state.sqlite", DatabaseUse::kShared);
    Statement select = database.prepare("SELECT look FROM seen");
    return select.step() ? select.text(0) : "nothing";
  };
  const std::string before = seen();
  // Touched: looks otherwise, is read, is right, and that is remembered.
  fs::last_write_time(folder.path() / "out/a.txt", fs::file_time_type::clock::now() - 24h);
  {
    RunStore store(folder.path(), {});
    EXPECT_TRUE(store.finished("extract", "a", "key"));
  }
  const std::string after = seen();
  EXPECT_NE(after, before);
  EXPECT_NE(after, "nothing");
  {
    RunStore store(folder.path(), {});
    EXPECT_TRUE(store.finished("extract", "a", "key"));
  }
  EXPECT_EQ(seen(), after);
}

// Rot leaves size, times and inode alone: verify() reads everything, and from then on so does
// finished().
TEST(RunStore, VerifyReadsEveryFile) {
  const TempFolder folder;
  const fs::path file = folder.path() / "out/b.txt";
  RunStore store(folder.path(), {});
  for (const char* item : {"a", "b", "c", "d"}) store.record(one_item(folder, item));
  EXPECT_TRUE(store.verify().empty());
  put_bytes(file, "0123x56789");
  // As if nothing showed: what the file looks like now is what is remembered.
  {
    struct stat info {};
    ASSERT_EQ(::stat(file.c_str(), &info), 0);
    const std::string look = fmt::format("{} {} {}.{:09} {}.{:09}",
                                         info.st_size,
                                         info.st_ino,
                                         info.st_mtim.tv_sec,
                                         info.st_mtim.tv_nsec,
                                         info.st_ctim.tv_sec,
                                         info.st_ctim.tv_nsec);
    Database database(folder.path() / "state.sqlite", DatabaseUse::kShared);
    database.prepare("UPDATE seen SET look = ? WHERE item = 'b'").bind(look).run();
  }
  EXPECT_TRUE(store.finished("extract", "b", "key"));
  fs::resize_file(folder.path() / "out/c.txt", 4);
  fs::remove(folder.path() / "out/d.txt");
  const auto problems = store.verify();
  ASSERT_EQ(problems.size(), 3U);
  EXPECT_EQ(problems[0].item, "b");
  EXPECT_EQ(problems[0].path, "out/b.txt");
  EXPECT_EQ(problems[0].what, "has other bytes than recorded");
  EXPECT_EQ(problems[1].what, "has 4 bytes, expected 10");
  EXPECT_EQ(problems[2].what, "is missing");
  EXPECT_TRUE(store.finished("extract", "a", "key"));
  for (const char* item : {"b", "c", "d"}) {
    EXPECT_FALSE(store.finished("extract", item, "key")) << item;
  }
}

TEST(RunStore, TakesRecordsFromManyThreads) {
  const TempFolder folder;
  RunStore store(folder.path(), {});
  store.begin_stage("extract", "key");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        const std::string item = fmt::format("{}-{}", t, i);
        store.record(one_item(folder, item));
        EXPECT_TRUE(store.finished("extract", item, "key"));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(store.items("extract").size(), 20U);
  EXPECT_EQ(store.stage("extract").items, 20U);
}

// --- Stages ------------------------------------------------------------------------------------

TEST(RunStore, KeepsTimesAndNumbersOfStagesOverAttempts) {
  const TempFolder folder;
  {
    RunStore store(folder.path(), {});
    EXPECT_EQ(store.stage("extract").state, StageState::kPending);
    EXPECT_FALSE(store.stage("extract").seconds_per_item());
    store.begin_stage("extract", "key");
    EXPECT_EQ(store.stage("extract").state, StageState::kRunning);
    store.record(one_item(folder, "a"));
    std::this_thread::sleep_for(20ms);
    store.end_stage("extract", {{"slides", 1}});
    const auto stage = store.stage("extract");
    EXPECT_EQ(stage.state, StageState::kEnded);
    EXPECT_EQ(stage.items, 1U);
    EXPECT_GE(stage.wall_seconds, 0.02);
    EXPECT_GE(stage.cpu_seconds, 0.0);
    EXPECT_EQ(stage.facts.at("slides"), 1);
    expect_error(ErrorKind::kUsage, "was not begun", [&] { store.end_stage("extract"); });
  }
  RunStore store(folder.path(), {});
  const double before = store.stage("extract").wall_seconds;
  store.begin_stage("extract", "key");
  store.record(one_item(folder, "b"));
  store.fail_stage("extract", "disk full");
  EXPECT_EQ(store.stage("extract").items, 2U);
  EXPECT_GT(store.stage("extract").wall_seconds, before);
  EXPECT_EQ(store.stage("extract").state, StageState::kFailed);
  EXPECT_EQ(store.stage("extract").reason, "disk full");
  // Another key is other work: its sums begin anew.
  store.begin_stage("extract", "key 2");
  EXPECT_EQ(store.stage("extract").items, 0U);
  EXPECT_EQ(store.stage("extract").wall_seconds, 0.0);
  EXPECT_EQ(store.stage("extract").state, StageState::kRunning);
}

TEST(RunStore, AStageWhoseProcessEndedIsInterrupted) {
  const TempFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    RunStore store(folder.path(), {});
    store.begin_stage("extract", "key");
    store.record(one_item(folder));
    ::_exit(7);  // as killed: no destructor
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(WEXITSTATUS(status), 7);
  std::vector<std::string> notes;
  RunStore store(folder.path(), with_notes(notes));
  EXPECT_EQ(store.stage("extract").state, StageState::kInterrupted);
  EXPECT_EQ(store.stage("extract").items, 1U);
  EXPECT_TRUE(store.finished("extract", "a", "key"));
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find(fmt::format("process {}", child)), std::string::npos);
  EXPECT_NE(notes[0].find("taken over"), std::string::npos);
}

TEST(RunStore, AnInterruptClosesStagesAndTheStore) {
  const TempFolder folder;
  RunStore store(folder.path(), {});
  store.begin_stage("extract", "key");
  EXPECT_TRUE(store.interrupt("SIGTERM", 1s));
  EXPECT_EQ(store.stage("extract").state, StageState::kInterrupted);
  EXPECT_EQ(store.stage("extract").reason, "SIGTERM");
  EXPECT_TRUE(store.summary().holders.empty());
  expect_error(ErrorKind::kIo, "the run was interrupted", [&] { store.record(one_item(folder)); });
  EXPECT_TRUE(store.interrupt("again", 1s));
}

TEST(RunStore, SummarisesForStatus) {
  const TempFolder folder;
  RunStore store(folder.path(), {});
  store.begin_stage("tile", "key");
  store.end_stage("tile");
  store.begin_stage("extract", "key");
  store.record(one_item(folder, "a"));
  store.record(one_item(folder, "b", "12345"));
  for (const char* item : {"c", "d"}) {
    store.record({"extract", item, "key", ItemState::kFailed, "cut short", {}, {}});
  }
  store.record({"extract", "e", "key", ItemState::kSkipped, "a label", {}, {}});
  RunStore reader(folder.path(), reading());
  const StoreSummary summary = reader.summary();
  ASSERT_EQ(summary.stages.size(), 2U);
  EXPECT_EQ(summary.stages[0].stage, "tile");
  const auto& extract = summary.stages[1];
  EXPECT_EQ(extract.done, 2U);
  EXPECT_EQ(extract.bytes, 15U);
  EXPECT_EQ(extract.failed, 2U);
  EXPECT_EQ(extract.skipped, 1U);
  ASSERT_EQ(extract.reasons.size(), 2U);
  EXPECT_EQ(extract.reasons[0], (std::pair<std::string, std::uint64_t>{"cut short", 2}));
  ASSERT_EQ(summary.holders.size(), 1U);
  EXPECT_EQ(summary.holders[0].pid, ::getpid());
  EXPECT_TRUE(summary.holders[0].alive);
  const Json json = to_json(summary);
  EXPECT_EQ(json.at("stages")[1].at("done"), 2);
  EXPECT_EQ(json.at("stages")[1].at("shards")[0].at("state"), "running");
  EXPECT_EQ(json.at("holders")[0].at("pid"), ::getpid());
}

// --- Reading -----------------------------------------------------------------------------------

TEST(RunStore, AReaderWritesNothing) {
  const TempFolder folder;
  expect_error(ErrorKind::kNotFound, "state.sqlite", [&] { RunStore(folder.path(), reading()); });
  EXPECT_FALSE(RunStore::exists(folder.path()));
  {
    RunStore store(folder.path(), {});
    store.record(one_item(folder));
  }
  EXPECT_TRUE(RunStore::exists(folder.path()));
  RunStore reader(folder.path(), reading());
  EXPECT_TRUE(reader.finished("extract", "a", "key"));
  EXPECT_TRUE(reader.verify().empty());
  expect_error(ErrorKind::kUsage, "reading only", [&] { reader.record(one_item(folder)); });
  put_bytes(folder.path() / "state.sqlite", "no database at all, and long enough to be looked at");
  expect_error(ErrorKind::kFormat, "state.sqlite", [&] { RunStore(folder.path(), reading()); });
  EXPECT_FALSE(fs::exists(folder.path() / "state.sqlite.damaged-1"));
}

// --- Damage ------------------------------------------------------------------------------------

// Whatever bytes are in the registry, the run goes on: with what the records say, or by computing.
TEST(RunStore, MakesADamagedRegistryAnewFromTheRecords) {
  const TempFolder folder;
  const fs::path registry = folder.path() / "state.sqlite";
  {
    RunStore store(folder.path(), {});
    for (const char* item : {"a", "b"}) store.record(one_item(folder, item));
  }
  const std::string whole = bytes_of(registry);
  const auto check = [&](const std::string& what, const std::string& bytes, bool is_told) {
    put_bytes(registry, bytes);
    std::vector<std::string> notes;
    RunStore store(folder.path(), with_notes(notes));
    EXPECT_TRUE(store.finished("extract", "a", "key")) << what;
    EXPECT_TRUE(store.finished("extract", "b", "key")) << what;
    if (is_told) {
      ASSERT_EQ(notes.size(), 2U) << what;
      EXPECT_NE(notes[0].find("damaged"), std::string::npos);
      EXPECT_EQ(notes[1], "2 records of items taken over");
    }
  };
  check("text", "no database at all, and long enough to be looked at", true);
  check("zeros", std::string(8192, '\0'), true);
  check("half", whole.substr(0, whole.size() / 2), true);
  std::string pages = whole;
  std::fill(pages.begin() + 4096, pages.begin() + 3 * 4096, 'x');
  check("pages of x", pages, true);
  EXPECT_EQ(bytes_of(folder.path() / "state.sqlite.damaged-4"), pages);
  EXPECT_EQ(bytes_of(folder.path() / "state.sqlite.damaged-1").substr(0, 11), "no database");
  fs::remove(registry);
  check("gone", "", false);
}

// The database of something else in that place: kept aside, not written into.
TEST(RunStore, SetsAsideADatabaseOfSomethingElse) {
  const TempFolder folder;
  {
    Database other(folder.path() / "state.sqlite", DatabaseUse::kAlone);
    other.execute("CREATE TABLE items (x); INSERT INTO items VALUES (1)");
    other.set_user_version(77);
  }
  std::vector<std::string> notes;
  RunStore store(folder.path(), with_notes(notes));
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("something else"), std::string::npos);
  Database kept(folder.path() / "state.sqlite.damaged-1", DatabaseUse::kRead);
  EXPECT_EQ(kept.user_version(), 77);
}

TEST(RunStore, RefusesARegistryOfALaterVersion) {
  const TempFolder folder;
  { const RunStore store(folder.path(), {}); }
  {
    Database database(folder.path() / "state.sqlite", DatabaseUse::kShared);
    database.set_user_version(0x4D3352FE);
  }
  for (const StoreOptions& options : {StoreOptions{}, reading()}) {
    expect_error(ErrorKind::kUnsupported, "version 254", [&] { RunStore(folder.path(), options); });
  }
}

// One flipped bit in a row or a record file: that item is computed again, the others are not.
TEST(RunStore, DropsARowOrARecordWithAFlippedBit) {
  const TempFolder folder;
  {
    RunStore store(folder.path(), {});
    for (const char* item : {"a", "b"}) store.record(one_item(folder, item));
  }
  {
    Database database(folder.path() / "state.sqlite", DatabaseUse::kShared);
    database.execute(
        "UPDATE items SET record = replace(record, 'tiles', 'tilet') WHERE item = 'a'");
  }
  {
    RunStore store(folder.path(), {});
    EXPECT_FALSE(store.finished("extract", "a", "key"));
    EXPECT_FALSE(store.find("extract", "a"));
    EXPECT_TRUE(store.finished("extract", "b", "key"));
    EXPECT_EQ(store.items("extract").size(), 1U);
    store.record(one_item(folder, "a"));
  }
  std::size_t flipped = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path() / ".records")) {
    if (!entry.is_regular_file()) continue;
    std::string bytes = bytes_of(entry.path());
    if (bytes.find("\"item\":\"b\"") == std::string::npos) continue;
    bytes[bytes.size() / 2] ^= 1;
    put_bytes(entry.path(), bytes);
    ++flipped;
  }
  ASSERT_EQ(flipped, 1U);
  fs::remove(folder.path() / "state.sqlite");
  std::vector<std::string> notes;
  RunStore store(folder.path(), with_notes(notes));
  EXPECT_EQ(notes, std::vector<std::string>{"1 records of items taken over, 1 unusable"});
  EXPECT_TRUE(store.finished("extract", "a", "key"));
  EXPECT_FALSE(store.finished("extract", "b", "key"));
}

// Records point to files; a record that somebody wrote may not point out of the folder.
TEST(RunStore, DoesNotFollowARecordOutOfTheFolder) {
  const TempFolder folder;
  {
    RunStore store(folder.path(), {});
    store.record(one_item(folder));
  }
  fs::path record;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path() / ".records")) {
    if (entry.is_regular_file()) record = entry.path();
  }
  std::string text = bytes_of(record);
  text = text.substr(text.find('\n') + 1);
  text.pop_back();
  text.replace(text.find("out/a.txt"), 9, "../../a.t");
  put_bytes(record, sha256_hex(text) + "\n" + text + "\n");
  fs::remove(folder.path() / "state.sqlite");
  std::vector<std::string> notes;
  RunStore store(folder.path(), with_notes(notes));
  EXPECT_EQ(notes, std::vector<std::string>{"0 records of items taken over, 1 unusable"});
}

// --- Lease -------------------------------------------------------------------------------------

TEST(RunStore, KeepsASecondRunOutAndNamesTheFirst) {
  const TempFolder folder;
  int ready[2];
  int end[2];
  ASSERT_EQ(::pipe(ready) + ::pipe(end), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunStore store(folder.path(), {});
    char byte = 'r';
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(end[0], &byte, 1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string who = fmt::format("process {} on host '", child);
  expect_error(ErrorKind::kIo, who, [&] { RunStore(folder.path(), {}); });
  expect_error(ErrorKind::kIo, who, [&] { RunStore(folder.path(), shard(1, 2)); });
  EXPECT_EQ(RunStore(folder.path(), reading()).summary().holders.size(), 1U);
  (void)!::write(end[1], &byte, 1);
  ::waitpid(child, nullptr, 0);
  const RunStore store(folder.path(), {});
  for (const int fd : {ready[0], ready[1], end[0], end[1]}) ::close(fd);
}

TEST(RunStore, LetsShardsOfOneCountWorkTogether) {
  const TempFolder folder;
  RunStore first(folder.path(), shard(1, 3));
  RunStore third(folder.path(), shard(3, 3));
  expect_error(ErrorKind::kIo, "shard 3/3", [&] { RunStore(folder.path(), shard(3, 3)); });
  expect_error(ErrorKind::kIo, "is at work", [&] { RunStore(folder.path(), shard(2, 4)); });
  expect_error(ErrorKind::kIo, "is at work", [&] { RunStore(folder.path(), {}); });
  first.begin_stage("extract", "key");
  third.begin_stage("extract", "key");
  first.record(one_item(folder, "a"));
  third.record(one_item(folder, "b"));
  EXPECT_EQ(first.items("extract").size(), 2U);
  EXPECT_TRUE(third.finished("extract", "a", "key"));
  first.end_stage("extract");
  const auto stages = third.stages();
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(stages[0].shard, "1/3");
  EXPECT_EQ(stages[0].state, StageState::kEnded);
  EXPECT_EQ(stages[1].state, StageState::kRunning);
  EXPECT_EQ(first.summary().holders.size(), 2U);
}

TEST(RunStore, RefusesShardsOutOfRange) {
  const TempFolder folder;
  for (const auto& [index, count] : {std::pair{0, 2}, {3, 2}, {-1, 2}, {1, -1}}) {
    expect_error(
        ErrorKind::kUsage, "expected i/n", [&] { RunStore(folder.path(), shard(index, count)); });
  }
}

// Worked by hand: no item belongs to two shards, and of 900 items each of three gets its part
// (300 +- 5 standard deviations of 14.1).
TEST(RunStore, EachItemBelongsToOneShard) {
  std::array<int, 4> counts{};
  for (int i = 0; i < 900; ++i) {
    const int shard = shard_of_item(fmt::format("slide-{}", i), 3);
    ASSERT_GE(shard, 1);
    ASSERT_LE(shard, 3);
    ++counts[static_cast<std::size_t>(shard)];
  }
  for (int s = 1; s <= 3; ++s) EXPECT_NEAR(counts[static_cast<std::size_t>(s)], 300, 71);
  EXPECT_EQ(shard_of_item("anything", 1), 1);
  EXPECT_EQ(shard_of_item("TCGA-B0-5691", 4), shard_of_item("TCGA-B0-5691", 4));
  expect_error(ErrorKind::kUsage, "below 1", [] { shard_of_item("a", 0); });
}

TEST(RunStore, TakesOverTheLeaseOfADeadProcessAtOnce) {
  const TempFolder folder;
  const OwnLease own = own_lease(folder.path());
  plant_lease(folder.path(), dead_pid(), own.started, "here", own.machine);
  std::vector<std::string> notes;
  const RunStore store(folder.path(), with_notes(notes));
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("on host 'here', which is gone: taken over"), std::string::npos);
}

// A pid that runs, but began at another time, is another process.
TEST(RunStore, IsNotFooledByAPidThatCameAgain) {
  const TempFolder folder;
  const OwnLease own = own_lease(folder.path());
  plant_lease(folder.path(), ::getppid(), 1, "here", own.machine);
  std::vector<std::string> notes;
  const RunStore store(folder.path(), with_notes(notes));
  EXPECT_EQ(notes.size(), 1U);
}

// One that was killed but not waited for has an entry in /proc and writes nothing.
TEST(RunStore, TakesOverFromAZombie) {
  const TempFolder folder;
  const OwnLease own = own_lease(folder.path());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  plant_lease(folder.path(), child, 0, "here", own.machine);
  std::vector<std::string> notes;
  { const RunStore store(folder.path(), with_notes(notes)); }
  EXPECT_EQ(notes.size(), 1U);
  ::waitpid(child, nullptr, 0);
}

// Another machine's holder is watched: one whose count stands still is taken over after the wait.
TEST(RunStore, TakesOverFromAnotherMachineWhenItsHeartStands) {
  const TempFolder folder;
  own_lease(folder.path());
  plant_lease(folder.path(), 17, 5, "elsewhere", "another boot");
  std::vector<std::string> notes;
  StoreOptions options = with_notes(notes);
  options.heartbeat = 20ms;
  options.stale_after = 100ms;
  const auto began = std::chrono::steady_clock::now();
  const RunStore store(folder.path(), options);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 100ms);
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_NE(notes[0].find("waiting"), std::string::npos);
  EXPECT_NE(notes[1].find("process 17 on host 'elsewhere'"), std::string::npos);
}

TEST(RunStore, RefusesWhenTheHeartOnAnotherMachineBeats) {
  const TempFolder folder;
  own_lease(folder.path());
  plant_lease(folder.path(), 17, 5, "elsewhere", "another boot");
  std::atomic<bool> stop{false};
  std::thread heart([&] {
    Database database(folder.path() / "state.sqlite", DatabaseUse::kShared);
    while (!stop) {
      database.execute("UPDATE leases SET beats = beats + 1");
      std::this_thread::sleep_for(10ms);
    }
  });
  StoreOptions options;
  options.heartbeat = 20ms;
  options.stale_after = 60s;
  expect_error(ErrorKind::kIo, "process 17 on host 'elsewhere' is at work", [&] {
    RunStore(folder.path(), options);
  });
  stop = true;
  heart.join();
}

TEST(RunStore, BeatsWhileItWorks) {
  const TempFolder folder;
  StoreOptions options;
  options.heartbeat = 5ms;
  const RunStore store(folder.path(), options);
  const auto beats = [&] {
    Database database(folder.path() / "state.sqlite", DatabaseUse::kRead);
    Statement select = database.prepare("SELECT beats FROM leases");
    return select.step() ? select.integer(0) : -1;
  };
  const auto first = beats();
  for (int i = 0; i < 1000 && beats() <= first + 2; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_GT(beats(), first + 2);
}

// A process that was stopped for long and lost its lease meanwhile may not write any more.
TEST(RunStore, RecordsNothingOnceTheLeaseIsLost) {
  const TempFolder folder;
  RunStore store(folder.path(), {});
  {
    Database database(folder.path() / "state.sqlite", DatabaseUse::kShared);
    database.execute("DELETE FROM leases");
  }
  expect_error(ErrorKind::kIo, "lost the lease", [&] { store.record(one_item(folder)); });
  plant_lease(folder.path(), 17, 5, "elsewhere", "another boot");
  expect_error(ErrorKind::kIo, "lost the lease of the run folder to process 17", [&] {
    store.begin_stage("extract", "key");
  });
  EXPECT_FALSE(fs::exists(folder.path() / ".records"));
}

}  // namespace
}  // namespace med3d::pipeline
