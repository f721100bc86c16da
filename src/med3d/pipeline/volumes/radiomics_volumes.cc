#include "med3d/pipeline/volumes/radiomics_volumes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/folder_lock.h"
#include "med3d/pipeline/volumes/volume_files.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/nifti.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::size_t count(const std::vector<RadiomicsOutcome>& outcomes, RadiomicsStatus status) {
  return static_cast<std::size_t>(
      std::count_if(outcomes.begin(), outcomes.end(), [&](const RadiomicsOutcome& outcome) {
        return outcome.status == status;
      }));
}

std::string_view to_string(RadiomicsStatus status) {
  switch (status) {
    case RadiomicsStatus::kDone:
      return "done";
    case RadiomicsStatus::kKept:
      return "kept";
    case RadiomicsStatus::kFailed:
      return "failed";
  }
  return "failed";
}

std::vector<fs::path> series_files(const fs::path& path, int threads) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  auto found = find_series(path, threads);
  if (found.series.size() != 1) {
    throw Error(
        ErrorKind::kData,
        fmt::format(
            "{}: a folder of {} DICOM series, expected one", path.string(), found.series.size()));
  }
  return std::move(found.series.front().files);
}

// Names the content of an image and a mask: what was computed of other bytes is no longer true.
std::string content_of(const std::vector<fs::path>& files) {
  Sha256 all;
  for (const fs::path& file : files) all.update(sha256_file(file));
  return all.hex();
}

Json numbers(const auto& list) {
  Json out = Json::array();
  for (const auto value : list) out.push_back(value);
  return out;
}

Json json_of(const radiomics::Result& result) {
  Json features = Json::object();
  for (const auto& feature : result.features) features[feature.name] = feature.value;
  return {{"voxels", result.voxels},
          {"size", numbers(result.size)},
          {"spacing_mm", numbers(result.spacing_mm)},
          {"levels", result.levels},
          {"lowest", result.lowest},
          {"highest", result.highest},
          {"features", std::move(features)}};
}

radiomics::Result result_of(const Json& json, const std::vector<std::string>& names) {
  radiomics::Result result;
  result.voxels = json.at("voxels").get<std::int64_t>();
  for (std::size_t axis = 0; axis < 3; ++axis) {
    result.size[axis] = json.at("size").at(axis).get<std::int64_t>();
    result.spacing_mm[axis] = json.at("spacing_mm").at(axis).get<double>();
  }
  result.levels = json.at("levels").get<std::int64_t>();
  result.lowest = json.at("lowest").get<double>();
  result.highest = json.at("highest").get<double>();
  const Json& features = json.at("features");
  for (const std::string& name : names) {
    const Json& value = features.at(name);
    result.features.push_back({name, value.is_null() ? kNaN : value.get<double>()});
  }
  return result;
}

// The record of an earlier run, or nothing where there is none of this key.
std::optional<RadiomicsOutcome> kept_outcome(const fs::path& record,
                                             const std::string& key,
                                             const radiomics::Options& options) {
  if (!fs::exists(record)) return std::nullopt;
  try {
    const Json json = read_json(record);
    if (json.at("key").get<std::string>() != key) return std::nullopt;
    RadiomicsOutcome outcome;
    outcome.result = result_of(json.at("result"), radiomics::feature_names(options));
    outcome.notes = json.at("notes").get<std::vector<std::string>>();
    outcome.status = RadiomicsStatus::kKept;
    return outcome;
  } catch (const std::exception&) {
    return std::nullopt;  // damaged: it is computed again
  }
}

RadiomicsOutcome compute(const RadiomicsItem& item,
                         const std::vector<fs::path>& files,
                         const radiomics::Options& options) {
  RadiomicsOutcome outcome;
  Volume image;
  if (named_as_nifti(item.image.string())) {
    image = read_nifti(item.image);
  } else {
    SeriesOptions series_options;
    series_options.threads = options.threads;
    SeriesVolume series = load_series(files, series_options);
    image = std::move(series.volume);
    outcome.notes = std::move(series.notes);
  }
  outcome.result = radiomics::extract(image, read_nifti(item.mask), options);
  return outcome;
}

