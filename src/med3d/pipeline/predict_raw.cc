#include "med3d/pipeline/predict_raw.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <map>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/io/features.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/raw_inputs.h"
#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/pipeline/volumes/volume_folder.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// What the records of the training features say of their maker; nothing where there were none.
const FeatureMaker* maker_of(const Evidence& evidence,
                             const std::vector<std::string>& modalities,
                             const std::string& encoder) {
  for (const auto& name : modalities) {
    const auto found = evidence.makers.find(name);
    if (found == evidence.makers.end()) continue;
    for (const auto& maker : found->second) {
      if (maker.encoder == encoder) return &maker;
    }
  }
  return nullptr;
}

// The weights with the model's hash. Before hours of encoding, not after.
fs::path find_weights_file(const fs::path& given,
                           const fs::path& folder,
                           const FeatureMaker* maker,
                           const std::string& encoder,
                           const char* option) {
  if (!given.empty()) {
    if (maker == nullptr || maker->weights_sha256.empty()) return given;
    const std::string found = sha256_file(given);
    if (found == maker->weights_sha256) return given;
    throw Error(ErrorKind::kData,
                fmt::format("{}: SHA-256 {}..., the model's vectors were made by {}",
                            given.string(),
                            found.substr(0, 12),
                            maker->text()));
  }
  const std::string wanted = maker == nullptr ? "" : maker->weights_sha256;
  std::vector<fs::path> files;
  std::error_code error;
  if (!wanted.empty() && !folder.empty()) {
    for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      if (it->is_regular_file(error)) files.push_back(it->path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    if (sha256_file(file) == wanted) return file;
  }
  throw Error(
      ErrorKind::kNotFound,
      fmt::format("weights of encoder {} are needed{}: name them by {}{}",
                  encoder,
                  wanted.empty() ? "" : " (SHA-256 " + wanted + ")",
                  option,
                  folder.empty() ? "" : ", none below " + folder.string() + " is the file"));
}

void require_repeatable(bool there, const std::string& why_not, const char* what) {
  if (!there) {
    throw Error(ErrorKind::kUsage,
                fmt::format("the model's run made no vectors from {0}: give vectors, or train from "
                            "{0}",
                            what));
  }
  if (!why_not.empty()) {
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format(
            "{} cannot be prepared as the model's were: {}; give vectors instead", what, why_not));
  }
}

// Vectors a row for each item, or each patient; nothing where there is none.
std::optional<fs::path> write_table(const fs::path& file, const FeatureTable& table) {
  fs::remove(file);
  if (table.case_ids.empty()) return std::nullopt;
  write_file_atomic(file, feature_table_csv(table));
  return file;
}

void prepare_slides(const RawInputs& inputs,
                    const Evidence& evidence,
                    const fs::path& work,
                    int threads,
                    Progress& progress,
                    PreparedInputs& out) {
  const RawEvidence& raw = *evidence.raw;
  require_repeatable(raw.slides, raw.not_repeatable_slides, "slides");
  SlideSettings settings = raw.settings.slides;
  settings.folder = inputs.slides;
  const bool trained = settings.encoder == "torchscript" || find_encoder(settings.encoder).trained;
  if (trained) {
    settings.weights = find_weights_file(inputs.slide_weights,
                                         inputs.weights_folder,
                                         maker_of(evidence, {"wsi"}, settings.encoder),
                                         settings.encoder,
                                         "--slide-weights");
  }
  std::vector<SlideItem> slides;
  for (auto& chosen : choose_slides(settings)) {
    if (chosen.left_out.empty()) {
      slides.push_back(std::move(chosen.item));
    } else {
      out.outcomes.push_back({"slide", chosen.item.slide_id, "skipped", chosen.left_out, {}});
    }
  }
  auto encoder = load_slide_encoder(settings, threads);
  if (const auto notice = untrained_notice(encoder); !notice.empty()) {
    out.warnings.push_back(notice);
  }
  const SlideFolder folder{work / "slides"};
  const auto lock = folder.claim();
  auto job = aggregate_job(settings);
  if (!inputs.patient.empty()) {
    CsvWriter table({"slide_id", "case_id"});
    for (const auto& item : slides) table.text(item.slide_id).text(inputs.patient).end_row();
    job.slide_table = folder.root / "slide_table.csv";
    write_file_atomic(job.slide_table, table.str());
  }
  auto outcomes = tile_slides(slides, folder, tile_job(settings, threads), progress);
  outcomes = extract_slides(
      slides, std::move(outcomes), folder, encoder, extract_job(settings, threads), progress);
  std::vector<fs::path> files;
  for (const auto& outcome : outcomes) {
    const bool used = outcome.status == SlideStatus::kDone || outcome.status == SlideStatus::kKept;
    const std::string status = used                                     ? "used"
                               : outcome.status == SlideStatus::kFailed ? "failed"
                                                                        : "skipped";
    out.outcomes.push_back({"slide", outcome.slide_id, status, outcome.reason, outcome.warnings});
    if (used) files.push_back(folder.features_h5(outcome.slide_id));
  }
  const auto vectors = files.empty() ? SlideVectors() : aggregate_slides(files, job, progress);
  for (const auto& left : vectors.left_out) {
    const std::string id = fs::path(left.file).stem().string();
    for (auto& outcome : out.outcomes) {
      if (outcome.kind != "slide" || outcome.item != id) continue;
      outcome.status = left.failed ? "failed" : "skipped";
      outcome.reason = left.reason;
    }
  }
  (void)write_table(folder.slide_vectors(), vectors.slides);
  (void)write_table(folder.patient_vectors(), vectors.patients);
  if (vectors.slides.case_ids.empty()) return;
  out.wsi = settings.vectors == "slides" ? folder.slide_vectors() : folder.patient_vectors();
}

