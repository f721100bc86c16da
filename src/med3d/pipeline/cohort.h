// A cohort in memory: patients in rows, everything else aligned to them.
//
// The rows of the clinical table are the patients. A patient stays with a label and at least one
// modality (clinical covariates count as one); every other row, every item and every file that
// could not be used is counted with its reason. One broken file never ends the run; a table that
// cannot be trusted (two rows of one patient, ragged rows, no label column) does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/case_id.h"
#include "med3d/core/matrix.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/cohort_settings.h"
#include "med3d/pipeline/feature_makers.h"

namespace med3d::pipeline {

// A covariate as it stands in the table, one cell per patient of the cohort. Missing cells are kept
// as written (Cohort::is_missing knows them), a patient without a row in a joined table has "".
struct Column {
  std::string name;
  std::vector<std::string> cells;
  std::string table = "clinical";  // or "genomic", or the stem of a joined table
};

// Vectors of one kind. items(i, :) belongs to item_ids[i] and patient_of_item[i]; items are ordered
// by item id, so the order never depends on the file system.
struct Modality {
  std::string name;                          // "ct", "mri" or "wsi": models look it up by this
  std::size_t width = 0;                     // length of a vector
  Matrix<float> items;                       // (n_items, width), finite
  std::vector<std::string> item_ids;         // file stem or table id
  std::vector<std::size_t> patient_of_item;  // index into Cohort::case_ids
  std::vector<SlideFacts> facts;             // from a TCGA slide's name; unknown for scans
  std::vector<std::vector<std::size_t>> items_of_patient;  // (n_patients,) indices into items
  std::vector<FeatureMaker> makers;  // of the used items, where records beside them tell

  bool has(std::size_t patient) const { return !items_of_patient[patient].empty(); }
  // (n_patients, width): the mean of a patient's items, summed in double; zeros where it has none.
  Matrix<float> mean_by_patient() const;
};

struct Finding {
  std::string level;  // "info", "warning" or "error"
  std::string code;   // stable: "informative_missingness", "duplicate_vector", ...
  std::string text;
};

struct ItemOutcome {
  std::string kind;    // modality name
  std::string item;    // file name or table id
  std::string status;  // "used", "skipped" or "failed"
  std::string reason;  // empty when used
};

struct FlowStep {
  std::string label;
  std::size_t n = 0;                                          // patients left after this step
  std::vector<std::pair<std::string, std::size_t>> excluded;  // reason, patients lost at it
};

// The endpoint as it was resolved against the table.
struct Endpoint {
  std::string name;
  std::string description;
  std::string column;          // of the two classes, or empty: derived from time and event
  std::string positive_class;  // the value of `column`, or "event by N months"
  std::string negative_class;  // the other value found, or "event-free at N months"
  std::string positive_label;
  std::string negative_label;
  std::string time_column, event_column, competing_column;
  double horizon_months = 0.0;  // 0 = none
  bool is_recurrence = false;
  bool is_vital_status = false;
  bool has_time = false;  // time_months and event are known for at least one patient
};

struct SlideCount {
  SlideKind slide;
  SampleKind sample;
  std::size_t found = 0;
  std::size_t used = 0;
};

struct Cohort {
  std::string name;
  std::string description;
  std::string licence;
  bool synthetic = false;
  Endpoint endpoint;
  std::vector<std::string> case_ids;  // ascending
  std::vector<Column> columns;
  std::vector<std::string> missing_values;  // texts that mean missing, beside the usual ones
  std::vector<bool> has_clinical;           // any covariate of the patient is known
  std::vector<std::uint8_t> label;          // 1 = positive class
  std::vector<double> time_months;          // NaN = unknown
  std::vector<int> event;                   // 1 seen, 0 censored, -1 unknown
  std::vector<std::uint8_t> competing;      // 1 = not seen because another event came first; empty
                                            // where the endpoint names no such event
  std::vector<std::string> split;           // "train", "test" or ""
  std::vector<std::string> source;          // source_of: "TCGA", "CPTAC", "other"
  std::vector<std::string> site;            // TCGA tissue source site, or ""
  std::vector<Modality> modalities;         // those with items, in the order ct, mri, wsi
  std::vector<std::pair<std::string, std::string>> dropped_columns;  // name, why it is no covariate
  std::vector<SlideCount> slide_counts;  // of slides whose patient is in the cohort
  std::vector<Finding> findings;
  std::vector<ItemOutcome> outcomes;  // ordered by kind, then item
  std::vector<FlowStep> flow;
  std::string sha256;  // of ids, covariates, labels, times, splits and vectors; not of file names

  std::size_t size() const { return case_ids.size(); }
  bool is_missing(const std::string& cell) const;
  const Modality* find_modality(const std::string& name) const;  // nullptr where there is none
  std::vector<std::string> modality_names()
      const;  // "clinical" where there is a table, then the others
};

// True for what tables write for "no value": blank, NA, N/A, nan, null, none, "--", "'--", "#N/A",
// "[Not Available]", "[Not Applicable]", "[Not Evaluated]", "[Unknown]", "not reported", "unknown",
// in any case.
bool is_missing_cell(const std::string& cell);

// Reads everything the settings name. The result does not depend on `threads`, nor on the order in
// which the file system lists a folder.
//
// Throws Error(kNotFound) for a missing table, column or folder, kFormat for a table that breaks
// its format, kData with line numbers for two rows of one patient (also under two spellings), a row
// without an id, an endpoint with one class, an unknown positive class, a covariate of numbers with
// a text among them, a modality without a usable item; kUsage as CohortSettings::validate.
Cohort load_cohort(const CohortSettings& settings, Progress& progress, int threads);

// The same patients for analysis of time to event: all who have a time and an event or censoring,
// whether or not the outcome at the horizon is known. label is the event indicator, so that folds
// are balanced by it; endpoint keeps its name. Errors as load_cohort, and Error(kUsage) where the
// endpoint has no time_column.
Cohort load_follow_up_cohort(const CohortSettings& settings, Progress& progress, int threads);

// Patients to predict for: no endpoint, no split, labels all 0 and not to be read. The patients are
// those of the clinical table, where one is named, and those that only the items' names tell.
// Each modality that is enabled must hold at least one usable item. Errors as load_cohort.
Cohort load_new_patients(const CohortSettings& settings, Progress& progress, int threads);

}  // namespace med3d::pipeline
