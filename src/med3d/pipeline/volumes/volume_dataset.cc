#include "med3d/pipeline/volumes/volume_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <system_error>
#include <utility>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/core/parallel.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/npy.h"
#include "med3d/pipeline/volumes/volume_files.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/nifti.h"
#include "med3d/radiology/preprocess.h"
#include "med3d/radiology/resample.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDataset = "dataset";
constexpr std::array kSplits = {VolumeSplit::kTrain, VolumeSplit::kVal, VolumeSplit::kTest};

Volume plain_volume(std::span<const std::uint64_t> shape, std::vector<float> voxels) {
  Volume volume;
  volume.size = {static_cast<std::int64_t>(shape[2]),
                 static_cast<std::int64_t>(shape[1]),
                 static_cast<std::int64_t>(shape[0])};
  volume.voxels = std::move(voxels);
  volume.validate();
  return volume;
}

Volume read_npy_volume(const fs::path& path) {
  const Array array = read_npy(path);
  if (array.shape.size() != 3) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: an array of {} axes, expected 3 (depth, height, width)",
                            path.string(),
                            array.shape.size()));
  }
  return plain_volume(array.shape, as_f32(array, path.string()));
}

std::size_t voxels_of(const nn::VolumeShape& extent) {
  return static_cast<std::size_t>(extent[0] * extent[1] * extent[2]);
}

// Room for all volumes, or an error that says what would make it smaller.
void make_room(VolumeDataset& dataset) {
  const std::uint64_t one = voxels_of(dataset.preparation.extent);
  const std::uint64_t all = checked_multiply(one, dataset.ids.size(), "the volumes of a data set");
  if (checked_multiply(all, sizeof(float), "the volumes of a data set") > limits().array_bytes) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{} volumes of {} x {} x {} voxels are {:.1f} GiB, the limit is {:.1f}; "
                    "a smaller size makes them fit",
                    dataset.ids.size(),
                    dataset.preparation.extent[0],
                    dataset.preparation.extent[1],
                    dataset.preparation.extent[2],
                    static_cast<double>(all) * sizeof(float) / (1 << 30),
                    static_cast<double>(limits().array_bytes) / (1 << 30)));
  }
  dataset.voxels.resize(static_cast<std::size_t>(all));
}

void put(VolumeDataset& dataset, std::size_t i, const Volume& volume) {
  const std::size_t one = voxels_of(dataset.preparation.extent);
  std::copy(volume.voxels.begin(),
            volume.voxels.end(),
            dataset.voxels.begin() + static_cast<std::ptrdiff_t>(i * one));
}

// Mean and sd over the training voxels, and every volume by them.
void normalise(VolumeDataset& dataset) {
  if (dataset.preparation.recipe != kDataset) return;
  const std::size_t one = voxels_of(dataset.preparation.extent);
  const auto each = [&](const auto& work) {
    for (const std::size_t i : dataset.rows_of(VolumeSplit::kTrain)) {
      for (std::size_t j = 0; j < one; ++j) work(dataset.voxels[i * one + j]);
    }
  };
  double sum = 0.0;
  double squares = 0.0;
  std::size_t n = 0;
  each([&](float v) {
    sum += v;
    ++n;
  });
  const double mean = sum / static_cast<double>(n);
  each([&](float v) { squares += (v - mean) * (v - mean); });
  const double sd = std::sqrt(squares / static_cast<double>(n));
  if (!(sd > 0.0)) {
    throw Error(ErrorKind::kData, "all voxels of the training volumes are equal");
  }
  dataset.preparation.mean = mean;
  dataset.preparation.sd = sd;
  for (float& v : dataset.voxels) v = static_cast<float>((v - mean) / sd);
}

std::uint8_t label_of(const std::string& cell, const std::string& where) {
  const auto number = parse_double(cell);
  if (!number || (*number != 0.0 && *number != 1.0)) {
    throw Error(ErrorKind::kData, where + ": the label is neither 0 nor 1");
  }
  return *number == 1.0 ? 1 : 0;
}

void check_splits(const VolumeDataset& dataset, const std::string& source) {
  for (const VolumeSplit split : kSplits) {
    std::array<std::size_t, 2> count = {0, 0};
    for (const std::size_t i : dataset.rows_of(split)) ++count[dataset.labels[i]];
    if (count[0] == 0 || count[1] == 0) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: split '{}' holds {} volumes of class 0 and {} of class 1, "
                              "expected some of each",
                              source,
                              to_string(split),
                              count[0],
                              count[1]));
    }
  }
}

