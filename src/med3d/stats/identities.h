// Do metrics and the table they come from obey arithmetic? For outputs whose table is known;
// published_rows.h asks the same of printed numbers alone.
#pragma once

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

}  // namespace med3d::stats
