#include "med3d/pipeline/slides/aggregate_slides.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "wsi";

template <class Kind, std::size_t kCount>
Kind parse(std::string_view what,
           std::string_view name,
           const std::pair<std::string_view, Kind> (&known)[kCount]) {
  std::vector<std::string> names;
  for (const auto& [word, kind] : known) {
    if (word == name) return kind;
    names.emplace_back(word);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("{} '{}'{}, expected one of {}",
                          what,
                          name,
                          did_you_mean(std::string(name), names),
                          join(names, ", ")));
}

bool is_listed(const std::vector<std::string>& list, const std::string& word) {
  return list.empty() || std::any_of(list.begin(), list.end(), [&](const std::string& one) {
           return to_lower(one) == to_lower(word);
         });
}

std::map<std::string, std::string> read_cases(const fs::path& path) {
  std::map<std::string, std::string> cases;
  if (path.empty()) return cases;
  const Table table = read_table(path);
  const auto slide = table.column("slide_id");
  const auto patient = table.column("case_id");
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::string id(trim(table.rows[i][slide]));
    const std::string case_id(trim(table.rows[i][patient]));
    const auto [found, added] = cases.emplace(id, case_id);
    if (id.empty() || case_id.empty() || (!added && found->second != case_id)) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: line {}: a slide without an id, or of two cases",
                              path.string(),
                              table.line_of_row[i]));
    }
  }
  return cases;
}

struct Pooled {
  std::vector<float> vector;
  double highest = 0.0;
};

Pooled pool_slide(const Matrix<float>& features, const AggregateJob& job) {
  Pooled out;
  SlideAttention attention;
  if (job.needs_model()) {
    attention = job.attend(features);
    out.highest = attention.highest;
  }
  const std::size_t width = features.cols();
  if (job.slide_pool == SlidePool::kEmbedding) {
    out.vector = std::move(attention.embedding);
    return out;
  }
  if (job.slide_pool == SlidePool::kMax) {
    out.vector.assign(features.row(0).begin(), features.row(0).end());
    for (std::size_t i = 1; i < features.rows(); ++i) {
      for (std::size_t j = 0; j < width; ++j) {
        out.vector[j] = std::max(out.vector[j], features(i, j));
      }
    }
    return out;
  }
  std::vector<double> sum(width, 0.0);
  for (std::size_t i = 0; i < features.rows(); ++i) {
    const double weight = job.slide_pool == SlidePool::kAttention
                              ? static_cast<double>(attention.weight.at(i))
                              : 1.0 / static_cast<double>(features.rows());
    const auto row = features.row(i);
    for (std::size_t j = 0; j < width; ++j) sum[j] += weight * static_cast<double>(row[j]);
  }
  out.vector.reserve(width);
  for (const double value : sum) out.vector.push_back(static_cast<float>(value));
  return out;
}

std::vector<float> pool_patient(const FeatureTable& slides,
                                const std::vector<std::size_t>& rows,
                                const std::vector<double>& highest,
                                PatientPool pool) {
  if (pool == PatientPool::kTopSlide) {
    const auto top = *std::max_element(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
      return highest[a] < highest[b];
    });
    const auto row = slides.values.row(top);
    return {row.begin(), row.end()};
  }
  const std::size_t width = slides.values.cols();
  std::vector<double> out(width, 0.0);
  for (std::size_t k = 0; k < rows.size(); ++k) {
    for (std::size_t j = 0; j < width; ++j) {
      const double value = slides.values(rows[k], j);
      if (pool == PatientPool::kMean) {
        out[j] += value;
      } else {
        out[j] = k == 0 ? value : std::max(out[j], value);
      }
    }
  }
  std::vector<float> values;
  values.reserve(width);
  const double share = pool == PatientPool::kMean ? static_cast<double>(rows.size()) : 1.0;
  for (const double value : out) values.push_back(static_cast<float>(value / share));
  return values;
}

}  // namespace

SlidePool parse_slide_pool(std::string_view name) {
  return parse<SlidePool>("slide pool",
                          name,
                          {{"mean", SlidePool::kMean},
                           {"max", SlidePool::kMax},
                           {"attention", SlidePool::kAttention},
                           {"embedding", SlidePool::kEmbedding}});
}

