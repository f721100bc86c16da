#include "med3d/pipeline/run_store.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/core/random.h"
#include "med3d/core/sync.h"
#include "med3d/io/database.h"
#include "med3d/pipeline/run_lease_internal.h"
#include "med3d/pipeline/run_records_internal.h"

namespace med3d::pipeline {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::int32_t kKind = 0x4D3352;  // "M3R": a registry of a run
constexpr std::int32_t kVersion = 1;      // of the tables; a new one when they change
constexpr int kMostShards = 100'000;

// How long the lock of a process that was just killed may take to fall.
constexpr auto kDyingPatience = 3s;
// Opening takes moments; more than this is a process that hangs.
constexpr auto kOpeningPatience = 20s;

constexpr const char* kTables =
    "CREATE TABLE IF NOT EXISTS stage_names (position INTEGER PRIMARY KEY, stage TEXT UNIQUE);"
    "CREATE TABLE IF NOT EXISTS items (stage TEXT NOT NULL, item TEXT NOT NULL, "
    "state TEXT NOT NULL, reason TEXT NOT NULL, bytes INTEGER NOT NULL, record TEXT NOT NULL, "
    "sha256 TEXT NOT NULL, PRIMARY KEY (stage, item));"
    // What a file looked like when its hash was last found right.
    "CREATE TABLE IF NOT EXISTS seen (stage TEXT NOT NULL, item TEXT NOT NULL, path TEXT NOT NULL, "
    "look TEXT NOT NULL, PRIMARY KEY (stage, item, path));"
    "CREATE TABLE IF NOT EXISTS stages (stage TEXT NOT NULL, shard TEXT NOT NULL, "
    "key TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, wall REAL NOT NULL, "
    "cpu REAL NOT NULL, items INTEGER NOT NULL, facts TEXT NOT NULL, "
    "PRIMARY KEY (stage, shard))";

// File systems on which two machines see one file but not one memory map.
bool is_network(const fs::path& folder) {
  struct statfs info {};
  if (::statfs(folder.c_str(), &info) != 0) return false;
  constexpr std::array<std::uint32_t, 12> kNetwork = {
      0x6969,      // NFS
      0x517B,      // SMB
      0xFF534D42,  // CIFS
      0xFE534D42,  // SMB2
      0x0BD00BD0,  // Lustre
      0x47504653,  // GPFS
      0x19830326,  // BeeGFS
      0x00C36400,  // Ceph
      0x5346414F,  // AFS
      0x01021997,  // 9P
      0x65735546,  // FUSE: sshfs and the like; a local one loses little
      0xAAD7AAEA,  // PanFS
  };
  return std::find(kNetwork.begin(), kNetwork.end(), static_cast<std::uint32_t>(info.f_type)) !=
         kNetwork.end();
}

// What tells that a file was not touched: whoever writes into it moves its times, whoever replaces
// it moves its inode. The time of change is there for writers that put the other time back.
std::optional<std::string> look_of(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return fmt::format("{} {} {}.{:09} {}.{:09}",
                     info.st_size,
                     info.st_ino,
                     info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec,
                     info.st_ctim.tv_sec,
                     info.st_ctim.tv_nsec);
}

double cpu_now() {
  double seconds = 0.0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    struct rusage used {};
    if (::getrusage(who, &used) != 0) continue;
    for (const auto& time : {used.ru_utime, used.ru_stime}) {
      seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    }
  }
  return seconds;
}

std::string one_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

StageState stage_state_of(const std::string& text) {
  for (const StageState state :
       {StageState::kRunning, StageState::kEnded, StageState::kInterrupted, StageState::kFailed}) {
    if (to_string(state) == text) return state;
  }
  throw Error(ErrorKind::kFormat, "run registry: a stage in an unknown state");
}

fs::path registry_path(const fs::path& folder) { return folder / "state.sqlite"; }

}  // namespace

