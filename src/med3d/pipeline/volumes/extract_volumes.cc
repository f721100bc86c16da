#include "med3d/pipeline/volumes/extract_volumes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/stop.h"
#include "med3d/io/formats/npy.h"
#include "med3d/pipeline/volumes/patient_names.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// A scan on its way from its files to the encoder. Outcomes are touched by the reader until the
// scan is handed over, by the encoding thread from then on.
struct Prepared {
  std::size_t index = 0;
  std::string files_sha256;
  std::string key;
  Volume volume;  // as the encoder takes it
};

// Room for one.
class Slot {
 public:
  void put(Prepared scan) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !scan_ || stopped_; });
    if (!stopped_) scan_ = std::move(scan);
    changed_.notify_all();
  }
  // Nothing once all are taken and finish() was called.
  std::optional<Prepared> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return scan_ || finished_; });
    std::optional<Prepared> out = std::exchange(scan_, std::nullopt);
    changed_.notify_all();
    return out;
  }
  void finish() {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_all();
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  bool stopped() {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Prepared> scan_;
  bool finished_ = false;
  bool stopped_ = false;
};

std::string_view word_of(Shortcut shortcut) {
  switch (shortcut) {
    case Shortcut::kA:
      return "A";
    case Shortcut::kB:
      return "B";
    case Shortcut::kPublished:
      return "published";
  }
  return "published";
}

class Extraction {
 public:
  Extraction(const std::vector<VolumeItem>& scans,
             const VolumeFolder& folder,
             LoadedVolumeEncoder& encoder,
             const ExtractVolumesJob& job,
             Progress& progress)
      : scans_(scans),
        folder_(folder),
        encoder_(encoder),
        job_(job),
        progress_(progress),
        outcomes_(scans.size()) {}

  std::vector<VolumeOutcome> run() {
    std::thread reader([&] { read_scans(); });
    try {
      while (auto scan = slot_.take()) {
        throw_if_stopped();
        try {
          encode(*scan);
        } catch (const std::exception& error) {
          fail(outcomes_[scan->index], error);
        }
        tell(scan->index);
        progress_.advance();
      }
    } catch (...) {
      slot_.stop();
      reader.join();
      throw;
    }
    reader.join();
    throw_if_stopped();
    return std::move(outcomes_);
  }

 private:
  // ---- the reader

  void read_scans() {
    for (std::size_t i = 0; i < scans_.size() && !slot_.stopped(); ++i) {
      const VolumeItem& scan = scans_[i];
      VolumeOutcome& outcome = outcomes_[i];
      outcome.patient = scan.patient;
      outcome.series = scan.series;
      outcome.modality = scan.modality;
      outcome.files = static_cast<std::int64_t>(scan.files.size());
      if (stop_requested()) break;
      bool known = false;
      try {
        if (auto prepared = prepare(i, known)) {
          slot_.put(std::move(*prepared));
          continue;
        }
      } catch (const std::exception& error) {
        fail(outcome, error);
      }
      if (!known) tell(i);
      progress_.advance();
    }
    slot_.finish();
  }

  // known  set if the caller's account has the scan: then nobody is told of it again
  std::optional<Prepared> prepare(std::size_t i, bool& known) {
    const VolumeItem& scan = scans_[i];
    VolumeOutcome& outcome = outcomes_[i];
    if (job_.hooks.known && scan.kept && scan.problem.empty()) {
      if (auto found = job_.hooks.known(scan)) {
        outcome = std::move(*found);
        known = true;
        return std::nullopt;
      }
    }
    if (!scan.kept) {
      outcome.status = VolumeStatus::kDropped;
      outcome.step = "filter";
      outcome.reason = scan.problem;
      return std::nullopt;
    }
    outcome.step = "read";
    if (!scan.problem.empty()) throw Error(ErrorKind::kData, scan.problem);
    if (!safe_name(scan.patient) || !safe_name(scan.series)) {
      throw Error(ErrorKind::kUsage, "a patient or series whose name is not safe as a file's");
    }
    if (modality_folder(scan.modality).empty()) {
      throw Error(ErrorKind::kData,
                  scan.modality.empty()
                      ? std::string("its modality is not known; name it (CT or MR)")
                      : fmt::format("modality {}, expected CT or MR", scan.modality));
    }
    Prepared out;
    out.index = i;
    out.files_sha256 = files_sha256(scan);
    outcome.recipe = job_.prepare.recipe_for(scan.modality).name;
    out.key = key_of(scan, out.files_sha256);
    if (!job_.redo && is_finished(scan, out.key, outcome)) return std::nullopt;

    SeriesVolume loaded = load_scan(scan, job_.series);
    outcome.size = loaded.volume.size;
    outcome.spacing_mm = loaded.volume.spacing_mm;
    outcome.warnings = std::move(loaded.notes);
    if (scan.modality == "MR" && outcome.recipe == "paper") {
      outcome.warnings.emplace_back("the paper's constants are of Hounsfield units; MR has none");
    }
    outcome.step = "prepare";
    out.volume = prepare_scan(std::move(loaded.volume), scan, job_.prepare);
    outcome.step = "encode";
    return out;
  }

  // Everything that decides an embedding's bits but the number of threads.
  std::string key_of(const VolumeItem& scan, const std::string& files) const {
    Sha256 hash;
    const auto add = [&](const std::string& text) { hash.update(text + "\n"); };
    add("files " + files);
    add("modality " + scan.modality);
    add(job_.prepare.text(scan.modality));
    add(fmt::format("tilt {} gaps {} tolerance {}",
                    static_cast<int>(job_.series.tilt),
                    static_cast<int>(job_.series.gaps),
                    job_.series.position_tolerance));
    if (!scan.mask.empty()) {
      try {
        add("mask " + sha256_file(scan.mask));
      } catch (const Error& error) {
        throw Error(error.kind(), "its mask cannot be read");
      }
    }
    add(encoder_.text());
    return hash.hex();
  }

  bool is_finished(const VolumeItem& scan, const std::string& key, VolumeOutcome& outcome) const {
    const fs::path features = folder_.features(scan.modality, scan.patient, scan.series);
    const fs::path path = VolumeFolder::record_of(features);
    if (!fs::exists(path) || !fs::exists(features)) return false;
    VolumeOutcome found = outcome;
    try {
      const Json record = read_json(path);
      if (record.at("key").get<std::string>() != key ||
          record.at("features_sha256").get<std::string>() != sha256_file(features)) {
        return false;
      }
      const Json& volume = record.at("volume");
      found.size = volume.at("size").get<std::array<std::int64_t, 3>>();
      found.spacing_mm = volume.at("spacing_mm").get<std::array<double, 3>>();
      found.warnings = record.at("warnings").get<std::vector<std::string>>();
    } catch (const std::exception&) {
      return false;  // a damaged record is none
    }
    outcome = std::move(found);
    outcome.step = "encode";
    outcome.status = VolumeStatus::kKept;
    return true;
  }

  // ---- the encoding thread

  void encode(const Prepared& scan) {
    const VolumeItem& item = scans_[scan.index];
    VolumeOutcome& outcome = outcomes_[scan.index];
    const auto& size = scan.volume.size;
    std::vector<float> embedding(static_cast<std::size_t>(encoder_.encoder->embedding_dim()));
    encoder_.encoder->encode(scan.volume.voxels, {size[2], size[1], size[0]}, embedding);
    for (std::size_t i = 0; i < embedding.size(); ++i) {
      if (!std::isfinite(embedding[i])) {
        throw Error(ErrorKind::kNumerical,
                    fmt::format("the encoder gave a value that is not finite at {}", i));
      }
    }
    const fs::path features = folder_.features(item.modality, item.patient, item.series);
    const fs::path record = VolumeFolder::record_of(features);
    Matrix<float> row;
    row.append_row(embedding);
    const std::string bytes = npy_bytes(row);
    // An old record must not speak for new features, should a kill come between the two.
    fs::remove(record);
    write_file_atomic(features, bytes);
    write_json(
        record,
        {{"schema", 1},
         {"key", scan.key},
         {"patient", item.patient},
         {"series", item.series},
         {"modality", item.modality},
         {"width", embedding.size()},
         {"features_sha256", sha256_hex(bytes)},
         {"volume",
          {{"files", item.files.size()},
           {"files_sha256", scan.files_sha256},
           {"size", outcome.size},
           {"spacing_mm", outcome.spacing_mm}}},
         {"recipe", {{"name", outcome.recipe}, {"options", job_.prepare.text(item.modality)}}},
         {"encoder", encoder_.to_json()},
         {"warnings", outcome.warnings}});
    outcome.status = VolumeStatus::kDone;
  }

  void tell(std::size_t i) const {
    if (job_.hooks.done) job_.hooks.done(scans_[i], outcomes_[i]);
  }

  static void fail(VolumeOutcome& outcome, const std::exception& error) {
    outcome.status = VolumeStatus::kFailed;
    outcome.reason = describe(error);
  }

  const std::vector<VolumeItem>& scans_;
  const VolumeFolder& folder_;
  LoadedVolumeEncoder& encoder_;
  const ExtractVolumesJob& job_;
  Progress& progress_;
  std::vector<VolumeOutcome> outcomes_;
  Slot slot_;
};

}  // namespace

