#include "med3d/pipeline/volumes/series_index.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/parallel.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/folder_lock.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/pipeline/volumes/series_store_internal.h"
#include "med3d/pipeline/volumes/volume_files.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Files between two commits: what a killed run loses.
constexpr std::size_t kBatch = 4096;

fs::path part_of(const fs::path& index) {
  return index.parent_path() / ("." + index.filename().string() + ".part");
}

void remove_database(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
  fs::remove(path.string() + "-journal", ignored);
}

// What the user's own table says of one NIfTI file.
struct ListedVolume {
  std::string patient;
  SeriesFacts facts;
  std::string series;
};

std::map<std::string, ListedVolume> read_volume_list(const fs::path& list) {
  std::map<std::string, ListedVolume> out;
  if (list.empty()) return out;
  const Table table = read_table(list);
  const std::size_t path = table.column("path");
  const auto find = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (const auto found = table.find(name)) return found;
    }
    return std::optional<std::size_t>();
  };
  const auto patient = find({"case_id", "patient", "PatientID"});
  const auto modality = find({"modality"});
  const auto description = find({"SeriesDescription", "description"});
  const auto study = find({"StudyDescription", "study_description"});
  const auto series = find({"series", "SeriesInstanceUID"});
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto cell = [&](const std::optional<std::size_t>& column) {
      return column ? readable_text(table.rows[i][*column]) : std::string();
    };
    ListedVolume volume;
    volume.patient = cell(patient);
    volume.facts.modality = cell(modality);
    volume.facts.description = cell(description);
    volume.facts.study_description = cell(study);
    volume.series = cell(series);
    const std::string key = fs::path(table.rows[i][path]).lexically_normal().generic_string();
    if (!out.emplace(key, std::move(volume)).second) {
      throw Error(
          ErrorKind::kData,
          fmt::format("{}:{}: a path of a line above again", table.source, table.line_of_row[i]));
    }
  }
  return out;
}

// The first bytes decide whether a file is worth parsing.
std::string head_of(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0) {
    throw Error(ErrorKind::kIo, fmt::format("cannot be opened: {}", std::strerror(errno)));
  }
  std::string head(132, '\0');
  const auto count = ::pread(fd, head.data(), head.size(), 0);
  const int reason = errno;
  ::close(fd);
  if (count < 0) throw Error(ErrorKind::kIo, fmt::format("read error: {}", std::strerror(reason)));
  head.resize(static_cast<std::size_t>(count));
  return head;
}

// Without a preamble a file begins with an element of group 2 or 8.
bool begins_as_dicom(const std::string& head) {
  if (head.size() >= 132 && head.compare(128, 4, "DICM") == 0) return true;
  if (head.size() < 16) return false;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(head[i]); };
  const bool little = (byte(0) == 8 || byte(0) == 2) && byte(1) == 0 && byte(3) == 0;
  const bool big = byte(0) == 0 && byte(1) == 8 && byte(2) == 0;
  const bool letters = byte(4) >= 'A' && byte(4) <= 'Z' && byte(5) >= 'A' && byte(5) <= 'Z';
  const bool implicit = byte(6) == 0 && byte(7) == 0;
  return (little && (letters || implicit)) || (big && letters);
}

class Indexer {
 public:
  explicit Indexer(const VolumeIndexOptions& options)
      : options_(options),
        names_(options.keep_ids, options.secret, options.case_ids),
        listed_(read_volume_list(options.volumes)) {}

  const PatientNames& names() const { return names_; }

  // Everything that decides what is stored of a file.
  std::string fingerprint() const {
    std::string what = fmt::format("{}; dates {}",
                                   names_.fingerprint(),
                                   options_.dates == IndexDates::kDrop ? "dropped" : "shifted");
    if (!options_.volumes.empty()) {
      what += "; volumes " + sha256_file(options_.volumes).substr(0, 16);
    }
    return what;
  }

  IndexedFile look_at(const VolumeFile& file) const {
    IndexedFile out;
    out.path = file.path;
    out.size = file.size;
    out.mtime_ns = file.mtime_ns;
    const fs::path path = options_.folder / file.path;
    try {
      if (named_as_nifti(file.path)) {
        out.kind = "nifti";
        read_nifti(path, out);
        return out;
      }
      const std::string head = head_of(path);
      if (!begins_as_dicom(head)) {
        out.kind = named_as_dicom(file.path) ? "problem" : "other";
        if (out.kind == "problem") {
          out.problem = head.empty() ? "an empty file" : "called as DICOM, but it is none";
        }
        return out;
      }
      SeriesHeader header = read_dicom_series_header(path);
      out.kind = header.directory ? "directory" : "dicom";
      if (!header.directory) store(header, out);
    } catch (const Error& error) {
      failed_with(error.what(), file, out);
    } catch (const std::exception&) {
      failed_with("cannot be read", file, out);  // other exceptions may tell the path
    }
    return out;
  }