std::string to_string(ItemState state) {
  switch (state) {
    case ItemState::kDone:
      return "done";
    case ItemState::kSkipped:
      return "skipped";
    case ItemState::kFailed:
      return "failed";
  }
  return "";
}

std::string to_string(StageState state) {
  switch (state) {
    case StageState::kPending:
      return "pending";
    case StageState::kRunning:
      return "running";
    case StageState::kEnded:
      return "ended";
    case StageState::kInterrupted:
      return "interrupted";
    case StageState::kFailed:
      return "failed";
  }
  return "";
}

std::optional<double> StageRecord::seconds_per_item() const {
  if (items == 0) return std::nullopt;
  return wall_seconds / static_cast<double>(items);
}

std::string Shard::text() const { return whole() ? "" : fmt::format("{}/{}", index, count); }

int shard_of_item(const std::string& item, int count) {
  if (count < 1) throw Error(ErrorKind::kUsage, "a number of shards below 1");
  return static_cast<int>(derive_seed(0, item) % static_cast<std::uint64_t>(count)) + 1;
}

// --- Impl --------------------------------------------------------------------------------------

struct RunStore::Impl {
  // Of a stage that this object began: what is not yet in its row.
  struct Running {
    Clock::time_point wall;
    double cpu = 0.0;
    std::uint64_t items = 0;
  };

  fs::path folder;
  StoreOptions options;
  std::optional<FileLock> lock;
  std::optional<Database> database;
  std::optional<LeaseTable> lease;
  std::map<std::string, Running> running;
  bool closed = false;  // by interrupt()

  std::timed_mutex mutex;  // guards all above once the constructor is through

  std::thread heart;
  std::mutex heart_mutex;
  std::condition_variable heart_wakes;
  bool heart_stops = false;

  bool writes() const { return options.use == StoreUse::kWrite; }
  void note(const std::string& text) const {
    if (options.note) options.note(text);
  }

  // --- opening ---

  void open_for_writing();
  void take_lock();
  void open_registry();
  void make_tables();
  void set_aside(const std::string& why);
  std::string rebuild();  // what to tell of it
  void close_open_stages();
  void start_heart();
  void stop_heart();

  // --- rows ---

  void require_open() const {
    if (!writes()) throw Error(ErrorKind::kUsage, folder.string() + ": opened for reading only");
    if (closed) throw Error(ErrorKind::kIo, folder.string() + ": the run was interrupted");
  }
  void put_item(const ItemRecord& record, const std::map<std::string, std::string>& looks);
  void name_stage(const std::string& stage);
  std::optional<ItemRecord> find(const std::string& stage, const std::string& item);
  std::vector<ItemRecord> items(const std::string& stage);
  std::map<std::string, std::string> looks(const std::string& stage, const std::string& item);
  std::vector<StageRecord> stages();
  std::optional<StageRecord> stage(const std::string& stage);
  void put_stage(const StageRecord& record);
  void add_time(const std::string& stage, StageRecord& record);
  void leave_stage(const std::string& stage,
                   StageState state,
                   const std::string& reason,
                   const Json* facts);
};

