#include "med3d/pipeline/bundle.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/pipeline/bundle_fields_internal.h"
#include "med3d/pipeline/version.h"

namespace med3d::pipeline {
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
  const std::string bytes = store.safetensors();

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
  Json document = {
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
        {"is_recurrence", endpoint.is_recurrence}}}};
  describe_inputs(cohort, document);
  document["seed"] = settings.run.seed;
  document["settings"] = kept_settings;
  document["arrays"] = {{"file", "model.safetensors"}, {"sha256", sha256_hex(bytes)}};
  document["models"] = entries;
  std::filesystem::remove(folder / "evidence.json");  // what it was about is no more
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
  try {
    const Json json = parse_json(text, json_path.string());
    require_bundle_format(json);
    const TensorStore store = read_bundle_arrays(folder / "model.safetensors", json);
    bundle.endpoint = field<std::string>(object_of(json, "endpoint"), "name");
    bundle.positive_label = field<std::string>(object_of(json, "endpoint"), "positive_label");
    bundle.synthetic = field<bool>(object_of(json, "cohort"), "synthetic");
    const auto inputs = read_inputs(json);
    bundle.modalities = inputs.modalities;
    bundle.columns = inputs.columns;
    bundle.missing_values = inputs.missing_values;
    bundle.widths = inputs.widths;
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
  if (std::filesystem::exists(folder / "survival.json")) {
    bundle.survival = read_survival_bundle(folder);
    for (const auto& [name, width] : bundle.survival->widths) {
      const auto known = bundle.widths.emplace(name, width).first;
      if (known->second == width) continue;
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: survival.json and model.json give other 'widths' of '{}'",
                              folder.string(),
                              name));
    }
  }
  bundle.evidence = read_evidence(folder);
  bundle.sha256 = bundle_sha256(folder);
  return bundle;
}

}  // namespace med3d::pipeline
