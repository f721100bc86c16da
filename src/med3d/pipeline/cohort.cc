#include "med3d/pipeline/cohort.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string_view>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/parallel.h"
#include "med3d/core/text.h"
#include "med3d/io/features.h"
#include "med3d/pipeline/patient_table.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
constexpr double kDaysPerMonth = 365.25 / 12.0;

[[noreturn]] void data_error(const std::string& message) { throw Error(ErrorKind::kData, message); }

std::string count_of(std::size_t n, const std::string& one, const std::string& many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

bool contains(const StringList& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// ---- The table
// -----------------------------------------------------------------------------------

struct Patients {
  StringList ids;                            // ascending
  std::map<std::string, std::size_t> index;  // by normalised id
  std::vector<Column> columns;               // of every table, before any choice
  std::size_t table_rows = 0;
};

std::size_t find_column(const std::vector<Column>& columns, std::string_view name) {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].name == name) return i;
  }
  return kNone;
}

const Column& need_column(const Patients& patients,
                          const std::string& name,
                          const std::string& who) {
  const std::size_t at = find_column(patients.columns, name);
  if (at != kNone) return patients.columns[at];
  StringList names;
  for (const auto& column : patients.columns) names.push_back(column.name);
  std::string hint = did_you_mean(name, names);
  if (hint.empty() && names.size() <= 40) hint = " (columns: " + join(names, ", ") + ")";
  throw Error(ErrorKind::kNotFound, who + " '" + name + "' is in no table" + hint);
}

// Adds a table's columns to the patients, left join: rows of other patients are counted and left.
void join_table(Patients& patients,
                const PatientTable& table,
                const std::string& label,
                const StringList& only,
                const StringList& drop,
                Cohort& cohort) {
  std::vector<std::size_t> row_of(patients.ids.size(), kNone);
  std::size_t strangers = 0;
  for (std::size_t r = 0; r < table.ids.size(); ++r) {
    const auto found = patients.index.find(normalised_case_id(table.ids[r]));
    if (found == patients.index.end()) {
      ++strangers;
    } else {
      row_of[found->second] = r;
    }
  }
  if (strangers == table.ids.size()) {
    data_error(table.source + ": none of its " + std::to_string(table.ids.size()) +
               " patients is in the clinical table; are the ids of the same kind?");
  }
  const auto absent = static_cast<std::size_t>(std::count(row_of.begin(), row_of.end(), kNone));
  if (strangers > 0 || absent > 0) {
    cohort.findings.push_back(
        {"info",
         "join",
         table.source + ": " + count_of(strangers, "patient is", "patients are") +
             " not in the clinical table, " +
             count_of(absent, "patient of the cohort has", "patients of the cohort have") +
             " no row in it"});
  }
  for (const auto& name : only) {
    if (!contains(table.header, name)) {
      throw Error(ErrorKind::kNotFound,
                  table.source + ": no column '" + name + "'" + did_you_mean(name, table.header));
    }
  }
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    const std::string& name = table.header[c];
    if ((!only.empty() && !contains(only, name)) || contains(drop, name)) continue;
    Column column;
    column.name = name;
    column.table = label;
    column.cells.resize(patients.ids.size());
    for (std::size_t p = 0; p < row_of.size(); ++p) {
      if (row_of[p] != kNone) column.cells[p] = table.rows[row_of[p]][c];
    }
    const std::size_t same = find_column(patients.columns, name);
    if (same != kNone) {
      bool equal = true;
      for (std::size_t p = 0; p < row_of.size() && equal; ++p) {
        equal = row_of[p] == kNone || column.cells[p] == patients.columns[same].cells[p];
      }
      if (equal) continue;
      column.name = fs::path(table.source).stem().string() + ":" + name;
      if (find_column(patients.columns, column.name) != kNone) {
        throw Error(ErrorKind::kFormat, table.source + ": column '" + name + "' is joined twice");
      }
    }
    patients.columns.push_back(std::move(column));
  }
}

void note_table(const PatientTable& table, Cohort& cohort) {
  for (const auto& [name, reason] : table.dropped) {
    cohort.dropped_columns.emplace_back(name.empty() ? "(no name)" : name, reason);
  }
  if (table.mangled_ids > 0) {
    cohort.findings.push_back(
        {"warning",
         "mangled_id",
         table.source + ": " + count_of(table.mangled_ids, "patient id looks", "patient ids look") +
             " like a number or date a spreadsheet made of an id"});
  }
}

Patients read_patients(const CohortSettings& settings, Cohort& cohort) {
  const ClinicalSettings& clinical = settings.clinical;
  const PatientTable table =
      read_patient_table(clinical.table, clinical.format, clinical.id_column);
  if (table.format == "mmist") cohort.missing_values.push_back("-1");
  for (const auto& value : clinical.missing) {
    if (!contains(cohort.missing_values, value)) cohort.missing_values.push_back(value);
  }
  note_table(table, cohort);

  Patients patients;
  patients.table_rows = table.row_count;
  std::vector<std::size_t> order(table.ids.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return table.ids[a] < table.ids[b];
  });
  for (const std::size_t row : order) {
    patients.index[normalised_case_id(table.ids[row])] = patients.ids.size();
    patients.ids.push_back(table.ids[row]);
  }
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    Column column;
    column.name = table.header[c];
    for (const std::size_t row : order) column.cells.push_back(table.rows[row][c]);
    patients.columns.push_back(std::move(column));
  }
  for (const auto& path : clinical.joins) {
    const PatientTable other = read_patient_table(path, "auto", "");
    note_table(other, cohort);
    join_table(patients, other, path.stem().string(), {}, {}, cohort);
  }
  if (!settings.genomic.table.empty()) {
    const PatientTable other = read_patient_table(settings.genomic.table, "auto", "");
    note_table(other, cohort);
    join_table(patients, other, "genomic", settings.genomic.columns, settings.genomic.drop, cohort);
  }
  return patients;
}

