#include "med3d/pipeline/patient_table.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <map>
#include <set>
#include <string_view>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/leaks.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// "Patient ID", "patient_id" and "PatientID" are one name.
std::string plain_name(std::string_view text) {
  std::string out;
  for (const char c : to_lower(text)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) out += c;
  }
  return out;
}

std::size_t find_exact(const std::vector<std::string>& header, std::string_view name) {
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (header[i] == name) return i;
  }
  return kNone;
}

// The first of `names` that is in the header, in the order of `names`.
std::size_t find_usual(const std::vector<std::string>& header,
                       std::initializer_list<std::string_view> names) {
  for (const auto name : names) {
    for (std::size_t i = 0; i < header.size(); ++i) {
      if (plain_name(header[i]) == name) return i;
    }
  }
  return kNone;
}

bool has(const std::vector<std::string>& header, std::string_view name) {
  return find_exact(header, name) != kNone;
}

std::string detect_format(const std::vector<std::string>& header) {
  if (has(header, "case_id") && has(header, "vital_status_12") && has(header, "Split")) {
    return "mmist";
  }
  if (has(header, "censorship") && has(header, "survival_months") && has(header, "slide_id")) {
    return "porpoise";
  }
  if (has(header, "bcr_patient_barcode")) return "tcga-cdr";
  if (has(header, "case_submitter_id") || has(header, "cases.submitter_id")) return "gdc";
  if (has(header, "PATIENT_ID") || (has(header, "Patient ID") && has(header, "Study ID"))) {
    return "cbioportal";
  }
  if (has(header, "PATIENT")) return "stamp";
  return "plain";
}

std::size_t id_index(const Table& table,
                     const std::string& source,
                     const std::string& id_column,
                     const std::string& format) {
  const auto& header = table.columns;
  if (!id_column.empty()) {
    const std::size_t at = find_exact(header, id_column);
    if (at != kNone) return at;
    throw Error(ErrorKind::kNotFound,
                source + ": no id column '" + id_column + "'" + did_you_mean(id_column, header));
  }
  // A GDC table's case_id is a UUID that no file name carries.
  std::size_t at = kNone;
  if (format == "gdc") at = find_usual(header, {"casesubmitterid", "casessubmitterid"});
  if (at == kNone) {
    at = find_usual(header,
                    {"caseid",
                     "patientid",
                     "patient",
                     "bcrpatientbarcode",
                     "casesubmitterid",
                     "submitterid",
                     "subjectid",
                     "case",
                     "subject"});
  }
  if (at != kNone) return at;
  throw Error(ErrorKind::kNotFound,
              source +
                  ": no column of patient ids (case_id, patient_id, PatientID, PATIENT, "
                  "bcr_patient_barcode, case_submitter_id); name it in [clinical] id_column");
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

// "1.2E+05" or "05-Jan" / "Jan-05".
bool looks_mangled(std::string_view id) {
  if (parse_double(id) && id.find("E+") != std::string_view::npos) return true;
  const auto dash = id.find('-');
  if (dash == std::string_view::npos) return false;
  const auto left = id.substr(0, dash);
  const auto right = id.substr(dash + 1);
  const auto month = [](std::string_view text) {
    static const std::set<std::string, std::less<>> kMonths = {
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
    return text.size() == 3 && std::all_of(text.begin(), text.end(), is_letter) &&
           kMonths.count(to_lower(text)) > 0;
  };
  const auto day = [](std::string_view text) {
    return (text.size() == 1 || text.size() == 2) &&
           std::all_of(text.begin(), text.end(), is_digit);
  };
  return (month(left) && day(right)) || (day(left) && month(right));
}

void refuse_spreadsheet(const fs::path& path) {
  const std::string extension = to_lower(path.extension().string());
  if (extension == ".xlsx" || extension == ".xls" || extension == ".ods") {
    throw Error(ErrorKind::kUnsupported,
                path.string() + ": a spreadsheet file; save the sheet as CSV");
  }
}

std::string row_list(std::vector<std::string> rows) {
  if (rows.size() > 6) {
    rows.resize(6);
    rows.push_back("...");
  }
  return join(rows, ", ");
}

}  // namespace

PatientTable read_patient_table(const fs::path& path,
                                const std::string& format,
                                const std::string& id_column) {
  refuse_spreadsheet(path);
  const Table table = read_table(path);
  PatientTable out;
  out.source = path.filename().string();
  out.format = format == "auto" || format.empty() ? detect_format(table.columns) : format;
  const std::size_t id_at = id_index(table, out.source, id_column, out.format);
  out.id_column = table.columns[id_at];
  const bool merges = out.format == "porpoise" || out.format == "cbioportal" || out.format == "gdc";

  // Rows by patient, in the order of the file.
  struct Rows {
    std::string id;
    std::vector<std::size_t> rows;
  };
  std::vector<Rows> patients;
  std::map<std::string, std::size_t> seen;
  std::vector<std::string> without_id;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const auto& row = table.rows[r];
    const bool blank = std::all_of(
        row.begin(), row.end(), [](const std::string& cell) { return trim(cell).empty(); });
    if (blank) continue;
    ++out.row_count;
    const std::string_view cell = trim(row[id_at]);
    if (cell.empty()) {
      without_id.push_back(std::to_string(table.line_of_row[r]));
      continue;
    }
    if (looks_mangled(cell)) ++out.mangled_ids;
    const std::string id = case_id_of(cell);
    const auto [at, is_new] = seen.emplace(normalised_case_id(id), patients.size());
    if (is_new) {
      patients.push_back({id, {r}});
      continue;
    }
    Rows& first = patients[at->second];
    if (!merges) {
      const bool spelled = trim(table.rows[first.rows[0]][id_at]) != cell;
      const std::string message =
          out.source + ": lines " + std::to_string(table.line_of_row[first.rows[0]]) + " and " +
          std::to_string(table.line_of_row[r]) + " are the same patient" +
          (spelled ? " under two spellings" : "") + " in column '" + out.id_column + "'";
      // Read as two patients, one would be learnt from and judged on, whatever the split.
      if (spelled) throw LeakError(message);
      throw Error(ErrorKind::kData, message);
    }
    first.rows.push_back(r);
  }
  if (!without_id.empty()) {
    throw Error(ErrorKind::kData,
                out.source + ": no patient id in column '" + out.id_column + "' of line " +
                    row_list(without_id));
  }
  if (patients.empty()) throw Error(ErrorKind::kData, out.source + ": no row with a patient");

  std::vector<std::size_t> kept;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (c == id_at) continue;
    const std::string name(trim(table.columns[c]));
    if (c == 0 && name == "index") {
      out.dropped.emplace_back(name, "a row number");
      continue;
    }
    bool differs = false;
    for (const auto& patient : patients) {
      for (const std::size_t r : patient.rows) {
        differs = differs || trim(table.rows[r][c]) != trim(table.rows[patient.rows.front()][c]);
      }
    }
    if (differs) {
      out.dropped.emplace_back(name, "differs between rows of one patient");
      continue;
    }
    kept.push_back(c);
    out.header.push_back(name);
  }
  for (const auto& patient : patients) {
    out.ids.push_back(patient.id);
    auto& row = out.rows.emplace_back();
    for (const std::size_t c : kept) {
      row.emplace_back(trim(table.rows[patient.rows.front()][c]));
    }
  }
  return out;
}