// Scans of one patient under the name the user gives; of several they cannot all be.
void name_patient(std::vector<VolumeItem>& scans, const std::string& patient) {
  std::set<std::string> found;
  for (const auto& scan : scans) {
    if (!scan.patient.empty()) found.insert(scan.patient);
  }
  if (found.size() > 1) {
    throw Error(ErrorKind::kData,
                fmt::format("the scans are of {} patients, expected one where the patient is named",
                            found.size()));
  }
  for (auto& scan : scans) scan.patient = patient;
}

void prepare_scans(const RawInputs& inputs,
                   const Evidence& evidence,
                   const fs::path& work,
                   int threads,
                   Progress& progress,
                   PreparedInputs& out) {
  const RawEvidence& raw = *evidence.raw;
  require_repeatable(raw.scans, raw.not_repeatable_scans, "scans");
  ScanSettings settings = raw.settings.scans;
  settings.folder = *inputs.dicom;
  if (find_volume_encoder(settings.encoder).trained) {
    settings.weights = find_weights_file(inputs.scan_weights,
                                         inputs.weights_folder,
                                         maker_of(evidence, {"ct", "mri"}, settings.encoder),
                                         settings.encoder,
                                         "--scan-weights");
  }
  auto encoder = load_scan_encoder(settings, threads);
  if (const auto notice = untrained_notice(encoder); !notice.empty()) {
    out.warnings.push_back(notice);
  }
  const VolumeFolder folder{work / "scans"};
  make_folder(folder.root);
  const fs::path index = folder.root / ".index.sqlite";
  const auto indexed = index_volumes(index_options(settings, index, threads), progress);
  if (!indexed.problem_files.empty()) {
    // Their paths may name a patient.
    out.warnings.push_back(
        fmt::format("{} files of scans cannot be read; `volume index` names them",
                    indexed.problem_files.size()));
  }
  if (!raw.filter_rules.empty()) {
    settings.rules = folder.root / "rules.toml";
    write_file_atomic(settings.rules, raw.filter_rules);
  }
  auto scans = items_of(choose_series(settings, index));
  if (!inputs.patient.empty()) name_patient(scans, inputs.patient);
  const auto lock = folder.claim();
  const auto outcomes =
      extract_volumes(scans, folder, encoder, extract_job(settings, threads), progress);
  std::vector<ScanFile> files;
  for (const auto& outcome : outcomes) {
    const bool used =
        outcome.status == VolumeStatus::kDone || outcome.status == VolumeStatus::kKept;
    const std::string status = used                                      ? "used"
                               : outcome.status == VolumeStatus::kFailed ? "failed"
                                                                         : "skipped";
    out.outcomes.push_back({"scan", outcome.series, status, outcome.reason, outcome.warnings});
    if (!used) continue;
    files.push_back({outcome.patient,
                     outcome.series,
                     std::string(modality_folder(outcome.modality)),
                     folder.features(outcome.modality, outcome.patient, outcome.series)});
  }
  if (files.empty()) return;
  if (settings.vectors == "patients") {
    const auto vectors = aggregate_volumes(files, aggregate_job(settings), progress);
    for (const auto& left : vectors.left_out) {
      for (auto& outcome : out.outcomes) {
        if (outcome.kind != "scan" || outcome.item != left.scan.series) continue;
        outcome.status = "failed";
        outcome.reason = left.reason;
      }
    }
    out.ct = write_table(folder.patient_vectors("ct"), vectors.ct);
    out.mri = write_table(folder.patient_vectors("mri"), vectors.mri);
    return;
  }
  // A row for each scan, so that a folder of an earlier call with other scans in it does not count.
  std::map<std::string, FeatureTable> tables;
  for (const auto& file : files) {
    auto& table = tables[file.modality];
    table.values.append_row(read_features(file.path).row(0));
    table.case_ids.push_back(file.patient);
    table.item_ids.push_back(file.series);
  }
  for (auto& [modality, table] : tables) {
    for (std::size_t c = 0; c < table.values.cols(); ++c) {
      table.columns.push_back(fmt::format("{}_{}", modality, c));
    }
  }
  out.ct = write_table(folder.root / "ct_scans.csv", tables["ct"]);
  out.mri = write_table(folder.root / "mri_scans.csv", tables["mri"]);
}

}  // namespace

Json RawOutcome::to_json() const {
  return {{"kind", kind},
          {"item", item},
          {"status", status},
          {"reason", reason},
          {"warnings", warnings}};
}

PreparedInputs prepare_raw(const RawInputs& inputs,
                           const Evidence& evidence,
                           const fs::path& work,
                           int threads,
                           Progress& progress) {
  if (!evidence.raw) {
    throw Error(ErrorKind::kUsage,
                "the model was trained on vectors: how to make them from slides and scans is not "
                "in its bundle; give vectors instead");
  }
  if (!inputs.patient.empty() && !safe_name(inputs.patient)) {
    throw Error(ErrorKind::kUsage,
                "the patient's name: expected letters, digits, '-', '_' and '.', not first, 64 at "
                "most");
  }
  PreparedInputs out;
  if (!inputs.slides.empty()) prepare_slides(inputs, evidence, work, threads, progress, out);
  if (inputs.dicom) prepare_scans(inputs, evidence, work, threads, progress, out);
  return out;
}

WorkFolder::WorkFolder(const fs::path& asked) : path_(asked) {
  if (!asked.empty()) {
    make_folder(asked);
    return;
  }
  std::string name = (fs::temp_directory_path() / "med3d-predict-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw Error(ErrorKind::kIo, "no temporary folder can be made");
  }
  path_ = name;
  temporary_ = true;
}

WorkFolder::~WorkFolder() {
  if (!temporary_) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace med3d::pipeline