// ---- The endpoint
// --------------------------------------------------------------------------------

// "1" and "1.0" are one value.
bool same_value(const std::string& a, const std::string& b) {
  if (trim(a) == trim(b)) return true;
  const auto x = parse_double(a);
  const auto y = parse_double(b);
  return x && y && *x == *y;
}

// The different values of a column in the order of their text, at most `limit` of them.
StringList distinct_values(const Cohort& cohort, const Column& column, std::size_t limit) {
  StringList values;
  for (const auto& cell : column.cells) {
    if (cohort.is_missing(cell)) continue;
    const bool known = std::any_of(
        values.begin(), values.end(), [&](const std::string& v) { return same_value(v, cell); });
    if (!known) values.push_back(cell);
    if (values.size() == limit) break;
  }
  std::sort(values.begin(), values.end());
  return values;
}

std::string shown_values(StringList values) {
  if (values.size() > 8) {
    values.resize(8);
    values.push_back("...");
  }
  return join(values, ", ");
}

struct Outcome {
  std::vector<int> label;  // 1, 0, -1 = none
  std::vector<double> time_months;
  std::vector<int> event;
  std::vector<std::string> reason;      // why there is no label
  std::vector<std::uint8_t> competing;  // empty: no such event is named
};

void resolve_time(const EndpointSettings& settings,
                  const Patients& patients,
                  Cohort& cohort,
                  Outcome& out) {
  const Column& time = need_column(patients, settings.time_column, "[endpoint] time_column");
  const Column& event = need_column(patients, settings.event_column, "[endpoint] event_column");
  const StringList values = distinct_values(cohort, event, 9);
  const bool found = std::any_of(values.begin(), values.end(), [&](const std::string& v) {
    return same_value(v, settings.event_value);
  });
  if (!found) {
    data_error("[endpoint] event_value '" + settings.event_value + "' does not occur in column '" +
               event.name + "'; its values are " + shown_values(values));
  }
  if (values.size() > 2) {
    data_error("column '" + event.name + "' has " + std::to_string(values.size()) +
               (values.size() == 9 ? " or more" : "") + " values (" + shown_values(values) +
               "), expected an event and a censored value");
  }
  const double months_per_unit = settings.time_unit == "days"    ? 1.0 / kDaysPerMonth
                                 : settings.time_unit == "years" ? 12.0
                                                                 : 1.0;
  std::size_t negative = 0, half = 0, zero = 0;
  for (std::size_t p = 0; p < patients.ids.size(); ++p) {
    const bool no_time = cohort.is_missing(time.cells[p]);
    const bool no_event = cohort.is_missing(event.cells[p]);
    if (no_time || no_event) {
      if (no_time != no_event) ++half;
      continue;
    }
    const auto value = parse_double(time.cells[p]);
    if (!value || !std::isfinite(*value)) {
      data_error("column '" + time.name + "': '" + time.cells[p] +
                 "' is no time, expected a number");
    }
    if (*value < 0.0) {
      ++negative;
      continue;
    }
    if (*value == 0.0) ++zero;
    out.time_months[p] = *value * months_per_unit;
    const bool is_value = same_value(event.cells[p], settings.event_value);
    out.event[p] = is_value != settings.reversed_censoring ? 1 : 0;
    cohort.endpoint.has_time = true;
  }
  if (!cohort.endpoint.has_time) {
    data_error("no patient has both '" + time.name + "' and '" + event.name + "'");
  }
  if (negative > 0) {
    cohort.findings.push_back({"warning",
                               "negative_time",
                               count_of(negative, "patient has", "patients have") +
                                   " a negative time in '" + time.name + "': taken as unknown"});
  }
  if (half > 0) {
    cohort.findings.push_back({"warning",
                               "half_follow_up",
                               count_of(half, "patient has", "patients have") + " only one of '" +
                                   time.name + "' and '" + event.name + "': taken as unknown"});
  }
  if (zero > 0) {
    cohort.findings.push_back(
        {"info",
         "zero_time",
         count_of(zero, "patient has", "patients have") + " time 0 in '" + time.name + "'"});
  }
  const bool says_censored = to_lower(event.name).find("censor") != std::string::npos;
  if (says_censored && !settings.reversed_censoring && same_value(settings.event_value, "1")) {
    cohort.findings.push_back(
        {"warning",
         "censoring_direction",
         "column '" + event.name + "' sounds like 1 = censored; if so, set reversed_censoring"});
  }
}

// Which patients without the event were kept from it by another one.
void resolve_competing(const EndpointSettings& settings,
                       const Patients& patients,
                       Cohort& cohort,
                       Outcome& out) {
  const Column& column =
      need_column(patients, settings.competing_column, "[endpoint] competing_column");
  const StringList values = distinct_values(cohort, column, 9);
  const bool found = std::any_of(values.begin(), values.end(), [&](const std::string& v) {
    return same_value(v, settings.competing_value);
  });
  if (!found) {
    data_error("[endpoint] competing_value '" + settings.competing_value +
               "' does not occur in column '" + column.name + "'; its values are " +
               shown_values(values));
  }
  out.competing.assign(patients.ids.size(), 0);
  std::size_t unknown = 0;
  for (std::size_t p = 0; p < patients.ids.size(); ++p) {
    if (out.event[p] != 0) continue;
    if (cohort.is_missing(column.cells[p])) ++unknown;
    if (same_value(column.cells[p], settings.competing_value)) out.competing[p] = 1;
  }
  if (unknown > 0) {
    cohort.findings.push_back({"warning",
                               "competing_unknown",
                               count_of(unknown, "censored patient has", "censored patients have") +
                                   " no value in '" + column.name +
                                   "': taken as plainly censored"});
  }
}

