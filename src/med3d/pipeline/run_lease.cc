#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/run_lease_internal.h"

namespace med3d::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// State and start of a process from /proc/<pid>/stat. Its second field is the program's name in
// brackets, in which anything may stand: the fields are counted from the last bracket.
struct ProcessStat {
  char state = '?';
  std::int64_t started = 0;
  bool known = false;
};

ProcessStat process_stat(std::int64_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const auto bracket = line.rfind(')');
  if (bracket == std::string::npos || bracket + 2 >= line.size()) return {};
  const auto fields = split(std::string_view(line).substr(bracket + 2), ' ');
  constexpr std::size_t kStarted = 19;  // field 22 of the line, the third being the first here
  if (fields.size() <= kStarted || fields[0].empty()) return {};
  const auto started = parse_double(fields[kStarted]);
  if (!started) return {};
  return {fields[0][0], static_cast<std::int64_t>(*started), true};
}

std::string random_token() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", device(), device(), device(), device());
}

// The leases that objects of this very process hold. A row of this process that is not among them
// is left from one that could not delete it, on a full disk.
std::mutex own_mutex;
std::set<std::string>& own_tokens() {
  static std::set<std::string> tokens;
  return tokens;
}
bool is_own(const std::string& token) {
  const std::lock_guard guard(own_mutex);
  return own_tokens().contains(token);
}

bool conflicts(const Shard& a, const Shard& b) {
  return a.whole() || b.whole() || a.count != b.count || a.index == b.index;
}

}  // namespace

ProcessIdentity this_process() {
  ProcessIdentity self;
  self.pid = ::getpid();
  self.started = process_stat(self.pid).started;
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0) self.host = name.data();
  std::array<char, 64> space{};
  const auto n = ::readlink("/proc/self/ns/pid", space.data(), space.size() - 1);
  const std::string boot = first_line("/proc/sys/kernel/random/boot_id");
  if (n > 0 && !boot.empty()) {
    self.machine = boot + " " + std::string(space.data(), static_cast<std::size_t>(n));
  }
  return self;
}

bool is_gone(const ProcessIdentity& process) {
  static const ProcessIdentity self = this_process();
  if (self.machine.empty() || process.machine != self.machine || process.pid <= 0) return false;
  if (::kill(static_cast<pid_t>(process.pid), 0) != 0 && errno == ESRCH) return true;
  const ProcessStat now = process_stat(process.pid);
  if (!now.known) return false;
  // One that was killed and that nobody has waited for yet writes nothing any more.
  if (now.state == 'Z' || now.state == 'X') return true;
  return process.started > 0 && now.started != process.started;
}

std::string describe_holder(std::int64_t pid, const std::string& host, const std::string& shard) {
  return fmt::format(
      "process {} on host '{}'{}", pid, host, shard.empty() ? "" : ", shard " + shard);
}

// --- FileLock ----------------------------------------------------------------------------------

FileLock::FileLock(const std::filesystem::path& path)
    : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644)) {
  if (fd_ < 0) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
  }
}

FileLock::~FileLock() { ::close(fd_); }

