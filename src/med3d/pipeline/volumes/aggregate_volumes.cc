#include "med3d/pipeline/volumes/aggregate_volumes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/bundle.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::array kModalities = {"ct", "mri"};

struct Scan {
  ScanFile file;
  std::vector<float> vector;
  double voxels = 0.0;       // as read; 0 where no record says
  double weight = 0.0;       // by a model
  double probability = 0.0;  // by a model
};
using Rows = std::vector<std::size_t>;

// What the records say of how vectors were made, to tell where they do not belong together.
struct Makers {
  std::set<std::string> encoders;
  std::map<std::string, std::set<std::string>> recipes;  // by modality
  std::string untrained;
};

void read_record(Scan& scan, Makers& makers) {
  const fs::path path = VolumeFolder::record_of(scan.file.path);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return;
  try {
    const Json record = read_json(path);
    scan.voxels = 1.0;
    for (const auto side : record.at("volume").at("size").get<std::array<double, 3>>()) {
      scan.voxels *= side;
    }
    const Json& encoder = record.at("encoder");
    makers.encoders.insert(encoder.dump());
    makers.recipes[scan.file.modality].insert(record.at("recipe").at("options").dump());
    if (!encoder.at("trained").get<bool>()) makers.untrained = encoder.at("name");
  } catch (const std::exception&) {
    scan.voxels = 0.0;  // a damaged record is none
  }
}

// Asks the bundle's models of bags about all scans.
void score(std::vector<Scan>& scans, const AggregateVolumesJob& job) {
  const Bundle bundle = read_bundle(job.model);
  Cohort cohort;
  std::map<std::string, std::size_t> row_of;
  for (const auto& scan : scans) row_of.emplace(scan.file.patient, 0);
  for (auto& [patient, row] : row_of) {
    row = cohort.case_ids.size();
    cohort.case_ids.push_back(patient);
  }
  std::map<std::string, Rows> scans_of;  // by modality, in the order of its items
  for (const char* name : kModalities) {
    Modality modality;
    modality.name = name;
    modality.items_of_patient.resize(cohort.size());
    for (std::size_t i = 0; i < scans.size(); ++i) {
      if (scans[i].file.modality != name) continue;
      const std::size_t row = row_of.at(scans[i].file.patient);
      modality.width = scans[i].vector.size();
      modality.items_of_patient[row].push_back(modality.item_ids.size());
      modality.item_ids.push_back(scans[i].file.series);
      modality.patient_of_item.push_back(row);
      modality.items.append_row(scans[i].vector);
      scans_of[name].push_back(i);
    }
    if (!modality.item_ids.empty()) cohort.modalities.push_back(std::move(modality));
  }
  Rows rows(cohort.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  std::vector<bool> scored(scans.size(), false);
  for (const char* id : {"ct_mri", "ct", "mri"}) {
    const auto model = bundle.models.find(id);
    if (model == bundle.models.end()) continue;
    for (const auto& one : model->second->scan_scores(cohort, rows)) {
      const std::size_t at = scans_of.at(one.modality).at(one.item);
      scans[at].weight = one.weight;
      scans[at].probability = one.probability;
      scored[at] = true;
    }
    if (std::string_view(id) == "ct_mri") break;
  }
  for (std::size_t i = 0; i < scans.size(); ++i) {
    if (!scored[i]) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("the model has no bags of scans for {}: train a run with [{}]",
                              scans[i].file.modality,
                              scans[i].file.modality));
    }
  }
}

// Weights that add up to 1 over these scans, or none for kMax.
std::vector<double> weights_of(const std::vector<Scan>& scans,
                               const Rows& rows,
                               const AggregateVolumesJob& job) {
  std::vector<double> out(rows.size(), 0.0);
  const auto same = 1.0 / static_cast<double>(rows.size());
  if (job.pool == VolumePool::kMean) std::ranges::fill(out, same);
  if (job.pool == VolumePool::kAttention) {
    double sum = 0.0;
    for (const std::size_t row : rows) sum += scans[row].weight;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      out[i] = sum > 0.0 ? scans[rows[i]].weight / sum : same;
    }
  }
  if (job.pool == VolumePool::kMostInformative) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < rows.size(); ++i) {
      const Scan& a = scans[rows[i]];
      const Scan& b = scans[rows[best]];
      const bool better = job.model.empty() ? a.voxels > b.voxels
                                            : std::pair(a.weight, a.probability) >
                                                  std::pair(b.weight, b.probability);
      if (better) best = i;
    }
    out[best] = 1.0;
  }
  return out;
}

