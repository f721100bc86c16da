#include <limits>

#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/pipeline/bundle_fields_internal.h"

namespace med3d::pipeline {

const Json& object_of(const Json& json, const char* key) {
  if (!json.contains(key) || !json.at(key).is_object()) {
    throw Error(ErrorKind::kFormat, fmt::format("no object '{}'", key));
  }
  return json.at(key);
}

void describe_inputs(const Cohort& cohort, Json& document) {
  Json widths = Json::object();
  for (const auto& modality : cohort.modalities) widths[modality.name] = modality.width;
  Json columns = Json::array();
  for (const auto& column : cohort.columns) columns.push_back(column.name);
  document["modalities"] = cohort.modality_names();
  document["widths"] = widths;
  document["columns"] = columns;
  document["missing_values"] = cohort.missing_values;
}

BundleInputs read_inputs(const Json& document) {
  BundleInputs inputs;
  inputs.modalities = field<std::vector<std::string>>(document, "modalities");
  inputs.columns = field<std::vector<std::string>>(document, "columns");
  inputs.missing_values = field<std::vector<std::string>>(document, "missing_values");
  for (const auto& [name, width] : object_of(document, "widths").items()) {
    if (!width.is_number_integer() || width.get<std::int64_t>() < 1 ||
        width.get<std::int64_t>() > std::numeric_limits<int>::max()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("'widths' has no whole number above 0 for '{}'", name));
    }
    inputs.widths[name] = width.get<int>();
  }
  return inputs;
}

void require_bundle_format(const Json& document) {
  if (field<int>(document, "format") == kBundleFormat) return;
  throw Error(ErrorKind::kUnsupported,
              fmt::format("bundle format {}, this program reads format {}",
                          document.at("format").dump(),
                          kBundleFormat));
}

TensorStore read_bundle_arrays(const std::filesystem::path& file, const Json& document) {
  const std::string bytes = read_file(file, limits().weights_bytes);
  if (sha256_hex(bytes) != field<std::string>(object_of(document, "arrays"), "sha256")) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{0}.safetensors is not the file that {0}.json was written with "
                            "(SHA-256 differs)",
                            file.stem().string()));
  }
  return TensorStore::from_safetensors(bytes, file.string());
}

}  // namespace med3d::pipeline
