#include "med3d/pipeline/cohort_settings.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void usage(const std::string& message) { throw Error(ErrorKind::kUsage, message); }

// "Disease Free (Months)" -> {"disease", "free", "months"}; "OS.time" -> {"os", "time"}.
StringList words(std::string_view text) {
  StringList out;
  bool open = false;
  for (const char c : to_lower(text)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
      open = false;
      continue;
    }
    if (!open) out.emplace_back();
    open = true;
    out.back() += c;
  }
  return out;
}

bool has_word(const StringList& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool has_any(const StringList& list, std::initializer_list<std::string_view> wanted) {
  return std::any_of(
      wanted.begin(), wanted.end(), [&](std::string_view word) { return has_word(list, word); });
}

bool says_recurrence(std::string_view text) {
  const std::string lower = to_lower(text);
  return lower.find("recur") != std::string::npos || lower.find("relaps") != std::string::npos;
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

bool has_column(const Table& table, std::string_view name) {
  return std::find(table.columns.begin(), table.columns.end(), name) != table.columns.end();
}

CohortSettings describe_mmist(const fs::path& folder) {
  CohortSettings settings;
  settings.cohort.name = "MMIST-ccRCC";
  settings.cohort.description =
      "MMIST-ccRCC (Mota et al., CVPRW 2024): TCGA and CPTAC clear cell renal cell carcinoma";
  settings.cohort.licence = "GPL-3.0 repository; TCGA and CPTAC open data";
  settings.endpoint.name = "vital_status_12";
  settings.endpoint.description = "Death within 12 months (the table codes 1 = alive, 0 = dead)";
  settings.endpoint.column = "vital_status_12";
  settings.endpoint.positive_class = "0";
  settings.endpoint.positive_label = "dead within 12 months";
  settings.endpoint.negative_label = "alive at 12 months";
  settings.endpoint.horizon_months = 12;
  settings.clinical.table = folder / "clinical+genomic_split.csv";
  settings.clinical.format = "mmist";
  settings.clinical.id_column = "case_id";
  settings.clinical.missing = {"-1"};
  settings.split.column = "Split";
  const auto modality = [&](ModalitySettings& target, const char* name, int width) {
    const fs::path features = folder / "Features" / (std::string(name) + " Features");
    target.enabled = is_folder(features);
    if (!target.enabled) return;
    target.features = {features};
    target.case_from = "mmist";
    target.width = width;
  };
  modality(settings.ct, "CT", 512);
  modality(settings.mri, "MRI", 512);
  modality(settings.wsi, "WSI", 1024);
  if (is_file(folder / "SYNTHETIC.txt")) {
    settings.cohort.name = "synthetic";
    settings.cohort.synthetic = true;
    settings.cohort.description = "Generated patients in the MMIST layout: no real person is in it";
    settings.cohort.licence = "CC0";
  }
  if (is_file(folder / "endpoints.csv")) {
    settings.clinical.joins = {folder / "endpoints.csv"};
    settings.endpoint.time_column = "OS_days";
    settings.endpoint.event_column = "OS";
    settings.endpoint.time_unit = "days";
  }
  return settings;
}

CohortSettings describe_paper(const fs::path& folder) {
  CohortSettings settings;
  settings.cohort.name = "paper-features";
  settings.cohort.description =
      "Patient-level embeddings in the paper's layout: one CSV file for each modality";
  settings.clinical.table = folder / "clinical_features.csv";
  settings.ct.features = {folder / "ct_mri_features.csv"};
  settings.ct.enabled = is_file(settings.ct.features.front());
  settings.wsi.features = {folder / "wsi_features.csv"};
  settings.wsi.enabled = is_file(settings.wsi.features.front());
  settings.mri.enabled = false;

  const auto take_label = [&](const Table& table) {
    for (const char* name : {"vital_status_12", "label", "Label", "y", "event"}) {
      if (!has_column(table, name)) continue;
      settings.endpoint.column = name;
      break;
    }
    for (const char* name : {"Split", "split"}) {
      if (has_column(table, name)) settings.split.column = name;
    }
    return !settings.endpoint.column.empty();
  };
  if (!take_label(read_table(settings.clinical.table)) && is_file(folder / "labels.csv")) {
    settings.clinical.joins = {folder / "labels.csv"};
    take_label(read_table(folder / "labels.csv"));
  }
  const bool vital = settings.endpoint.column == "vital_status_12";
  settings.endpoint.name = settings.endpoint.column;
  settings.endpoint.positive_class = vital ? "0" : "1";
  if (vital) {
    settings.endpoint.horizon_months = 12;
    settings.endpoint.positive_label = "dead within 12 months";
    settings.endpoint.negative_label = "alive at 12 months";
  }
  return settings;
}

}  // namespace

void CohortInfo::describe(SettingsSchema& schema) {
  schema.section("cohort", "Who the patients are.");
  schema.field("name", name, "Name in reports and outputs.");
  schema.field("synthetic", synthetic, "The patients are generated: every report says so.");
  schema.field("description", description, "One sentence for the report.");
  schema.field("licence", licence, "Terms of the data, for the report.");
}

void EndpointSettings::describe(SettingsSchema& schema) {
  schema.section(
      "endpoint",
      "What is predicted: a column of two classes, or time and event cut at a horizon. Only "
      "DFI, RFS, PFI and DFS are recurrence; vital status is never called so.");
  schema.field("name", name, "Name of the endpoint, in every output.", required());
  schema.field("description", description, "One sentence for the report.");
  schema.field("column", column, "Column of two classes; empty = derived from time and event.");
  schema.field("positive_class", positive_class, "Value of `column` that is the event.");
  schema.field("positive_label", positive_label, "The positive class in words.");
  schema.field("negative_label", negative_label, "The negative class in words.");
  schema.field("horizon_months",
               horizon_months,
               "Months at which the endpoint is read; 0 = none.",
               in_range(0, 1200));
  schema.field("time_column", time_column, "Column of time to event or last contact.");
  schema.field("event_column", event_column, "Column that says whether the event was seen.");
  schema.field("event_value", event_value, "Value of `event_column` that is the event.");
  schema.field("reversed_censoring",
               reversed_censoring,
               "`event_value` means censored instead (PORPOISE: censorship 1 = censored).");
  schema.field("time_unit",
               time_unit,
               "Unit of `time_column`; needed with it, never guessed.",
               one_of({"", "days", "months", "years"}));
  schema.field("competing_column",
               competing_column,
               "Column of an event that can come first and rules the endpoint out, such as death "
               "before recurrence; counts where the endpoint's own event was not seen.");
  schema.field(
      "competing_value", competing_value, "Value of `competing_column` that is the event.");
}

void EndpointSettings::validate() const {
  if (name.empty()) usage("[endpoint] name is missing: say what is predicted");
  if (!column.empty() && positive_class.empty()) {
    usage("[endpoint] positive_class is missing: say which value of '" + column + "' is the event");
  }
  if (time_column.empty() != event_column.empty()) {
    usage("[endpoint] time_column and event_column belong together; " +
          std::string(time_column.empty() ? "time_column" : "event_column") + " is missing");
  }
  if (!competing_column.empty() && event_column.empty()) {
    usage("[endpoint] competing_column '" + competing_column +
          "' needs time_column and event_column: it says what ended the follow-up");
  }
  if (!competing_column.empty() && competing_column == event_column) {
    usage("[endpoint] competing_column and event_column are both '" + event_column +
          "': an event does not compete with itself");
  }
  if (!time_column.empty() && time_unit.empty()) {
    usage("[endpoint] time_unit is missing: days, months or years of '" + time_column + "'");
  }
  if (column.empty() && (time_column.empty() || horizon_months <= 0)) {
    usage(
        "[endpoint] gives no label: name a column of two classes, or time_column, event_column and "
        "horizon_months");
  }
  const std::string& source = column.empty() ? event_column : column;
  const std::string vital = is_vital_column(source)                          ? source
                            : is_vital_column(event_column)                  ? event_column
                            : column.empty() && is_vital_column(time_column) ? time_column
                                                                             : std::string();
  if (vital.empty()) return;
  for (const auto* text : {&name, &description, &positive_label, &negative_label}) {
    if (!says_recurrence(*text)) continue;
    usage("[endpoint] says '" + *text + "', but column '" + vital +
          "' is vital status: death is not recurrence");
  }
  if (is_recurrence_endpoint(name)) {
    usage("[endpoint] name '" + name + "' is a recurrence endpoint, but column '" + vital +
          "' is vital status");
  }
}

void ClinicalSettings::describe(SettingsSchema& schema) {
  schema.section("clinical", "The patients' table. Its rows are the cohort; other tables join it.");
  schema.field("enabled", enabled, "Use its covariates; the labels are read in any case.");
  schema.field("table", table, "CSV or TSV file, one row for each patient.", required());
  schema.field(
      "format",
      format,
      "Origin of the table; auto looks at its header.",
      one_of({"auto", "plain", "mmist", "stamp", "porpoise", "tcga-cdr", "cbioportal", "gdc"}));
  schema.field("id_column", id_column, "Column of patient ids; empty = found by its usual names.");
  schema.field("columns",
               columns,
               "Covariates; empty = all but ids, split and columns that look like an outcome.");
  schema.field("drop", drop, "Columns that are never covariates.");
  schema.field("ordinal", ordinal, "Ordered categories: column = [\"low\", \"high\"].");
  schema.field("categorical", categorical, "Columns of unordered categories.");
  schema.field("missing", missing, "Further values that mean missing, such as -1.");
  schema.field("joins", joins, "Further tables, joined on the patient id.");
}

void SplitSettings::describe(SettingsSchema& schema) {
  schema.section("split", "A fixed division into training and test patients, where there is one.");
  schema.field("column", column, "Column of the table that holds it; empty = none.");
  schema.field("train", train, "Values that mean training.");
  schema.field("test", test, "Values that mean test.");
}

void ModalitySettings::describe(SettingsSchema& schema) {
  const bool slides = section == "wsi";
  schema.section(section,
                 slides
                     ? "Embeddings of whole-slide images."
                     : (section == "ct" ? "Embeddings of CT scans." : "Embeddings of MRI scans."));
  schema.field("enabled", enabled, "Use this modality.");
  schema.field("features",
               features,
               "Folder with one file for each item, one wide CSV file, or a list of files.");
  schema.field("case_from",
               case_from,
               "Patient id of an item: TCGA or CPTAC name; mmist = other names up to the last '-'; "
               "folder = the file's folder; map = a table.",
               one_of({"name", "mmist", "folder", "map"}));
  schema.field("map", map, "Table of items and patients, for case_from = \"map\".");
  schema.field("map_case_column", map_case_column, "Its patient column; empty = found.");
  schema.field("map_item_column", map_item_column, "Its item column; empty = found.");
  schema.field(
      "width", width, "Length of a vector; 0 = what most items have.", in_range(0, 1000000));
  if (slides) {
    schema.field("slide_kinds",
                 slide_kinds,
                 "Slides used: DX (diagnostic, FFPE), TS, BS, MS (frozen), unknown.",
                 one_of({"DX", "TS", "BS", "MS", "unknown"}));
    schema.field(
        "sample_kinds", sample_kinds, "Tissue used.", one_of({"tumour", "normal", "unknown"}));
  }
  schema.field("reduce",
               reduce,
               "A file with several rows (a bag of patches) becomes one vector by this.",
               one_of({"mean"}));
}

void GenomicSettings::describe(SettingsSchema& schema) {
  schema.section("genomic", "A separate table of genomic covariates, joined on the patient id.");
  schema.field("table", table, "CSV or TSV file; empty = none.");
  schema.field("columns", columns, "Columns to take; empty = all but ids and outcomes.");
  schema.field("drop", drop, "Columns to leave.");
}

void CohortSettings::describe(SettingsSchema& schema) {
  cohort.describe(schema);
  endpoint.describe(schema);
  clinical.describe(schema);
  split.describe(schema);
  ct.describe(schema);
  mri.describe(schema);
  wsi.describe(schema);
  genomic.describe(schema);
}

void CohortSettings::validate() const {
  endpoint.validate();
  if (clinical.table.empty()) usage("[clinical] table is missing: the rows are the cohort");
  for (const auto* modality : {&ct, &mri, &wsi}) {
    if (modality->case_from == "map" && modality->map.empty()) {
      usage("[" + modality->section + "] case_from = \"map\" needs a map file");
    }
  }
  for (const auto& value : split.train) {
    if (has_word(split.test, value)) {
      usage("[split] value '" + value + "' means both training and test");
    }
  }
}

CohortSettings read_cohort_settings(const fs::path& toml_file,
                                    std::span<const std::string> overrides) {
  CohortSettings settings;
  SettingsSchema schema;
  settings.describe(schema);
  read_settings(schema, toml_file, overrides);
  settings.validate();
  return settings;
}

CohortSettings describe_folder(const fs::path& folder) {
  if (!is_folder(folder)) {
    throw Error(ErrorKind::kNotFound, folder.string() + ": no such folder");
  }
  if (is_file(folder / "clinical+genomic_split.csv")) return describe_mmist(folder);
  if (is_file(folder / "clinical_features.csv")) return describe_paper(folder);
  throw Error(
      ErrorKind::kNotFound,
      folder.string() +
          ": not a cohort we recognise: neither clinical+genomic_split.csv (MMIST-ccRCC) nor "
          "clinical_features.csv (the paper's layout) is in it; write a cohort.toml");
}

std::string to_toml(const CohortSettings& settings, const fs::path& folder) {
  // The defaults are those of a fresh struct; the values come in after they were listed.
  CohortSettings copy;
  SettingsSchema schema;
  copy.describe(schema);
  copy = settings;
  return settings_toml(schema, folder);
}

bool is_recurrence_endpoint(const std::string& name) {
  return has_any(words(name), {"dfi", "rfs", "pfi", "dfs"});
}

bool is_vital_column(const std::string& column) {
  const StringList list = words(column);
  if (list.empty()) return false;
  if (has_any(list, {"vital", "os", "dss", "death", "dead", "deceased", "alive", "died"}))
    return true;
  // "disease-free survival" and "progression free survival" are not survival.
  return has_any(list, {"survival"}) && !has_any(list, {"free"});
}

bool looks_like_outcome(const std::string& column) {
  if (is_vital_column(column)) return true;
  const StringList list = words(column);
  if (list.empty()) return false;
  if (has_any(list,
              {"dfi",
               "rfs",
               "pfi",
               "dfs",
               "pfs",
               "censorship",
               "censored",
               "censor",
               "recurrence",
               "relapse",
               "followup",
               "progression",
               "event",
               "label",
               "redaction"})) {
    return true;
  }
  const std::string all = join(list, " ");
  for (const std::string_view text : {"disease free",
                                      "progression free",
                                      "tumor status",
                                      "neoplasm status",
                                      "new tumor",
                                      "new neoplasm",
                                      "last contact",
                                      "last follow",
                                      "follow up",
                                      "last alive",
                                      "cause of death",
                                      "treatment outcome",
                                      "days to death",
                                      "death days",
                                      "contact days"}) {
    if (all.find(text) != std::string::npos) return true;
  }
  return false;
}

}  // namespace med3d::pipeline
