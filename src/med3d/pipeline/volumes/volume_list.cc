#include "med3d/pipeline/volumes/volume_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/dicom.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/pipeline/volumes/volume_files.h"
#include "med3d/radiology/dicom_series.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr DicomTag kModality = 0x00080060;
constexpr DicomTag kPatientId = 0x00100020;
constexpr std::size_t kMaxFiles = 1'000'000;
constexpr std::size_t kSeriesDigits = 16;
constexpr std::size_t kPatientDigits = 12;

// The name without .nii or .nii.gz.
std::string nifti_stem(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string lower = to_lower(name);
  for (const std::string_view ending : {".nii.gz", ".nii"}) {
    if (lower.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  }
  return name;
}

// "CT" and "MR" under their usual names.
std::string modality_word(std::string_view text) {
  const std::string lower = to_lower(trim(text));
  if (lower == "ct") return "CT";
  if (lower == "mr" || lower == "mri") return "MR";
  const bool is_word = lower.size() >= 2 && lower.size() <= 16 &&
                       lower.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == lower.npos;
  return is_word ? "another" : "";
}

std::string sidecar_modality(const fs::path& nifti) {
  const fs::path sidecar = nifti.parent_path() / (nifti_stem(nifti) + ".json");
  std::error_code error;
  if (!fs::is_regular_file(sidecar, error)) return "";
  try {
    const Json json = read_json(sidecar);
    for (const char* key : {"Modality", "modality"}) {
      if (json.contains(key) && json.at(key).is_string()) {
        return modality_word(json.at(key).get<std::string>());
      }
    }
  } catch (const std::exception&) {
    // A sidecar of another program, or a damaged one, tells nothing.
  }
  return "";
}

fs::path mask_of(const fs::path& masks, const std::string& series, const std::string& stem) {
  if (masks.empty()) return {};
  std::error_code error;
  for (const auto& name : {series, stem}) {
    for (const char* ending : {".nii.gz", ".nii"}) {
      const fs::path path = masks / (name + ending);
      if (fs::is_regular_file(path, error)) return path;
    }
  }
  return {};
}

class Search {
 public:
  explicit Search(const VolumeSearch& search) : search_(search) {}

  VolumeList run() {
    if (search_.places.empty() && search_.table.empty()) {
      throw Error(ErrorKind::kUsage, "no scan, folder or table of scans was named");
    }
    std::vector<fs::path> files;
    for (const auto& place : search_.places) add_place(place, files);
    add_dicom(files);
    if (!search_.table.empty()) add_table();
    if (list_.items.empty()) {
      throw Error(ErrorKind::kData,
                  fmt::format("no scan was found: {} files are neither DICOM images nor NIfTI",
                              list_.other_files));
    }
    std::ranges::stable_sort(list_.items, [](const VolumeItem& a, const VolumeItem& b) {
      return std::pair(a.patient, a.series) < std::pair(b.patient, b.series);
    });
    for (std::size_t i = 1; i < list_.items.size(); ++i) {
      VolumeItem& item = list_.items[i];
      const VolumeItem& before = list_.items[i - 1];
      if (item.patient == before.patient && item.series == before.series && item.problem.empty()) {
        item.problem = "another scan of the same patient has the same name";
      }
    }
    return std::move(list_);
  }

 private:
  void add_place(const fs::path& place, std::vector<fs::path>& dicom) {
    std::error_code error;
    const auto status = fs::status(place, error);
    if (!fs::exists(status)) {
      throw Error(ErrorKind::kNotFound, place.string() + ": no such file or folder");
    }
    if (!fs::is_directory(status)) {
      (is_nifti_name(place) ? nifti_ : dicom).push_back(place);
    } else {
      for (fs::recursive_directory_iterator
               at(place, fs::directory_options::skip_permission_denied, error),
           end;
           !error && at != end;
           at.increment(error)) {
        std::error_code ignored;
        if (at->is_symlink(ignored) || !at->is_regular_file(ignored)) continue;
        if (dicom.size() + nifti_.size() >= kMaxFiles) {
          throw Error(ErrorKind::kFormat, fmt::format("more than {} files to look at", kMaxFiles));
        }
        (is_nifti_name(at->path()) ? nifti_ : dicom).push_back(at->path());
      }
      if (error) {
        throw Error(ErrorKind::kIo, fmt::format("a folder cannot be read: {}", error.message()));
      }
    }
    std::ranges::sort(nifti_);
    for (auto& path : nifti_) list_.items.push_back(nifti_item(std::move(path)));
    nifti_.clear();
  }

  VolumeItem nifti_item(fs::path path) const {
    VolumeItem item;
    const std::string stem = nifti_stem(path);
    const std::string folder = path.parent_path().filename().string();
    const bool keep = search_.keep_names && safe_name(stem);
    if (is_ours(stem)) {
      item.patient = case_id_of(stem);
    } else if (is_ours(folder)) {  // <patient>/<series>.nii.gz, as `volume convert` writes
      item.patient = case_id_of(folder);
    } else {
      item.patient = keep ? stem : public_or_pseudonym(stem);
    }
    item.series = keep || is_key(stem) ? stem : series_key(item.patient, stem);
    item.modality = sidecar_modality(path);
    if (item.modality.empty()) item.modality = modality_word(search_.modality);
    item.mask = mask_of(search_.masks, item.series, stem);
    item.files = {std::move(path)};
    return item;
  }

  // The id of a public archive, or a pseudonym of ours.
  static bool is_ours(std::string_view name) {
    return source_of(case_id_of(name)) != "other" ||
           (name.starts_with("p-") && name.size() == 2 + kPatientDigits &&
            name.find_first_not_of("0123456789abcdef", 2) == name.npos);
  }
  static bool is_key(std::string_view name) {
    return name.size() == kSeriesDigits && name.find_first_not_of("0123456789abcdef") == name.npos;
  }

  void add_dicom(const std::vector<fs::path>& files) {
    FolderSeries found = group_series(files, search_.threads);
    list_.other_files += found.other_files;
    for (auto& series : found.series) list_.items.push_back(dicom_item(std::move(series)));
  }

  VolumeItem dicom_item(SeriesFiles series) const {
    VolumeItem item;
    try {
      const DicomFile file = DicomFile::read(series.files.front(), DicomPart::kHeader);
      item.patient = public_or_pseudonym(file.dataset().text(kPatientId));
      item.modality = modality_of(file.dataset().text(kModality));
    } catch (const Error& error) {
      item.patient = public_or_pseudonym("");
      item.problem = error.what();
    }
    item.series = series_key(item.patient, series.series_uid);
    item.files = std::move(series.files);
    item.mask = mask_of(search_.masks, item.series, item.series);
    return item;
  }

  // Words of the standard alone: anything else may hold whatever somebody typed.
  static std::string modality_of(const std::string& text) {
    static const std::set<std::string> kKnown = {
        "CT", "MR", "PT", "NM", "US", "XA", "CR", "DX", "MG", "RF", "OT", "SC", "SEG", "SR"};
    return kKnown.contains(text) ? text : "";
  }

  void add_table() {
    const Table table = read_table(search_.table);
    const auto one_of = [&](std::initializer_list<const char*> names) {
      std::optional<std::size_t> found;
      for (const char* name : names) {
        if (!found) found = table.find(name);
      }
      return found;
    };
    const auto path = one_of({"path", "filename", "file", "nifti"});
    const auto patient = one_of({"case_id", "patient", "patient_id"});
    if (!path || !patient) {
      throw Error(
          ErrorKind::kNotFound,
          fmt::format("{}: no column {}; there are {}",
                      search_.table.string(),
                      path ? "case_id (or patient, patient_id)" : "path (or filename, file, nifti)",
                      join(table.columns, ", ")));
    }
    const auto series = one_of({"series", "scan_id", "item_id"});
    const auto modality = one_of({"modality"});
    const auto mask = one_of({"mask"});
    const fs::path base = search_.table.parent_path();
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      const auto cell = [&](const std::optional<std::size_t>& column) {
        return column ? std::string(trim(table.rows[i][*column])) : std::string();
      };
      const auto refuse = [&](std::string_view what) {
        throw Error(
            ErrorKind::kData,
            fmt::format("{}: line {}: {}", search_.table.string(), table.line_of_row[i], what));
      };
      if (cell(path).empty()) refuse("names no file");
      if (cell(patient).empty()) refuse("names no patient");
      const fs::path file = base / cell(path);
      VolumeItem item = table_item(file);
      const std::string id = case_id_of(cell(patient));
      item.patient = safe_name(id) ? id : public_or_pseudonym(id);
      if (const std::string name = cell(series); !name.empty()) {
        item.series = safe_name(name) ? name : series_key(item.patient, name);
      }
      if (const std::string word = modality_word(cell(modality)); !word.empty()) {
        item.modality = word;
      }
      if (!cell(mask).empty()) item.mask = base / cell(mask);
      list_.items.push_back(std::move(item));
    }
  }

  VolumeItem table_item(const fs::path& file) {
    VolumeItem item;
    std::error_code error;
    const auto status = fs::status(file, error);
    if (fs::is_directory(status)) {
      FolderSeries found = find_series(file, search_.threads);
      if (found.series.size() == 1) return dicom_item(std::move(found.series.front()));
      item.problem = fmt::format("a folder of {} series, expected one", found.series.size());
    } else if (is_nifti_name(file)) {
      item = nifti_item(file);
      // A name that the user wrote into a table is meant to be seen.
      if (safe_name(nifti_stem(file))) item.series = nifti_stem(file);
      if (!fs::exists(status)) item.problem = "its file is not there";
      return item;
    } else if (fs::is_regular_file(status)) {
      FolderSeries found = group_series({&file, 1}, search_.threads);
      if (found.series.size() == 1) return dicom_item(std::move(found.series.front()));
      item.problem = "neither a DICOM image nor NIfTI";
    } else {
      item.problem = fs::exists(status) ? "neither a file nor a folder" : "its file is not there";
    }
    item.series = series_key("", file.filename().string());
    return item;
  }

  const VolumeSearch& search_;
  VolumeList list_;
  std::vector<fs::path> nifti_;
};

}  // namespace

bool is_nifti_name(const fs::path& path) {
  return !path.filename().string().starts_with(".") && named_as_nifti(path.string());
}

bool VolumeItem::is_nifti() const { return files.size() == 1 && is_nifti_name(files.front()); }

std::string public_or_pseudonym(std::string_view id) { return PatientNames(false, "").name_of(id); }

std::string series_key(std::string_view patient, std::string_view uid) {
  return PatientNames(false, "").series_of(patient, uid);
}

std::vector<VolumeItem> items_of(std::span<const FilteredSeries> series, const fs::path& masks) {
  std::vector<VolumeItem> out;
  for (const auto& one : series) {
    VolumeItem item;
    item.series = one.series.series;
    item.patient = one.series.patient;
    item.modality = one.series.modality;
    item.files = one.series.files;
    item.kept = one.kept;
    item.problem = one.kept ? "" : one.reason;
    const bool nifti = item.is_nifti();
    item.mask = mask_of(masks, item.series, nifti ? nifti_stem(item.files.front()) : item.series);
    out.push_back(std::move(item));
  }
  return out;
}

VolumeList find_volumes(const VolumeSearch& search) { return Search(search).run(); }

}  // namespace med3d::pipeline
