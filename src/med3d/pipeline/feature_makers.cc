#include "med3d/pipeline/feature_makers.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/bundle_fields_internal.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

void read_record(const fs::path& record, std::set<FeatureMaker>& makers) {
  std::error_code error;
  if (!fs::is_regular_file(record, error)) return;
  try {
    const Json json = read_json(record);
    const Json& encoder = json.at("encoder");
    makers.insert(
        {encoder.at("name").get<std::string>(), encoder.value("weights_sha256", std::string())});
  } catch (const std::exception&) {
    return;  // a damaged record is none
  }
}

// The records of a job whose table lies beside them.
void read_records_of_table(const fs::path& table,
                           std::string_view modality,
                           std::set<FeatureMaker>& makers) {
  std::error_code error;
  const fs::path root =
      table.parent_path() / (modality == "wsi" ? std::string("slides") : std::string(modality));
  std::vector<fs::path> records;
  for (fs::recursive_directory_iterator it(root, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with('.') && name.ends_with(".json") && !name.ends_with(".tiles.json")) {
      records.push_back(it->path());
    }
  }
  for (const auto& record : records) read_record(record, makers);
}

}  // namespace

std::string FeatureMaker::text() const {
  return weights_sha256.empty()
             ? fmt::format("{} (untrained weights)", encoder)
             : fmt::format("{} (weights {}...)", encoder, weights_sha256.substr(0, 12));
}

Json FeatureMaker::to_json() const {
  return {{"encoder", encoder}, {"weights_sha256", weights_sha256}};
}

FeatureMaker FeatureMaker::from_json(const Json& json) {
  return {field<std::string>(json, "encoder"), field<std::string>(json, "weights_sha256")};
}

std::vector<FeatureMaker> makers_of(const std::vector<fs::path>& features,
                                    std::string_view modality) {
  std::set<FeatureMaker> makers;
  for (const auto& file : features) {
    const std::string extension = to_lower(file.extension().string());
    if (extension == ".csv" || extension == ".tsv") {
      read_records_of_table(file, modality, makers);
      continue;
    }
    fs::path record = file;
    read_record(record.replace_extension(".json"), makers);
    if (modality == "wsi") {
      // h5_files/<id>.h5 and slides/<id>.json lie in one folder.
      read_record(file.parent_path().parent_path() / "slides" / (file.stem().string() + ".json"),
                  makers);
    }
  }
  return {makers.begin(), makers.end()};
}

}  // namespace med3d::pipeline
