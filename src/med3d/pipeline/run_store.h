// What of a run is done: a registry in the run folder that survives kills, full disks and a second
// run, and the lease that keeps two runs apart.
//
//   RunStore store(folder, {});                       // opens or makes it, takes the lease
//   store.begin_stage("extract", stage_key);
//   for (const Slide& slide : slides) {
//     if (store.finished("extract", slide.id, key)) continue;
//     ... write its files with write_file_atomic ...
//     store.record({"extract", slide.id, key, ItemState::kDone, "", {{"slides/h5_files/a.h5"}}});
//   }
//   store.end_stage("extract");
//
// Files in the folder:
//   state.sqlite     the registry: items, files, stages, leases. WAL with a sync at every commit; a
//                    rollback journal on network file systems, which cannot carry WAL
//   .records/        one small file an item, written before the registry's row: what a registry
//                    that is damaged is made anew from
//   .state.lock      flock: keeps runs apart on local disks even where the registry is not readable
//
// An item is done only if the registry says so under the same key and each of its files is there
// with the size and SHA-256 recorded. A file is read again for that only if its size, times or
// inode changed since it was last read right; verify() reads all.
//
// A registry that cannot be read is renamed to state.sqlite.damaged-<n> and made anew from
// .records: what is lost is computed again. Nothing is decided by a clock that can be set.
//
// All functions may be called from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/json.h"

namespace med3d::pipeline {

enum class ItemState { kDone, kSkipped, kFailed };
std::string to_string(ItemState state);  // "done", "skipped", "failed"

struct StoredFile {
  std::filesystem::path path;  // relative to the run folder, without ".."
  std::uint64_t size = 0;
  std::string sha256;  // 64 digits. Empty in record(): size and hash are taken from the file
};

struct ItemRecord {
  std::string stage;
  std::string item;  // unique in its stage
  std::string key;   // hash of all that decides the result: settings, inputs, version
  ItemState state = ItemState::kDone;
  std::string reason;  // of skipped and failed
  std::vector<StoredFile> files;
  Json facts = Json::object();  // for later stages and the report; nothing is read from it here
};

// kPending is never stored: a stage without a row.
enum class StageState { kPending, kRunning, kEnded, kInterrupted, kFailed };
std::string to_string(StageState state);  // "pending", "running", "ended", "interrupted", "failed"

struct StageRecord {
  std::string stage;
  std::string shard;  // "2/4", or "" for a whole run
  std::string key;
  StageState state = StageState::kPending;
  std::string reason;  // of failed and interrupted
  // Summed over all attempts under this key, the one under way not included.
  double wall_seconds = 0.0;
  double cpu_seconds = 0.0;  // of this process and the children it waited for
  std::uint64_t items = 0;   // recorded in that time, whatever their state
  Json facts = Json::object();

