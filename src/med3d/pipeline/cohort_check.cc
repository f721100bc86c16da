#include "med3d/pipeline/cohort_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "med3d/core/text.h"

namespace med3d::pipeline {
namespace {

std::string plural(std::size_t n, std::string_view one, std::string_view many) {
  return std::to_string(n) + " " + std::string(n == 1 ? one : many);
}

std::string p_text(double p) {
  return p < 0.001 ? fmt::format("{:.1e}", p) : fmt::format("{:.3f}", p);
}

struct Counts {
  std::size_t patients = 0;
  std::size_t positives = 0;
};

std::map<std::string, Counts> counts_by(const Cohort& cohort, const std::vector<std::string>& key) {
  std::map<std::string, Counts> out;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    Counts& counts = out[key[p]];
    ++counts.patients;
    counts.positives += cohort.label[p];
  }
  return out;
}

Counts all_of(const Cohort& cohort) {
  Counts counts{cohort.size(), 0};
  for (const auto label : cohort.label) counts.positives += label;
  return counts;
}

bool has_splits(const Cohort& cohort) {
  return std::any_of(
      cohort.split.begin(), cohort.split.end(), [](const std::string& s) { return !s.empty(); });
}

// ---- Missingness
// ---------------------------------------------------------------------------------

void check_missingness(const Cohort& cohort, std::vector<Finding>& findings) {
  const auto facts = column_facts(cohort);
  const Counts all = all_of(cohort);
  const auto sentence = [&](const std::string& what, std::size_t missing, std::size_t positives) {
    std::string out = what + ": of " + plural(missing, "patient", "patients") + " without it ";
    if (positives == missing) {
      out += "every one is '" + cohort.endpoint.positive_label + "'";
    } else if (positives == 0) {
      out += "none is '" + cohort.endpoint.positive_label + "'";
    } else {
      out += std::to_string(positives) + " are '" + cohort.endpoint.positive_label + "'";
    }
    return out +
           fmt::format(" ({} of {} others)", all.positives - positives, all.patients - missing);
  };
  std::size_t tested = 0;
  for (const auto& column : facts) {
    if (column.missing > 0 && column.missing < cohort.size()) ++tested;
  }
  for (const auto& column : facts) {
    if (column.missing == 0 || column.missing == cohort.size()) continue;
    if (column.p_missing >= 0.05 / static_cast<double>(tested)) continue;
    findings.push_back(
        {"warning",
         "informative_missingness",
         sentence("column '" + column.name + "'", column.missing, column.missing_positives) +
             ", Fisher p = " + p_text(column.p_missing) +
             ": a model can read the label from the gap itself"});
  }
  for (const auto& modality : cohort.modalities) {
    std::size_t missing = 0, positives = 0;
    for (std::size_t p = 0; p < cohort.size(); ++p) {
      if (modality.has(p)) continue;
      ++missing;
      positives += cohort.label[p];
    }
    const double p = fisher_exact(positives,
                                  missing - positives,
                                  all.positives - positives,
                                  all.patients - missing - (all.positives - positives));
    if (missing == 0 || p >= 0.05 / static_cast<double>(cohort.modalities.size())) continue;
    findings.push_back({"warning",
                        "informative_missingness",
                        sentence("modality " + modality.name, missing, positives) +
                            ", Fisher p = " + p_text(p) +
                            ": whether it was done says something about the outcome"});
  }
}

void check_columns(const Cohort& cohort, std::vector<Finding>& findings) {
  for (const auto& column : column_facts(cohort)) {
    if (column.distinct > 1) continue;
    if (column.distinct == 0) {
      findings.push_back(
          {"warning", "constant_column", "column '" + column.name + "' has no value at all"});
    } else if (column.missing > 0) {
      findings.push_back({"warning",
                          "constant_column",
                          "column '" + column.name + "' has one value only, missing in " +
                              plural(column.missing, "patient", "patients") +
                              ": filling the gaps with it makes the column constant"});
    } else {
      findings.push_back({"warning",
                          "constant_column",
                          "column '" + column.name + "' has the same value in every patient"});
    }
  }
}

// ---- Duplicates
// ----------------------------------------------------------------------------------

struct DuplicateCounts {
  std::size_t same_patient = 0;
  std::size_t patients = 0;  // pairs of items of two patients
  std::size_t splits = 0;    // of them, pairs across training and test
  std::string example;
};

// Mean squared distance of two items: twice that from their mean.
double spread_of(const Matrix<float>& items) {
  std::vector<double> mean(items.cols(), 0.0);
  const double n = static_cast<double>(std::max<std::size_t>(items.rows(), 1));
  for (std::size_t i = 0; i < items.rows(); ++i) {
    const auto row = items.row(i);
    for (std::size_t c = 0; c < row.size(); ++c) mean[c] += static_cast<double>(row[c]) / n;
  }
  double sum = 0.0;
  for (std::size_t i = 0; i < items.rows(); ++i) {
    const auto row = items.row(i);
    for (std::size_t c = 0; c < row.size(); ++c) {
      const double d = static_cast<double>(row[c]) - mean[c];
      sum += 2.0 * d * d / n;
    }
  }
  return sum;
}

// Pairs are looked for among neighbours in the order of the sum: equal vectors have equal sums, and
// a vector stored in half precision has nearly so. Each item is compared until the sums part.
//
// Nearly equal is what differs by less than a fiftieth of what items usually differ by: encoders
// with random weights give all scans nearly the same vector.
DuplicateCounts find_duplicates(const Cohort& cohort, const Modality& modality) {
  const double spread = spread_of(modality.items);
  struct Key {
    double sum;
    double norm;
    std::size_t item;
  };
  std::vector<Key> keys;
  for (std::size_t i = 0; i < modality.items.rows(); ++i) {
    double sum = 0.0, squares = 0.0;
    for (const float value : modality.items.row(i)) {
      sum += std::abs(static_cast<double>(value));
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    if (squares > 0.0) keys.push_back({sum, std::sqrt(squares), i});
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    return a.sum != b.sum ? a.sum < b.sum : a.item < b.item;
  });
  DuplicateCounts counts;
  for (std::size_t a = 0; a < keys.size(); ++a) {
    for (std::size_t b = a + 1; b < keys.size() && keys[b].sum <= keys[a].sum * 1.001; ++b) {
      if (std::abs(keys[b].norm - keys[a].norm) > 1e-3 * keys[a].norm) continue;
      const auto x = modality.items.row(keys[a].item);
      const auto y = modality.items.row(keys[b].item);
      double dot = 0.0;
      for (std::size_t c = 0; c < x.size(); ++c) {
        dot += static_cast<double>(x[c]) * static_cast<double>(y[c]);
      }
      // A vector of one or two values points the same way too easily: those must be equal.
      const bool equal = std::equal(x.begin(), x.end(), y.begin());
      const double distance = keys[a].norm * keys[a].norm + keys[b].norm * keys[b].norm - 2 * dot;
      const bool near = modality.width >= 16 && dot > 0.99999 * keys[a].norm * keys[b].norm &&
                        distance < 0.02 * 0.02 * spread;
      if (!equal && !near) continue;
      const std::size_t p = modality.patient_of_item[keys[a].item];
      const std::size_t q = modality.patient_of_item[keys[b].item];
      if (p == q) {
        ++counts.same_patient;
        continue;
      }
      ++counts.patients;
      const bool across = !cohort.split[p].empty() && !cohort.split[q].empty() &&
                          cohort.split[p] != cohort.split[q];
      if (across) ++counts.splits;
      if (counts.example.empty() || (across && counts.splits == 1)) {
        counts.example = modality.item_ids[std::min(keys[a].item, keys[b].item)] + " and " +
                         modality.item_ids[std::max(keys[a].item, keys[b].item)];
      }
    }
  }
  return counts;
}

void check_vectors(const Cohort& cohort, std::vector<Finding>& findings) {
  for (const auto& modality : cohort.modalities) {
    const DuplicateCounts counts = find_duplicates(cohort, modality);
    if (counts.patients > 0) {
      std::string text = modality.name + ": " +
                         plural(counts.patients, "pair of items", "pairs of items") +
                         " of different patients " + (counts.patients == 1 ? "has" : "have") +
                         " the same vector (" + counts.example + ")";
      if (counts.splits > 0) {
        text += ", " + std::to_string(counts.splits) + " of them across training and test";
      }
      findings.push_back({"error", "duplicate_vector", text});
    }
    if (counts.same_patient > 0) {
      findings.push_back({"info",
                          "duplicate_vector",
                          modality.name + ": " +
                              plural(counts.same_patient, "pair of items", "pairs of items") +
                              " of one patient with the same vector"});
    }
    std::size_t zeros = 0;
    for (std::size_t i = 0; i < modality.items.rows(); ++i) {
      const auto row = modality.items.row(i);
      if (std::all_of(row.begin(), row.end(), [](float v) { return v == 0.0F; })) ++zeros;
    }
    if (zeros > 0) {
      findings.push_back({"warning",
                          "zero_vector",
                          modality.name + ": " + plural(zeros, "item", "items") +
                              " of zeros only: an encoder that failed, or a missing value"});
    }
  }
}

// ---- Splits
// --------------------------------------------------------------------------------------

void check_splits(const Cohort& cohort, std::vector<Finding>& findings) {
  if (!has_splits(cohort)) return;
  // The loader refuses two spellings of one id; a cohort built by hand may still hold them.
  std::map<std::string, std::set<std::string>> splits_of_patient;
  std::map<std::string, std::map<std::string, std::size_t>> sites;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    if (cohort.split[p].empty()) continue;
    splits_of_patient[normalised_case_id(cohort.case_ids[p])].insert(cohort.split[p]);
    if (!cohort.site[p].empty()) ++sites[cohort.site[p]][cohort.split[p]];
  }
  const auto in_both = static_cast<std::size_t>(
      std::count_if(splits_of_patient.begin(), splits_of_patient.end(), [](const auto& entry) {
        return entry.second.size() > 1;
      }));
  if (in_both > 0) {
    findings.push_back({"error",
                        "patient_across_splits",
                        plural(in_both, "patient is", "patients are") +
                            " in training and test under two spellings of the id"});
  }
  std::vector<std::string> shared;
  std::size_t test_patients = 0;
  for (const auto& [site, counts] : sites) {
    if (counts.size() < 2) continue;
    shared.push_back(site);
    test_patients += counts.at("test");
  }
  if (!shared.empty()) {
    findings.push_back({"info",
                        "site_across_splits",
                        plural(shared.size(), "site has", "sites have") +
                            " patients in training and test (" + join(shared, ", ") + "; " +
                            plural(test_patients, "test patient", "test patients") +
                            "): the test says nothing about a new hospital"});
  }
  for (const auto& [split, counts] : counts_by(cohort, cohort.split)) {
    if (split.empty()) continue;
    const std::size_t negatives = counts.patients - counts.positives;
    const std::size_t smaller = std::min(counts.positives, negatives);
    if (smaller == 0) {
      findings.push_back(
          {"error",
           "one_class_split",
           "the " + split + " patients are all '" +
               (negatives == 0 ? cohort.endpoint.positive_label : cohort.endpoint.negative_label) +
               "': nothing can be estimated on them"});
    } else if (smaller < 10) {
      findings.push_back({"warning",
                          "few_events",
                          "the " + split + " patients hold only " + std::to_string(smaller) +
                              " of the smaller class: every figure on them is rough"});
    }
    if (split == "test" && counts.patients >= 10 && counts.positives == negatives) {
      findings.push_back(
          {"warning",
           "balanced_test",
           fmt::format("the test set is exactly balanced ({}/{}): was it oversampled "
                       "before the split?",
                       counts.positives,
                       negatives)});
    }
  }
}

