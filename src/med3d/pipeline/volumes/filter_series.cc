#include "med3d/pipeline/volumes/filter_series.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d::pipeline {
namespace {

// What the tags say of contrast, without their words.
std::string contrast_tags(const SeriesFacts& facts) {
  std::string out = trim(facts.contrast_agent).empty() ? "" : "agent";
  if (facts.contrast_delay_s) {
    if (!out.empty()) out += " ";
    out += fmt::format("{:+.0f} s", *facts.contrast_delay_s);
  }
  return out;
}

}  // namespace

std::vector<FilteredSeries> filter_series(std::span<const SeriesRecord> series,
                                          const FilterRules& rules) {
  const SeriesFilter filter(rules);
  std::vector<FilteredSeries> out;
  out.reserve(series.size());
  for (const SeriesRecord& record : series) {
    SeriesVerdict verdict = filter.judge(record.facts);
    // A file that is cut before its image still has a header.
    if (verdict.kept && !record.files.empty() && record.images == 0) {
      verdict = {false, "no images", "no image in its files"};
    }
    out.push_back({record, verdict.kept, std::move(verdict.reason), std::move(verdict.rule)});
  }
  return out;
}

double FilterSummary::percent_kept() const {
  return original == 0 ? 0.0 : 100.0 * static_cast<double>(kept) / static_cast<double>(original);
}

double FilterSummary::series_per_patient() const {
  return patients == 0 ? 0.0 : static_cast<double>(kept) / static_cast<double>(patients);
}

std::vector<FilterSummary> summarise_filter(std::span<const FilteredSeries> series) {
  struct Collected {
    FilterSummary summary;
    std::set<std::string> before, after;
  };
  std::map<std::string, Collected> by_collection;
  Collected all;
  all.summary.collection = "all";
  for (const FilteredSeries& one : series) {
    Collected& own = by_collection[one.series.collection];
    own.summary.collection = one.series.collection;
    for (Collected* to : {&own, &all}) {
      ++to->summary.original;
      ++to->summary.before_by_modality[one.series.modality];
      to->before.insert(one.series.patient);
      if (!one.kept) continue;
      ++to->summary.kept;
      ++to->summary.kept_by_modality[one.series.modality];
      to->after.insert(one.series.patient);
    }
  }
  const auto finished = [](Collected& collected) {
    collected.summary.patients_before = static_cast<std::int64_t>(collected.before.size());
    collected.summary.patients = static_cast<std::int64_t>(collected.after.size());
    return collected.summary;
  };
  std::vector<FilterSummary> out;
  for (auto& [name, collected] : by_collection) out.push_back(finished(collected));
  if (out.size() > 1) out.push_back(finished(all));
  return out;
}

std::vector<RuleCount> count_rules(std::span<const FilteredSeries> series) {
  std::map<std::tuple<std::string, bool, std::string>, std::int64_t> counts;
  for (const FilteredSeries& one : series) ++counts[{one.series.modality, !one.kept, one.rule}];
  std::vector<RuleCount> out;
  for (const auto& [key, count] : counts) {
    out.push_back({std::get<0>(key), !std::get<1>(key), std::get<2>(key), count});
  }
  std::ranges::stable_sort(out, [](const RuleCount& a, const RuleCount& b) {
    if (a.modality != b.modality) return a.modality < b.modality;
    if (a.kept != b.kept) return a.kept;
    return a.series > b.series;
  });
  return out;
}

