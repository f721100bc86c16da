// Can a table of results be true, and does it say what its reader takes it to say?
//
// Input is a CSV or TSV, one row a classifier on a test set; names of columns in any case, with
// spaces, '-' or '_':
//
//   model (method, name)               whom the row is about
//   test_set (set, dataset, cohort)    rows of one test set must agree on its size; blank: each row
//                                      has a set of its own
//   table                              where the row was printed, for messages
//   accuracy, balanced_accuracy, precision (ppv), recall (sensitivity), specificity, f1, npv,
//   f1_negative, auroc, auprc, c_index, brier      "0.87", "87 %", "0.87 (0.80-0.93)"
//   n, positives (events), negatives, tp, fn, fp, tn
//   cohort_positives, cohort_negatives   patients there were before the split
//   part, whole, share                 any other printed share: 191 of 814 is 23.5 %
//
// Rows of one model and test set (a result printed in two tables) are read together. Blank, "-" and
// "NA" are missing; other columns are named in `ignored` and left alone.
//
// Levels: "impossible" (no set of patients gives these numbers), "doubtful" (possible, but not what
// it seems), "note". Codes:
//
//   unreadable          a cell that is no number (impossible: nothing behind it is checked)
//   out_of_range        a share outside [0, 1], an interval that does not hold its value
//   counts              counts that contradict each other, or a share that its counts do not give
//   printed_twice       one number printed differently at two places
//   no_table            no counts of patients give the row (published_rows.h), with the arithmetic
//   one_class           only a set without one of the classes gives the row
//   sizes_disagree      rows of one test set for which no common size exists
//   auroc_out_of_reach  a ROC curve through (1 - specificity, recall) has an area between
//                       recall * specificity and 1 - (1 - recall)(1 - specificity)
//   not_in_cohort       more patients of a class in the test set than in the cohort
//   balanced_test       exactly as many positives as negatives (20 patients or more): oversampled
//                       before it was split?
//   below_always_positive   F1 no better than 2p / (1 + p), which calling everybody positive gets
//   below_majority      accuracy no better than the share of the larger class
//   thin_class          fewer than 10 patients behind a recall or specificity; its interval
//   no_interval, no_counts   not said in the table
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/stats/published_rows.h"

namespace med3d::pipeline {

struct AuditFinding {
  std::string level;
  std::string code;
  std::string where;  // "Late Fusion, test set 'fusion' (Table 12, line 2)"
  std::string text;   // what was found, with the arithmetic
};

// One model on one test set, and the tables that would give its numbers.
struct AuditedRow {
  std::string model;
  std::string test_set;
  std::vector<std::size_t> lines;
  std::vector<stats::Confusion> tables;  // at most 100; of the smallest size if none is stated
  bool size_stated = false;
};

struct Audit {
  std::string source;  // the file's name
  std::size_t rows = 0;
  std::vector<std::string> ignored;  // columns
  std::vector<AuditedRow> solved;
  std::vector<AuditFinding> findings;  // in order of the file, gravest first within a test set

  bool clean() const;  // nothing but notes
};

// max_n   as published_rows.h, 10 to 2000
// Throws Error(kFormat | kNotFound) for a file that is no table, Error(kData) if it has no column
// that could be checked or more than 10,000 rows, Error(kUsage) for max_n.
Audit audit_table(const std::filesystem::path& path, std::int64_t max_n = 400);

Json audit_json(const Audit& audit);
std::string audit_text(const Audit& audit);  // for a terminal, ending in a newline

}  // namespace med3d::pipeline