void check_slides(const Cohort& cohort, std::vector<Finding>& findings) {
  std::size_t frozen = 0, normal = 0, total = 0, left = 0;
  for (const auto& count : cohort.slide_counts) {
    total += count.used;
    left += count.found - count.used;
    const bool is_frozen = count.slide == SlideKind::kTopFrozen ||
                           count.slide == SlideKind::kBottomFrozen ||
                           count.slide == SlideKind::kMiddleFrozen;
    if (is_frozen) frozen += count.used;
    if (count.sample == SampleKind::kNormal) normal += count.used;
  }
  if (frozen > 0) {
    findings.push_back({"warning",
                        "frozen_slides",
                        fmt::format("{} of {} slides used are frozen sections: their look differs "
                                    "from diagnostic slides",
                                    frozen,
                                    total)});
  }
  if (normal > 0) {
    findings.push_back({"warning",
                        "normal_slides",
                        fmt::format("{} of {} slides used are of normal tissue", normal, total)});
  }
  if (left > 0) {
    findings.push_back({"info",
                        "slides_left_out",
                        plural(left, "slide was", "slides were") +
                            " left out as frozen, normal or unreadable; " + std::to_string(total) +
                            " are used"});
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2.0;
}

// Most follow-up ends without an event, and censored patients were followed at least to their end.
// More events than not, and later ones, is what a swapped coding looks like.
void check_censoring(const Cohort& cohort, std::vector<Finding>& findings) {
  std::vector<double> events, censored;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    if (cohort.event[p] == 1) events.push_back(cohort.time_months[p]);
    if (cohort.event[p] == 0) censored.push_back(cohort.time_months[p]);
  }
  if (events.empty() && censored.empty()) return;
  if (events.empty() || censored.empty()) {
    findings.push_back({"warning",
                        "censoring_direction",
                        events.empty() ? "no patient has an observed event"
                                       : "no patient is censored: every one has the event"});
    return;
  }
  if (events.size() + censored.size() < 20 || events.size() <= censored.size()) return;
  const double event_median = median(events);
  const double censored_median = median(censored);
  if (event_median <= censored_median) return;
  findings.push_back(
      {"warning",
       "censoring_direction",
       fmt::format("{} of {} patients have the event, at a median of {:.1f} months, later than the "
                   "censored ({:.1f}): is censoring coded the other way round?",
                   events.size(),
                   events.size() + censored.size(),
                   event_median,
                   censored_median)});
}