void judge(RadiomicsOutcome& outcome) {
  const auto undefined = outcome.result.not_estimable();
  if (undefined.empty()) return;
  outcome.status = RadiomicsStatus::kFailed;
  outcome.reason = fmt::format("{} of {} features not estimable, the first {}",
                               undefined.size(),
                               outcome.result.features.size(),
                               undefined.front());
}

RadiomicsOutcome work_on(const RadiomicsItem& item, const RadiomicsJob& job) {
  radiomics::Options options = job.options;
  if (item.label) options.label = *item.label;
  RadiomicsOutcome outcome;
  try {
    options.validate();
    if (!named_as_nifti(item.mask.string())) {
      throw Error(ErrorKind::kUnsupported,
                  item.mask.string() + ": a mask is a NIfTI file (.nii or .nii.gz)");
    }
    std::vector<fs::path> files = named_as_nifti(item.image.string())
                                      ? std::vector<fs::path>{item.image}
                                      : series_files(item.image, options.threads);
    std::vector<fs::path> all = files;
    all.push_back(item.mask);
    RadiomicsJob own = job;
    own.options = options;
    const std::string key =
        sha256_hex(radiomics_settings(own).dump() + "\n" + content_of(all) + "\nradiomics 1");
    const fs::path record =
        job.output / "scans" /
        (sha256_hex(item.case_id + '\n' + item.scan_id).substr(0, 24) + ".json");
    std::optional<RadiomicsOutcome> kept;
    if (!job.overwrite) kept = kept_outcome(record, key, options);
    if (kept) {
      outcome = std::move(*kept);
    } else {
      outcome = compute(item, files, options);
      write_json(record,
                 {{"schema", 1},
                  {"case_id", item.case_id},
                  {"scan_id", item.scan_id},
                  {"key", key},
                  {"result", json_of(outcome.result)},
                  {"notes", outcome.notes}});
    }
    judge(outcome);
  } catch (const Error& error) {
    // A disk that is full ends the work; a file that cannot be read is this scan's.
    outcome.status = RadiomicsStatus::kFailed;
    outcome.reason = error.what();
  } catch (const std::bad_alloc&) {
    outcome.status = RadiomicsStatus::kFailed;
    outcome.reason = "not enough memory for this scan";
  }
  outcome.case_id = item.case_id;
  outcome.scan_id = item.scan_id;
  return outcome;
}

double volume_of(const radiomics::Result& result) {
  return static_cast<double>(result.voxels) * result.spacing_mm[0] * result.spacing_mm[1] *
         result.spacing_mm[2];
}

std::string scan_table(const std::vector<RadiomicsOutcome>& outcomes,
                       const std::vector<std::string>& names) {
  std::vector<std::string> columns = {"case_id", "scan_id"};
  columns.insert(columns.end(), names.begin(), names.end());
  CsvWriter csv(columns);
  for (const auto& outcome : outcomes) {
    if (outcome.status == RadiomicsStatus::kFailed) continue;
    csv.text(outcome.case_id).text(outcome.scan_id);
    for (const auto& feature : outcome.result.features) csv.number(feature.value);
    csv.end_row();
  }
  return csv.str();
}

std::string patient_table(const std::vector<RadiomicsOutcome>& outcomes,
                          const std::vector<std::string>& names,
                          ScanPool pool) {
  std::map<std::string, std::vector<const RadiomicsOutcome*>> scans;
  for (const auto& outcome : outcomes) {
    if (outcome.status != RadiomicsStatus::kFailed) scans[outcome.case_id].push_back(&outcome);
  }
  std::vector<std::string> columns = {"case_id"};
  columns.insert(columns.end(), names.begin(), names.end());
  CsvWriter csv(columns);
  for (auto& [case_id, own] : scans) {
    if (pool == ScanPool::kLargest) {
      own = {*std::max_element(own.begin(), own.end(), [](const auto* a, const auto* b) {
        return volume_of(a->result) < volume_of(b->result);
      })};
    }
    csv.text(case_id);
    for (std::size_t i = 0; i < names.size(); ++i) {
      double sum = 0.0;
      for (const auto* outcome : own) sum += outcome->result.features[i].value;
      csv.number(own.size() == 1 ? sum : sum / static_cast<double>(own.size()));
    }
    csv.end_row();
  }
  return csv.str();
}