// Time to event as the outcome: everyone who was followed is kept.
void keep_followed(const EndpointSettings& settings, Outcome& out, Endpoint& endpoint) {
  for (std::size_t p = 0; p < out.label.size(); ++p) {
    out.label[p] = out.event[p];
    out.reason[p] = out.event[p] < 0 ? "no follow-up time or event" : "";
  }
  endpoint.positive_class = settings.event_value;
  endpoint.negative_class = "censored";
  endpoint.positive_label = "event seen";
  endpoint.negative_label = "censored";
  endpoint.is_vital_status = is_vital_column(settings.event_column);
}

// Binary label from time and event at the horizon. A patient censored exactly at the horizon was
// seen free of the event there.
void label_at_horizon(double horizon, Outcome& out) {
  for (std::size_t p = 0; p < out.label.size(); ++p) {
    const double time = out.time_months[p];
    if (out.event[p] < 0) {
      out.reason[p] = "no follow-up time or event";
    } else if (out.event[p] == 1 && time <= horizon) {
      out.label[p] = 1;
    } else if (time >= horizon) {
      out.label[p] = 0;
    } else {
      out.reason[p] = "censored before " + format_double(horizon) + " months";
    }
  }
}

void label_from_column(const EndpointSettings& settings,
                       const Patients& patients,
                       Cohort& cohort,
                       Outcome& out) {
  const Column& column = need_column(patients, settings.column, "[endpoint] column");
  const StringList values = distinct_values(cohort, column, 9);
  const std::string name = "column '" + column.name + "'";
  if (values.empty()) data_error(name + " has no value at all");
  const auto positive = std::find_if(values.begin(), values.end(), [&](const std::string& v) {
    return same_value(v, settings.positive_class);
  });
  if (positive == values.end()) {
    data_error("[endpoint] positive_class '" + settings.positive_class + "' does not occur in " +
               name + "; its values are " + shown_values(values));
  }
  if (values.size() == 1) {
    data_error(name + " has one class only, '" + values[0] + "': nothing can be learnt from it");
  }
  if (values.size() > 2) {
    data_error(name + " has " + std::to_string(values.size()) +
               (values.size() == 9 ? " or more" : "") + " classes (" + shown_values(values) +
               "), expected two; values that mean missing go into [clinical] missing");
  }
  cohort.endpoint.positive_class = *positive;
  cohort.endpoint.negative_class = values[positive == values.begin() ? 1 : 0];
  for (std::size_t p = 0; p < patients.ids.size(); ++p) {
    if (cohort.is_missing(column.cells[p])) {
      out.reason[p] = "no value in '" + column.name + "'";
    } else {
      out.label[p] = same_value(column.cells[p], settings.positive_class) ? 1 : 0;
    }
  }
}

Outcome resolve_endpoint(const EndpointSettings& settings,
                         const Patients& patients,
                         Cohort& cohort) {
  Endpoint& endpoint = cohort.endpoint;
  endpoint.name = settings.name;
  endpoint.description = settings.description;
  endpoint.column = settings.column;
  endpoint.time_column = settings.time_column;
  endpoint.event_column = settings.event_column;
  endpoint.competing_column = settings.competing_column;
  endpoint.horizon_months = settings.horizon_months;
  endpoint.is_recurrence = is_recurrence_endpoint(settings.name);
  endpoint.is_vital_status =
      is_vital_column(settings.column.empty() ? settings.event_column : settings.column);

  const std::size_t n = patients.ids.size();
  Outcome out{std::vector<int>(n, -1),
              std::vector<double>(n, std::numeric_limits<double>::quiet_NaN()),
              std::vector<int>(n, -1),
              std::vector<std::string>(n),
              {}};
  if (!settings.time_column.empty()) resolve_time(settings, patients, cohort, out);
  if (!settings.competing_column.empty()) resolve_competing(settings, patients, cohort, out);
  if (!settings.column.empty()) {
    label_from_column(settings, patients, cohort, out);
  } else {
    const std::string months = format_double(settings.horizon_months) + " months";
    endpoint.positive_class = "event by " + months;
    endpoint.negative_class = "event-free at " + months;
    label_at_horizon(settings.horizon_months, out);
  }
  const auto words_or = [](const std::string& words, const std::string& fallback) {
    return words.empty() ? fallback : words;
  };
  const std::string equals = settings.column.empty() ? "" : settings.column + " = ";
  endpoint.positive_label = words_or(settings.positive_label, equals + endpoint.positive_class);
  endpoint.negative_label = words_or(settings.negative_label, equals + endpoint.negative_class);
  return out;
}

// ---- Covariates
// ----------------------------------------------------------------------------------

// Text with so many different values that it names patients rather than describes them.
std::string not_a_covariate(const Cohort& cohort, const Column& column) {
  std::set<std::string> texts;
  std::size_t known = 0;
  bool numeric = true;
  for (const auto& cell : column.cells) {
    if (cohort.is_missing(cell)) continue;
    ++known;
    numeric = numeric && parse_double(cell).has_value();
    texts.insert(cell);
  }
  if (known == 0) return "no value in it";
  if (!numeric && texts.size() > 30 && texts.size() * 10 > known) {
    return std::to_string(texts.size()) + " different texts: an identifier or free text";
  }
  return "";
}

