// Does a row of metrics obey arithmetic? For our own outputs, and for printed tables.
//
// Both exist because published rows break it: "precision 1.000, recall 0.667, balanced accuracy
// 0.667" cannot happen on a set with two classes (precision 1 means no false positive, so
// specificity 1, so balanced accuracy 0.833). It is what scikit-learn prints for a set without
// negatives.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "med3d/stats/classification.h"
#include "med3d/stats/estimate.h"

namespace med3d::stats {

using NamedEstimate = std::pair<std::string, Estimate>;

// What is wrong with these metrics given this table, one sentence each; empty when all holds.
//
// Checked, each to `tolerance`: every metric of the table equals its formula; balanced accuracy is
// the mean of sensitivity and specificity; F1 (both classes) is the harmonic mean of precision and
// recall; npv = precision_negative; recall_negative = specificity; low <= high; every value in
// its range (auroc, auprc, shares, brier in [0, 1], mcc in [-1, 1], log_loss >= 0); a value that
// says "not estimable" carries none, and the reverse; balanced_accuracy, mcc, auroc, auprc have no
// value when a class is absent. Unknown names are only checked for the interval.
// metrics   names as MetricSet writes them; any subset
std::vector<std::string> check_identities(const Confusion& table,
                                          std::span<const NamedEstimate> metrics,
                                          double tolerance = 1e-9);

// One printed row. Leave out what the table does not give.
struct PublishedRow {
  std::optional<double> accuracy;
  std::optional<double> precision;
  std::optional<double> recall;
  std::optional<double> balanced_accuracy;
  std::optional<double> f1;
  std::optional<std::int64_t> positives;
  std::optional<std::int64_t> negatives;
  int decimals = 3;  // digits printed: a number x stands for x -+ half a unit of the last
};

struct RowVerdict {
  bool possible = false;  // some table with both classes gives every printed number
  bool single_class =
      false;  // only a set without negatives gives them (balanced accuracy = recall)
  // Tables that fit, at most 100. With both counts given: all of them. Otherwise: those of the
  // smallest total n that fits.
  std::vector<Confusion> tables;
  std::string finding;  // one sentence for a reader
};

// Looks for whole numbers of patients behind a printed row.
//
// max_n   where counts are missing, the largest number of positives and of negatives tried
//
// Cost O(positives * negatives) counts at worst; O(max_n^2) tables of sizes without counts.
// Throws Error(kUsage) if a share is not in [0, 1], a count is negative or above 1000000, decimals
// is not in 1..9, or neither recall nor precision nor accuracy is given. Checked against: the
// tables of a published study, solved by hand.
RowVerdict check_published_row(const PublishedRow& row, std::int64_t max_n = 400);

}  // namespace med3d::stats
