// What is wrong, odd or worth knowing about a cohort, before anything is trained on it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/cohort.h"

namespace med3d::pipeline {

// Two-sided Fisher exact test of the table {{a, b}, {c, d}}: the probability, with the margins
// fixed, of a table no more likely than this one (relative tolerance 1e-7, as R's fisher.test). 1
// where a margin is empty. Cost O(smallest margin). Checked against: R 4.2 fisher.test (values
// pinned in the test).
double fisher_exact(std::size_t a, std::size_t b, std::size_t c, std::size_t d);

// One group of patients who have the same modalities.
struct AvailabilityPattern {
  std::vector<std::string> modalities;  // of "clinical", "ct", ...; empty cannot occur
  std::size_t patients = 0;
  std::size_t positives = 0;
};
// Largest group first; equal sizes in the order of the modalities.
std::vector<AvailabilityPattern> availability_patterns(const Cohort& cohort);

struct ColumnFacts {
  std::string name;
  std::string table;
  std::size_t missing = 0;
  std::size_t missing_positives = 0;  // of them, how many are of the positive class
  std::size_t distinct = 0;           // different values that are not missing
  double p_missing = 1.0;             // Fisher exact: is missing here independent of the label?
};
std::vector<ColumnFacts> column_facts(const Cohort& cohort);

// Findings of the loader, then those of the checks:
//   informative_missingness   a missing cell or modality predicts the label: Fisher p below 0.05
//                             divided by the number of columns (or modalities) tested
//   constant_column           one value in all patients, or in all where it is not missing
//   duplicate_vector          the same vector under two items (error across splits or patients):
//                             equal bytes, or cosine above 0.99999 with equal length within 0.1 %
//   zero_vector               a vector of zeros only
//   patient_across_splits     two ids in different splits that are one up to their spelling
//   site_across_splits        TCGA sites with patients in training and test
//   balanced_test             a test set of exactly as many positives as negatives (10 or more)
//   one_class_split           a split without one of the classes
//   few_events                fewer than 10 patients of the smaller class in a split
//   frozen_slides, normal_slides   used although not the diagnostic tumour section
//   censoring_direction       events seen later than the median of the censored, and mostly events
//   synthetic                 the cohort is generated
std::vector<Finding> check_cohort(const Cohort& cohort);

// The whole check as JSON: cohort, endpoint, flow, splits, sources, availability, columns, slides,
// items, findings. Holds no patient id but in names of items that failed or are duplicates.
Json cohort_report(const Cohort& cohort);

// The same for a reader at a terminal, at most 100 columns wide, ending in a newline.
std::string cohort_text(const Cohort& cohort);

}  // namespace med3d::pipeline
