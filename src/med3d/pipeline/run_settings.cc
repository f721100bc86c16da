#include "med3d/pipeline/run_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d::pipeline {

namespace {

const std::vector<std::string> kSelectable = {
    "clinical_arm", "radiology_arm", "wsi_arm", "baseline_mlp", "fusion", "classical"};

// Whether fitting a model anew with another value of this key can change it.
bool selectable(const std::string& key) {
  static const std::vector<std::string> without_effect = {
      "clinical_arm.embedding", "radiology_arm.joint", "fusion.late_rule", "fusion.calibrate_arms"};
  const auto has = [](const std::vector<std::string>& list, const std::string& text) {
    return std::find(list.begin(), list.end(), text) != list.end();
  };
  return has(kSelectable, key.substr(0, key.find('.'))) && !has(without_effect, key);
}

}  // namespace

void RunSettings::describe(SettingsSchema& schema) {
  cohort.describe(schema);
  raw.describe(schema);
  schema.section("run", "The run as a whole.");
  run.describe(schema);
  schema.section("validation", "How models are judged, and what may be chosen by judging.");
  validation.describe(schema);
  schema.section("clinical_arm", "The paper's MLP on the clinical and genomic table.");
  clinical_arm.describe(schema);
  schema.section("radiology_arm", "The paper's network on a patient's CT and MRI scan vectors.");
  radiology_arm.describe(schema);
  schema.section("wsi_arm", "Patient vectors and classifier of whole-slide images.");
  wsi_arm.describe(schema);
  schema.section("baseline_mlp", "The paper's unimodal two-layer baselines.");
  baseline_mlp.describe(schema);
  schema.section("fusion", "Early and late fusion.");
  fusion.describe(schema);
  schema.section("classical", "The baselines that a deep model has to beat.");
  classical.describe(schema);
  schema.section("survival",
                 "Time to event: Cox, discrete-time, DeepSurv and boosted heads on every arm and "
                 "on fusion, with their own validation.");
  survival.describe(schema);
}

void RunSettings::validate() const {
  cohort.validate();
  raw.validate();
  const auto same_length = [](std::string_view section, std::size_t hidden, std::size_t dropout) {
    if (hidden != dropout) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("[{}]: {} hidden layers but {} dropout values, expected one each",
                              section,
                              hidden,
                              dropout));
    }
    if (hidden == 0) {
      throw Error(ErrorKind::kUsage, fmt::format("[{}]: hidden must name a layer", section));
    }
  };
  same_length("clinical_arm", clinical_arm.hidden.size(), clinical_arm.dropout.size());
  same_length("wsi_arm", wsi_arm.hidden.size(), wsi_arm.dropout.size());
  same_length("baseline_mlp", baseline_mlp.hidden.size(), baseline_mlp.dropout.size());
  same_length("fusion", fusion.hidden.size(), fusion.dropout.size());
  const auto buildable = [](std::string_view section,
                            const std::vector<int>& hidden,
                            const std::vector<double>& dropout) {
    for (const int width : hidden) {
      if (width < 1 || width > 65536) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("[{}] hidden: a layer of {}, expected 1 to 65536", section, width));
      }
    }
    for (const double share : dropout) {
      if (!(share >= 0.0 && share < 1.0)) {
        throw Error(
            ErrorKind::kUsage,
            fmt::format("[{}] dropout: {}, expected a share from 0 to below 1", section, share));
      }
    }
  };
  buildable("clinical_arm", clinical_arm.hidden, clinical_arm.dropout);
  buildable("radiology_arm", radiology_arm.hidden, {radiology_arm.dropout});
  buildable("wsi_arm", wsi_arm.hidden, wsi_arm.dropout);
  buildable("baseline_mlp", baseline_mlp.hidden, baseline_mlp.dropout);
  buildable("fusion", fusion.hidden, fusion.dropout);
  if (survival.enabled) {
    if (cohort.endpoint.time_column.empty()) {
      throw Error(ErrorKind::kUsage,
                  "[survival] enabled: [endpoint] must name time_column and event_column");
    }
    buildable("survival", survival.hidden, {survival.dropout});
    if (survival.hidden.empty()) {
      throw Error(ErrorKind::kUsage, "[survival]: hidden must name a layer");
    }
    const auto& horizons = survival.horizons_months;
    if (horizons.empty() ||
        std::adjacent_find(horizons.begin(), horizons.end(), std::greater_equal<double>()) !=
            horizons.end()) {
      throw Error(ErrorKind::kUsage, "[survival] horizons_months: expected one or more, rising");
    }
    const auto& heads = survival.heads;
    if (std::find(heads.begin(), heads.end(), survival.arm_head) == heads.end()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("[survival] arm_head: '{}' is not among heads ({})",
                              survival.arm_head,
                              join(heads, ", ")));
    }
  }
  if (radiology_arm.hidden.empty()) {
    throw Error(ErrorKind::kUsage, "[radiology_arm]: hidden must name a layer");
  }
  if (radiology_arm.fit.loss != "bce") {
    throw Error(ErrorKind::kUsage,
                "[radiology_arm] loss: scans are pooled by one logit, expected bce");
  }
  for (const auto& [key, values] : validation.select) {
    if (values.size() < 2) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("[validation] select: '{}' has {} candidates, expected at least two",
                              key,
                              values.size()));
    }
    if (!selectable(key)) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("[validation] select: '{}' cannot be chosen by nested selection, which "
                      "fits single models: keys of [{}] can, but none that joins models, "
                      "names outputs or says which arms there are",
                      key,
                      join(kSelectable, "], [")));
    }
    // Each candidate must be a valid setting before anything is computed.
    for (const auto& value : values) (void)with({key + "=" + value});
  }
}

RunSettings RunSettings::with(const std::vector<std::string>& overrides) const {
  RunSettings changed = *this;
  SettingsSchema schema;
  changed.describe(schema);
  override_settings(schema, overrides);
  return changed;
}

}  // namespace med3d::pipeline