 private:
  // Whatever comes here is called or begins as a scan.
  static void failed_with(const std::string& problem, const VolumeFile& file, IndexedFile& out) {
    out = IndexedFile();
    out.path = file.path;
    out.size = file.size;
    out.mtime_ns = file.mtime_ns;
    out.kind = "problem";
    out.problem = problem;
  }

  void read_nifti(const fs::path& path, IndexedFile& out) const {
    SeriesHeader header = read_nifti_series_header(path);
    if (const auto found = listed_.find(out.path); found != listed_.end()) {
      const ListedVolume& listed = found->second;
      const auto take = [](std::string& to, const std::string& from) {
        if (!from.empty()) to = from;
      };
      take(header.patient_id, listed.patient);
      take(header.facts.modality, listed.facts.modality);
      take(header.facts.description, listed.facts.description);
      take(header.facts.study_description, listed.facts.study_description);
      take(header.series_uid, listed.series);
    }
    store(header, out);
  }

  // A file without a patient's number: a public id in its path, else its study, else its folder; a
  // NIfTI file alone. Two patients taken for one would be worse than one taken for two.
  std::string patient_of(const SeriesHeader& header, const IndexedFile& file) const {
    if (!trim(header.patient_id).empty()) return names_.name_of(header.patient_id);
    for (const fs::path& part : fs::path(file.path)) {
      if (std::string id = public_id(part.string()); !id.empty()) return id;
    }
    if (!header.study_uid.empty()) return names_.pseudonym_of("study " + header.study_uid);
    const bool alone = file.kind == "nifti";
    return names_.pseudonym_of("path " +
                               (alone ? file.path : file.path.substr(0, file.path.rfind('/') + 1)));
  }

  void store(SeriesHeader& header, IndexedFile& out) const {
    out.patient = patient_of(header, out);
    if (trim(header.patient_id).empty()) header.problems.push_back("no PatientID");
    out.study = names_.study_of(out.patient, header.study_uid);
    out.series_uid = readable_text(header.series_uid);
    if (!header.instance_uid.empty()) {
      out.instance = sha256_hex(header.instance_uid).substr(0, 16);
    }
    for (std::string* date : {&header.study_date, &header.series_date}) {
      *date = options_.dates == IndexDates::kShift ? names_.shifted(*date, out.patient) : "";
    }
    out.images = header.images;
    out.places = header.facts.slices.value_or(0);
    if (!header.along_mm.empty()) {
      const auto [least, most] = std::ranges::minmax(header.along_mm);
      out.along_first = least;
      out.along_last = most;
    }
    out.header = series_header_to_json(header).dump(
        -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }

  const VolumeIndexOptions& options_;
  PatientNames names_;
  std::map<std::string, ListedVolume> listed_;
};

// The store to work in: what a killed run left, else a copy of the index, else a new one.
std::unique_ptr<SeriesStore> open_part(const fs::path& index,
                                       const std::string& fingerprint,
                                       bool redo) {
  const fs::path part = part_of(index);
  const auto fits = [&]() -> std::unique_ptr<SeriesStore> {
    try {
      auto store = std::make_unique<SeriesStore>(part, DatabaseUse::kAlone);
      if (store->setting("fingerprint") == fingerprint) return store;
    } catch (const Error&) {
      // Damaged, or of another version: it only saves time, so it is made anew.
    }
    return nullptr;
  };
  std::error_code failed;
  if (!redo && fs::is_regular_file(fs::symlink_status(part, failed))) {
    if (auto store = fits()) return store;
  }
  remove_database(part);
  if (!redo && fs::is_regular_file(fs::symlink_status(index, failed))) {
    if (fs::copy_file(index, part, failed)) {
      fs::permissions(part, fs::perms::owner_read | fs::perms::owner_write, failed);
      if (auto store = fits()) return store;
    }
    remove_database(part);
  }
  auto store = std::make_unique<SeriesStore>(part, DatabaseUse::kAlone);
  store->set("fingerprint", fingerprint);
  return store;
}

// What is no index of ours, of whatever version, is not replaced.
void require_ours(const fs::path& index) {
  std::error_code failed;
  if (!fs::exists(fs::symlink_status(index, failed))) return;
  const auto refuse = [&] {
    throw Error(ErrorKind::kIo,
                index.string() + ": is no index of series, and is not replaced; remove it first");
  };
  if (!fs::is_regular_file(fs::symlink_status(index, failed))) refuse();
  std::int64_t version = 0;
  try {
    version = Database(index, DatabaseUse::kRead).user_version();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFormat) throw;
    refuse();
  }
  if (version >> 8 != kSeriesIndexVersion >> 8) refuse();
}