// The flock first: on a local disk it tells at once, and also where the registry cannot be read.
void RunStore::Impl::take_lock() {
  lock.emplace(folder / ".state.lock");
  const auto kind = options.shard.whole() ? FileLock::Kind::kAlone : FileLock::Kind::kTogether;
  if (lock->acquire(kind, 0ms)) return;
  // Whose it is, the registry knows; if that process is dead already, its lock falls soon.
  std::string holder;
  try {
    Database registry(registry_path(folder), DatabaseUse::kRead, 1'000);
    for (const LeaseHolder& found : LeaseTable(registry, false).holders()) {
      if (!found.alive) continue;
      holder = describe_holder(found.pid, found.host, found.shard);
      break;
    }
  } catch (const Error&) {
    // Being made, damaged or locked: it names nobody.
  }
  if (holder.empty() && lock->acquire(kind, kDyingPatience)) return;
  throw Error(ErrorKind::kIo,
              fmt::format("{}: {} is at work in this run folder",
                          folder.string(),
                          holder.empty() ? "another process" : holder));
}

void RunStore::Impl::make_tables() {
  std::string told;
  database->transaction([&] {
    const std::int64_t version = database->user_version();
    if (version >> 8 == kKind && (version & 0xFF) > kVersion) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: version {} of the tables, this program knows up to {}",
                              registry_path(folder).string(),
                              version & 0xFF,
                              kVersion));
    }
    if (version != 0 && version >> 8 != kKind) {
      throw Error(ErrorKind::kFormat, "is the database of something else");
    }
    lease.emplace(*database, true);
    database->execute(kTables);
    database->set_user_version(kKind << 8 | kVersion);
    // New, lost or cut down to nothing: what was done before is in the records. In one transaction:
    // a registry that is there holds all of them.
    if (version == 0 && has_records(folder)) told = rebuild();
  });
  if (!told.empty()) note(told);
  // Every table can be read, and is what its name says.
  database->prepare("SELECT stage, item, state, reason, bytes, record, sha256 FROM items").step();
  database->prepare("SELECT stage, item, path, look FROM seen").step();
  database->prepare("SELECT position, stage FROM stage_names").step();
  stages();
  lease->holders();
}

void RunStore::Impl::set_aside(const std::string& why) {
  database.reset();
  lease.reset();
  // Other shards may have it open; a whole run is alone already.
  if (!lock->acquire(FileLock::Kind::kAlone, 0ms)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: damaged ({}) while another shard is at work with it",
                            registry_path(folder).string(),
                            why));
  }
  int n = 1;
  std::error_code error;
  const auto aside = [&] { return folder / fmt::format("state.sqlite.damaged-{}", n); };
  while (fs::exists(aside(), error)) ++n;
  for (const char* part : {"-wal", "-journal", ""}) {
    const fs::path from = registry_path(folder).string() + part;
    if (!fs::exists(fs::symlink_status(from, error))) continue;
    if (::rename(from.c_str(), (aside().string() + part).c_str()) != 0) {
      throw Error(ErrorKind::kIo,
                  fmt::format("{}: cannot be set aside: {}", from.string(), std::strerror(errno)));
    }
  }
  fs::remove(registry_path(folder).string() + "-shm", error);
  if (!fs::is_directory(aside(), error)) sync_file(aside());
  note(
      fmt::format("the registry of the run is damaged ({}); it is kept as {}, and made anew from "
                  "the records of the items",
                  why,
                  aside().filename().string()));
}

// Hashes come along, but no file has been looked at: each is read once when it is asked for.
std::string RunStore::Impl::rebuild() {
  std::size_t taken = 0;
  const std::size_t unusable = for_each_record(folder, [&](const ItemRecord& record) {
    put_item(record, {});
    ++taken;
  });
  if (taken + unusable == 0) return "";
  return fmt::format("{} records of items taken over{}",
                     taken,
                     unusable > 0 ? fmt::format(", {} unusable", unusable) : "");
}

void RunStore::Impl::open_registry() {
  const auto use = is_network(folder) ? DatabaseUse::kAlone : DatabaseUse::kShared;
  for (bool again = false;; again = true) {
    try {
      database.emplace(registry_path(folder), use);
      database->check();
      make_tables();
      break;
    } catch (const Error& error) {
      // What SQLite calls a wrong statement is, for statements of ours, a table of other columns.
      const bool damaged = error.kind() == ErrorKind::kFormat || error.kind() == ErrorKind::kUsage;
      if (again || !damaged) throw;
      set_aside(error.what());
    }
  }
  // Back from set_aside, which needs to be alone, to what the shards share.
  if (!options.shard.whole()) lock->acquire(FileLock::Kind::kTogether, 0ms);
}

