// The curation of scans: which series of an index go to the encoder, and why the others do not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/volumes/series_index.h"
#include "med3d/radiology/series_filter.h"

namespace med3d::pipeline {

// Rules as a TOML file holds them: keys planes, injection_slack_s, [modality.CT] with least_slices,
// contrast, sequence, and lists [[exclude]], [[plane]], [[phase]], [[no_agent]], [[sequence]] of
// rules with rule, modality, fields, words, patterns and means.
//
// Throws Error(kUsage) with the line for an unknown key, a wrong type or value and a pattern that
// is none, kFormat for what is no TOML.
FilterRules read_filter_rules(std::string_view toml, const std::string& source);
FilterRules read_filter_rules(const std::filesystem::path& file);

// The shipped rules: the file, which explains itself, and what it says.
std::string_view shipped_filter_rules_toml();
FilterRules shipped_filter_rules();

struct FilteredSeries {
  SeriesRecord series;
  bool kept = false;
  std::string reason;  // one sentence; holds words of the rules, never of the series
  std::string rule;    // what tables count by; SeriesVerdict::rule
};

// In the order given. Throws as SeriesFilter.
std::vector<FilteredSeries> filter_series(std::span<const SeriesRecord> series,
                                          const FilterRules& rules);

// The paper's Table 8 for one collection.
struct FilterSummary {
  std::string collection;  // "TCGA", "CPTAC", ...; "all" for the last one
  std::int64_t original = 0;
  std::int64_t kept = 0;
  std::int64_t patients_before = 0;  // with any series
  std::int64_t patients = 0;         // with a kept one
  std::map<std::string, std::int64_t> before_by_modality;
  std::map<std::string, std::int64_t> kept_by_modality;
  double percent_kept() const;        // 0 without series
  double series_per_patient() const;  // kept series, of patients with one; 0 without
};

// One for each collection in order of name, and "all" where there is more than one.
std::vector<FilterSummary> summarise_filter(std::span<const FilteredSeries> series);

// How many series each rule kept or dropped.
struct RuleCount {
  std::string modality;
  bool kept = false;
  std::string rule;
  std::int64_t series = 0;
};
std::vector<RuleCount> count_rules(std::span<const FilteredSeries> series);  // most first

struct VolumeFilterOptions {
  std::filesystem::path index;   // of index_volumes; or
  std::filesystem::path table;   // a table of descriptions, see read_series_table
  std::filesystem::path rules;   // empty = shipped_filter_rules
  std::filesystem::path output;  // folder of the results; made if missing
  bool keep_ids = false;         // of `table`, as VolumeIndexOptions
  std::string secret;
};

struct VolumeFilterResult {
  std::vector<FilteredSeries> series;
  std::vector<FilterSummary> summary;
  std::vector<RuleCount> rules;
};

// Filters and writes into options.output:
//
//   series.csv      series,patient,collection,modality,kept,rule,reason,plane,slices,images,
//                   columns,rows,spacing_mm,thickness_mm,step_mm,contrast,study_date,problems
//   summary.csv     the paper's Table 8, a column a collection
//   rules.csv       modality,kept,rule,series
//   rules.toml      the rules that were used
//
// None of them holds a description, UID, path or number of a patient. The same input gives the same
// bytes.
//
// Throws as read_series_index, read_series_table, read_filter_rules; Error(kUsage) unless exactly
// one of index and table is given.
VolumeFilterResult filter_volumes(const VolumeFilterOptions& options, Progress& progress);

std::string series_csv(std::span<const FilteredSeries> series);
std::string summary_csv(std::span<const FilterSummary> summary);
std::string rules_csv(std::span<const RuleCount> rules);

}  // namespace med3d::pipeline
