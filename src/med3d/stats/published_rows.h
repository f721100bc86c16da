// Can a printed row of results be true? A search for whole numbers of patients behind it.
//
// A printed number x with d decimals stands for every value within half a unit of its last decimal.
// A row is possible if some table of true and false positives and negatives, with both classes in
// it, gives every number of the row; rows of one test set must agree on how many patients of each
// class it holds.
//
// This exists because published rows break it: "precision 1.000, recall 0.667, balanced accuracy
// 0.667" cannot happen with two classes (precision 1 means no false positive, so specificity 1, so
// balanced accuracy 0.833). It is what scikit-learn prints for a set without negatives.
//
// Source: the idea is GRIM's (Brown and Heathers, Soc Psychol Personal Sci 8(4):363-369, 2017),
// applied to 2x2 tables. Checked against: the tables of a published study, solved by hand.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "med3d/stats/classification.h"

namespace med3d::stats {

// 0.870 is {0.87, 3}.
struct PrintedShare {
  double value = 0.0;
  int decimals = 3;  // digits after the point, 1 to 9
};

// One row. Leave out what is not printed. Precision, recall and f1 are of the positive class.
struct PublishedRow {
  std::optional<PrintedShare> accuracy;
  std::optional<PrintedShare> balanced_accuracy;
  std::optional<PrintedShare> precision;
  std::optional<PrintedShare> recall;       // = sensitivity
  std::optional<PrintedShare> specificity;  // = recall of the negative class
  std::optional<PrintedShare> npv;          // = precision of the negative class
  std::optional<PrintedShare> f1;
  std::optional<PrintedShare> f1_negative;
  std::optional<std::int64_t> positives;
  std::optional<std::int64_t> negatives;
  std::optional<Confusion> table;  // if it is printed; then nothing is searched
};

struct RowVerdict {
  bool possible = false;  // some table with both classes gives every printed number
  bool single_class =
      false;  // only a set without one class gives them (balanced accuracy = recall)
  // Tables that fit, at most 100. With both counts given: all of them. Otherwise: those of the
  // smallest total n that fits.
  std::vector<Confusion> tables;
  std::string finding;  // one sentence for a reader
};

// max_n   where counts are missing, the largest number of positives and of negatives tried
//
// Cost O(positives * negatives) counts at worst; O(max_n^2) tables of sizes without counts.
// Throws Error(kUsage) if a share is not in [0, 1], a count is negative or above 1000000, decimals
// is not in 1..9, or neither recall nor precision nor accuracy is given.
RowVerdict check_published_row(const PublishedRow& row, std::int64_t max_n = 400);

// The sizes (positives, negatives), both at least 1, for which each of the rows has a table, in
// order of their sum; at most `most` of them. Rows without any share fit every size.
//
// Same cost for each row, and errors, as check_published_row. With counts given in a row only
// those are tried.
std::vector<std::pair<std::int64_t, std::int64_t>> common_sizes(std::span<const PublishedRow> rows,
                                                                std::int64_t max_n = 400,
                                                                std::size_t most = 1000);

// Whether two printed numbers can stand for one value.
bool same_when_rounded(const PrintedShare& a, const PrintedShare& b);
// Whether the coarser is the finer with its last digits cut off instead of rounded.
bool cut_off(const PrintedShare& coarse, const PrintedShare& fine);

}  // namespace med3d::stats
