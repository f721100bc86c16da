#include <fmt/format.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/pipeline/volumes/series_index.h"

namespace med3d::pipeline {
namespace {

class Columns {
 public:
  explicit Columns(const Table& table) : table_(table) {}

  // The first of the names that is there.
  std::optional<std::size_t> find(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      if (const auto found = table_.find(name)) return found;
    }
    return std::nullopt;
  }

  std::string cell(std::size_t row, const std::optional<std::size_t>& column) const {
    if (!column) return "";
    std::string text = readable_text(table_.rows[row][*column]);
    return text == "NA" || text == "nan" ? "" : text;
  }

  std::optional<std::int64_t> whole(std::size_t row,
                                    const std::optional<std::size_t>& column,
                                    double least,
                                    double most) const {
    const std::string text = cell(row, column);
    if (text.empty()) return std::nullopt;
    const auto value = parse_double(text);
    if (!value || *value != std::floor(*value) || *value < least || *value > most) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}:{}: column '{}': expected a whole number from {} to {}",
                              table_.source,
                              table_.line_of_row[row],
                              table_.columns[*column],
                              least,
                              most));
    }
    return static_cast<std::int64_t>(*value);
  }

  std::optional<Plane> plane(std::size_t row, const std::optional<std::size_t>& column) const {
    const std::string text = to_lower(cell(row, column));
    if (text.empty()) return std::nullopt;
    for (const Plane plane : {Plane::kAxial, Plane::kCoronal, Plane::kSagittal, Plane::kOblique}) {
      if (to_string(plane) == text) return plane;
    }
    throw Error(ErrorKind::kData,
                fmt::format("{}:{}: column 'plane': expected axial, coronal, sagittal or oblique",
                            table_.source,
                            table_.line_of_row[row]));
  }

 private:
  const Table& table_;
};

}  // namespace

std::vector<SeriesRecord> read_series_table(const std::filesystem::path& path,
                                            bool keep_ids,
                                            const std::string& secret) {
  const Table table = read_table(path);
  const Columns columns(table);
  const PatientNames names(keep_ids, secret);
  const std::size_t modality = table.column("modality");
  const auto description = columns.find({"SeriesDescription", "series_description", "description"});
  if (!description) table.column("SeriesDescription");  // throws, naming what is near
  const auto patient = columns.find({"case_id", "PatientID", "patient"});
  const auto study = columns.find({"StudyDescription", "study_description"});
  const auto uid = columns.find({"SeriesInstanceUID", "series"});
  const auto number = columns.find({"SeriesNumber", "series_number"});
  const auto collection = columns.find({"collection"});
  const auto image_type = columns.find({"ImageType", "image_type"});
  const auto slices = columns.find({"slices", "ImageCount"});
  const auto plane = columns.find({"plane"});
  const auto agent = columns.find({"ContrastBolusAgent", "contrast_agent"});

  std::vector<SeriesRecord> out;
  out.reserve(table.rows.size());
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    SeriesRecord record;
    const std::string id = columns.cell(i, patient);
    record.patient = id.empty() ? names.pseudonym_of(fmt::format("line {}", table.line_of_row[i]))
                                : names.name_of(id);
    record.series_uid = columns.cell(i, uid);
    record.series =
        names.series_of(record.patient,
                        record.series_uid.empty() ? fmt::format("line {}", table.line_of_row[i])
                                                  : record.series_uid);
    record.collection = columns.cell(i, collection);
    if (record.collection.empty()) {
      const std::string open = public_id(record.patient);
      record.collection = open.empty() ? "other" : open.starts_with("TCGA") ? "TCGA" : "CPTAC";
    }
    record.facts.description = columns.cell(i, description);
    record.facts.study_description = columns.cell(i, study);
    record.facts.image_type = columns.cell(i, image_type);
    record.facts.contrast_agent = columns.cell(i, agent);
    record.facts.plane = columns.plane(i, plane);
    record.facts.slices = columns.whole(i, slices, 0, 1e6);
    record.series_number = columns.whole(i, number, -1e9, 1e9);
    std::string kind = columns.cell(i, modality);
    if (kind == "MRI") kind = "MR";
    record.modality = record.facts.modality = kind;
    record.images = record.facts.slices.value_or(0);
    out.push_back(std::move(record));
  }
  return out;
}

}  // namespace med3d::pipeline
