#include "med3d/pipeline/evidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/pipeline/bundle_fields_internal.h"
#include "med3d/pipeline/version.h"
#include "med3d/wsi/process_list.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// SHA-256 of the documents that evidence is about, by name.
Json subject_of(const fs::path& folder) {
  Json hashes = Json::object();
  for (const char* name : {"model.json", "survival.json"}) {
    if (fs::is_regular_file(folder / name)) hashes[name] = sha256_file(folder / name);
  }
  return hashes;
}

Json to_json(const stats::RecalibratedRate& rate) {
  Json json = {{"n", rate.n}, {"events", rate.events}};
  if (!rate.not_estimable.empty()) {
    json["not_estimable"] = rate.not_estimable;
    return json;
  }
  json["intercept"] = rate.intercept;
  json["slope"] = rate.slope;
  json["covariance"] = {rate.var_intercept, rate.covariance, rate.var_slope};
  return json;
}

stats::RecalibratedRate rate_of(const Json& json) {
  stats::RecalibratedRate rate;
  rate.n = field<std::size_t>(json, "n");
  rate.events = field<std::size_t>(json, "events");
  if (json.contains("not_estimable")) {
    rate.not_estimable = field<std::string>(json, "not_estimable");
    if (rate.not_estimable.empty()) {
      throw Error(ErrorKind::kFormat, "'not_estimable' gives no reason");
    }
    return rate;
  }
  rate.intercept = field<double>(json, "intercept");
  rate.slope = field<double>(json, "slope");
  const auto covariance = field<std::vector<double>>(json, "covariance");
  // A number that is no variance would make an interval out of nothing.
  const bool fits = covariance.size() == 3 && covariance[0] >= 0.0 && covariance[2] >= 0.0 &&
                    covariance[1] * covariance[1] <= covariance[0] * covariance[2] * (1.0 + 1e-9) &&
                    std::isfinite(covariance[0]) && std::isfinite(covariance[2]) &&
                    std::isfinite(rate.intercept) && std::isfinite(rate.slope);
  if (!fits) {
    throw Error(ErrorKind::kFormat,
                "'covariance' is no covariance of an intercept and a slope (three numbers)");
  }
  rate.var_intercept = covariance[0];
  rate.covariance = covariance[1];
  rate.var_slope = covariance[2];
  return rate;
}

stats::RecalibratedRate rate_of(const Cohort& cohort,
                                const std::vector<FoldOutcome>& cross_validation,
                                const std::string& id) {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  Rows patient;
  for (const auto& fold : cross_validation) {
    const auto found = fold.models.find(id);
    if (found == fold.models.end()) continue;
    for (std::size_t i = 0; i < found->second.probability.size(); ++i) {
      if (std::isnan(found->second.probability[i])) continue;
      const std::size_t row = fold.held_out[i];
      label.push_back(cohort.label[row]);
      probability.push_back(found->second.probability[i]);
      patient.push_back(row);
    }
  }
  return stats::fit_recalibrated_rate(label, probability, patient);
}

std::optional<RawEvidence> raw_evidence(const RawSettings& settings) {
  if (!settings.used()) return std::nullopt;
  RawEvidence raw;
  raw.slides = settings.slides.used();
  raw.scans = settings.scans.used();
  if (!settings.slides.model.empty()) {
    raw.not_repeatable_slides = "they were pooled by a model of another run";
  } else if (fs::exists(settings.slides.preset)) {
    raw.not_repeatable_slides = "their tissue was found with parameters of a file";
  }
  if (!settings.scans.model.empty()) {
    raw.not_repeatable_scans = "they were pooled by a model of another run";
  } else if (!settings.scans.masks.empty()) {
    raw.not_repeatable_scans = "they were cropped to masks";
  }
  if (!settings.scans.rules.empty()) {
    raw.filter_rules = read_file(settings.scans.rules, limits().config_bytes);
  }
  raw.settings = settings.without_places();
  // A preset of a file is a path too.
  if (fs::exists(settings.slides.preset)) raw.settings.slides.preset = SlideSettings().preset;
  return raw;
}

Json to_json(const RawEvidence& raw) {
  RawSettings settings = raw.settings;
  SettingsSchema schema;
  settings.describe(schema);
  return {{"slides", raw.slides},
          {"scans", raw.scans},
          {"not_repeatable_slides", raw.not_repeatable_slides},
          {"not_repeatable_scans", raw.not_repeatable_scans},
          {"filter_rules", raw.filter_rules},
          {"settings", settings_toml(schema, {}, true)}};
}