// A stage that runs although its process does not hold the lease any more was cut off.
void RunStore::Impl::close_open_stages() {
  database->transaction([&] {
    for (StageRecord record : stages()) {
      if (record.state != StageState::kRunning) continue;
      const bool ours = options.shard.whole() || record.shard.empty() ||
                        record.shard == options.shard.text() ||
                        !record.shard.ends_with(fmt::format("/{}", options.shard.count));
      if (!ours) continue;
      record.state = StageState::kInterrupted;
      record.reason = "the process ended without a word";
      put_stage(record);
    }
  });
}

void RunStore::Impl::open_for_writing() {
  if (!options.shard.whole() &&
      (options.shard.count < 1 || options.shard.count > kMostShards || options.shard.index < 1 ||
       options.shard.index > options.shard.count)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "shard {}, expected i/n with 1 <= i <= n <= {}", options.shard.text(), kMostShards));
  }
  make_folder(folder);
  take_lock();
  {
    // Shards that start together open one after the other: changing the journal's mode does not
    // wait.
    FileLock opening(folder / ".state.open");
    if (!opening.acquire(FileLock::Kind::kAlone, kOpeningPatience)) {
      throw Error(
          ErrorKind::kIo,
          folder.string() + ": another process is opening this run folder and does not end");
    }
    open_registry();
  }
  lease->acquire(folder, options);
  close_open_stages();
  start_heart();
}

