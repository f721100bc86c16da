// A small cohort made in memory, for tests of what is fitted on it.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "med3d/core/random.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

// 60 patients, a third positive, in three modalities: a table (stage carries the signal), CT for
// every second patient, slides for all (the first feature carries a weaker signal). The last 15 are
// the test patients.
inline Cohort small_cohort(std::size_t n = 60) {
  Cohort cohort;
  NumpyRandom random(7);
  cohort.name = "small";
  cohort.endpoint.name = "dead_12";
  cohort.endpoint.description = "death within 12 months";
  cohort.endpoint.positive_label = "dead within 12 months";
  cohort.endpoint.negative_label = "alive at 12 months";
  cohort.endpoint.is_vital_status = true;
  cohort.columns = {{"age", {}, "clinical"}, {"stage", {}, "clinical"}, {"grade", {}, "clinical"}};
  cohort.modalities.resize(2);
  cohort.modalities[0].name = "ct";
  cohort.modalities[0].width = 6;
  cohort.modalities[1].name = "wsi";
  cohort.modalities[1].width = 8;
  for (auto& modality : cohort.modalities) modality.items_of_patient.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    const bool positive = i % 3 == 0;
    cohort.case_ids.push_back(fmt::format("P{:03}", i));
    cohort.label.push_back(positive ? 1 : 0);
    cohort.time_months.push_back(std::nan(""));
    cohort.event.push_back(-1);
    cohort.split.push_back(i + 15 < n ? "train" : "test");
    cohort.source.push_back(i % 2 == 0 ? "TCGA" : "CPTAC");
    cohort.site.push_back("");
    cohort.has_clinical.push_back(true);
    cohort.columns[0].cells.push_back(std::to_string(40 + static_cast<int>(random.randint(40))));
    const int stage = static_cast<int>(random.randint(2)) + (positive ? 3 : 1);
    cohort.columns[1].cells.push_back(i % 11 == 5 ? "" : std::to_string(stage));
    cohort.columns[2].cells.push_back(std::to_string(1 + random.randint(4)));
    const auto add_item = [&](Modality& modality, double signal) {
      std::vector<float> values(modality.width);
      for (auto& v : values) v = static_cast<float>(random.normal());
      values[0] += static_cast<float>(positive ? signal : 0.0);
      modality.items_of_patient[i].push_back(modality.item_ids.size());
      modality.patient_of_item.push_back(i);
      modality.item_ids.push_back(fmt::format("P{:03}-{}", i, modality.item_ids.size()));
      modality.facts.emplace_back();
      modality.items.append_row(values);
    };
    if (i % 2 == 0) add_item(cohort.modalities[0], 0.0);
    add_item(cohort.modalities[1], 1.0);
    if (i % 4 == 0) add_item(cohort.modalities[1], 1.0);
  }
  cohort.sha256 = "0000";
  return cohort;
}

// Every model, fitted as briefly as can be.
inline RunSettings brief_settings() {
  RunSettings settings;
  settings.run.device = "cpu";
  settings.validation.folds = 3;
  settings.validation.repeats = 1;
  settings.validation.inner_folds = 2;
  settings.validation.bootstrap = 20;
  settings.clinical_arm.hidden = {16, 8, 8};
  settings.wsi_arm.hidden = {8};
  settings.wsi_arm.dropout = {0.1};
  settings.radiology_arm.hidden = {8};
  settings.baseline_mlp.hidden = {8};
  settings.baseline_mlp.dropout = {0.1};
  settings.fusion.hidden = {8};
  settings.fusion.dropout = {0.1};
  settings.fusion.projection = 8;
  settings.classical.rounds = 5;
  for (auto* fit : {&settings.clinical_arm.fit,
                    &settings.wsi_arm.fit,
                    &settings.radiology_arm.fit,
                    &settings.baseline_mlp.fit,
                    &settings.fusion.fit}) {
    fit->epochs = 4;
  }
  return settings;
}

// The small cohort with follow-up: the table's stage shortens the time, every fourth is censored
// early, every seventh of those without the event died first.
inline Cohort follow_up_cohort(std::size_t n = 90) {
  Cohort cohort = small_cohort(n);
  NumpyRandom random(11);
  cohort.endpoint.name = "PFI";
  cohort.endpoint.is_vital_status = false;
  cohort.endpoint.is_recurrence = true;
  cohort.endpoint.competing_column = "died";
  cohort.competing.assign(n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    const double rate = cohort.label[i] != 0 ? 0.06 : 0.01;
    const double event = -std::log(1.0 - random.uniform()) / rate;
    const double lost = 10.0 + 80.0 * random.uniform();
    cohort.time_months[i] = std::min(event, lost);
    cohort.event[i] = event <= lost ? 1 : 0;
    cohort.label[i] = static_cast<std::uint8_t>(cohort.event[i]);
    if (cohort.event[i] == 0 && i % 7 == 0) cohort.competing[i] = 1;
    cohort.site[i] = i % 2 == 0 ? std::string(1, static_cast<char>('A' + i % 3)) : "";
  }
  return cohort;
}

inline RunSettings survival_settings() {
  RunSettings settings = brief_settings();
  settings.cohort.endpoint.horizon_months = 24;
  settings.cohort.endpoint.time_column = "time";
  settings.cohort.endpoint.event_column = "event";
  settings.survival.enabled = true;
  settings.survival.epochs = 15;
  settings.survival.hidden = {8};
  settings.survival.rounds = 15;
  settings.survival.components = 4;
  settings.survival.cox_lambdas = 8;
  settings.survival.bootstrap = 20;
  settings.survival.optimism = 0;
  return settings;
}

}  // namespace med3d::pipeline
