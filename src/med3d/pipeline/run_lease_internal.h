// Who holds a run folder: the flock of the local disk and the rows of the registry.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "med3d/io/database.h"
#include "med3d/pipeline/run_store.h"

namespace med3d::pipeline {

// A process, such that another one cannot be taken for it: pids come again after a while, and are
// numbered anew in each boot and in each container.
struct ProcessIdentity {
  std::int64_t pid = 0;
  std::int64_t started = 0;  // clock ticks after boot; 0 = unknown
  std::string host;          // as people know it
  std::string machine;       // boot id and namespace of pids; "" = unknown
};
ProcessIdentity this_process();
// True only for a process of this machine that no longer runs; false where it cannot be told.
bool is_gone(const ProcessIdentity& process);

// flock on a file. Where the file system has no flock it holds nothing, in silence: the rows of the
// registry are there for that.
class FileLock {
 public:
  enum class Kind { kAlone, kTogether };
  // Throws Error(kIo) if the file cannot be made.
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  // Tries until `patience` is over; false if another process holds it. Changes the kind of a lock
  // that is held already.
  bool acquire(Kind kind, std::chrono::milliseconds patience);

 private:
  int fd_ = -1;
};

// The rows of table "leases", which its constructor makes if they are missing.
class LeaseTable {
 public:
  LeaseTable(Database& database, bool may_create);
  ~LeaseTable();  // without release() the row stays, for whoever comes next to see as stale
  LeaseTable(const LeaseTable&) = delete;
  LeaseTable& operator=(const LeaseTable&) = delete;

  // Takes the lease as RunStore's constructor tells. Throws Error(kIo) "...: process 17 on host 'a'
  // is at work in this run folder".
  void acquire(const std::filesystem::path& folder, const StoreOptions& options);

  // One heartbeat. False if the lease is another's by now.
  bool beat();
  // Within a transaction: throws Error(kIo) naming the new holder unless the lease is still ours.
  void require_held(const std::filesystem::path& folder);
  void release();

  std::vector<LeaseHolder> holders();

 private:
  struct Row {
    std::string token;
    Shard shard;
    ProcessIdentity process;
    std::int64_t beats = 0;
  };
  std::vector<Row> rows();

  Database& database_;
  std::string token_;  // of the lease that is ours; "" = none
  Shard shard_;
};

// "process 17 on host 'a'"; with ", shard 2/4" where it is one.
std::string describe_holder(std::int64_t pid, const std::string& host, const std::string& shard);

}  // namespace med3d::pipeline