// ---- Tables
// --------------------------------------------------------------------------------------

std::string pad(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string right(const std::string& text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

// Rows of cells; the first column is left-aligned, the others right-aligned.
std::string render(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line = "  ";
    for (std::size_t c = 0; c < row.size(); ++c) {
      line += c == 0 ? pad(row[c], widths[c]) : "  " + right(row[c], widths[c]);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + "\n";
  }
  return out;
}

// Breaks a sentence at spaces; lines after the first are indented.
std::string wrap(const std::string& text, std::size_t width, const std::string& indent) {
  std::string out, line;
  for (const auto& word : split(text, ' ')) {
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      out += line + "\n" + indent;
      line = word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
  }
  return out + line + "\n";
}

std::string percent(std::size_t part, std::size_t whole) {
  if (whole == 0) return "-";
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

struct ItemCounts {
  std::size_t used = 0, skipped = 0, failed = 0;
  std::map<std::string, std::size_t> reasons;
};

std::map<std::string, ItemCounts> item_counts(const Cohort& cohort) {
  std::map<std::string, ItemCounts> out;
  for (const auto& outcome : cohort.outcomes) {
    ItemCounts& counts = out[outcome.kind];
    if (outcome.status == "used") ++counts.used;
    if (outcome.status == "skipped") ++counts.skipped;
    if (outcome.status == "failed") ++counts.failed;
    if (!outcome.reason.empty()) ++counts.reasons[outcome.reason];
  }
  return out;
}

struct ModalityCounts {
  std::string name;
  Counts all;
  std::size_t items = 0;
  std::size_t width = 0;
};

std::vector<ModalityCounts> modality_counts(const Cohort& cohort) {
  std::vector<ModalityCounts> out;
  ModalityCounts clinical{"clinical", {}, 0, cohort.columns.size()};
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    if (!cohort.has_clinical[p]) continue;
    ++clinical.all.patients;
    clinical.all.positives += cohort.label[p];
  }
  clinical.items = clinical.all.patients;
  out.push_back(clinical);
  for (const auto& modality : cohort.modalities) {
    ModalityCounts counts{modality.name, {}, modality.items.rows(), modality.width};
    for (std::size_t p = 0; p < cohort.size(); ++p) {
      if (!modality.has(p)) continue;
      ++counts.all.patients;
      counts.all.positives += cohort.label[p];
    }
    out.push_back(counts);
  }
  return out;
}

Json counts_json(const Counts& counts) {
  Json out = Json::object();
  out["patients"] = counts.patients;
  out["positives"] = counts.positives;
  out["negatives"] = counts.patients - counts.positives;
  return out;
}

Json findings_json(const std::vector<Finding>& findings) {
  Json out = Json::array();
  for (const auto& finding : findings) {
    out.push_back({{"level", finding.level}, {"code", finding.code}, {"text", finding.text}});
  }
  return out;
}

}  // namespace

double fisher_exact(std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
  const std::size_t row = a + b, other = c + d, column = a + c;
  const std::size_t n = row + other;
  if (row == 0 || other == 0 || column == 0 || column == n) return 1.0;
  const auto log_choose = [](std::size_t from, std::size_t k) {
    const auto x = static_cast<double>(from), y = static_cast<double>(k);
    return std::lgamma(x + 1.0) - std::lgamma(y + 1.0) - std::lgamma(x - y + 1.0);
  };
  const std::size_t lowest = column > other ? column - other : 0;
  const std::size_t highest = std::min(row, column);
  const double total = log_choose(n, column);
  const auto log_p = [&](std::size_t k) {
    return log_choose(row, k) + log_choose(other, column - k) - total;
  };
  // lgamma of numbers in the thousands is good to about 1e-12, far inside the tolerance of 1e-7
  // that R uses to call two tables equally likely.
  const double observed = log_p(a) + 1e-7;
  double p = 0.0;
  for (std::size_t k = lowest; k <= highest; ++k) {
    const double value = log_p(k);
    if (value <= observed) p += std::exp(value);
  }
  return std::min(p, 1.0);
}

std::vector<AvailabilityPattern> availability_patterns(const Cohort& cohort) {
  std::map<std::vector<bool>, Counts> groups;
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    std::vector<bool> key = {static_cast<bool>(cohort.has_clinical[p])};
    for (const auto& modality : cohort.modalities) key.push_back(modality.has(p));
    Counts& counts = groups[key];
    ++counts.patients;
    counts.positives += cohort.label[p];
  }
  std::vector<AvailabilityPattern> out;
  for (const auto& [key, counts] : groups) {
    AvailabilityPattern pattern;
    if (key[0]) pattern.modalities.push_back("clinical");
    for (std::size_t m = 0; m < cohort.modalities.size(); ++m) {
      if (key[m + 1]) pattern.modalities.push_back(cohort.modalities[m].name);
    }
    pattern.patients = counts.patients;
    pattern.positives = counts.positives;
    out.push_back(std::move(pattern));
  }
  std::stable_sort(
      out.begin(), out.end(), [](const auto& a, const auto& b) { return a.patients > b.patients; });
  return out;
}