std::string LoadedVolumeEncoder::text() const {
  std::string out = fmt::format("encoder {} {} {} shortcut {}",
                                name,
                                weights_sha256,
                                to_string(encoder->precision()),
                                word_of(shortcut));
  if (!trained) out += fmt::format(" seed {}", seed);
  if (const std::string on = engine.text(); !on.empty()) out += " " + on;
  return out;
}

Json LoadedVolumeEncoder::to_json() const {
  Json json = {{"name", name},
               {"trained", trained},
               {"weights_sha256", weights_sha256},
               {"shortcut", word_of(shortcut)},
               {"engine", engine.name()},
               {"device", engine.device},
               {"precision", to_string(encoder->precision())},
               {"embedding_dim", encoder->embedding_dim()}};
  if (!trained) {
    json["seed"] = seed;
    json["notice"] = "untrained weights: for trials only, the features mean nothing";
  }
  return json;
}

std::vector<VolumeOutcome> extract_volumes(const std::vector<VolumeItem>& scans,
                                           const VolumeFolder& folder,
                                           LoadedVolumeEncoder& encoder,
                                           const ExtractVolumesJob& job,
                                           Progress& progress) {
  job.series.validate();
  job.prepare.validate();
  progress.start("encoding scans", scans.size());
  return Extraction(scans, folder, encoder, job, progress).run();
}

}  // namespace med3d::pipeline