std::string outcome_table(const std::vector<RadiomicsOutcome>& outcomes) {
  CsvWriter csv({"case_id", "scan_id", "status", "reason", "voxels", "grey_levels", "notes"});
  for (const auto& outcome : outcomes) {
    csv.text(outcome.case_id)
        .text(outcome.scan_id)
        .text(to_string(outcome.status))
        .text(outcome.reason)
        .number(outcome.result.voxels)
        .number(outcome.result.levels)
        .text(join(outcome.notes, "; "));
    csv.end_row();
  }
  return csv.str();
}

}  // namespace

ScanPool parse_scan_pool(std::string_view name) {
  if (name == "mean") return ScanPool::kMean;
  if (name == "largest") return ScanPool::kLargest;
  throw Error(ErrorKind::kUsage,
              fmt::format("unknown pool of scans '{}', expected mean or largest", name));
}

std::vector<RadiomicsItem> read_radiomics_list(const fs::path& path) {
  const Table table = read_table(path);
  std::optional<std::size_t> patient;
  for (const char* name : {"case_id", "patient_id", "patientid", "patient", "case"}) {
    if (!patient) patient = table.find(name);
  }
  if (!patient) {
    throw Error(ErrorKind::kNotFound,
                path.string() + ": no column case_id (or patient, patient_id)");
  }
  const std::size_t image = table.column("image");
  const std::size_t mask = table.column("mask");
  const auto scan = table.find("scan_id");
  const auto label = table.find("label");
  std::map<std::string, std::size_t> scans;
  std::set<std::pair<std::string, std::string>> seen;
  std::vector<RadiomicsItem> items;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const auto& row = table.rows[r];
    const auto fail = [&](ErrorKind kind, const std::string& what) {
      throw Error(kind, fmt::format("{}: line {}: {}", path.string(), table.line_of_row[r], what));
    };
    const auto cell = [&](std::size_t column) {
      const std::string_view text = trim(row[column]);
      if (text.empty()) {
        fail(ErrorKind::kData, fmt::format("column '{}' is blank", table.columns[column]));
      }
      return std::string(text);
    };
    RadiomicsItem item;
    item.case_id = case_id_of(cell(*patient));
    item.scan_id = scan ? cell(*scan) : fmt::format("scan_{}", ++scans[item.case_id]);
    item.image = path.parent_path() / cell(image);
    item.mask = path.parent_path() / cell(mask);
    if (label && !trim(row[*label]).empty()) {
      const auto value = parse_double(row[*label]);
      if (!value || *value != std::floor(*value) || *value < 1.0 || *value > 16777216.0) {
        fail(ErrorKind::kFormat,
             fmt::format("label '{}', expected a whole number from 1", trim(row[*label])));
      }
      item.label = static_cast<std::int64_t>(*value);
    }
    if (!seen.emplace(item.case_id, item.scan_id).second) {
      fail(ErrorKind::kData, "this scan of this patient is in the table before");
    }
    items.push_back(std::move(item));
  }
  return items;
}

RadiomicsItem radiomics_item(const fs::path& image, const fs::path& mask) {
  const std::string id = case_id_of(image.filename().string());
  return {source_of(id) == "other" ? "case_1" : id, "scan_1", image, mask, std::nullopt};
}