RawEvidence raw_of(const Json& json) {
  RawEvidence raw;
  raw.slides = field<bool>(json, "slides");
  raw.scans = field<bool>(json, "scans");
  raw.not_repeatable_slides = field<std::string>(json, "not_repeatable_slides");
  raw.not_repeatable_scans = field<std::string>(json, "not_repeatable_scans");
  raw.filter_rules = field<std::string>(json, "filter_rules");
  RawSettings settings;
  SettingsSchema schema;
  settings.describe(schema);
  read_settings_text(schema, field<std::string>(json, "settings"), "evidence.json 'raw'", {});
  // A bundle says how files are prepared; which files these are is for the user to say.
  raw.settings = settings.without_places();
  // Where a preset is no name it would be a file of this machine.
  const auto presets = clam_presets();
  if (std::none_of(presets.begin(), presets.end(), [&](const ClamPreset& one) {
        return settings.slides.preset == one.name ||
               settings.slides.preset == std::string(one.name) + ".csv";
      })) {
    throw Error(ErrorKind::kFormat, "'raw': 'preset' is none of the shipped ones");
  }
  return raw;
}

}  // namespace

Evidence gather_evidence(const Cohort& cohort,
                         const RunSettings& settings,
                         const std::vector<FoldOutcome>& cross_validation,
                         const Rows& training) {
  Evidence evidence;
  for (const auto& fold : cross_validation) {
    for (const auto& [id, unused] : fold.models) {
      if (!evidence.rates.contains(id)) {
        evidence.rates[id] = rate_of(cohort, cross_validation, id);
      }
    }
  }
  evidence.ranges = InputRanges::learn(cohort, training);
  for (const auto& modality : cohort.modalities) {
    if (!modality.makers.empty()) evidence.makers[modality.name] = modality.makers;
  }
  evidence.raw = raw_evidence(settings.raw);
  return evidence;
}

void write_evidence(const fs::path& model_folder, const Evidence& evidence) {
  Json rates = Json::object();
  for (const auto& [id, rate] : evidence.rates) rates[id] = to_json(rate);
  Json makers = Json::object();
  for (const auto& [name, of_modality] : evidence.makers) {
    makers[name] = Json::array();
    for (const auto& maker : of_modality) makers[name].push_back(maker.to_json());
  }
  Json document = {{"format", kBundleFormat},
                   {"program", "med3d " + version()},
                   {"of", subject_of(model_folder)},
                   {"rates", rates},
                   {"ranges", evidence.ranges.to_json()},
                   {"encoders", makers}};
  if (evidence.raw) document["raw"] = to_json(*evidence.raw);
  write_json(model_folder / "evidence.json", document);
}

Evidence read_evidence(const fs::path& model_folder) {
  Evidence evidence;
  const auto path = model_folder / "evidence.json";
  if (!fs::exists(path)) return evidence;
  try {
    const Json json = parse_json(read_file(path, limits().json_header_bytes), path.string());
    require_bundle_format(json);
    if (object_of(json, "of") != subject_of(model_folder)) {
      throw Error(ErrorKind::kFormat,
                  "evidence.json is of another model (SHA-256 of model.json or survival.json "
                  "differs)");
    }
    for (const auto& [id, rate] : object_of(json, "rates").items()) {
      try {
        evidence.rates[id] = rate_of(rate);
      } catch (const Error&) {
        rethrow_with_context(fmt::format("'rates' of '{}'", id));
      }
    }
    evidence.ranges = InputRanges::from_json(object_of(json, "ranges"));
    for (const auto& [name, entries] : object_of(json, "encoders").items()) {
      for (const auto& entry : entries) {
        evidence.makers[name].push_back(FeatureMaker::from_json(entry));
      }
    }
    if (json.contains("raw")) evidence.raw = raw_of(object_of(json, "raw"));
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: not a model bundle: {}", path.string(), error.what()));
  } catch (const Error& error) {
    // A setting that is none is a fault of the file here, not of who calls.
    if (error.kind() == ErrorKind::kUsage) {
      throw Error(ErrorKind::kFormat, fmt::format("{}: {}", path.string(), error.what()));
    }
    rethrow_with_context(path.string());
  }
  return evidence;
}

std::string bundle_sha256(const fs::path& model_folder) {
  std::string lines;
  for (const char* name : {"evidence.json", "model.json", "survival.json"}) {
    if (!fs::is_regular_file(model_folder / name)) continue;
    lines += fmt::format("{}  {}\n", sha256_file(model_folder / name), name);
  }
  return sha256_hex(lines);
}

}  // namespace med3d::pipeline
