// What a cohort is made of: which table, which endpoint, which folders of feature vectors.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "med3d/pipeline/settings.h"

namespace med3d::pipeline {

struct CohortInfo {
  std::string name = "cohort";
  bool synthetic = false;
  std::string description;
  std::string licence;

  void describe(SettingsSchema& schema);
};

// The outcome. One of two ways, the first wins:
//   column          a column of two classes; positive_class is the one the model predicts
//   horizon_months  with time_column and event_column: event by the horizon = positive, known to be
//                   free of it at the horizon = negative, censored before = excluded and counted
// time_column and event_column are carried through in either case.
struct EndpointSettings {
  std::string name;
  std::string description;
  std::string column;
  std::string positive_class;
  std::string positive_label;
  std::string negative_label;
  double horizon_months = 0.0;
  std::string time_column;
  std::string event_column;
  std::string event_value = "1";
  bool reversed_censoring = false;
  std::string time_unit;  // no default: days read as months is a quiet fault
  // Of a patient without the event: did another event (death) come first and end the follow-up.
  std::string competing_column;
  std::string competing_value = "1";

  void describe(SettingsSchema& schema);
  // Throws Error(kUsage) for a combination that makes no sense, above all for an endpoint that
  // calls a vital status "recurrence".
  void validate() const;
};

struct ClinicalSettings {
  bool enabled = true;
  std::filesystem::path table;
  std::string format = "auto";
  std::string id_column;
  StringList columns;
  StringList drop;
  StringListMap ordinal;
  StringList categorical;
  StringList missing;
  PathList joins;

  void describe(SettingsSchema& schema);
};

struct SplitSettings {
  std::string column;
  StringList train = {"train"};
  StringList test = {"test"};

  void describe(SettingsSchema& schema);
};

struct ModalitySettings {
  explicit ModalitySettings(std::string section_name) : section(std::move(section_name)) {}

  std::string section;  // "ct", "mri" or "wsi"
  bool enabled = true;
  PathList features;
  std::string case_from = "name";
  std::filesystem::path map;
  std::string map_case_column;
  std::string map_item_column;
  int width = 0;
  StringList slide_kinds = {"DX", "unknown"};
  StringList sample_kinds = {"tumour", "unknown"};
  std::string reduce = "mean";

  void describe(SettingsSchema& schema);
};

struct GenomicSettings {
  std::filesystem::path table;
  StringList columns;
  StringList drop;

  void describe(SettingsSchema& schema);
};

struct CohortSettings {
  CohortInfo cohort;
  EndpointSettings endpoint;
  ClinicalSettings clinical;
  SplitSettings split;
  ModalitySettings ct{"ct"};
  ModalitySettings mri{"mri"};
  ModalitySettings wsi{"wsi"};
  GenomicSettings genomic;

  // All sections, in the order of the file.
  void describe(SettingsSchema& schema);
  // What the ranges cannot say. Throws Error(kUsage).
  void validate() const;
};

// Reads a cohort file that holds only cohort sections. Errors as read_settings and validate.
CohortSettings read_cohort_settings(const std::filesystem::path& toml_file,
                                    std::span<const std::string> overrides = {});

// Settings for a folder whose layout is known; its files are not read beyond their headers.
//   MMIST       clinical+genomic_split.csv with Features/{CT,MRI,WSI} Features/*.npz. The endpoint
//   is
//               vital_status_12 with positive class "0", dead within 12 months (the file's 1 =
//               alive). A file SYNTHETIC.txt marks a generated cohort; endpoints.csv beside the
//               table is joined and gives time and event.
//   the paper   clinical_features.csv, wsi_features.csv, ct_mri_features.csv, one row per patient.
//   The
//               label column is looked for in clinical_features.csv, then in labels.csv.
// Throws Error(kNotFound) naming what was looked for where the folder is neither.
CohortSettings describe_folder(const std::filesystem::path& folder);

// A cohort file for these settings that lies in `folder`; keys at their default are left out.
std::string to_toml(const CohortSettings& settings, const std::filesystem::path& folder = {});

// True only for names of recurrence endpoints: a word DFI, RFS, PFI or DFS ("DFI", "pfi_24m").
bool is_recurrence_endpoint(const std::string& name);

// True for columns of death or survival: vital_status*, OS*, DSS*, "Overall Survival Status", ...
bool is_vital_column(const std::string& column);

// True for columns that hold an outcome or what happened after diagnosis (OS.time, tumor_status,
// days_to_death, "Disease Free Status"): never a covariate unless [clinical] columns names it.
bool looks_like_outcome(const std::string& column);

}  // namespace med3d::pipeline
