#include "med3d/pipeline/slides/slide_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/features.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/slides/aggregate_slides.h"
#include "med3d/stats/estimate.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

SlideDataset read_survival(const fs::path& path, const SurvivalColumns& columns) {
  const Table table = read_table(path);
  const auto case_column = table.column("case_id");
  const auto slide_column = table.column("slide_id");
  const auto time_column = table.column(columns.time);
  const bool censorship = !columns.censorship.empty();
  const auto event_column = table.column(censorship ? columns.censorship : columns.event);
  SlideDataset out;
  out.table.classes = {"censored", "event"};
  std::map<std::string, std::size_t> slides;
  std::map<std::string, std::size_t> patients;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    const auto refuse = [&](const std::string& what) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}, line {}: {}", path.string(), table.line_of_row[i], what));
    };
    const std::string case_id(trim(row[case_column]));
    const std::string slide_id(trim(row[slide_column]));
    if (case_id.empty() || slide_id.empty()) refuse("a blank case_id or slide_id");
    if (!slides.emplace(slide_id, i).second) refuse("a slide that stands in the table twice");
    const auto time = parse_double(row[time_column]);
    if (!time || !std::isfinite(*time) || *time < 0.0) {
      refuse(
          fmt::format("{} is '{}', expected a number >= 0", columns.time, trim(row[time_column])));
    }
    const auto flag = parse_double(row[event_column]);
    if (!flag || (*flag != 0.0 && *flag != 1.0)) {
      refuse(fmt::format("{} is '{}', expected 0 or 1",
                         censorship ? columns.censorship : columns.event,
                         trim(row[event_column])));
    }
    const int event = (*flag == 1.0) != censorship ? 1 : 0;
    const auto [first, fresh] = patients.emplace(case_id, i);
    if (!fresh && (out.time[first->second] != *time || out.table.labels[first->second] != event)) {
      refuse("a slide whose patient has other follow-up on another slide");
    }
    out.table.case_ids.push_back(case_id);
    out.table.slide_ids.push_back(slide_id);
    out.table.labels.push_back(event);
    out.time.push_back(*time);
  }
  if (out.time.empty()) throw Error(ErrorKind::kData, path.string() + ": no slides");
  return out;
}

bool is_feature_file(const fs::path& path) {
  const std::string extension = to_lower(path.extension().string());
  const auto formats = feature_formats();
  return extension != ".csv" && extension != ".tsv" &&
         std::any_of(formats.begin(), formats.end(), [&](const FeatureFormat* format) {
           return std::find(format->extensions.begin(), format->extensions.end(), extension) !=
                  format->extensions.end();
         });
}

}  // namespace

void SurvivalColumns::validate() const {
  if (!asked()) {
    if (!event.empty() || !censorship.empty()) {
      throw Error(ErrorKind::kUsage, "survival: an event column without a time column");
    }
    return;
  }
  if (event.empty() == censorship.empty()) {
    throw Error(ErrorKind::kUsage,
                "survival: expected one column of events or of censorship beside the time");
  }
  if (intervals < 2 || intervals > 100) {
    throw Error(ErrorKind::kUsage, fmt::format("intervals is {}, expected 2 to 100", intervals));
  }
}

SlideDataset read_slide_dataset(const fs::path& path,
                                const std::vector<std::string>& classes,
                                const SurvivalColumns& survival) {
  survival.validate();
  if (survival.asked()) return read_survival(path, survival);
  return {mil::read_clam_dataset(path, classes), {}};
}

std::vector<double> survival_cuts(const SlideDataset& dataset,
                                  std::span<const std::size_t> training,
                                  int intervals) {
  std::map<std::string, double> events;
  for (const std::size_t row : training) {
    if (dataset.table.labels.at(row) == 1) {
      events.emplace(dataset.table.case_ids.at(row), dataset.time.at(row));
    }
  }
  std::vector<double> times;
  for (const auto& [patient, time] : events) times.push_back(time);
  std::sort(times.begin(), times.end());
  std::vector<double> cuts;
  for (int i = 1; i < intervals && !times.empty(); ++i) {
    const double cut = stats::sorted_quantile(times, static_cast<double>(i) / intervals);
    if (cuts.empty() || cut > cuts.back()) cuts.push_back(cut);
  }
  if (static_cast<int>(cuts.size()) + 1 != intervals) {
    throw Error(ErrorKind::kData,
                fmt::format("{} patients with an event on the training side, at {} different "
                            "quantiles, expected {}: ask for fewer intervals",
                            times.size(),
                            cuts.size(),
                            intervals - 1));
  }
  return cuts;
}

std::vector<mil::Target> slide_targets(const SlideDataset& dataset, std::span<const double> cuts) {
  std::vector<mil::Target> out;
  for (std::size_t i = 0; i < dataset.table.slide_ids.size(); ++i) {
    mil::Target target;
    if (dataset.survival()) {
      const auto above = std::upper_bound(cuts.begin(), cuts.end(), dataset.time[i]);
      target.label = static_cast<int>(above - cuts.begin());
      target.censored = dataset.table.labels[i] == 0;
    } else {
      target.label = dataset.table.labels[i];
    }
    out.push_back(target);
  }
  return out;
}

std::map<std::string, fs::path> feature_files_by_slide(const fs::path& root) {
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    throw Error(ErrorKind::kNotFound, root.string() + ": no such folder");
  }
  std::map<std::string, fs::path> out;
  bool clam = false;
  for (const char* kind : {"pt_files", "h5_files"}) {
    const fs::path folder = root / kind;
    if (!fs::is_directory(folder, error)) continue;
    clam = true;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const fs::path& path = entry.path();
      if (!path.filename().string().starts_with(".") && is_feature_file(path)) {
        files.push_back(path);
      }
    }
    // Two files of a slide: the same one on every machine, whatever the folder's order.
    std::sort(files.begin(), files.end());
    for (const auto& path : files) out.emplace(path.stem().string(), path);
  }
  if (!clam) {
    for (const auto& path : feature_files(root)) out.emplace(path.stem().string(), path);
  }
  if (out.empty()) throw Error(ErrorKind::kData, root.string() + ": no feature file in it");
  return out;
}

}  // namespace med3d::pipeline
