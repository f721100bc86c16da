// What the documents of a bundle have in common: members read with a message that names them, the
// array file beside a document, and the inputs that its models expect.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/json.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

inline constexpr int kBundleFormat = 1;

// An object that is a member of an object, or a message that names it.
const Json& object_of(const Json& json, const char* key);

// A member of an object, or a message that names it (the library's own names only the types).
template <class T>
T field(const Json& json, const char* key) {
  try {
    return json.at(key).get<T>();
  } catch (const Json::exception&) {
    throw Error(ErrorKind::kFormat, fmt::format("'{}' is missing or not of its type", key));
  }
}

// The document's member "inputs": modalities, width of each, table columns, texts for missing.
struct BundleInputs {
  std::vector<std::string> modalities;
  std::vector<std::string> columns;
  std::vector<std::string> missing_values;
  std::map<std::string, int> widths;
};
void describe_inputs(const Cohort& cohort, Json& document);
BundleInputs read_inputs(const Json& document);

// Throws Error(kUnsupported) for another format than kBundleFormat.
void require_bundle_format(const Json& document);

// The array file that the document's "arrays" names by its SHA-256.
// Throws Error(kFormat) where it is another, as TensorStore::from_safetensors.
TensorStore read_bundle_arrays(const std::filesystem::path& file, const Json& document);

}  // namespace med3d::pipeline