// A column of numbers with a stray text in it. No model can take it, and which of the two is meant
// is not for us to guess; better said now than when a fold meets the text.
void refuse_mixed(const Cohort& cohort, const Column& column) {
  std::size_t numbers = 0, known = 0;
  const std::string* text = nullptr;
  for (const auto& cell : column.cells) {
    if (cohort.is_missing(cell)) continue;
    ++known;
    if (parse_double(cell)) {
      ++numbers;
    } else if (text == nullptr) {
      text = &cell;
    }
  }
  if (text == nullptr || 2 * numbers <= known) return;
  data_error("column '" + column.name + "': '" + *text + "', expected a number as in " +
             std::to_string(numbers) + " of " + std::to_string(known) +
             " cells; mend it, or name the column in [clinical] categorical or drop, or the text "
             "in [clinical] missing");
}

void choose_covariates(const CohortSettings& settings, Patients& patients, Cohort& cohort) {
  const ClinicalSettings& clinical = settings.clinical;
  const auto check_names = [&](const StringList& names, const char* key) {
    for (const auto& name : names) need_column(patients, name, std::string("[clinical] ") + key);
  };
  check_names(clinical.columns, "columns");
  check_names(clinical.drop, "drop");
  check_names(clinical.categorical, "categorical");
  for (const auto& [name, levels] : clinical.ordinal) {
    need_column(patients, name, "[clinical] ordinal");
  }
  const EndpointSettings& endpoint = settings.endpoint;
  StringList outcomes;
  for (auto& column : patients.columns) {
    const std::string& name = column.name;
    const auto drop = [&](const std::string& reason) {
      cohort.dropped_columns.emplace_back(name, reason);
    };
    const bool named = contains(clinical.columns, name);
    const bool is_endpoint = name == endpoint.column || name == endpoint.time_column ||
                             name == endpoint.event_column || name == endpoint.competing_column;
    if (is_endpoint || name == settings.split.column) {
      if (named) {
        throw Error(ErrorKind::kUsage,
                    "[clinical] columns names '" + name + "', which is the " +
                        (is_endpoint ? "endpoint" : "split") + ": it cannot be a covariate");
      }
      drop(is_endpoint ? "the endpoint" : "the split");
      continue;
    }
    if (!clinical.enabled && column.table != "genomic") {
      drop("[clinical] is not enabled");
      continue;
    }
    if (contains(clinical.drop, name)) {
      drop("named in drop");
      continue;
    }
    const bool is_outcome = looks_like_outcome(name);
    if (!clinical.columns.empty() && !named && column.table != "genomic") {
      drop("not named in columns");
      continue;
    }
    if (named) {
      if (is_outcome) {
        cohort.findings.push_back(
            {"warning",
             "outcome_covariate",
             "covariate '" + name +
                 "' sounds like an outcome: knowing it may give the answer away"});
      }
    } else if (is_outcome) {
      drop("sounds like an outcome");
      outcomes.push_back(name);
      continue;
    } else if (const std::string reason = not_a_covariate(cohort, column); !reason.empty()) {
      drop(reason);
      continue;
    }
    if (!contains(clinical.categorical, name) && !clinical.ordinal.contains(name)) {
      refuse_mixed(cohort, column);
    }
    cohort.columns.push_back(std::move(column));
  }
  if (!outcomes.empty()) {
    cohort.findings.push_back({"info",
                               "outcome_columns",
                               count_of(outcomes.size(), "column", "columns") +
                                   " left out as an outcome: " + shown_values(outcomes)});
  }
}

// ---- Items
// ---------------------------------------------------------------------------------------

struct Candidate {
  std::string item;   // id: file stem or table id
  std::string shown;  // as outcomes name it
  fs::path file;      // empty when `values` is filled already
  std::vector<float> values;
  std::string case_id;  // empty = unknown
  std::string why_no_case;
  SlideFacts facts;
  std::size_t patient = kNone;
  std::string skipped;  // reason
  std::string failed;   // reason
};

std::string mmist_case(const std::string& name) {
  const std::string id = case_id_of(name);
  if (id != trim(name)) return id;
  const auto dash = id.rfind('-');
  if (source_of(id) != "other" || dash == std::string::npos || dash == 0) return id;
  return id.substr(0, dash);
}

// Item -> patient from a slide table (PATIENT, FILENAME), a CLAM data set (case_id, slide_id) or
// any table whose columns are named. Keys are file names, with and without their extensions.
std::map<std::string, std::string> read_map(const ModalitySettings& settings) {
  const ItemMap table =
      read_item_map(settings.map, settings.map_case_column, settings.map_item_column);
  std::map<std::string, std::string> map;
  for (const auto& [item, patient] : table) {
    for (const std::string& key : {item, io_stem(item)}) {
      const auto [at, is_new] = map.emplace(key, patient);
      if (!is_new && normalised_case_id(at->second) != normalised_case_id(patient)) {
        data_error(settings.map.filename().string() + ": item '" + key +
                   "' belongs to two patients");
      }
    }
  }
  return map;
}

void add_file(const fs::path& file, std::vector<Candidate>& out) {
  Candidate candidate;
  candidate.file = file;
  candidate.item = io_stem(file.filename().string());
  candidate.shown = file.filename().string();
  out.push_back(std::move(candidate));
}

std::string lower_extension(const fs::path& file) { return to_lower(file.extension().string()); }

bool is_table_file(const fs::path& file) {
  const std::string extension = lower_extension(file);
  return extension == ".csv" || extension == ".tsv";
}