std::string series_csv(std::span<const FilteredSeries> series) {
  CsvWriter csv({"series",
                 "patient",
                 "collection",
                 "modality",
                 "kept",
                 "rule",
                 "reason",
                 "plane",
                 "slices",
                 "images",
                 "columns",
                 "rows",
                 "spacing_mm",
                 "thickness_mm",
                 "step_mm",
                 "contrast",
                 "study_date",
                 "problems"});
  const auto number = [&](const std::optional<double>& value) {
    if (value) {
      csv.number(*value);
    } else {
      csv.missing();
    }
  };
  for (const FilteredSeries& one : series) {
    const SeriesRecord& record = one.series;
    csv.text(record.series)
        .text(record.patient)
        .text(record.collection)
        .text(record.modality)
        .number(one.kept ? 1 : 0)
        .text(one.rule)
        .text(one.reason)
        .text(record.facts.plane ? to_string(*record.facts.plane) : "");
    if (record.facts.slices) {
      csv.number(*record.facts.slices);
    } else {
      csv.missing();
    }
    csv.number(record.images).number(record.columns).number(record.rows);
    number(record.spacing_x_mm);
    number(record.thickness_mm);
    number(record.step_mm);
    csv.text(contrast_tags(record.facts))
        .text(record.study_date)
        .text(join(record.problems, "; "))
        .end_row();
  }
  return csv.str();
}

std::string summary_csv(std::span<const FilterSummary> summary) {
  std::vector<std::string> columns{"metric"};
  std::set<std::string> modalities;
  for (const FilterSummary& one : summary) {
    columns.push_back(one.collection);
    for (const auto& [modality, count] : one.before_by_modality) modalities.insert(modality);
  }
  CsvWriter csv(columns);
  const auto row = [&](const std::string& metric, const auto& value) {
    csv.text(metric);
    for (const FilterSummary& one : summary) csv.number(value(one));
    csv.end_row();
  };
  const auto rounded = [](double value) { return std::round(value * 10.0) / 10.0; };
  row("total original series", [](const FilterSummary& one) { return one.original; });
  row("total filtered series", [](const FilterSummary& one) { return one.kept; });
  row("percentage kept", [&](const FilterSummary& one) { return rounded(one.percent_kept()); });
  row("patients before", [](const FilterSummary& one) { return one.patients_before; });
  row("unique patients", [](const FilterSummary& one) { return one.patients; });
  row("series per patient",
      [&](const FilterSummary& one) { return rounded(one.series_per_patient()); });
  for (const std::string& modality : modalities) {
    const std::string shown = modality.empty() ? "unknown" : modality;
    const auto of = [&](const std::map<std::string, std::int64_t>& counts) {
      const auto found = counts.find(modality);
      return found != counts.end() ? found->second : std::int64_t{0};
    };
    row(shown + " series before",
        [&](const FilterSummary& one) { return of(one.before_by_modality); });
    row(shown + " series", [&](const FilterSummary& one) { return of(one.kept_by_modality); });
  }
  return csv.str();
}

std::string rules_csv(std::span<const RuleCount> rules) {
  CsvWriter csv({"modality", "kept", "rule", "series"});
  for (const RuleCount& one : rules) {
    csv.text(one.modality).number(one.kept ? 1 : 0).text(one.rule).number(one.series).end_row();
  }
  return csv.str();
}

VolumeFilterResult filter_volumes(const VolumeFilterOptions& options, Progress& progress) {
  if (options.index.empty() == options.table.empty()) {
    throw Error(ErrorKind::kUsage, "expected an index of series or a table of them");
  }
  const std::string toml = options.rules.empty() ? std::string(shipped_filter_rules_toml())
                                                 : read_file(options.rules, limits().config_bytes);
  const FilterRules rules =
      read_filter_rules(toml, options.rules.empty() ? "shipped rules" : options.rules.string());
  progress.start("filtering series", 0);
  VolumeFilterResult result;
  result.series = filter_series(
      options.index.empty() ? read_series_table(options.table, options.keep_ids, options.secret)
                            : read_series_index(options.index),
      rules);
  result.summary = summarise_filter(result.series);
  result.rules = count_rules(result.series);
  if (!options.output.empty()) {
    make_folder(options.output);
    write_file_atomic(options.output / "series.csv", series_csv(result.series));
    write_file_atomic(options.output / "summary.csv", summary_csv(result.summary));
    write_file_atomic(options.output / "rules.csv", rules_csv(result.rules));
    write_file_atomic(options.output / "rules.toml", toml);
  }
  progress.finish();
  return result;
}

}  // namespace med3d::pipeline
