#include "med3d/pipeline/run_settings.h"

#include <fmt/format.h>

#include "med3d/core/error.h"

namespace med3d::pipeline {

void RunSettings::describe(SettingsSchema& schema) {
  cohort.describe(schema);
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
}

void RunSettings::validate() const {
  cohort.validate();
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
  for (const auto& [key, values] : validation.select) {
    if (values.size() < 2) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("[validation] select: '{}' has {} candidates, expected at least two",
                              key,
                              values.size()));
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