std::vector<float> pooled(const std::vector<Scan>& scans,
                          const Rows& rows,
                          const AggregateVolumesJob& job) {
  const std::size_t width = scans[rows.front()].vector.size();
  std::vector<float> out;
  out.reserve(width);
  const auto weights = weights_of(scans, rows, job);
  for (std::size_t j = 0; j < width; ++j) {
    if (job.pool == VolumePool::kMax) {
      float most = scans[rows.front()].vector[j];
      for (const std::size_t row : rows) most = std::max(most, scans[row].vector[j]);
      out.push_back(most);
      continue;
    }
    double sum = 0.0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      sum += weights[i] * static_cast<double>(scans[rows[i]].vector[j]);
    }
    out.push_back(static_cast<float>(sum));
  }
  return out;
}

// The table of the scans that `takes` takes.
template <class Takes>
FeatureTable table_of(const std::vector<Scan>& scans,
                      const AggregateVolumesJob& job,
                      std::string_view prefix,
                      const Takes& takes) {
  std::map<std::string, Rows> rows_of;
  for (std::size_t i = 0; i < scans.size(); ++i) {
    if (takes(scans[i])) rows_of[scans[i].file.patient].push_back(i);
  }
  FeatureTable out;
  for (const auto& [patient, rows] : rows_of) {
    out.case_ids.push_back(patient);
    out.values.append_row(pooled(scans, rows, job));
  }
  out.columns = feature_columns(prefix, out.values.cols());
  return out;
}

void add_notes(const Makers& makers, PatientVectors& out) {
  if (makers.encoders.size() > 1) {
    out.notes.push_back(
        fmt::format("vectors of {} encoders, weights or precisions are pooled together",
                    makers.encoders.size()));
  }
  for (const auto& [modality, recipes] : makers.recipes) {
    if (recipes.size() > 1) {
      out.notes.push_back(
          fmt::format("{}: vectors of {} recipes are pooled together", modality, recipes.size()));
    }
  }
  if (!makers.untrained.empty()) {
    out.notes.push_back(
        fmt::format("features are of untrained weights ({}): for trials only, they mean nothing",
                    makers.untrained));
  }
}

}  // namespace

VolumePool parse_volume_pool(std::string_view name) {
  if (name == "mean") return VolumePool::kMean;
  if (name == "max") return VolumePool::kMax;
  if (name == "most-informative") return VolumePool::kMostInformative;
  if (name == "attention") return VolumePool::kAttention;
  throw Error(ErrorKind::kUsage,
              fmt::format("pool '{}', expected mean, max, most-informative or attention", name));
}

std::vector<ScanFile> scan_files(const VolumeFolder& folder) {
  std::vector<ScanFile> out;
  bool there = false;
  for (const char* modality : kModalities) {
    const fs::path root = folder.root / modality;
    std::error_code error;
    if (!fs::is_directory(root, error)) continue;
    there = true;
    std::vector<ScanFile> found;
    for (const auto& patient : fs::directory_iterator(root, error)) {
      if (!patient.is_directory(error)) continue;
      for (const auto& entry : fs::directory_iterator(patient.path(), error)) {
        const fs::path& path = entry.path();
        if (path.extension() != ".npy" || path.filename().string().starts_with(".")) continue;
        found.push_back({patient.path().filename().string(), path.stem().string(), modality, path});
      }
    }
    std::ranges::sort(
        found, {}, [](const ScanFile& one) { return std::pair(one.patient, one.series); });
    std::ranges::move(found, std::back_inserter(out));
  }
  if (!there) {
    throw Error(
        ErrorKind::kNotFound,
        folder.root.string() + ": no ct or mri in it, expected a folder of `volume extract`");
  }
  if (out.empty()) throw Error(ErrorKind::kData, folder.root.string() + ": no vector of a scan");
  return out;
}