Json radiomics_settings(const RadiomicsJob& job) {
  const radiomics::Options& options = job.options;
  Json classes = Json::array();
  for (const auto one : radiomics::all_feature_classes()) {
    const auto found = std::find(options.classes.begin(), options.classes.end(), one);
    if (found != options.classes.end()) classes.push_back(radiomics::to_string(one));
  }
  Json settings = {
      {"imageType", "Original"},
      {"featureClasses", std::move(classes)},
      {"label", options.label},
      {"binWidth", options.bin_count ? Json() : Json(options.bin_width)},
      {"binCount", options.bin_count ? Json(*options.bin_count) : Json()},
      {"resampledPixelSpacing", options.spacing_mm ? numbers(*options.spacing_mm) : Json()},
      {"interpolator", radiomics::to_string(options.interpolator)},
      {"normalize", options.normalize},
      {"normalizeScale", options.normalize_scale},
      {"removeOutliers", options.remove_outliers ? Json(*options.remove_outliers) : Json()},
      {"distances", numbers(options.distances)},
      {"symmetricalGLCM", options.symmetrical_glcm},
      {"weightingNorm", radiomics::to_string(options.weighting)},
      {"gldm_a", options.gldm_alpha},
      {"force2D", options.force_2d},
      {"voxelArrayShift", options.voxel_array_shift},
      {"standardDeviation", options.standard_deviation},
      {"minimumROIDimensions", options.minimum_dimensions},
      {"minimumROISize", options.minimum_voxels}};
  return settings;
}

Json RadiomicsOutcome::to_json() const {
  Json json = {{"case_id", case_id},
               {"scan_id", scan_id},
               {"status", pipeline::to_string(status)},
               {"reason", reason},
               {"notes", notes}};
  json["result"] = result.features.empty() ? Json() : json_of(result);
  return json;
}

std::vector<RadiomicsOutcome> extract_radiomics(const std::vector<RadiomicsItem>& items,
                                                const RadiomicsJob& job,
                                                Progress& progress) {
  job.options.validate();
  if (items.empty()) throw Error(ErrorKind::kUsage, "no scan to work on");
  make_folder(job.output);
  const FolderLock lock(job.output);
  remove_stale_temporaries(job.output);
  make_folder(job.output / "scans");
  remove_stale_temporaries(job.output / "scans");

  std::vector<RadiomicsOutcome> outcomes;
  progress.start("radiomics", items.size());
  for (const RadiomicsItem& item : items) {
    outcomes.push_back(work_on(item, job));
    progress.advance();
  }

  const auto names = radiomics::feature_names(job.options);
  Json document = {{"schema", 1}, {"settings", radiomics_settings(job)}};
  document["scans"] = Json::array();
  for (const auto& outcome : outcomes) document["scans"].push_back(outcome.to_json());
  write_json(job.output / "radiomics_settings.json", radiomics_settings(job));
  write_file_atomic(job.output / "radiomics_scan_features.csv", scan_table(outcomes, names));
  write_file_atomic(job.output / "radiomics_features.csv",
                    patient_table(outcomes, names, job.pool));
  write_file_atomic(job.output / "outcomes.csv", outcome_table(outcomes));
  write_json(job.output / "outcomes.json", document);
  return outcomes;
}

int exit_code(const std::vector<RadiomicsOutcome>& outcomes) {
  const std::size_t failed = count(outcomes, RadiomicsStatus::kFailed);
  if (failed == 0) return 0;
  return failed == outcomes.size() ? 1 : 3;
}

std::string radiomics_text(const std::vector<RadiomicsOutcome>& outcomes) {
  std::string text = fmt::format("{} scans: {} done, {} kept from before, {} failed\n",
                                 outcomes.size(),
                                 count(outcomes, RadiomicsStatus::kDone),
                                 count(outcomes, RadiomicsStatus::kKept),
                                 count(outcomes, RadiomicsStatus::kFailed));
  for (const auto& outcome : outcomes) {
    if (outcome.status == RadiomicsStatus::kFailed) {
      text +=
          fmt::format("  failed  {}, {}: {}\n", outcome.case_id, outcome.scan_id, outcome.reason);
    }
  }
  return text;
}

}  // namespace med3d::pipeline
