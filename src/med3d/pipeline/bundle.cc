#include "med3d/pipeline/bundle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/pipeline/version.h"

namespace med3d::pipeline {
namespace {

constexpr int kBundleFormat = 1;

Array array_of(const nn::Parameter& parameter) {
  Array array;
  array.shape = parameter.shape;
  array.dtype = DType::kF32;
  array.bytes.resize(parameter.values.size() * sizeof(float));
  std::memcpy(array.bytes.data(), parameter.values.data(), array.bytes.size());
  return array;
}

const Json& object_of(const Json& json, const char* key) {
  if (!json.contains(key) || !json.at(key).is_object()) {
    throw Error(ErrorKind::kFormat, fmt::format("no object '{}'", key));
  }
  return json.at(key);
}

// A member of an object, or a message that names it (the library's own names only the types).
template <class T>
T field(const Json& json, const char* key) {
  try {
    return json.at(key).get<T>();
  } catch (const Json::exception&) {
    throw Error(ErrorKind::kFormat, fmt::format("'{}' is missing or not of its type", key));
  }
}

}  // namespace

void write_bundle(const std::filesystem::path& folder,
                  const Cohort& cohort,
                  const RunSettings& settings,
                  const std::vector<ModelSpec>& specs,
                  const FittedModels& models,
                  const std::map<std::string, double>& thresholds) {
  TensorStore store;
  Json entries = Json::array();
  for (const auto& spec : specs) {
    const auto found = models.find(spec.id);
    if (found == models.end()) continue;
    entries.push_back({{"id", spec.id},
                       {"label", spec.label},
                       {"family", spec.family},
                       {"modalities", spec.modalities},
                       {"threshold", thresholds.at(spec.id)},
                       {"model", found->second->save(spec.id, store)}});
  }
  std::vector<NamedArray> arrays;
  for (const auto& [name, parameters] : store.arrays) {
    for (const auto& parameter : parameters) {
      arrays.push_back({name + "/" + parameter.name, array_of(parameter)});
    }
  }
  const std::string bytes = safetensors_bytes(arrays, {{"format", "med3d"}});

  Json widths = Json::object();
  for (const auto& modality : cohort.modalities) widths[modality.name] = modality.width;
  Json columns = Json::array();
  for (const auto& column : cohort.columns) columns.push_back(column.name);
  // What was done to the data, but not where the training machine kept them.
  RunSettings described = settings;
  described.raw = settings.raw.without_places();
  SettingsSchema schema;
  described.describe(schema);
  SettingsSchema of_cohort;
  described.cohort.describe(of_cohort);
  Json kept_settings = settings_json(schema, {});
  for (const auto& section : of_cohort.sections()) kept_settings.erase(section.name);
  const auto& endpoint = cohort.endpoint;
  const Json document = {
      {"format", kBundleFormat},
      {"program", "med3d " + version()},
      {"cohort",
       {{"name", cohort.name}, {"sha256", cohort.sha256}, {"synthetic", cohort.synthetic}}},
      {"endpoint",
       {{"name", endpoint.name},
        {"description", endpoint.description},
        {"column", endpoint.column},
        {"positive_class", endpoint.positive_class},
        {"negative_class", endpoint.negative_class},
        {"positive_label", endpoint.positive_label},
        {"negative_label", endpoint.negative_label},
        {"horizon_months", endpoint.horizon_months},
        {"is_recurrence", endpoint.is_recurrence}}},
      {"modalities", cohort.modality_names()},
      {"widths", widths},
      {"columns", columns},
      {"missing_values", cohort.missing_values},
      {"seed", settings.run.seed},
      {"settings", kept_settings},
      {"arrays", {{"file", "model.safetensors"}, {"sha256", sha256_hex(bytes)}}},
      {"models", entries}};
  write_file_atomic(folder / "model.safetensors", bytes);
  write_json(folder / "model.json", document);
}

Bundle read_bundle(const std::filesystem::path& folder) {
  const auto json_path = folder / "model.json";
  if (!std::filesystem::exists(json_path)) {
    throw Error(ErrorKind::kNotFound,
                folder.string() + ": no model.json here, expected the 'model' folder of a run");
  }
  const std::string text = read_file(json_path, limits().json_header_bytes);
  Bundle bundle;
  bundle.sha256 = sha256_hex(text);
  try {
    const Json json = parse_json(text, json_path.string());
    if (field<int>(json, "format") != kBundleFormat) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("bundle format {}, this program reads format {}",
                              json.at("format").dump(),
                              kBundleFormat));
    }
    const auto array_path = folder / "model.safetensors";
    const std::string bytes = read_file(array_path, limits().weights_bytes);
    if (sha256_hex(bytes) != field<std::string>(object_of(json, "arrays"), "sha256")) {
      throw Error(ErrorKind::kFormat,
                  "model.safetensors is not the file that model.json was written with (SHA-256 "
                  "differs)");
    }
    TensorStore store;
    for (const auto& array : parse_safetensors(bytes, array_path.string()).tensors) {
      const auto slash = array.name.rfind('/');
      if (slash == std::string::npos) {
        throw Error(ErrorKind::kFormat,
                    fmt::format("array '{}' has no '/', expected model/name", array.name));
      }
      nn::Parameter parameter;
      parameter.name = array.name.substr(slash + 1);
      parameter.shape = array.array.shape;
      parameter.values = as_f32(array.array);
      if (!std::all_of(parameter.values.begin(), parameter.values.end(), [](float v) {
            return std::isfinite(v);
          })) {
        throw Error(ErrorKind::kData, fmt::format("array '{}' holds NaN or Inf", array.name));
      }
      store.arrays[array.name.substr(0, slash)].push_back(std::move(parameter));
    }
    bundle.endpoint = field<std::string>(object_of(json, "endpoint"), "name");
    bundle.positive_label = field<std::string>(object_of(json, "endpoint"), "positive_label");
    bundle.synthetic = field<bool>(object_of(json, "cohort"), "synthetic");
    bundle.modalities = field<std::vector<std::string>>(json, "modalities");
    bundle.columns = field<std::vector<std::string>>(json, "columns");
    bundle.missing_values = field<std::vector<std::string>>(json, "missing_values");
    for (const auto& [name, width] : object_of(json, "widths").items()) {
      if (!width.is_number_integer() || width.get<std::int64_t>() < 1 ||
          width.get<std::int64_t>() > std::numeric_limits<int>::max()) {
        throw Error(ErrorKind::kFormat,
                    fmt::format("'widths' has no whole number above 0 for '{}'", name));
      }
      bundle.widths[name] = width.get<int>();
    }
    RunSettings settings;
    settings.radiology_arm.joint =
        json.at("settings").at("radiology_arm").at("joint").at("value").get<bool>();
    const auto specs = model_list(settings, bundle.modalities);
    for (const auto& entry : field<std::vector<Json>>(json, "models")) {
      const auto id = field<std::string>(entry, "id");
      const auto spec =
          std::find_if(specs.begin(), specs.end(), [&](const ModelSpec& s) { return s.id == id; });
      if (spec == specs.end()) {
        throw Error(ErrorKind::kUnsupported, fmt::format("no model is called '{}'", id));
      }
      try {
        bundle.models[id] = spec->load(entry.at("model"), store, bundle.models);
        bundle.thresholds[id] = field<double>(entry, "threshold");
      } catch (const Error&) {
        rethrow_with_context(fmt::format("model '{}'", id));
      }
      bundle.specs.push_back(*spec);
    }
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: not a model bundle: {}", json_path.string(), error.what()));
  } catch (const Error&) {
    rethrow_with_context(folder.string());
  }
  return bundle;
}

}  // namespace med3d::pipeline
