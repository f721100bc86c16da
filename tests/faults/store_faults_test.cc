// The run store on a disk that fails at every call, one after the other, and on one that loses
// power at every step. Run with the fault shim in LD_PRELOAD.
#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <optional>

#include "disk_log.h"
#include "fault_shim.h"
#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/run_store.h"

namespace med3d::faults {
namespace {

namespace fs = std::filesystem;
using pipeline::ItemRecord;
using pipeline::ItemState;
using pipeline::RunStore;
using pipeline::StoreOptions;

template <class Function>
Function shim(const char* name) {
  void* const found = ::dlsym(RTLD_DEFAULT, name);
  if (found == nullptr) throw Error(ErrorKind::kNotFound, "the fault shim is not loaded");
  return reinterpret_cast<Function>(found);
}

// On a disk in memory where there is one: a sync is free there, and what is tested is which are
// made.
fs::path scratch(const std::string& name) {
  const fs::path base = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::path(::testing::TempDir());
  const fs::path folder = base / fmt::format("med3d-faults-{}-{}", ::getpid(), name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return fs::canonical(folder);
}

class Scratch {
 public:
  explicit Scratch(const std::string& name) : path_(scratch(name)) {}
  ~Scratch() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

constexpr int kItems = 3;

std::string item_name(int i) { return fmt::format("item-{}", i); }
// Of more than one sector, different for each key.
std::string text_of(int i, const std::string& key) {
  std::string out;
  for (int line = 0; line < 40; ++line)
    out += fmt::format("{} {} line {}\n", item_name(i), key, line);
  return out;
}
fs::path file_of(int i) { return fs::path("out") / (i == 1 ? "deep/er" : "") / item_name(i); }

StoreOptions quiet_options() {
  StoreOptions options;
  options.heartbeat = std::chrono::hours(1);  // every call is one of the scenario's own
  return options;
}

// The work of a run: for each item that is not finished, its file, then its record.
// `mark` is told "begin 1 key" before an item is touched, "done 1 key" when it is recorded.
void work(
    const fs::path& folder,
    const std::string& key,
    const std::function<void(const std::string&)>& mark = [](const std::string&) {}) {
  RunStore store(folder, quiet_options());
  store.begin_stage("extract", key);
  for (int i = 0; i < kItems; ++i) {
    if (store.finished("extract", item_name(i), key)) continue;
    mark(fmt::format("begin {} {}", i, key));
    write_file_atomic(folder / file_of(i), text_of(i, key));
    store.record(
        {"extract", item_name(i), key, ItemState::kDone, "", {{file_of(i), 0, ""}}, {{"i", i}}});
    mark(fmt::format("done {} {}", i, key));
  }
  store.end_stage("extract");
}

// Every file that is there under its own name is whole, for one of the keys.
void expect_whole(const fs::path& folder, const std::string& when) {
  for (int i = 0; i < kItems; ++i) {
    const fs::path path = folder / file_of(i);
    if (!fs::exists(path)) continue;
    const std::string bytes = read_file(path, 1 << 20);
    EXPECT_TRUE(bytes == text_of(i, "one") || bytes == text_of(i, "two")) << when << ": " << path;
  }
}

// What the store takes for finished has the right bytes; `must` has to be.
void expect_true_answers(const fs::path& folder,
                         const std::map<int, std::string>& must,
                         const std::string& when) {
  RunStore store(folder, quiet_options());
  for (int i = 0; i < kItems; ++i) {
    for (const char* key : {"one", "two"}) {
      const bool is_finished = store.finished("extract", item_name(i), key).has_value();
      if (is_finished) {
        EXPECT_EQ(read_file(folder / file_of(i), 1 << 20), text_of(i, key)) << when;
      }
      const auto at = must.find(i);
      if (at != must.end() && at->second == key) {
        EXPECT_TRUE(is_finished) << when << ": item " << i << " was lost";
      }
    }
  }
}

void expect_completes(const fs::path& folder, const std::string& when) {
  work(folder, "two");
  RunStore store(folder, quiet_options());
  EXPECT_EQ(store.stage("extract").state, pipeline::StageState::kEnded) << when;
  EXPECT_TRUE(store.verify().empty()) << when;
  for (int i = 0; i < kItems; ++i) {
    EXPECT_TRUE(store.finished("extract", item_name(i), "two")) << when;
    EXPECT_EQ(read_file(folder / file_of(i), 1 << 20), text_of(i, "two")) << when;
  }
}

// --- The N-th call fails -----------------------------------------------------------------------

struct Fault {
  const char* kind;
  bool lasts;
};

class EveryCall : public ::testing::TestWithParam<Fault> {};

// For N from 1 until the runs pass without the fault: a folder as a run may find it, then the work
// under another key with the N-th call failing. It ends with an Error or is done, nothing half is
// to be seen, and the next run on a sound disk completes.
TEST_P(EveryCall, FailsAndIsContained) {
  const auto arm = shim<FaultsArm>(kFaultsArm);
  const auto disarm = shim<FaultsDisarm>(kFaultsDisarm);
  const auto fell = shim<FaultsFell>(kFaultsFell);
  const Scratch scratch_folder(GetParam().kind);
  long n = 0;
  long refused = 0;
  // The three ways to begin make six different runs; each must have come to its end.
  for (int unharmed = 0; unharmed < 6;) {
    ++n;
    const fs::path folder = scratch_folder.path() / std::to_string(n);
    if (n % 2 == 0) work(folder, "one");  // every other one begins on nothing
    // And some with all done, but the registry lost: it is made anew, and nothing is done again.
    const bool all_done = n % 3 == 0;
    if (all_done) {
      work(folder, "two");
      fs::remove(folder / "state.sqlite");
    }
    const std::string when = fmt::format("{} at call {}", GetParam().kind, n);
    arm(folder.c_str(), n, GetParam().kind, GetParam().lasts ? 1 : 0);
    bool threw = false;
    try {
      work(folder, "two");
    } catch (const Error& error) {
      threw = true;
      EXPECT_FALSE(std::string(error.what()).empty());
    }
    const bool harmed = fell() != 0;
    disarm();
    unharmed = harmed ? 0 : unharmed + 1;
    refused += threw ? 1 : 0;
    EXPECT_TRUE(harmed || !threw) << when << ": an error without a fault";
    expect_whole(folder, when);
    std::map<int, std::string> must;
    for (int i = 0; all_done && i < kItems; ++i) must[i] = "two";
    expect_true_answers(folder, must, when);
    expect_completes(folder, when);
    std::error_code error;
    fs::remove_all(folder, error);
    if (HasFailure()) break;
  }
  RecordProperty("runs", static_cast<int>(n));
  EXPECT_GT(n, 20) << "the shim saw few calls";
  if (std::string_view(GetParam().kind) != "SHORT") {
    EXPECT_GT(refused, n / 4) << "faults passed unseen";
  }
}

INSTANTIATE_TEST_SUITE_P(Disk,
                         EveryCall,
                         ::testing::Values(Fault{"ENOSPC", false},
                                           Fault{"ENOSPC", true},
                                           Fault{"EDQUOT", true},
                                           Fault{"EIO", false},
                                           Fault{"EIO", true},
                                           Fault{"EMFILE", false},
                                           Fault{"SHORT", false},
                                           Fault{"SHORT", true}),
                         [](const auto& given) {
                           return std::string(given.param.kind) +
                                  (given.param.lasts ? "Lasts" : "Once");
                         });

// --- The power is cut --------------------------------------------------------------------------

// All steps of: a run, the same under another key, both ended well.
std::vector<DiskStep> recorded_run(const fs::path& folder, const fs::path& log) {
  const auto record = shim<FaultsRecord>(kFaultsRecord);
  const auto mark = shim<FaultsMark>(kFaultsMark);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  record(folder.c_str(), fd);
  for (const char* key : {"one", "two"}) {
    work(folder, key, [&](const std::string& text) { mark(text.c_str()); });
  }
  record("", -1);
  ::close(fd);
  return read_disk_log(log, folder);
}

// What had been promised before step `steps`: the last "done" of each item, unless the item was
// begun again after it.
std::map<int, std::string> promised(const std::vector<DiskStep>& log, std::size_t steps) {
  std::map<int, std::string> out;
  for (std::size_t i = 0; i < steps; ++i) {
    if (log[i].what != 'K') continue;
    const auto words = split(log[i].bytes, ' ');
    const int item = std::atoi(words.at(1).c_str());
    if (words.at(0) == "begin") {
      out.erase(item);
    } else {
      out[item] = words.at(2);
    }
  }
  return out;
}

TEST(PowerCut, LosesNothingThatWasPromised) {
  const Scratch scratch_folder("power");
  const fs::path folder = scratch_folder.path() / "run";
  fs::create_directories(folder);
  const auto log = recorded_run(folder, scratch_folder.path() / "log");
  ASSERT_GT(log.size(), 100U);
  // The model itself: with nothing lost, the end is what is on the disk now.
  NumpyRandom random(1);
  power_cut(log, log.size(), Loss::kNothing, random, scratch_folder.path() / "end");
  for (int i = 0; i < kItems; ++i) {
    EXPECT_EQ(read_file(scratch_folder.path() / "end" / file_of(i), 1 << 20), text_of(i, "two"));
  }
  // 0 = every step with nothing, all and one draw of the unsynced lost; else that many random cuts.
  const char* const given = std::getenv("MED3D_POWER_CUTS");
  const std::size_t cuts = given != nullptr ? std::strtoull(given, nullptr, 10) : 3 * log.size();
  for (std::size_t cut = 0; cut < cuts; ++cut) {
    const std::size_t steps = given != nullptr ? random.randint(log.size() + 1) : cut / 3 + 1;
    const Loss loss = given != nullptr || cut % 3 == 2 ? Loss::kSome
                      : cut % 3 == 0                   ? Loss::kNothing
                                                       : Loss::kUnsynced;
    const fs::path left = scratch_folder.path() / "left";
    fs::remove_all(left);
    fs::create_directories(left);
    power_cut(log, steps, loss, random, left);
    const std::string when = fmt::format(
        "cut {} after step {} of {}, loss {}", cut, steps, log.size(), static_cast<int>(loss));
    expect_whole(left, when);
    expect_true_answers(left, promised(log, steps), when);
    if (cut % 4 == 0) expect_completes(left, when);
    if (HasFailure()) break;
  }
}

// The model can find a fault: a file that is renamed before it was synced is found half.
TEST(PowerCut, FindsAWriterThatDoesNotSync) {
  const Scratch scratch_folder("model");
  const std::vector<DiskStep> log = {{'O', ".a.tmp", "", 0, ""},
                                     {'W', ".a.tmp", "", 0, "whole"},
                                     {'R', ".a.tmp", "a", 0, ""},
                                     {'F', ".", "", 0, ""}};
  NumpyRandom random(1);
  power_cut(log, log.size(), Loss::kUnsynced, random, scratch_folder.path());
  EXPECT_EQ(read_file(scratch_folder.path() / "a", 100), "");
}

}  // namespace
}  // namespace med3d::faults