ItemMap read_item_map(const fs::path& path,
                      const std::string& case_column,
                      const std::string& item_column) {
  refuse_spreadsheet(path);
  const Table table = read_table(path);
  const std::string source = path.filename().string();
  const std::size_t case_at = id_index(table, source, case_column, "plain");
  std::size_t item_at = item_column.empty() ? find_usual(table.columns,
                                                         {"filename",
                                                          "slideid",
                                                          "itemid",
                                                          "item",
                                                          "file",
                                                          "slide",
                                                          "seriesinstanceuid",
                                                          "seriesuid",
                                                          "imageid"})
                                            : find_exact(table.columns, item_column);
  if (item_at == kNone) {
    throw Error(ErrorKind::kNotFound,
                source + ": no column of items" +
                    (item_column.empty()
                         ? std::string(" (FILENAME, slide_id); name it in "
                                       "map_item_column")
                         : " '" + item_column + "'" + did_you_mean(item_column, table.columns)));
  }
  ItemMap out;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string item(trim(table.rows[r][item_at]));
    const std::string patient(trim(table.rows[r][case_at]));
    if (item.empty() && patient.empty()) continue;
    if (item.empty() || patient.empty()) {
      throw Error(ErrorKind::kData,
                  source + ": line " + std::to_string(table.line_of_row[r]) + " has no " +
                      (item.empty() ? "item" : "patient"));
    }
    out.emplace_back(item, patient);
  }
  return out;
}

std::string io_stem(const std::string& file_name) {
  static constexpr std::array<std::string_view, 22> kExtensions = {
      ".npz", ".npy", ".h5",     ".hdf5", ".pt",   ".pth",  ".safetensors", ".csv",
      ".tsv", ".svs", ".tif",    ".tiff", ".ndpi", ".mrxs", ".scn",         ".vms",
      ".bif", ".dcm", ".nii.gz", ".nii",  ".jpg",  ".png"};
  const std::string lower = to_lower(file_name);
  for (const auto extension : kExtensions) {
    if (lower.size() > extension.size() && lower.ends_with(extension)) {
      return file_name.substr(0, file_name.size() - extension.size());
    }
  }
  return file_name;
}

}  // namespace med3d::pipeline