VolumeDataset read_medmnist(const fs::path& path,
                            const VolumePreparation& preparation,
                            int threads,
                            Progress& progress) {
  const std::vector<NamedArray> arrays = read_npz(path);
  const auto find = [&](const std::string& name) -> const Array& {
    for (const NamedArray& one : arrays) {
      if (one.name == name) return one.array;
    }
    throw Error(ErrorKind::kFormat, fmt::format("{}: no array '{}'", path.string(), name));
  };
  VolumeDataset dataset;
  dataset.preparation = preparation;
  for (const VolumeSplit split : kSplits) {
    const std::string name(to_string(split));
    const Array& images = find(name + "_images");
    const std::vector<std::int64_t> labels = as_i64(find(name + "_labels"), path.string());
    const auto& shape = images.shape;
    if (shape.size() != 4 || shape[0] == 0 || shape[1] * shape[2] * shape[3] == 0) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: '{}_images' has {} axes, expected 4 (volumes, depth, height, "
                              "width), none of length 0",
                              path.string(),
                              name,
                              shape.size()));
    }
    if (labels.size() != shape[0]) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: {} volumes but {} labels in '{}'",
                              path.string(),
                              shape[0],
                              labels.size(),
                              name));
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] != 0 && labels[i] != 1) {
        throw Error(
            ErrorKind::kData,
            fmt::format(
                "{}: label {} of '{}' is {}, expected 0 or 1", path.string(), i, name, labels[i]));
      }
      dataset.ids.push_back(fmt::format("{}_{}", name, i));
      dataset.labels.push_back(static_cast<std::uint8_t>(labels[i]));
      dataset.splits.push_back(split);
    }
  }
  dataset.patients = dataset.ids;
  check_splits(dataset, path.string());
  make_room(dataset);
  progress.start("volumes", dataset.ids.size());
  std::size_t base = 0;
  for (const VolumeSplit split : kSplits) {
    const Array& images = find(std::string(to_string(split)) + "_images");
    const std::size_t count = images.shape[0];
    const std::size_t bytes = images.bytes.size() / count;
    parallel_for(count, threads, [&](std::size_t i) {
      Array one;
      one.shape.assign(images.shape.begin() + 1, images.shape.end());
      one.dtype = images.dtype;
      one.bytes = images.bytes.substr(i * bytes, bytes);
      put(dataset,
          base + i,
          preparation.apply(plain_volume(one.shape, as_f32(one, path.string())), 1));
      progress.advance();
    });
    base += count;
  }
  return dataset;
}

// Throws for patients on two sides or with two labels.
void check_patients(const VolumeDataset& dataset, const Table& table) {
  std::map<std::string, std::size_t> first;
  std::vector<std::string> both;
  for (std::size_t i = 0; i < dataset.ids.size(); ++i) {
    const auto [at, added] = first.emplace(normalised_case_id(dataset.patients[i]), i);
    if (added) continue;
    const std::size_t other = at->second;
    const std::string lines =
        fmt::format("{} and {}", table.line_of_row[other], table.line_of_row[i]);
    if (dataset.splits[other] != dataset.splits[i]) both.push_back(lines);
    if (dataset.labels[other] != dataset.labels[i]) {
      throw Error(
          ErrorKind::kData,
          fmt::format("{}: lines {} are of one patient and have two labels", table.source, lines));
    }
  }
  if (both.empty()) return;
  throw Error(
      ErrorKind::kData,
      fmt::format("{}: lines {} are of one patient in two splits{}; what a net has been "
                  "trained on cannot test it",
                  table.source,
                  both.front(),
                  both.size() > 1 ? fmt::format(", and {} more such pairs", both.size() - 1) : ""));
}

VolumeDataset read_listed(const fs::path& path,
                          const VolumePreparation& preparation,
                          int threads,
                          Progress& progress) {
  const Table table = read_table(path);
  const std::size_t file = table.column("file");
  const std::size_t label = table.column("label");
  const std::size_t split = table.column("split");
  const auto case_id = table.find("case_id");
  const std::size_t patient = case_id ? *case_id : table.column("patient");
  VolumeDataset dataset;
  dataset.preparation = preparation;
  dataset.patients_known = true;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    const std::string where = fmt::format("{}, line {}", path.string(), table.line_of_row[i]);
    if (trim(row[patient]).empty() || trim(row[file]).empty()) {
      throw Error(ErrorKind::kData, where + ": a blank patient or file");
    }
    const auto side = std::find_if(kSplits.begin(), kSplits.end(), [&](VolumeSplit one) {
      return to_string(one) == trim(row[split]);
    });
    if (side == kSplits.end()) {
      throw Error(ErrorKind::kData, where + ": the split is none of train, val and test");
    }
    dataset.ids.emplace_back(trim(row[file]));
    dataset.patients.emplace_back(trim(row[patient]));
    dataset.labels.push_back(label_of(row[label], where));
    dataset.splits.push_back(*side);
  }
  check_patients(dataset, table);
  check_splits(dataset, path.string());
  make_room(dataset);
  progress.start("volumes", dataset.ids.size());
  for (std::size_t i = 0; i < dataset.ids.size(); ++i) {
    try {
      put(dataset,
          i,
          preparation.apply(read_scan(path.parent_path() / dataset.ids[i], threads), threads));
    } catch (const std::exception&) {
      rethrow_with_context(fmt::format("{}, line {}", path.string(), table.line_of_row[i]));
    }
    progress.advance();
  }
  return dataset;
}

}  // namespace