// Signals are for the threads that wait for them, not for this one.
void RunStore::Impl::start_heart() {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  heart = std::thread([this] {
    std::unique_lock wait(heart_mutex);
    while (!heart_wakes.wait_for(wait, options.heartbeat, [this] { return heart_stops; })) {
      wait.unlock();
      try {
        const std::lock_guard guard(mutex);
        // A lost lease is told by the next record().
        if (!closed) lease->beat();
      } catch (const std::exception&) {
        // A full disk or a busy file now; the next beat may succeed, and record() tells of its own.
      }
      wait.lock();
    }
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void RunStore::Impl::stop_heart() {
  if (!heart.joinable()) return;
  {
    const std::lock_guard guard(heart_mutex);
    heart_stops = true;
  }
  heart_wakes.notify_all();
  heart.join();
}

// --- rows --------------------------------------------------------------------------------------

void RunStore::Impl::name_stage(const std::string& stage) {
  database->prepare("INSERT OR IGNORE INTO stage_names (stage) VALUES (?)").bind(stage).run();
}

void RunStore::Impl::put_item(const ItemRecord& record,
                              const std::map<std::string, std::string>& looks) {
  const RecordText encoded = encode_record(record);
  std::uint64_t bytes = 0;
  for (const StoredFile& file : record.files) bytes = checked_add(bytes, file.size, "item record");
  name_stage(record.stage);
  database->prepare("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?)")
      .bind(record.stage,
            record.item,
            to_string(record.state),
            record.reason,
            std::size_t{bytes},
            encoded.text,
            encoded.sha256)
      .run();
  database->prepare("DELETE FROM seen WHERE stage = ? AND item = ?")
      .bind(record.stage, record.item)
      .run();
  for (const auto& [path, look] : looks) {
    database->prepare("INSERT INTO seen VALUES (?, ?, ?, ?)")
        .bind(record.stage, record.item, path, look)
        .run();
  }
}

std::optional<ItemRecord> RunStore::Impl::find(const std::string& stage, const std::string& item) {
  Statement select =
      database->prepare("SELECT record, sha256 FROM items WHERE stage = ? AND item = ?");
  select.bind(stage, item);
  if (!select.step()) return std::nullopt;
  try {
    ItemRecord record = decode_record({select.text(0), select.text(1)});
    if (record.stage == stage && record.item == item) return record;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFormat) throw;
  }
  return std::nullopt;  // a row that was damaged says nothing
}

std::vector<ItemRecord> RunStore::Impl::items(const std::string& stage) {
  Statement select =
      database->prepare("SELECT item, record, sha256 FROM items WHERE stage = ? ORDER BY item");
  select.bind(stage);
  std::vector<ItemRecord> out;
  while (select.step()) {
    try {
      ItemRecord record = decode_record({select.text(1), select.text(2)});
      if (record.stage == stage && record.item == select.text(0)) out.push_back(std::move(record));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kFormat) throw;
    }
  }
  return out;
}

std::map<std::string, std::string> RunStore::Impl::looks(const std::string& stage,
                                                         const std::string& item) {
  Statement select = database->prepare("SELECT path, look FROM seen WHERE stage = ? AND item = ?");
  select.bind(stage, item);
  std::map<std::string, std::string> out;
  while (select.step()) out[select.text(0)] = select.text(1);
  return out;
}

std::vector<StageRecord> RunStore::Impl::stages() {
  Statement select = database->prepare(
      "SELECT stages.stage, shard, key, state, reason, wall, cpu, items, facts FROM stages "
      "LEFT JOIN stage_names ON stages.stage = stage_names.stage ORDER BY position, shard");
  std::vector<StageRecord> out;
  while (select.step()) {
    StageRecord record;
    record.stage = select.text(0);
    record.shard = select.text(1);
    record.key = select.text(2);
    record.state = stage_state_of(select.text(3));
    record.reason = select.text(4);
    record.wall_seconds = select.real(5);
    record.cpu_seconds = select.real(6);
    record.items = static_cast<std::uint64_t>(std::max<std::int64_t>(0, select.integer(7)));
    record.facts = parse_json(select.text(8), "run registry");
    out.push_back(std::move(record));
  }
  return out;
}

std::optional<StageRecord> RunStore::Impl::stage(const std::string& stage) {
  for (StageRecord& record : stages()) {
    if (record.stage == stage && record.shard == options.shard.text()) return std::move(record);
  }
  return std::nullopt;
}

void RunStore::Impl::put_stage(const StageRecord& record) {
  name_stage(record.stage);
  database->prepare("INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .bind(record.stage,
            record.shard,
            record.key,
            to_string(record.state),
            record.reason,
            record.wall_seconds,
            record.cpu_seconds,
            std::size_t{record.items},
            one_line(record.facts))
      .run();
}

// Moves the time since it was last written into the row. The clock is a steady one.
void RunStore::Impl::add_time(const std::string& stage, StageRecord& record) {
  const auto at = running.find(stage);
  if (at == running.end()) return;
  const Running now{Clock::now(), cpu_now(), 0};
  record.wall_seconds += std::chrono::duration<double>(now.wall - at->second.wall).count();
  record.cpu_seconds += std::max(0.0, now.cpu - at->second.cpu);
  record.items += at->second.items;
  at->second = now;
}

void RunStore::Impl::leave_stage(const std::string& name,
                                 StageState state,
                                 const std::string& reason,
                                 const Json* facts) {
  database->transaction([&] {
    lease->require_held(folder);
    auto record = stage(name);
    if (!record || !running.contains(name)) {
      throw Error(ErrorKind::kUsage, fmt::format("stage '{}' was not begun", name));
    }
    add_time(name, *record);
    record->state = state;
    record->reason = reason;
    if (facts != nullptr) record->facts = *facts;
    put_stage(*record);
  });
  running.erase(name);
}

// --- RunStore ----------------------------------------------------------------------------------

RunStore::RunStore(const fs::path& folder, const StoreOptions& options)
    : impl_(std::make_unique<Impl>()) {
  impl_->folder = folder;
  impl_->options = options;
  if (impl_->writes()) {
    impl_->open_for_writing();
    return;
  }
  impl_->database.emplace(registry_path(folder), DatabaseUse::kRead);
  const std::int64_t version = impl_->database->user_version();
  if (version >> 8 == kKind && (version & 0xFF) > kVersion) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("{}: version {} of the tables, this program knows up to {}",
                            registry_path(folder).string(),
                            version & 0xFF,
                            kVersion));
  }
  if (version >> 8 != kKind) {
    throw Error(ErrorKind::kFormat,
                registry_path(folder).string() + ": is not the registry of a run");
  }
  impl_->lease.emplace(*impl_->database, false);
}