  // For estimates; nothing if no item was ever recorded.
  std::optional<double> seconds_per_item() const;
};

// A part of the items of each stage: this process works on those for which
// shard_of_item(item, count) == index.
struct Shard {
  int index = 0;  // from 1; 0 = the whole run
  int count = 0;
  bool whole() const { return count == 0; }
  std::string text() const;  // "2/4", "" for the whole run
};
// From 1 to count: the same for an item on every machine.
int shard_of_item(const std::string& item, int count);

struct LeaseHolder {
  std::int64_t pid = 0;
  std::string host;
  std::string shard;  // "2/4", or "" for a whole run
  // False only where this machine can tell: the process is gone. A holder on another machine counts
  // as alive until its heartbeat was watched to stand still.
  bool alive = true;
};

enum class StoreUse {
  kWrite,  // takes the lease, makes the registry if there is none
  kRead,   // no lease, writes nothing; the registry must be there
};

struct StoreOptions {
  StoreUse use = StoreUse::kWrite;
  Shard shard;
  // The holder adds one to its count of heartbeats this often. Another machine takes the lease over
  // when it has seen that count stand still for stale_after.
  std::chrono::milliseconds heartbeat{5'000};
  std::chrono::milliseconds stale_after{60'000};
  // Told what a person should know: a lease taken over, a registry set aside, that we wait.
  std::function<void(const std::string&)> note;
};

// One stage for `med3d status`.
struct StageSummary {
  std::string stage;
  std::vector<StageRecord> records;  // one a shard that ever began it
  std::uint64_t done = 0;
  std::uint64_t skipped = 0;
  std::uint64_t failed = 0;
  std::uint64_t bytes = 0;  // of the files of items that are done
  // Of skipped and failed items: reason, number of items; most frequent first.
  std::vector<std::pair<std::string, std::uint64_t>> reasons;
};

struct StoreSummary {
  std::vector<StageSummary> stages;  // in the order in which they were first begun or recorded
  std::vector<LeaseHolder> holders;
};
Json to_json(const StoreSummary& summary);

struct StoreProblem {
  std::string stage;
  std::string item;
  std::string path;  // relative to the run folder
  std::string what;  // "is missing", "has 10 bytes, expected 12", "has other bytes than recorded"
};

class RunStore {
 public:
  // kWrite makes the folder and the registry if needed, and takes the lease: a whole run is alone,
  // shards of the same count with different indices go together. A lease whose process is gone from
  // this machine is taken over at once; one of another machine after its heartbeat stood still for
  // stale_after, during which this waits.
  //
  // Throws Error(kIo) naming pid and host if another process holds the lease or the system refuses,
  // kUnsupported for a registry of a newer version, kUsage for a shard out of range; with kRead
  // kNotFound if there is no registry and kFormat if it is damaged.
  RunStore(const std::filesystem::path& folder, const StoreOptions& options);
  // Stages that still run are marked interrupted; the lease is released.
  ~RunStore();
  RunStore(const RunStore&) = delete;
  RunStore& operator=(const RunStore&) = delete;

  const std::filesystem::path& folder() const;
  // Whether there is a registry to open with kRead.
  static bool exists(const std::filesystem::path& folder);

  // The record of an item that is done under this key and whose files are all as recorded; nothing
  // else, whatever is wrong. Skipped and failed items are not finished: see find().
  std::optional<ItemRecord> finished(const std::string& stage,
                                     const std::string& item,
                                     const std::string& key);

  // What was last recorded of an item, in any state and under any key; files are not looked at.
  std::optional<ItemRecord> find(const std::string& stage, const std::string& item);
  // Of all items of a stage, in order of item.
  std::vector<ItemRecord> items(const std::string& stage);

  // Makes the item's record the last word on it: syncs its files, then .records, then the registry
  // in one transaction. When it returns the item survives a power cut.
  //
  // Throws Error(kUsage) for a path that leaves the folder or an empty name, kNotFound for a file
  // that is not there, kData for one that differs from a size or hash given, kIo if the system
  // refuses or the lease was lost: then the item is not done.
  void record(const ItemRecord& record);
  // Forgets items that no longer belong to the stage (a slide that was taken out). No error if
  // there is none.
  void forget(const std::string& stage, const std::string& item);

  // A stage begun under another key than before starts with clean sums. One that is begun twice
  // goes on counting.
  void begin_stage(const std::string& stage, const std::string& key);
  void end_stage(const std::string& stage, const Json& facts = Json::object());
  void fail_stage(const std::string& stage, const std::string& reason);
  // The stage as this shard knows it, kPending if it was never begun.
  StageRecord stage(const std::string& stage);
  std::vector<StageRecord> stages();

  // For the end of the process at a signal: marks what runs as interrupted and releases the lease.
  // Waits no longer than `patience` for other threads' use of the store; false if that was too
  // short (the lease is then taken over by whoever comes next, as after a kill). Nothing may be
  // recorded afterwards: record() throws kIo. Never throws.
  bool interrupt(const std::string& reason, std::chrono::milliseconds patience);

  // Reads every file of every item that is done. What is wrong is no longer taken for finished.
  std::vector<StoreProblem> verify();

  StoreSummary summary();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::pipeline