Volume VolumePreparation::apply(const Volume& scan, int threads) const {
  const VolumeSize size = {extent[2], extent[1], extent[0]};
  if (recipe != kDataset) {
    RecipeOptions options;
    options.size = size;
    options.threads = threads;
    return volume_recipe(recipe).apply(scan, options);
  }
  Volume volume = reorient(scan);
  if (volume.size != size) volume = resize_antialiased(volume, size, threads);
  if (mean != 0.0 || sd != 1.0) {
    for (float& v : volume.voxels) v = static_cast<float>((v - mean) / sd);
  }
  return volume;
}

void VolumePreparation::validate() const {
  for (const std::int64_t side : extent) {
    if (side < 1 || side > 4096) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("a volume with a side of {} voxels, expected 1 to 4096", side));
    }
  }
  if (recipe != kDataset) volume_recipe(recipe);
}

Json VolumePreparation::to_json() const {
  Json json = {{"recipe", recipe}, {"extent", extent}};
  if (recipe == kDataset) {
    json["mean"] = mean;
    json["sd"] = sd;
  }
  return json;
}

VolumePreparation VolumePreparation::from_json(const Json& json) {
  VolumePreparation out;
  try {
    out.recipe = json.at("recipe").get<std::string>();
    out.extent = json.at("extent").get<nn::VolumeShape>();
    if (out.recipe == kDataset) {
      out.mean = json.at("mean").get<double>();
      out.sd = json.at("sd").get<double>();
    }
    if (!std::isfinite(out.mean) || !(out.sd > 0.0) || !std::isfinite(out.sd)) {
      throw Error(ErrorKind::kFormat, "mean or sd of the voxels make no sense");
    }
    out.validate();
  } catch (const std::exception& error) {
    throw Error(ErrorKind::kFormat, fmt::format("preparation of the volumes: {}", error.what()));
  }
  return out;
}

Volume read_scan(const fs::path& path, int threads) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    const FolderSeries found = find_series(path, threads);
    if (found.series.size() != 1) {
      throw Error(
          ErrorKind::kData,
          fmt::format("{}: {} DICOM series, expected 1", path.string(), found.series.size()));
    }
    SeriesOptions options;
    options.threads = threads;
    return load_series(found.series.front().files, options).volume;
  }
  if (named_as_nifti(path.string())) return read_nifti(path);
  if (to_lower(path.filename().string()).ends_with(".npy")) return read_npy_volume(path);
  throw Error(ErrorKind::kUnsupported,
              path.string() + ": expected .nii, .nii.gz, .npy or a folder of one DICOM series");
}

std::string_view to_string(VolumeSplit split) {
  switch (split) {
    case VolumeSplit::kTrain:
      return "train";
    case VolumeSplit::kVal:
      return "val";
    case VolumeSplit::kTest:
      break;
  }
  return "test";
}

std::vector<std::size_t> VolumeDataset::rows_of(VolumeSplit split) const {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < splits.size(); ++i) {
    if (splits[i] == split) rows.push_back(i);
  }
  return rows;
}

nn::VolumeSet VolumeDataset::set(const std::vector<std::size_t>& rows) const {
  const std::size_t one = voxels_of(preparation.extent);
  return {preparation.extent, rows.size(), [this, &rows, one](std::size_t i, std::span<float> out) {
            const auto first = voxels.begin() + static_cast<std::ptrdiff_t>(rows[i] * one);
            std::copy(first, first + static_cast<std::ptrdiff_t>(one), out.begin());
          }};
}

VolumeDataset read_volume_dataset(const fs::path& path,
                                  const VolumePreparation& preparation,
                                  int threads,
                                  Progress& progress) {
  preparation.validate();
  VolumePreparation plain = preparation;
  plain.mean = 0.0;  // of the training voxels, known once all are read
  plain.sd = 1.0;
  VolumeDataset dataset = to_lower(path.extension().string()) == ".npz"
                              ? read_medmnist(path, plain, threads, progress)
                              : read_listed(path, plain, threads, progress);
  normalise(dataset);
  Sha256 hash;
  hash.update(dump_json(dataset.preparation.to_json()));
  for (std::size_t i = 0; i < dataset.ids.size(); ++i) {
    hash.update(fmt::format("{}\n{}\n{}\n{}\n",
                            dataset.ids[i],
                            dataset.patients[i],
                            dataset.labels[i],
                            to_string(dataset.splits[i])));
  }
  hash.update(dataset.voxels.data(), dataset.voxels.size() * sizeof(float));
  dataset.sha256 = hash.hex();
  return dataset;
}

}  // namespace med3d::pipeline