RunStore::~RunStore() {
  if (!impl_->writes()) return;
  impl_->stop_heart();
  interrupt("the run came to an end inside the stage", std::chrono::hours(1));
}

const fs::path& RunStore::folder() const { return impl_->folder; }

bool RunStore::exists(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(registry_path(folder), error);
}

std::optional<ItemRecord> RunStore::finished(const std::string& stage,
                                             const std::string& item,
                                             const std::string& key) {
  std::optional<ItemRecord> record;
  std::map<std::string, std::string> seen;
  try {
    const std::lock_guard guard(impl_->mutex);
    record = impl_->find(stage, item);
    if (!record || record->key != key || record->state != ItemState::kDone) return std::nullopt;
    seen = impl_->looks(stage, item);
  } catch (const Error&) {
    return std::nullopt;  // whatever is wrong with the registry, the item is not known to be done
  }
  // Reading is done outside the lock: many items may be looked at at once.
  std::map<std::string, std::string> read;
  for (const StoredFile& file : record->files) {
    const fs::path path = impl_->folder / file.path;
    const auto look = look_of(path);
    if (!look) return std::nullopt;
    const auto known = seen.find(file.path.generic_string());
    if (known != seen.end() && known->second == *look) continue;
    std::error_code error;
    if (fs::file_size(path, error) != file.size || error) return std::nullopt;
    try {
      if (sha256_file(path) != file.sha256) return std::nullopt;
    } catch (const Error&) {
      return std::nullopt;
    }
    // One that was written to while it was read is read again next time.
    if (look_of(path) == look) read[file.path.generic_string()] = *look;
  }
  if (!read.empty() && impl_->writes()) {
    try {
      const std::lock_guard guard(impl_->mutex);
      if (!impl_->closed) {
        impl_->database->transaction([&] {
          for (const auto& [path, look] : read) {
            impl_->database->prepare("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)")
                .bind(stage, item, path, look)
                .run();
          }
        });
      }
    } catch (const Error&) {
      // The answer stands; the file is read again next time.
    }
  }
  return record;
}

std::optional<ItemRecord> RunStore::find(const std::string& stage, const std::string& item) {
  const std::lock_guard guard(impl_->mutex);
  return impl_->find(stage, item);
}

std::vector<ItemRecord> RunStore::items(const std::string& stage) {
  const std::lock_guard guard(impl_->mutex);
  return impl_->items(stage);
}

void RunStore::record(const ItemRecord& given) {
  if (given.stage.empty() || given.item.empty()) {
    throw Error(ErrorKind::kUsage, "an item record without a stage or an item");
  }
  {
    // Before anything is written: a process that lost the lease leaves .records alone.
    const std::lock_guard guard(impl_->mutex);
    impl_->require_open();
    impl_->lease->require_held(impl_->folder);
  }
  ItemRecord record = given;
  std::map<std::string, std::string> looks;
  for (StoredFile& file : record.files) {
    if (!is_inside(file.path)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("stage '{}': a file outside the run folder", record.stage));
    }
    const fs::path path = impl_->folder / file.path;
    sync_file(path);
    const auto look = look_of(path);
    if (!look) throw Error(ErrorKind::kFormat, path.string() + ": is no regular file");
    StoredFile found{file.path, fs::file_size(path), sha256_file(path)};
    const bool other =
        !file.sha256.empty() && (file.sha256 != found.sha256 || file.size != found.size);
    if (other || look_of(path) != look) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: {}",
                              path.string(),
                              other ? "has other bytes than its record says"
                                    : "was changed while it was being recorded"));
    }
    file = std::move(found);
    looks[file.path.generic_string()] = *look;
  }
  write_record(impl_->folder, record);

  const std::lock_guard guard(impl_->mutex);
  impl_->require_open();
  const auto at = impl_->running.find(record.stage);
  auto before = at != impl_->running.end() ? std::optional(at->second) : std::nullopt;
  try {
    impl_->database->transaction([&] {
      impl_->lease->require_held(impl_->folder);
      impl_->put_item(record, looks);
      if (!before) return;
      ++at->second.items;
      auto stage = impl_->stage(record.stage);
      if (!stage) return;
      impl_->add_time(record.stage, *stage);
      impl_->put_stage(*stage);
    });
  } catch (...) {
    if (before) at->second = *before;  // as if it had not been tried
    throw;
  }
}

