// Which slides there are to learn from: labels or follow-up, and the files of their features.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "med3d/mil/clam_files.h"
#include "med3d/mil/losses.h"

namespace med3d::pipeline {

// Columns of a dataset that hold follow-up instead of a label. No time column: a classification.
struct SurvivalColumns {
  std::string time;        // any unit, the same in all rows; finite, >= 0
  std::string event;       // 1 = seen, 0 = censored at that time; or
  std::string censorship;  // the other way round, as PORPOISE's tables have it
  int intervals = 4;       // of discrete time, 2 to 100; PORPOISE's 4

  bool asked() const { return !time.empty(); }
  void validate() const;  // throws Error(kUsage) naming the field
};

struct SlideDataset {
  // Of a survival dataset the classes are "censored" and "event", so that splits keep their shares.
  mil::ClamDataset table;
  std::vector<double> time;  // (slides,) survival only

  bool survival() const { return !time.empty(); }
};

// Columns case_id, slide_id and label; or case_id, slide_id, time and event or censorship.
//
// Throws as mil::read_clam_dataset; Error(kData) with the line for a time that is no number >= 0,
// an event that is neither 0 nor 1, and slides of one patient that differ in either.
SlideDataset read_slide_dataset(const std::filesystem::path& path,
                                const std::vector<std::string>& classes,
                                const SurvivalColumns& survival);

// The times that cut follow-up into intervals: the inner quantiles of the event times of the
// patients of `training`, each patient once. Interval i holds times from cut i - 1 on and below cut
// i; the first begins at 0, the last is open.
//
//   cut i = quantile(event times, (i + 1) / intervals), i = 0 .. intervals - 2, linear
//
// Nothing of the slides beyond `training` is looked at.
// Throws Error(kData) where there are fewer different cuts than asked for: too few events.
// Source: PORPOISE, SurvPath (pandas.qcut of the uncensored).
std::vector<double> survival_cuts(const SlideDataset& dataset,
                                  std::span<const std::size_t> training,
                                  int intervals);

// What each slide of the dataset is trained on: its label, or its interval by `cuts`.
std::vector<mil::Target> slide_targets(const SlideDataset& dataset, std::span<const double> cuts);

// The file of features of each slide, by slide id.
//
// root  a folder that holds pt_files/ or h5_files/ (CLAM's data root, a slide job): those alone, a
//       .pt before an .h5, as training maps it into memory; else a folder of feature files, folders
//       in it included
// Throws Error(kNotFound) for a missing folder, Error(kData) if it holds none.
std::map<std::string, std::filesystem::path> feature_files_by_slide(
    const std::filesystem::path& root);

}  // namespace med3d::pipeline