// A changed sidecar is a changed scan: size and time stand for both.
void count_sidecars(std::vector<VolumeFile>& files) {
  const auto with = [&](const std::string& path) -> const VolumeFile* {
    const auto found = std::ranges::lower_bound(files, path, {}, &VolumeFile::path);
    return found != files.end() && found->path == path ? &*found : nullptr;
  };
  for (VolumeFile& file : files) {
    if (!named_as_nifti(file.path)) continue;
    const std::size_t end = to_lower(file.path).rfind(".nii");
    if (const VolumeFile* sidecar = with(file.path.substr(0, end) + ".json")) {
      file.size += sidecar->size;
      file.mtime_ns = std::max(file.mtime_ns, sidecar->mtime_ns);
    }
  }
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

fs::path VolumeIndexOptions::index_path() const {
  const fs::path path = index.empty() ? folder / "volumes.sqlite" : index;
  return fs::absolute(path).lexically_normal();
}

void VolumeIndexOptions::validate() const {
  if (dates == IndexDates::kShift && secret.empty()) {
    throw Error(ErrorKind::kUsage,
                "dates can only be shifted with a secret: without one, who knows the patient "
                "could move them back");
  }
}

VolumeIndexResult index_volumes(const VolumeIndexOptions& options, Progress& progress) {
  options.validate();
  std::error_code failed;
  if (!fs::is_directory(options.folder, failed)) {
    throw Error(ErrorKind::kNotFound, options.folder.string() + ": not a folder");
  }
  const Indexer indexer(options);
  const fs::path index = options.index_path();
  make_folder(index.parent_path());
  const FolderLock lock(index.parent_path());
  require_ours(index);
  auto store = open_part(index, indexer.fingerprint(), options.redo);

  progress.start("looking for files", 0);
  VolumeFiles found = find_volume_files(options.folder);
  // The index may lie among the scans.
  std::erase_if(found.files, [&](const VolumeFile& file) {
    const fs::path path = fs::absolute(options.folder / file.path).lexically_normal();
    return path == index || path == fs::path(index.string() + "-journal");
  });
  count_sidecars(found.files);
  VolumeIndexResult result;
  result.files = static_cast<std::int64_t>(found.files.size());
  result.links = found.links;

  // Both lists are in order of path.
  std::vector<const VolumeFile*> to_read;
  std::vector<std::string> gone;
  {
    const auto known = store->known();
    auto old = known.begin();
    for (const VolumeFile& file : found.files) {
      for (; old != known.end() && old->path < file.path; ++old) gone.push_back(old->path);
      const bool same = old != known.end() && old->path == file.path && old->size == file.size &&
                        old->mtime_ns == file.mtime_ns;
      if (!same) to_read.push_back(&file);
      if (old != known.end() && old->path == file.path) ++old;
    }
    for (; old != known.end(); ++old) gone.push_back(old->path);
  }
  result.vanished = static_cast<std::int64_t>(gone.size());
  result.read = static_cast<std::int64_t>(to_read.size());
  result.unchanged = result.files - result.read;

  store->transaction([&] {
    for (const std::string& path : gone) store->remove(path);
  });
  progress.start("reading headers", to_read.size());
  std::vector<IndexedFile> batch;
  for (std::size_t begin = 0; begin < to_read.size(); begin += kBatch) {
    batch.assign(std::min(kBatch, to_read.size() - begin), {});
    parallel_for(batch.size(), options.threads, [&](std::size_t i) {
      batch[i] = indexer.look_at(*to_read[begin + i]);
      progress.advance();
    });
    store->transaction([&] {
      for (const IndexedFile& file : batch) store->put(file);
    });
  }
  progress.start("putting series together", 0);
  store->transaction([&] {
    store->assemble(indexer.names());
    // The folder is found again from where the index lies, so that both can be moved together.
    const fs::path root = fs::canonical(options.folder);
    const fs::path home = fs::canonical(index.parent_path());
    store->set("root", root.lexically_relative(home).generic_string());
  });
  store->summarise(result);
  // Those that could not even be looked at are told on every run.
  for (const auto& [path, problem] : found.problems)
    result.problem_files.push_back({path, problem});
  std::ranges::sort(result.problem_files, {}, &ProblemFile::path);
  store.reset();
  fs::rename(part_of(index), index, failed);
  if (failed) throw Error(ErrorKind::kIo, fmt::format("{}: {}", index.string(), failed.message()));
  sync_folder(index.parent_path());
  progress.finish();
  return result;
}

std::vector<SeriesRecord> read_series_index(const fs::path& index) {
  SeriesStore store(index, DatabaseUse::kRead);
  auto out = store.series();
  const fs::path root = store.setting("root");
  if (root.empty()) {
    throw Error(ErrorKind::kFormat, index.string() + ": an index without its folder");
  }
  const fs::path folder = (fs::absolute(index).parent_path() / root).lexically_normal();
  for (SeriesRecord& record : out) {
    for (fs::path& file : record.files) file = (folder / file).lexically_normal();
  }
  return out;
}

}  // namespace med3d::pipeline