void RunStore::forget(const std::string& stage, const std::string& item) {
  const std::lock_guard guard(impl_->mutex);
  impl_->require_open();
  impl_->lease->require_held(impl_->folder);
  remove_record(impl_->folder, stage, item);
  impl_->database->transaction([&] {
    impl_->lease->require_held(impl_->folder);
    for (const char* statement : {"DELETE FROM items WHERE stage = ? AND item = ?",
                                  "DELETE FROM seen WHERE stage = ? AND item = ?"}) {
      impl_->database->prepare(statement).bind(stage, item).run();
    }
  });
}

void RunStore::begin_stage(const std::string& name, const std::string& key) {
  if (name.empty()) throw Error(ErrorKind::kUsage, "a stage without a name");
  const std::lock_guard guard(impl_->mutex);
  impl_->require_open();
  impl_->database->transaction([&] {
    impl_->lease->require_held(impl_->folder);
    auto record = impl_->stage(name);
    if (!record || record->key != key) {
      record = StageRecord{};
      record->stage = name;
      record->shard = impl_->options.shard.text();
      record->key = key;
    } else {
      impl_->add_time(name, *record);
    }
    record->state = StageState::kRunning;
    record->reason.clear();
    impl_->put_stage(*record);
  });
  impl_->running[name] = {Clock::now(), cpu_now(), 0};
}

void RunStore::end_stage(const std::string& name, const Json& facts) {
  const std::lock_guard guard(impl_->mutex);
  impl_->require_open();
  impl_->leave_stage(name, StageState::kEnded, "", &facts);
}

void RunStore::fail_stage(const std::string& name, const std::string& reason) {
  const std::lock_guard guard(impl_->mutex);
  impl_->require_open();
  impl_->leave_stage(name, StageState::kFailed, reason, nullptr);
}

StageRecord RunStore::stage(const std::string& name) {
  const std::lock_guard guard(impl_->mutex);
  auto record = impl_->stage(name);
  if (record) return *record;
  StageRecord pending;
  pending.stage = name;
  pending.shard = impl_->options.shard.text();
  return pending;
}

std::vector<StageRecord> RunStore::stages() {
  const std::lock_guard guard(impl_->mutex);
  return impl_->stages();
}