void list_folder(const fs::path& folder, bool recursive, std::vector<Candidate>& out) {
  std::vector<fs::path> files;
  std::error_code error;
  const auto keep = [&](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    if (name.empty() || name.front() == '.') return;
    if (entry.is_directory()) return;
    files.push_back(entry.path());
  };
  if (recursive) {
    for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      keep(*it);
    }
  } else {
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      keep(*it);
    }
  }
  if (error) throw Error(ErrorKind::kIo, folder.string() + ": " + error.message());
  std::sort(files.begin(), files.end());
  // "<item>.json" beside "<item>.npy" is its record (pipeline/volumes), no item of its own.
  const auto is_record = [&](const fs::path& file) {
    if (lower_extension(file) != ".json") return false;
    fs::path features = file;
    return std::binary_search(files.begin(), files.end(), features.replace_extension(".npy"));
  };
  for (const auto& file : files) {
    if (!is_record(file)) add_file(file, out);
  }
}

void list_table(const fs::path& file, std::vector<Candidate>& out) {
  const FeatureTable table = read_feature_table(file);
  for (std::size_t r = 0; r < table.case_ids.size(); ++r) {
    Candidate candidate;
    candidate.case_id = table.case_ids[r];
    candidate.item = table.item_ids.empty() ? table.case_ids[r] : table.item_ids[r];
    candidate.shown = candidate.item;
    const auto row = table.values.row(r);
    candidate.values.assign(row.begin(), row.end());
    out.push_back(std::move(candidate));
  }
}

std::vector<Candidate> list_items(const ModalitySettings& settings) {
  std::vector<Candidate> out;
  for (const auto& path : settings.features) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      list_folder(path, settings.case_from == "folder", out);
    } else if (!fs::exists(path, error)) {
      throw Error(ErrorKind::kNotFound,
                  "[" + settings.section + "] features: " + path.string() + " does not exist");
    } else if (is_table_file(path)) {
      list_table(path, out);
    } else {
      add_file(path, out);
    }
  }
  const bool slides = settings.section == "wsi";
  std::map<std::string, std::string> map;
  if (settings.case_from == "map") map = read_map(settings);
  for (auto& candidate : out) {
    const bool from_table = candidate.file.empty();
    const std::string& name = candidate.item;
    if (settings.case_from == "map") {
      auto found = map.find(candidate.file.filename().string());
      if (found == map.end()) found = map.find(name);
      if (found == map.end()) {
        candidate.case_id.clear();
        candidate.why_no_case = "not in " + settings.map.filename().string();
      } else {
        candidate.case_id = case_id_of(found->second);
      }
    } else if (from_table) {
      candidate.case_id = case_id_of(candidate.case_id);
    } else if (settings.case_from == "folder") {
      candidate.case_id = case_id_of(candidate.file.parent_path().filename().string());
    } else if (settings.case_from == "mmist") {
      candidate.case_id = mmist_case(name);
    } else {
      candidate.case_id = case_id_of(name);
    }
    // A scan's running number looks like a sample type (TCGA-CW-5585-11), so only slides are
    // parsed.
    if (slides) candidate.facts = slide_facts(name);
  }
  std::stable_sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
    return a.item != b.item ? a.item < b.item : a.file < b.file;
  });
  // Series of different patients may share a name under case_from = folder.
  for (std::size_t i = 1; i < out.size(); ++i) {
    auto& first = out[i - 1];
    auto& second = out[i];
    if (first.item != second.item) continue;
    if (settings.case_from == "folder" && first.case_id != second.case_id) continue;
    second.skipped = "a second file of the item '" + second.item + "'";
  }
  if (settings.case_from == "folder") {
    for (auto& candidate : out) {
      if (!candidate.file.empty()) candidate.item = candidate.case_id + "/" + candidate.item;
    }
    std::stable_sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
      return a.item < b.item;
    });
  }
  return out;
}

void count_slide(Cohort& cohort, const SlideFacts& facts, bool used) {
  auto& counts = cohort.slide_counts;
  auto at = std::find_if(counts.begin(), counts.end(), [&](const SlideCount& c) {
    return c.slide == facts.slide && c.sample == facts.sample;
  });
  if (at == counts.end()) {
    counts.push_back({facts.slide, facts.sample, 0, 0});
    at = counts.end() - 1;
  }
  ++at->found;
  if (used) ++at->used;
}

void find_patients(const ModalitySettings& settings,
                   const Patients& patients,
                   const Outcome& outcome,
                   std::vector<Candidate>& items,
                   Cohort& cohort) {
  std::size_t variants = 0;
  for (auto& item : items) {
    if (!item.failed.empty() || !item.skipped.empty()) continue;
    if (item.case_id.empty()) {
      item.skipped = item.why_no_case.empty() ? "no patient id in its name" : item.why_no_case;
      continue;
    }
    const auto found = patients.index.find(normalised_case_id(item.case_id));
    if (found == patients.index.end()) {
      item.skipped = "its patient is not in the clinical table";
      continue;
    }
    if (patients.ids[found->second] != item.case_id) ++variants;
    if (outcome.label[found->second] < 0) {
      item.skipped = "its patient has no label: " + outcome.reason[found->second];
      continue;
    }
    item.patient = found->second;
    if (settings.section != "wsi") continue;
    const std::string slide = to_string(item.facts.slide);
    const std::string sample = to_string(item.facts.sample);
    if (!contains(settings.sample_kinds, sample)) {
      item.skipped = "tissue kind '" + sample + "' is not in sample_kinds";
    } else if (!contains(settings.slide_kinds, slide)) {
      item.skipped = "slide kind '" + slide + "' is not in slide_kinds";
    }
  }
  if (variants > 0) {
    cohort.findings.push_back({"warning",
                               "id_variant",
                               settings.section + ": " +
                                   count_of(variants, "item spells", "items spell") +
                                   " the patient's id differently from the clinical table"});
  }
}

