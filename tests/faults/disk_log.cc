#include "disk_log.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"

namespace med3d::faults {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kSector = 512;

// A change of a file's bytes that is not yet synced.
struct Change {
  char what;  // 'W', 'T' or 'A'
  std::uint64_t at;
  std::string bytes;
};

void replay(const Change& change, std::string& bytes) {
  const auto at = static_cast<std::size_t>(change.at);
  if (change.what == 'T') bytes.resize(at);
  if (change.what == 'A') bytes.resize(std::max(bytes.size(), at));
  if (change.what != 'W') return;
  bytes.resize(std::max(bytes.size(), at + change.bytes.size()));
  std::copy(
      change.bytes.begin(), change.bytes.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

struct File {
  std::string durable;
  std::vector<Change> pending;
  bool is_folder = false;
};
using Names = std::map<std::string, std::shared_ptr<File>>;

// One change of names, in the folder whose sync makes it last.
struct Naming {
  std::string folder;
  std::string removed;  // "" = none
  std::string made;     // "" = none
  std::shared_ptr<File> file;
};

void replay(const Naming& naming, Names& names) {
  if (!naming.removed.empty()) names.erase(naming.removed);
  if (!naming.made.empty()) names[naming.made] = naming.file;
}

// The changes that a cut may leave of a write: each sector of it, or not.
std::vector<Change> some_of(const Change& change, NumpyRandom& random) {
  std::vector<Change> out;
  if (change.what != 'W') {
    if (random.randint(2) == 0) out.push_back(change);
    return out;
  }
  for (std::size_t from = 0; from < change.bytes.size();) {
    const std::size_t sector_end = (change.at + from) / kSector * kSector + kSector - change.at;
    const std::size_t end = std::min<std::size_t>(sector_end, change.bytes.size());
    if (random.randint(2) == 0) {
      out.push_back({'W', change.at + from, change.bytes.substr(from, end - from)});
    }
    from = end;
  }
  return out;
}

}  // namespace

std::vector<DiskStep> read_disk_log(const fs::path& file, const fs::path& folder) {
  const std::string log = read_file(file, 1ULL << 30);
  std::size_t at = 0;
  const auto take = [&](void* to, std::size_t n) {
    if (log.size() - at < n) throw Error(ErrorKind::kFormat, "disk log: cut short");
    std::memcpy(to, log.data() + at, n);
    at += n;
  };
  const auto text = [&] {
    std::uint64_t n = 0;
    take(&n, sizeof n);
    if (log.size() - at < n) throw Error(ErrorKind::kFormat, "disk log: cut short");
    std::string out(n, '\0');
    take(out.data(), n);
    return out;
  };
  const std::string base = folder.string() + "/";
  const auto relative = [&](const std::string& path) {
    return path.starts_with(base) ? path.substr(base.size()) : std::string();
  };
  std::vector<DiskStep> steps;
  while (at < log.size()) {
    DiskStep step;
    take(&step.what, 1);
    const std::string path = text();
    const std::string other = text();
    take(&step.number, sizeof step.number);
    step.bytes = text();
    step.path = path == folder.string() ? "." : relative(path);
    step.other = relative(other);
    if (step.what != 'K' && step.path.empty()) continue;
    if (step.path.ends_with("-shm")) continue;
    steps.push_back(std::move(step));
  }
  return steps;
}

void power_cut(const std::vector<DiskStep>& log,
               std::size_t steps,
               Loss loss,
               NumpyRandom& random,
               const fs::path& target) {
  Names now;      // as the process saw it
  Names durable;  // as synced
  std::vector<Naming> pending;
  const auto folder_of = [](const std::string& path) {
    const std::string parent = fs::path(path).parent_path().string();
    return parent.empty() ? std::string(".") : parent;
  };
  const auto name = [&](Naming naming) {
    replay(naming, now);
    pending.push_back(std::move(naming));
  };
  for (std::size_t i = 0; i < std::min(steps, log.size()); ++i) {
    const DiskStep& step = log[i];
    switch (step.what) {
      case 'O':
      case 'M': {
        auto file = std::make_shared<File>();
        file->is_folder = step.what == 'M';
        name({folder_of(step.path), "", step.path, file});
        break;
      }
      case 'W':
      case 'T':
      case 'A':
        if (const auto at = now.find(step.path); at != now.end()) {
          at->second->pending.push_back({step.what, step.number, step.bytes});
        }
        break;
      case 'R':
        if (const auto at = now.find(step.path); at != now.end()) {
          // All renames of ours stay in their folder.
          name({folder_of(step.other), step.path, step.other, at->second});
        }
        break;
      case 'U':
        name({folder_of(step.path), step.path, "", nullptr});
        break;
      case 'F': {
        const auto at = now.find(step.path);
        const bool is_folder = step.path == "." || (at != now.end() && at->second->is_folder);
        if (is_folder) {
          std::vector<Naming> rest;
          for (Naming& naming : pending) {
            if (naming.folder == step.path) {
              replay(naming, durable);
            } else {
              rest.push_back(std::move(naming));
            }
          }
          pending = std::move(rest);
        } else if (at != now.end()) {
          File& file = *at->second;
          for (const Change& change : file.pending) replay(change, file.durable);
          file.pending.clear();
        }
        break;
      }
      default:
        break;
    }
  }

  for (const Naming& naming : pending) {
    const bool kept = loss == Loss::kNothing || (loss == Loss::kSome && random.randint(2) == 0);
    if (kept) replay(naming, durable);
  }
  std::set<const File*> done;
  for (const auto& [path, file] : durable) {
    if (file->is_folder) continue;
    if (!done.insert(file.get()).second) continue;
    for (const Change& change : file->pending) {
      if (loss == Loss::kNothing) replay(change, file->durable);
      if (loss != Loss::kSome) continue;
      for (const Change& part : some_of(change, random)) replay(part, file->durable);
    }
  }
  // A name below a folder whose own name was lost is lost with it.
  const auto reachable = [&](const std::string& path) {
    for (std::string at = folder_of(path); at != "."; at = folder_of(at)) {
      const auto parent = durable.find(at);
      if (parent == durable.end() || !parent->second->is_folder) return false;
    }
    return true;
  };
  for (const auto& [path, file] : durable) {
    if (!reachable(path)) continue;
    const fs::path full = target / path;
    if (file->is_folder) {
      fs::create_directories(full);
    } else {
      fs::create_directories(full.parent_path());
      std::ofstream(full, std::ios::binary | std::ios::trunc) << file->durable;
    }
  }
}

}  // namespace med3d::faults