std::vector<ColumnFacts> column_facts(const Cohort& cohort) {
  const Counts all = all_of(cohort);
  std::vector<ColumnFacts> out;
  for (const auto& column : cohort.columns) {
    ColumnFacts facts;
    facts.name = column.name;
    facts.table = column.table;
    std::set<std::string> values;
    for (std::size_t p = 0; p < cohort.size(); ++p) {
      const std::string& cell = column.cells[p];
      if (cohort.is_missing(cell)) {
        ++facts.missing;
        facts.missing_positives += cohort.label[p];
      } else {
        const auto number = parse_double(cell);
        values.insert(number ? format_double(*number) : cell);
      }
    }
    facts.distinct = values.size();
    const std::size_t known = all.patients - facts.missing;
    const std::size_t known_positives = all.positives - facts.missing_positives;
    facts.p_missing = fisher_exact(facts.missing_positives,
                                   facts.missing - facts.missing_positives,
                                   known_positives,
                                   known - known_positives);
    out.push_back(std::move(facts));
  }
  return out;
}

std::vector<Finding> check_cohort(const Cohort& cohort) {
  std::vector<Finding> findings;
  if (cohort.synthetic) {
    findings.push_back({"warning",
                        "synthetic",
                        "the patients are generated: no figure here says anything of real ones"});
  }
  findings.insert(findings.end(), cohort.findings.begin(), cohort.findings.end());
  check_missingness(cohort, findings);
  check_columns(cohort, findings);
  check_vectors(cohort, findings);
  check_splits(cohort, findings);
  check_slides(cohort, findings);
  check_censoring(cohort, findings);
  const auto rank = [](const Finding& f) {
    return f.level == "error" ? 0 : f.level == "warning" ? 1 : 2;
  };
  std::stable_sort(findings.begin(), findings.end(), [&](const Finding& a, const Finding& b) {
    return rank(a) < rank(b);
  });
  return findings;
}