void read_item(Candidate& item) {
  if (!item.file.empty()) {
    const Matrix<float> rows = read_features(item.file);
    if (rows.rows() == 0 || rows.cols() == 0) {
      item.failed = "no vector in it";
      return;
    }
    std::vector<double> sum(rows.cols(), 0.0);
    for (std::size_t r = 0; r < rows.rows(); ++r) {
      for (std::size_t c = 0; c < rows.cols(); ++c) sum[c] += static_cast<double>(rows(r, c));
    }
    item.values.resize(rows.cols());
    for (std::size_t c = 0; c < rows.cols(); ++c) {
      item.values[c] = static_cast<float>(sum[c] / static_cast<double>(rows.rows()));
    }
  }
  for (const float value : item.values) {
    if (!std::isfinite(value)) {
      item.failed = "a value is not finite";
      return;
    }
  }
}

std::vector<FeatureMaker> makers_of_used(const ModalitySettings& settings,
                                         const std::vector<Candidate>& items) {
  std::vector<fs::path> files;
  for (const auto& item : items) {
    if (!item.file.empty() && item.skipped.empty() && item.failed.empty()) {
      files.push_back(item.file);
    }
  }
  std::error_code error;
  for (const auto& path : settings.features) {
    if (!fs::is_directory(path, error) && is_table_file(path)) files.push_back(path);
  }
  return makers_of(files, settings.section);
}

Modality load_modality(const ModalitySettings& settings,
                       const Patients& patients,
                       const Outcome& outcome,
                       Progress& progress,
                       int threads,
                       Cohort& cohort) {
  const std::string& name = settings.section;
  std::vector<Candidate> items = list_items(settings);
  find_patients(settings, patients, outcome, items, cohort);

  progress.start("reading " + name, items.size());
  parallel_for(items.size(), threads, [&](std::size_t i) {
    Candidate& item = items[i];
    if (item.skipped.empty() && item.failed.empty()) {
      try {
        read_item(item);
      } catch (const std::exception& error) {
        item.failed = describe(error);
      }
    }
    progress.advance();
  });
  progress.finish();

  Modality modality;
  modality.name = name;
  modality.width = static_cast<std::size_t>(settings.width);
  if (modality.width == 0) {
    std::map<std::size_t, std::size_t> votes;
    for (const auto& item : items) {
      if (item.skipped.empty() && item.failed.empty()) ++votes[item.values.size()];
    }
    std::size_t best = 0;
    for (const auto& [width, count] : votes) {
      if (count <= best) continue;
      best = count;
      modality.width = width;
    }
  }
  std::map<std::string, std::size_t> reasons;
  std::size_t failed = 0;
  modality.items_of_patient.resize(patients.ids.size());
  for (auto& item : items) {
    if (item.skipped.empty() && item.failed.empty() && item.values.size() != modality.width) {
      item.failed = "a vector of " + std::to_string(item.values.size()) + " values, expected " +
                    std::to_string(modality.width);
    }
    const bool used = item.skipped.empty() && item.failed.empty();
    if (settings.section == "wsi" && item.patient != kNone) {
      count_slide(cohort, item.facts, used);
    }
    if (!used) {
      const std::string& reason = item.failed.empty() ? item.skipped : item.failed;
      ++reasons[reason];
      if (!item.failed.empty()) ++failed;
      cohort.outcomes.push_back(
          {name, item.shown, item.failed.empty() ? "skipped" : "failed", reason});
      continue;
    }
    cohort.outcomes.push_back({name, item.shown, "used", ""});
    modality.items_of_patient[item.patient].push_back(modality.item_ids.size());
    modality.item_ids.push_back(item.item);
    modality.patient_of_item.push_back(item.patient);
    modality.facts.push_back(item.facts);
    modality.items.append_row(item.values);
  }
  if (modality.item_ids.empty()) {
    std::string why =
        items.empty() ? "there is no file" : "none of " + std::to_string(items.size());
    std::size_t shown = 0;
    for (const auto& [reason, count] : reasons) {
      if (++shown > 3) break;
      why += (shown == 1 ? ": " : "; ") + std::to_string(count) + " x " + reason;
    }
    data_error("[" + settings.section + "] no usable item: " + why);
  }
  modality.makers = makers_of_used(settings, items);
  if (modality.makers.size() > 1) {
    std::vector<std::string> names;
    for (const auto& maker : modality.makers) names.push_back(maker.text());
    cohort.findings.push_back({"warning",
                               "mixed_encoders",
                               name + ": features of several encoders: " + join(names, ", ")});
  }
  if (failed > 0) {
    cohort.findings.push_back({"warning",
                               "failed_items",
                               name + ": " + count_of(failed, "item", "items") +
                                   " could not be used; outcomes name each with its reason"});
  }
  return modality;
}

// ---- Putting it together
// -------------------------------------------------------------------------

FlowStep count_reasons(const std::string& label,
                       const std::vector<std::string>& reasons,
                       std::size_t n_left) {
  std::map<std::string, std::size_t> counts;
  for (const auto& reason : reasons) {
    if (!reason.empty()) ++counts[reason];
  }
  return {label, n_left, {counts.begin(), counts.end()}};
}