bool FileLock::acquire(Kind kind, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  while (::flock(fd_, (kind == Kind::kAlone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return true;  // a file system without flock
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

// --- LeaseTable --------------------------------------------------------------------------------

LeaseTable::LeaseTable(Database& database, bool may_create) : database_(database) {
  if (!may_create) return;
  database_.execute(
      "CREATE TABLE IF NOT EXISTS leases (token TEXT PRIMARY KEY, shard_index INTEGER NOT NULL, "
      "shard_count INTEGER NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL, "
      "host TEXT NOT NULL, machine TEXT NOT NULL, beats INTEGER NOT NULL)");
}

std::vector<LeaseTable::Row> LeaseTable::rows() {
  Statement select = database_.prepare(
      "SELECT token, shard_index, shard_count, pid, started, host, machine, beats FROM leases "
      "ORDER BY shard_index, token");
  std::vector<Row> out;
  while (select.step()) {
    Row row;
    row.token = select.text(0);
    row.shard = {static_cast<int>(select.integer(1)), static_cast<int>(select.integer(2))};
    row.process = {select.integer(3), select.integer(4), select.text(5), select.text(6)};
    row.beats = select.integer(7);
    out.push_back(std::move(row));
  }
  return out;
}

void LeaseTable::acquire(const std::filesystem::path& folder, const StoreOptions& options) {
  const auto note = [&](const std::string& text) {
    if (options.note) options.note(text);
  };
  const std::string token = random_token();
  const ProcessIdentity self = this_process();
  struct Watched {
    std::int64_t beats;
    Clock::time_point since;
  };
  std::map<std::string, Watched> watched;  // of other machines, by token
  const auto poll = std::min(std::chrono::milliseconds(1'000),
                             std::max(std::chrono::milliseconds(1), options.heartbeat / 5));
  for (;;) {
    bool waits = false;
    std::vector<std::string> notes;
    std::string refusal;
    database_.transaction([&] {
      for (const Row& row : rows()) {
        if (!conflicts(row.shard, options.shard)) continue;
        const std::string who =
            describe_holder(row.process.pid, row.process.host, row.shard.text());
        const bool of_this_process = row.process.machine == self.machine &&
                                     row.process.pid == self.pid &&
                                     row.process.started == self.started;
        bool take_over =
            of_this_process && !self.machine.empty() ? !is_own(row.token) : is_gone(row.process);
        if (!take_over && row.process.machine == self.machine && !self.machine.empty()) {
          refusal = who;
          return;
        }
        if (!take_over) {
          const auto [at, is_new] =
              watched.try_emplace(row.token, Watched{row.beats, Clock::now()});
          if (at->second.beats != row.beats) {
            refusal = who;
            return;
          }
          if (is_new) {
            notes.push_back(fmt::format(
                "the run folder is held by {}: waiting up to {} s for a sign of life",
                who,
                std::chrono::duration_cast<std::chrono::seconds>(options.stale_after).count()));
          }
          take_over = Clock::now() - at->second.since >= options.stale_after;
        }
        if (!take_over) {
          waits = true;
          continue;
        }
        database_.prepare("DELETE FROM leases WHERE token = ?").bind(row.token).run();
        notes.push_back("the run folder was held by " + who + ", which is gone: taken over");
      }
      if (waits) return;
      database_.prepare("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, 0)")
          .bind(token,
                options.shard.index,
                options.shard.count,
                self.pid,
                self.started,
                self.host,
                self.machine)
          .run();
    });
    if (!refusal.empty()) {
      throw Error(ErrorKind::kIo,
                  fmt::format("{}: {} is at work in this run folder", folder.string(), refusal));
    }
    for (const auto& text : notes) note(text);
    if (!waits) break;
    std::this_thread::sleep_for(poll);
  }
  token_ = token;
  shard_ = options.shard;
  const std::lock_guard guard(own_mutex);
  own_tokens().insert(token);
}

LeaseTable::~LeaseTable() {
  const std::lock_guard guard(own_mutex);
  own_tokens().erase(token_);
}

bool LeaseTable::beat() {
  bool held = false;
  database_.transaction([&] {
    Statement select = database_.prepare("SELECT beats FROM leases WHERE token = ?");
    select.bind(token_);
    held = select.step();
    if (!held) return;
    const std::int64_t beats = select.integer(0);
    select.step();
    database_.prepare("UPDATE leases SET beats = ? WHERE token = ?").bind(beats + 1, token_).run();
  });
  return held;
}

void LeaseTable::require_held(const std::filesystem::path& folder) {
  std::string other;
  for (const Row& row : rows()) {
    if (row.token == token_) return;
    if (conflicts(row.shard, shard_)) {
      other = describe_holder(row.process.pid, row.process.host, row.shard.text());
    }
  }
  throw Error(ErrorKind::kIo,
              fmt::format("{}: this process lost the lease of the run folder{}",
                          folder.string(),
                          other.empty() ? "" : " to " + other));
}

void LeaseTable::release() {
  if (token_.empty()) return;
  const std::string token = std::exchange(token_, "");
  {
    const std::lock_guard guard(own_mutex);
    own_tokens().erase(token);
  }
  database_.prepare("DELETE FROM leases WHERE token = ?").bind(token).run();
}

std::vector<LeaseHolder> LeaseTable::holders() {
  std::vector<LeaseHolder> out;
  for (const Row& row : rows()) {
    out.push_back({row.process.pid, row.process.host, row.shard.text(), !is_gone(row.process)});
  }
  return out;
}

}  // namespace med3d::pipeline