Json cohort_report(const Cohort& cohort) {
  Json out = Json::object();
  out["name"] = cohort.name;
  out["synthetic"] = cohort.synthetic;
  out["description"] = cohort.description;
  out["licence"] = cohort.licence;
  out["sha256"] = cohort.sha256;
  const Endpoint& endpoint = cohort.endpoint;
  out["endpoint"] = {{"name", endpoint.name},
                     {"description", endpoint.description},
                     {"column", endpoint.column},
                     {"positive_class", endpoint.positive_class},
                     {"negative_class", endpoint.negative_class},
                     {"positive_label", endpoint.positive_label},
                     {"negative_label", endpoint.negative_label},
                     {"horizon_months", endpoint.horizon_months},
                     {"time_column", endpoint.time_column},
                     {"event_column", endpoint.event_column},
                     {"is_recurrence", endpoint.is_recurrence},
                     {"is_vital_status", endpoint.is_vital_status}};
  out["patients"] = counts_json(all_of(cohort));
  if (endpoint.has_time) {
    std::size_t events = 0, known = 0;
    for (const int event : cohort.event) {
      if (event >= 0) ++known;
      if (event == 1) ++events;
    }
    out["follow_up"] = {{"patients", known}, {"events", events}};
  }
  out["flow"] = Json::array();
  for (const auto& step : cohort.flow) {
    Json excluded = Json::array();
    for (const auto& [reason, count] : step.excluded) {
      excluded.push_back({{"reason", reason}, {"patients", count}});
    }
    out["flow"].push_back({{"label", step.label}, {"n", step.n}, {"excluded", excluded}});
  }
  const auto by = [&](const char* name, const std::vector<std::string>& key) {
    out[name] = Json::object();
    for (const auto& [value, counts] : counts_by(cohort, key)) {
      out[name][value.empty() ? "(none)" : value] = counts_json(counts);
    }
  };
  by("splits", cohort.split);
  by("sources", cohort.source);
  by("sites", cohort.site);
  out["modalities"] = Json::array();
  for (const auto& counts : modality_counts(cohort)) {
    Json entry = {{"name", counts.name}};
    entry.update(counts_json(counts.all));
    entry["items"] = counts.items;
    entry["width"] = counts.width;
    out["modalities"].push_back(std::move(entry));
  }
  out["availability"] = Json::array();
  for (const auto& pattern : availability_patterns(cohort)) {
    out["availability"].push_back({{"modalities", pattern.modalities},
                                   {"patients", pattern.patients},
                                   {"positives", pattern.positives}});
  }
  out["columns"] = Json::array();
  for (const auto& facts : column_facts(cohort)) {
    out["columns"].push_back({{"name", facts.name},
                              {"table", facts.table},
                              {"missing", facts.missing},
                              {"missing_positives", facts.missing_positives},
                              {"distinct", facts.distinct},
                              {"p_missing", facts.p_missing}});
  }
  out["dropped_columns"] = Json::array();
  for (const auto& [name, reason] : cohort.dropped_columns) {
    out["dropped_columns"].push_back({{"name", name}, {"reason", reason}});
  }
  out["slides"] = Json::array();
  for (const auto& count : cohort.slide_counts) {
    out["slides"].push_back({{"slide", to_string(count.slide)},
                             {"sample", to_string(count.sample)},
                             {"found", count.found},
                             {"used", count.used}});
  }
  out["items"] = Json::object();
  for (const auto& [kind, counts] : item_counts(cohort)) {
    Json reasons = Json::object();
    for (const auto& [reason, count] : counts.reasons) reasons[reason] = count;
    out["items"][kind] = {{"used", counts.used},
                          {"skipped", counts.skipped},
                          {"failed", counts.failed},
                          {"reasons", reasons}};
  }
  out["failed_items"] = Json::array();
  for (const auto& outcome : cohort.outcomes) {
    if (outcome.status != "failed") continue;
    out["failed_items"].push_back(
        {{"kind", outcome.kind}, {"item", outcome.item}, {"reason", outcome.reason}});
  }
  out["findings"] = findings_json(check_cohort(cohort));
  return out;
}