void read_split(const SplitSettings& settings, const Patients& patients, Cohort& cohort) {
  cohort.split.assign(patients.ids.size(), "");
  if (settings.column.empty()) return;
  const Column& column = need_column(patients, settings.column, "[split] column");
  std::map<std::string, std::size_t> unknown;
  bool train = false, test = false;
  const auto matches = [](const StringList& values, const std::string& cell) {
    return std::any_of(
        values.begin(), values.end(), [&](const std::string& v) { return same_value(v, cell); });
  };
  for (std::size_t p = 0; p < patients.ids.size(); ++p) {
    const std::string& cell = column.cells[p];
    if (matches(settings.train, cell)) {
      cohort.split[p] = "train";
      train = true;
    } else if (matches(settings.test, cell)) {
      cohort.split[p] = "test";
      test = true;
    } else {
      ++unknown[cohort.is_missing(cell) ? "(missing)" : cell];
    }
  }
  if (!train || !test) {
    StringList values;
    for (const auto& [value, count] : unknown) values.push_back(value);
    data_error("[split] column '" + column.name + "' has no " +
               std::string(train ? "test" : "training") + " patient" +
               (values.empty() ? "" : "; other values: " + shown_values(values)));
  }
  for (const auto& [value, count] : unknown) {
    cohort.findings.push_back({"warning",
                               "unknown_split",
                               count_of(count, "patient has", "patients have") + " the split '" +
                                   value + "', neither training nor test"});
  }
}

template <class T>
void take(std::vector<T>& values, const std::vector<std::size_t>& keep) {
  std::vector<T> out;
  out.reserve(keep.size());
  for (const std::size_t i : keep) out.push_back(values[i]);
  values = std::move(out);
}

void keep_patients(Cohort& cohort, const std::vector<std::size_t>& keep, std::size_t n) {
  take(cohort.case_ids, keep);
  for (auto& column : cohort.columns) take(column.cells, keep);
  take(cohort.has_clinical, keep);
  take(cohort.split, keep);
  std::vector<std::size_t> new_index(n, kNone);
  for (std::size_t i = 0; i < keep.size(); ++i) new_index[keep[i]] = i;
  for (auto& modality : cohort.modalities) {
    take(modality.items_of_patient, keep);
    for (auto& patient : modality.patient_of_item) patient = new_index[patient];
  }
}

void hash_text(Sha256& hash, const std::string& text) {
  // The length in front keeps "a","bc" apart from "ab","c".
  hash.update(std::to_string(text.size()) + ":");
  hash.update(text);
}

std::string content_hash(const Cohort& cohort) {
  Sha256 hash;
  hash_text(hash, cohort.endpoint.name);
  hash_text(hash, cohort.endpoint.positive_class);
  hash_text(hash, format_double(cohort.endpoint.horizon_months));
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    hash_text(hash, cohort.case_ids[p]);
    hash_text(hash, std::to_string(cohort.label[p]));
    hash_text(hash, format_double(cohort.time_months[p]));
    hash_text(hash, std::to_string(cohort.event[p]));
    if (!cohort.competing.empty()) hash_text(hash, std::to_string(cohort.competing[p]));
    hash_text(hash, cohort.split[p]);
  }
  for (const auto& column : cohort.columns) {
    hash_text(hash, column.name);
    for (const auto& cell : column.cells) hash_text(hash, cell);
  }
  for (const auto& modality : cohort.modalities) {
    hash_text(hash, modality.name);
    for (std::size_t i = 0; i < modality.item_ids.size(); ++i) {
      hash_text(hash, modality.item_ids[i]);
      hash_text(hash, cohort.case_ids[modality.patient_of_item[i]]);
    }
    hash.update(modality.items.data(), modality.items.size() * sizeof(float));
  }
  return hash.hex();
}

}  // namespace

Matrix<float> Modality::mean_by_patient() const {
  Matrix<float> out(items_of_patient.size(), width);
  std::vector<double> sum(width);
  for (std::size_t p = 0; p < items_of_patient.size(); ++p) {
    if (items_of_patient[p].empty()) continue;
    std::fill(sum.begin(), sum.end(), 0.0);
    for (const std::size_t i : items_of_patient[p]) {
      for (std::size_t c = 0; c < width; ++c) sum[c] += static_cast<double>(items(i, c));
    }
    const auto n = static_cast<double>(items_of_patient[p].size());
    for (std::size_t c = 0; c < width; ++c) out(p, c) = static_cast<float>(sum[c] / n);
  }
  return out;
}

bool is_missing_cell(const std::string& cell) {
  static const std::set<std::string> kWords = {"",
                                               "na",
                                               "n/a",
                                               "nan",
                                               "null",
                                               "none",
                                               "--",
                                               "'--",
                                               "#n/a",
                                               "not reported",
                                               "unknown",
                                               "[not available]",
                                               "[not applicable]",
                                               "[not evaluated]",
                                               "[unknown]",
                                               "[discrepancy]",
                                               "[completed]",
                                               "not available",
                                               "?"};
  return kWords.count(to_lower(trim(cell))) > 0;
}

bool Cohort::is_missing(const std::string& cell) const {
  if (is_missing_cell(cell)) return true;
  return std::any_of(missing_values.begin(), missing_values.end(), [&](const std::string& value) {
    return same_value(value, cell);
  });
}

std::vector<std::string> Cohort::modality_names() const {
  std::vector<std::string> names;
  if (!columns.empty()) names.emplace_back("clinical");
  for (const auto& modality : modalities) names.push_back(modality.name);
  return names;
}

const Modality* Cohort::find_modality(const std::string& wanted) const {
  for (const auto& modality : modalities) {
    if (modality.name == wanted) return &modality;
  }
  return nullptr;
}