bool RunStore::interrupt(const std::string& reason, std::chrono::milliseconds patience) {
  try {
    const std::unique_lock guard(impl_->mutex, patience);
    if (!guard.owns_lock()) return false;
    if (impl_->closed || !impl_->writes()) return true;
    impl_->closed = true;
    std::vector<std::string> names;
    for (const auto& [name, unused] : impl_->running) names.push_back(name);
    try {
      for (const auto& name : names) {
        impl_->leave_stage(name, StageState::kInterrupted, reason, nullptr);
      }
    } catch (const std::exception&) {
      // On a full disk the stage stays "running"; whoever opens the folder next mends that.
    }
    impl_->lease->release();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::vector<StoreProblem> RunStore::verify() {
  std::vector<StoreProblem> problems;
  std::vector<ItemRecord> done;
  {
    const std::lock_guard guard(impl_->mutex);
    Statement names = impl_->database->prepare("SELECT stage FROM stage_names ORDER BY position");
    std::vector<std::string> stages;
    while (names.step()) stages.push_back(names.text(0));
    for (const auto& stage : stages) {
      for (ItemRecord& record : impl_->items(stage)) {
        if (record.state == ItemState::kDone) done.push_back(std::move(record));
      }
    }
  }
  for (const ItemRecord& record : done) {
    for (const StoredFile& file : record.files) {
      const fs::path path = impl_->folder / file.path;
      std::string what;
      std::error_code error;
      const auto size = fs::file_size(path, error);
      if (error || !fs::is_regular_file(path, error)) {
        what = "is missing";
      } else if (size != file.size) {
        what = fmt::format("has {} bytes, expected {}", size, file.size);
      } else {
        try {
          if (sha256_file(path) != file.sha256) what = "has other bytes than recorded";
        } catch (const Error& failure) {
          what = "cannot be read";
        }
      }
      if (what.empty()) continue;
      problems.push_back({record.stage, record.item, file.path.generic_string(), what});
      if (!impl_->writes()) continue;
      const std::lock_guard guard(impl_->mutex);
      if (impl_->closed) continue;
      // finished() will read the file and find the same.
      impl_->database->prepare("DELETE FROM seen WHERE stage = ? AND item = ?")
          .bind(record.stage, record.item)
          .run();
    }
  }
  return problems;
}

StoreSummary RunStore::summary() {
  const std::lock_guard guard(impl_->mutex);
  StoreSummary out;
  std::map<std::string, std::size_t> index;
  Statement names = impl_->database->prepare("SELECT stage FROM stage_names ORDER BY position");
  while (names.step()) {
    index[names.text(0)] = out.stages.size();
    out.stages.push_back({names.text(0), {}, 0, 0, 0, 0, {}});
  }
  for (StageRecord& record : impl_->stages()) {
    const auto at = index.find(record.stage);
    if (at != index.end()) out.stages[at->second].records.push_back(std::move(record));
  }
  Statement counts = impl_->database->prepare(
      "SELECT stage, state, reason, COUNT(*), SUM(bytes) FROM items GROUP BY stage, state, reason "
      "ORDER BY COUNT(*) DESC, reason");
  while (counts.step()) {
    const auto at = index.find(counts.text(0));
    if (at == index.end()) continue;
    StageSummary& stage = out.stages[at->second];
    const std::string state = counts.text(1);
    const auto n = static_cast<std::uint64_t>(counts.integer(3));
    if (state == to_string(ItemState::kDone)) {
      stage.done += n;
      stage.bytes += static_cast<std::uint64_t>(counts.integer(4));
      continue;
    }
    (state == to_string(ItemState::kSkipped) ? stage.skipped : stage.failed) += n;
    stage.reasons.emplace_back(counts.text(2), n);
  }
  out.holders = impl_->lease->holders();
  return out;
}

Json to_json(const StoreSummary& summary) {
  Json out = {{"stages", Json::array()}, {"holders", Json::array()}};
  for (const StageSummary& stage : summary.stages) {
    Json one = {{"stage", stage.stage},
                {"done", stage.done},
                {"skipped", stage.skipped},
                {"failed", stage.failed},
                {"bytes", stage.bytes},
                {"reasons", Json::array()},
                {"shards", Json::array()}};
    for (const auto& [reason, n] : stage.reasons) {
      one["reasons"].push_back({{"reason", reason}, {"items", n}});
    }
    for (const StageRecord& record : stage.records) {
      one["shards"].push_back({{"shard", record.shard},
                               {"state", to_string(record.state)},
                               {"reason", record.reason},
                               {"wall_seconds", record.wall_seconds},
                               {"cpu_seconds", record.cpu_seconds},
                               {"items", record.items}});
    }
    out["stages"].push_back(std::move(one));
  }
  for (const LeaseHolder& holder : summary.holders) {
    out["holders"].push_back({{"pid", holder.pid},
                              {"host", holder.host},
                              {"shard", holder.shard},
                              {"alive", holder.alive}});
  }
  return out;
}

}  // namespace med3d::pipeline