std::string cohort_text(const Cohort& cohort) {
  const Counts all = all_of(cohort);
  const Endpoint& endpoint = cohort.endpoint;
  std::string out =
      "Cohort " + cohort.name + (cohort.synthetic ? "  (SYNTHETIC: no real patients)" : "");
  out += "\n";
  out += fmt::format("Endpoint {}: {} '{}', {} '{}'\n",
                     endpoint.name,
                     all.positives,
                     endpoint.positive_label,
                     all.patients - all.positives,
                     endpoint.negative_label);
  if (endpoint.is_vital_status) out += "This endpoint is vital status, not recurrence.\n";

  out += "\nFlow\n";
  std::vector<std::vector<std::string>> rows;
  for (const auto& step : cohort.flow) {
    for (const auto& [reason, count] : step.excluded) {
      rows.push_back({"  - " + reason, std::to_string(count)});
    }
    rows.push_back({step.label, std::to_string(step.n)});
  }
  out += render(rows);

  out += "\nPatients\n";
  rows = {{"", "patients", "positive", "share"}};
  const auto add = [&](const std::string& name, const Counts& counts) {
    rows.push_back({name,
                    std::to_string(counts.patients),
                    std::to_string(counts.positives),
                    percent(counts.positives, counts.patients)});
  };
  add("all", all);
  if (has_splits(cohort)) {
    for (const auto& [split, counts] : counts_by(cohort, cohort.split)) {
      add("split " + (split.empty() ? "(none)" : split), counts);
    }
  }
  for (const auto& [source, counts] : counts_by(cohort, cohort.source)) {
    add("source " + source, counts);
  }
  out += render(rows);

  out += "\nModalities\n";
  rows = {{"", "patients", "positive", "items", "width"}};
  for (const auto& counts : modality_counts(cohort)) {
    rows.push_back({counts.name,
                    std::to_string(counts.all.patients),
                    std::to_string(counts.all.positives),
                    std::to_string(counts.items),
                    std::to_string(counts.width)});
  }
  out += render(rows);

  out += "\nWhich modalities patients have\n";
  rows = {{"", "patients", "positive"}};
  for (const auto& pattern : availability_patterns(cohort)) {
    rows.push_back({join(pattern.modalities, " + "),
                    std::to_string(pattern.patients),
                    std::to_string(pattern.positives)});
  }
  out += render(rows);

  const auto facts = column_facts(cohort);
  if (!facts.empty()) {
    out += "\nCovariates with missing values\n";
    rows = {{"", "missing", "share", "positive", "values", "p"}};
    std::size_t complete = 0;
    for (const auto& column : facts) {
      if (column.missing == 0) {
        ++complete;
        continue;
      }
      rows.push_back({column.name.size() > 44 ? column.name.substr(0, 41) + "..." : column.name,
                      std::to_string(column.missing),
                      percent(column.missing, cohort.size()),
                      std::to_string(column.missing_positives),
                      std::to_string(column.distinct),
                      p_text(column.p_missing)});
    }
    const std::size_t hidden = rows.size() > 31 ? rows.size() - 31 : 0;
    if (hidden > 0) rows.resize(31);
    if (rows.size() > 1) out += render(rows);
    if (hidden > 0) out += "  and " + plural(hidden, "other column", "other columns") + "\n";
    out += "  " + plural(complete, "column is", "columns are") + " complete\n";
  }
  if (!cohort.slide_counts.empty()) {
    out += "\nSlides\n";
    rows = {{"", "tissue", "found", "used"}};
    for (const auto& count : cohort.slide_counts) {
      rows.push_back({to_string(count.slide),
                      to_string(count.sample),
                      std::to_string(count.found),
                      std::to_string(count.used)});
    }
    out += render(rows);
  }
  bool any_left = false;
  for (const auto& [kind, counts] : item_counts(cohort)) {
    if (counts.reasons.empty()) continue;
    if (!any_left) out += "\nItems left out\n";
    any_left = true;
    std::vector<std::pair<std::string, std::size_t>> reasons(counts.reasons.begin(),
                                                             counts.reasons.end());
    std::stable_sort(reasons.begin(), reasons.end(), [](const auto& a, const auto& b) {
      return a.second > b.second;
    });
    std::size_t shown = 0;
    for (const auto& [reason, count] : reasons) {
      if (++shown > 8) {
        out +=
            "  " + kind + ": " + plural(reasons.size() - 8, "other reason", "other reasons") + "\n";
        break;
      }
      out += "  " + wrap(fmt::format("{}: {} x {}", kind, count, reason), 96, "    ");
    }
  }
  out += "\nFindings\n";
  const auto findings = check_cohort(cohort);
  for (const auto& finding : findings) {
    out += "  " + wrap(finding.level + ": " + finding.text + " [" + finding.code + "]", 96, "    ");
  }
  if (findings.empty()) out += "  none\n";
  out += "\nContent " + cohort.sha256 + "\n";
  return out;
}

}  // namespace med3d::pipeline