namespace {

Cohort load(const CohortSettings& settings, Progress& progress, int threads, bool follow_up) {
  settings.validate();
  if (follow_up && settings.endpoint.time_column.empty()) {
    throw Error(ErrorKind::kUsage,
                "[endpoint] names no time_column and event_column: without them there is no time "
                "to event to analyse");
  }
  Cohort cohort;
  cohort.name = settings.cohort.name;
  cohort.description = settings.cohort.description;
  cohort.licence = settings.cohort.licence;
  cohort.synthetic = settings.cohort.synthetic;

  Patients patients = read_patients(settings, cohort);
  const std::size_t n = patients.ids.size();
  cohort.flow.push_back({"rows of the clinical table", patients.table_rows, {}});
  FlowStep people{"patients", n, {}};
  if (patients.table_rows > n) {
    people.excluded.emplace_back("further rows of the same patient", patients.table_rows - n);
  }
  cohort.flow.push_back(std::move(people));

  Outcome outcome = resolve_endpoint(settings.endpoint, patients, cohort);
  if (follow_up) keep_followed(settings.endpoint, outcome, cohort.endpoint);
  const auto labelled = static_cast<std::size_t>(
      std::count_if(outcome.label.begin(), outcome.label.end(), [](int l) { return l >= 0; }));
  cohort.flow.push_back(count_reasons("patients with the endpoint", outcome.reason, labelled));
  read_split(settings.split, patients, cohort);
  choose_covariates(settings, patients, cohort);
  cohort.case_ids = patients.ids;
  cohort.has_clinical.assign(n, false);
  for (const auto& column : cohort.columns) {
    for (std::size_t p = 0; p < n; ++p) {
      if (!cohort.is_missing(column.cells[p])) cohort.has_clinical[p] = true;
    }
  }
  for (const auto* modality : {&settings.ct, &settings.mri, &settings.wsi}) {
    if (!modality->enabled || modality->features.empty()) continue;
    cohort.modalities.push_back(
        load_modality(*modality, patients, outcome, progress, threads, cohort));
  }

  std::vector<std::size_t> keep;
  std::size_t bare = 0;
  for (std::size_t p = 0; p < n; ++p) {
    if (outcome.label[p] < 0) continue;
    bool any = cohort.has_clinical[p];
    for (const auto& modality : cohort.modalities) any = any || modality.has(p);
    if (any) {
      keep.push_back(p);
    } else {
      ++bare;
    }
  }
  FlowStep last{"patients with at least one modality", keep.size(), {}};
  if (bare > 0) last.excluded.emplace_back("no modality", bare);
  cohort.flow.push_back(std::move(last));

  keep_patients(cohort, keep, n);
  for (const std::size_t p : keep) {
    cohort.label.push_back(static_cast<std::uint8_t>(outcome.label[p]));
    cohort.time_months.push_back(outcome.time_months[p]);
    cohort.event.push_back(outcome.event[p]);
    if (!outcome.competing.empty()) cohort.competing.push_back(outcome.competing[p]);
  }
  const auto positives = std::count(cohort.label.begin(), cohort.label.end(), 1);
  if (positives == 0 || static_cast<std::size_t>(positives) == cohort.label.size()) {
    data_error("endpoint '" + cohort.endpoint.name + "': all " +
               std::to_string(cohort.label.size()) + " usable patients are of one class (" +
               (positives == 0 ? cohort.endpoint.negative_label : cohort.endpoint.positive_label) +
               "): nothing can be learnt from it");
  }
  for (const auto& id : cohort.case_ids) {
    cohort.source.push_back(source_of(id));
    cohort.site.push_back(site_of(id).value_or(""));
  }
  std::sort(cohort.slide_counts.begin(),
            cohort.slide_counts.end(),
            [](const SlideCount& a, const SlideCount& b) {
              return a.slide != b.slide ? a.slide < b.slide : a.sample < b.sample;
            });
  cohort.sha256 = content_hash(cohort);
  return cohort;
}

}  // namespace

Cohort load_cohort(const CohortSettings& settings, Progress& progress, int threads) {
  return load(settings, progress, threads, false);
}

Cohort load_follow_up_cohort(const CohortSettings& settings, Progress& progress, int threads) {
  return load(settings, progress, threads, true);
}

Cohort load_new_patients(const CohortSettings& settings, Progress& progress, int threads) {
  Cohort cohort;
  cohort.missing_values = settings.clinical.missing;
  Patients patients;
  if (settings.clinical.enabled) patients = read_patients(settings, cohort);
  const std::size_t in_table = patients.ids.size();
  for (const auto* modality : {&settings.ct, &settings.mri, &settings.wsi}) {
    if (!modality->enabled || modality->features.empty()) continue;
    for (const auto& item : list_items(*modality)) {
      if (item.case_id.empty()) continue;
      const std::string key = normalised_case_id(item.case_id);
      if (!patients.index.emplace(key, patients.ids.size()).second) continue;
      patients.ids.push_back(item.case_id);
    }
  }
  const std::size_t n = patients.ids.size();
  for (auto& column : patients.columns) column.cells.resize(n);
  Outcome outcome;
  outcome.label.assign(n, 0);
  outcome.time_months.assign(n, std::nan(""));
  outcome.event.assign(n, -1);
  outcome.reason.resize(n);
  cohort.case_ids = patients.ids;
  cohort.columns = std::move(patients.columns);
  // A patient of the table has a row even if every cell of it is blank: imputation will say so.
  cohort.has_clinical.assign(n, false);
  std::fill_n(cohort.has_clinical.begin(), in_table, true);
  cohort.label.assign(n, 0);
  cohort.time_months = outcome.time_months;
  cohort.event = outcome.event;
  cohort.split.resize(n);
  for (const auto* modality : {&settings.ct, &settings.mri, &settings.wsi}) {
    if (!modality->enabled || modality->features.empty()) continue;
    cohort.modalities.push_back(
        load_modality(*modality, patients, outcome, progress, threads, cohort));
  }
  for (const auto& id : cohort.case_ids) {
    cohort.source.push_back(source_of(id));
    cohort.site.push_back(site_of(id).value_or(""));
  }
  return cohort;
}

}  // namespace med3d::pipeline