PatientPool parse_patient_pool(std::string_view name) {
  return parse<PatientPool>("patient pool",
                            name,
                            {{"mean", PatientPool::kMean},
                             {"max", PatientPool::kMax},
                             {"top-slide", PatientPool::kTopSlide}});
}

std::vector<fs::path> feature_files(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw Error(ErrorKind::kNotFound, folder.string() + ": no such folder");
  }
  std::map<std::string, fs::path> by_slide;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    const fs::path& path = entry.path();
    const std::string extension = to_lower(path.extension().string());
    if (path.filename().string().starts_with(".") || !entry.is_regular_file(error)) continue;
    const auto formats = feature_formats();
    const bool known =
        std::any_of(formats.begin(), formats.end(), [&](const FeatureFormat* format) {
          return std::find(format->extensions.begin(), format->extensions.end(), extension) !=
                 format->extensions.end();
        });
    if (!known || extension == ".csv" || extension == ".tsv") continue;
    const auto [found, added] = by_slide.emplace(path.stem().string(), path);
    if (added) continue;
    const bool is_twin = found->second.extension() != path.extension();
    if (!is_twin) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: slide '{}' is in two files of the same kind",
                              folder.string(),
                              path.stem().string()));
    }
    if (extension == ".h5") found->second = path;
  }
  std::vector<fs::path> files;
  for (auto& [slide, path] : by_slide) files.push_back(std::move(path));
  if (files.empty()) throw Error(ErrorKind::kData, folder.string() + ": no feature file in it");
  return files;
}

SlideVectors aggregate_slides(const std::vector<fs::path>& files,
                              const AggregateJob& job,
                              Progress& progress) {
  if (job.needs_model() && !job.attend) {
    throw Error(ErrorKind::kUsage, "pooling by attention needs a model that was trained");
  }
  const auto cases = read_cases(job.slide_table);
  SlideVectors out;
  std::vector<double> highest;
  std::set<std::string> seen;
  progress.start("pooling slides", files.size());
  for (const auto& file : files) {
    progress.advance();
    const std::string slide_id = file.stem().string();
    const auto leave = [&](const std::string& reason, bool failed) {
      out.left_out.push_back({file.filename().string(), reason, failed});
    };
    const SlideFacts facts = slide_facts(slide_id);
    if (!is_listed(job.slide_kinds, to_string(facts.slide)) ||
        !is_listed(job.sample_kinds, to_string(facts.sample))) {
      leave(fmt::format("a slide of kind {}, {}", to_string(facts.slide), to_string(facts.sample)),
            false);
      continue;
    }
    std::string case_id = case_id_of(slide_id);
    if (!job.slide_table.empty()) {
      const auto found = cases.find(slide_id);
      if (found == cases.end()) {
        leave("not in the table of slides", false);
        continue;
      }
      case_id = found->second;
    }
    if (!seen.insert(slide_id).second) {
      throw Error(ErrorKind::kData, fmt::format("slide '{}' is in two files", slide_id));
    }
    try {
      const Matrix<float> features = read_features(file);
      const Pooled pooled = pool_slide(features, job);
      if (!out.slides.values.empty() && pooled.vector.size() != out.slides.values.cols()) {
        leave(fmt::format("{} features, the slides before it have {}",
                          pooled.vector.size(),
                          out.slides.values.cols()),
              true);
        continue;
      }
      out.slides.values.append_row(pooled.vector);
      highest.push_back(pooled.highest);
      out.tiles.push_back(static_cast<std::int64_t>(features.rows()));
    } catch (const Error& error) {
      leave(error.what(), true);
      continue;
    }
    out.slides.case_ids.push_back(case_id);
    out.slides.item_ids.push_back(slide_id);
  }
  std::map<std::string, std::vector<std::size_t>> rows_of_case;
  for (std::size_t i = 0; i < out.slides.case_ids.size(); ++i) {
    rows_of_case[out.slides.case_ids[i]].push_back(i);
  }
  for (const auto& [case_id, rows] : rows_of_case) {
    out.patients.case_ids.push_back(case_id);
    out.patients.values.append_row(pool_patient(out.slides, rows, highest, job.patient_pool));
  }
  out.slides.columns = out.patients.columns = feature_columns(kPrefix, out.slides.values.cols());
  return out;
}

}  // namespace med3d::pipeline