PatientVectors aggregate_volumes(const std::vector<ScanFile>& files,
                                 const AggregateVolumesJob& job,
                                 Progress& progress) {
  if (job.pool == VolumePool::kAttention && job.model.empty()) {
    throw Error(ErrorKind::kUsage, "pooling by attention needs a model that was trained");
  }
  PatientVectors out;
  std::vector<Scan> scans;
  Makers makers;
  std::map<std::string, std::size_t> width;
  progress.start("pooling scans", files.size());
  for (const auto& file : files) {
    progress.advance();
    Scan scan;
    scan.file = file;
    try {
      const Matrix<float> rows = read_features(file.path);
      if (rows.rows() != 1) {
        throw Error(ErrorKind::kData, fmt::format("{} vectors, expected one", rows.rows()));
      }
      scan.vector.assign(rows.data(), rows.data() + rows.size());
      const std::size_t expected = width.try_emplace(file.modality, rows.cols()).first->second;
      if (rows.cols() != expected) {
        throw Error(ErrorKind::kData,
                    fmt::format("{} features, the scans before it have {}", rows.cols(), expected));
      }
    } catch (const Error& error) {
      out.left_out.push_back({file, error.what()});
      continue;
    }
    read_record(scan, makers);
    if (job.pool == VolumePool::kMostInformative && job.model.empty() && !(scan.voxels > 0.0)) {
      out.left_out.push_back({file, "no record of its size beside it"});
      continue;
    }
    scans.push_back(std::move(scan));
  }
  if (scans.empty()) return out;
  if (!job.model.empty()) score(scans, job);
  const auto of = [](std::string_view modality) {
    return [modality](const Scan& scan) { return scan.file.modality == modality; };
  };
  out.ct = table_of(scans, job, "ct", of("ct"));
  out.mri = table_of(scans, job, "mri", of("mri"));
  const bool one_width = width.size() < 2 || width.at("ct") == width.at("mri");
  if (one_width) {
    out.ct_mri = table_of(scans, job, "ctmri", [](const Scan&) { return true; });
  } else {
    out.notes.push_back(fmt::format(
        "CT has {} features and MRI {}: no table of both", width.at("ct"), width.at("mri")));
  }
  std::map<std::pair<std::string, std::string>, Rows> bags;
  for (std::size_t i = 0; i < scans.size(); ++i) {
    bags[{scans[i].file.patient, one_width ? "" : scans[i].file.modality}].push_back(i);
  }
  std::vector<std::optional<double>> weight(scans.size());
  for (const auto& [bag, rows] : bags) {
    if (job.pool == VolumePool::kMax) break;
    const auto weights = weights_of(scans, rows, job);
    for (std::size_t i = 0; i < rows.size(); ++i) weight[rows[i]] = weights[i];
  }
  for (std::size_t i = 0; i < scans.size(); ++i) {
    out.weights.push_back({scans[i].file, weight[i]});
  }
  add_notes(makers, out);
  return out;
}

std::string PatientVectors::weights_csv() const {
  CsvWriter csv({"patient", "series", "modality", "weight"});
  for (const auto& one : weights) {
    csv.text(one.scan.patient).text(one.scan.series).text(one.scan.modality);
    if (one.weight) {
      csv.number(*one.weight);
    } else {
      csv.missing();
    }
    csv.end_row();
  }
  return csv.str();
}

std::vector<std::string> write_patient_vectors(const VolumeFolder& folder,
                                               const PatientVectors& vectors) {
  std::vector<std::string> written;
  for (const auto& [name, table] : {std::pair("ct", &vectors.ct),
                                    std::pair("mri", &vectors.mri),
                                    std::pair("ct_mri", &vectors.ct_mri)}) {
    const fs::path path = folder.patient_vectors(name);
    if (table->case_ids.empty()) {
      fs::remove(path);
      continue;
    }
    write_file_atomic(path, feature_table_csv(*table));
    written.push_back(path.filename().string());
  }
  if (vectors.weights.empty()) {
    fs::remove(folder.scan_weights());
  } else {
    write_file_atomic(folder.scan_weights(), vectors.weights_csv());
    written.push_back(folder.scan_weights().filename().string());
  }
  return written;
}

}  // namespace med3d::pipeline
