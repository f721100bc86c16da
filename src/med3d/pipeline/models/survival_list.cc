#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/survival_internal.h"
#include "med3d/pipeline/models/table_internal.h"

namespace med3d::pipeline {
namespace {

// The heads, one line each: id, words, paper, how it is fitted.
struct HeadEntry {
  const char* id;
  const char* words;
  const char* reference;
  std::unique_ptr<SurvivalHead> (*fit)(const HeadRequest&, nn::FusionMode);
  std::unique_ptr<SurvivalHead> (*load)(const HeadSource&);
  bool network;
};
const std::vector<HeadEntry>& head_list() {
  static const std::vector<HeadEntry> heads = {
      {"cox",
       "Cox elastic net",
       "Simon et al. 2011",
       [](const HeadRequest& r, nn::FusionMode) { return fit_cox_head(r); },
       load_cox_head,
       false},
      {"discrete",
       "hazards of intervals",
       "Zadeh and Schmid 2021; Chen et al. 2022 (PORPOISE)",
       fit_discrete_head,
       load_discrete_head,
       true},
      {"deepsurv", "DeepSurv", "Katzman et al. 2018", fit_deepsurv_head, load_deepsurv_head, true},
      {"boosted",
       "boosted Cox trees",
       "Chen and Guestrin 2016",
       [](const HeadRequest& r, nn::FusionMode) { return fit_boosted_head(r); },
       load_boosted_head,
       false},
  };
  return heads;
}

std::string title_of(const std::string& arm) {
  if (arm == "clinical") return "Clinical and genomic";
  if (arm == "ct") return "CT";
  if (arm == "mri") return "MRI";
  return arm == "ct_mri" ? "CT/MRI" : "Whole-slide";
}

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

std::vector<std::string> survival_arm_ids(const std::vector<SurvivalSpec>& specs) {
  std::vector<std::string> ids;
  for (const auto& spec : specs) {
    if (spec.family == "arm") ids.push_back(spec.id);
  }
  return ids;
}

stats::survival::SurvivalTimes times_of(const Cohort& cohort, const Rows& rows) {
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  for (const std::size_t row : rows) {
    time.push_back(cohort.time_months[row]);
    event.push_back(cohort.event[row] == 1 ? 1 : 0);
  }
  return {std::move(time), std::move(event)};
}

std::unique_ptr<SurvivalModel> load_survival_model(const Json& json,
                                                   const SurvivalArchive& archive,
                                                   const FittedSurvival& fitted) {
  const auto kind = word_of(json, "kind", {"head", "kaplan-meier", "late-mean", "late-stack"});
  if (kind == "kaplan-meier") return load_no_covariates(json);
  if (kind == "late-mean") return load_late_mean(json, fitted);
  if (kind == "late-stack") return load_late_stack(json, fitted);
  return load_head_model(json, archive, [](const HeadSource& source) {
    std::vector<std::string> known;
    for (const auto& head : head_list()) known.emplace_back(head.id);
    const auto id = word_of(source.json, "kind", known);
    const auto& heads = head_list();
    const auto head =
        std::find_if(heads.begin(), heads.end(), [&](const HeadEntry& h) { return h.id == id; });
    return head->load(source);
  });
}

std::vector<SurvivalSpec> survival_model_list(const RunSettings& settings,
                                              const std::vector<std::string>& modalities) {
  const auto& section = settings.survival;
  std::vector<std::string> arms;
  if (contains(modalities, "clinical")) arms.push_back("clinical");
  const bool ct = contains(modalities, "ct");
  const bool mri = contains(modalities, "mri");
  if (settings.radiology_arm.joint && (ct || mri)) arms.push_back("ct_mri");
  if (!settings.radiology_arm.joint && ct) arms.push_back("ct");
  if (!settings.radiology_arm.joint && mri) arms.push_back("mri");
  if (contains(modalities, "wsi")) arms.push_back("wsi");

  std::vector<SurvivalSpec> specs;
  specs.push_back({kNoCovariates,
                   "Kaplan-Meier of the training patients",
                   "reference",
                   "",
                   {},
                   "Kaplan and Meier 1958",
                   fit_no_covariates});
  const auto columns = settings.clinical_arm.columns;
  const auto add = [&](const std::string& id,
                       const std::string& label,
                       const std::string& family,
                       const HeadEntry& head,
                       const std::vector<std::string>& used,
                       nn::FusionMode mode) {
    specs.push_back({id,
                     label,
                     family,
                     head.id,
                     used,
                     head.reference,
                     [used, mode, columns, fit = head.fit](const SurvivalRequest& request) {
                       const bool table = contains(used, "clinical");
                       return fit_survival_model(
                           request,
                           used,
                           table ? columns : std::vector<std::string>{},
                           [&](const HeadRequest& r) { return fit(r, mode); });
                     }});
  };
  for (const auto& head : head_list()) {
    if (!contains(section.heads, head.id)) continue;
    for (const auto& arm : arms) {
      add(fmt::format("{}_{}", arm, head.id),
          fmt::format("{}, {}", title_of(arm), head.words),
          head.id == section.arm_head ? "arm" : "head",
          head,
          {arm},
          nn::FusionMode::kConcat);
    }
  }
  if (contains(arms, "clinical")) {
    specs.push_back({"stage_grade_cox",
                     "Stage and grade, ridge Cox",
                     "baseline",
                     "cox",
                     {"clinical"},
                     "",
                     [](const SurvivalRequest& request) {
                       const auto used = stage_and_grade_columns(request.cohort);
                       if (used.empty()) {
                         throw Error(ErrorKind::kData,
                                     "no column of the table has 'stage' or 'grade' in its name");
                       }
                       return fit_survival_model(request, {"clinical"}, used, fit_cox_head);
                     }});
  }
  if (arms.size() > 1) {
    for (const auto& head : head_list()) {
      if (!contains(section.heads, head.id)) continue;
      add(fmt::format("early_{}", head.id),
          fmt::format("Early fusion, concatenation, {}", head.words),
          "fusion",
          head,
          arms,
          nn::FusionMode::kConcat);
      if (head.network) {
        add(fmt::format("early_mean_{}", head.id),
            fmt::format("Early fusion, mean of projections, {}", head.words),
            "fusion",
            head,
            arms,
            nn::FusionMode::kMean);
      }
    }
    specs.push_back(
        {"late_weighted", "Late fusion, weighted mean of risks", "fusion", "", arms, "", nullptr});
    specs.push_back({"late_stacked",
                     "Late fusion, stacked Cox",
                     "fusion",
                     "",
                     arms,
                     "Breiman 1996 (stacked regressions)",
                     nullptr});
  }

  if (!section.models.empty()) {
    std::vector<std::string> ids;
    for (const auto& spec : specs) ids.push_back(spec.id);
    bool late = false;
    for (const auto& wanted : section.models) {
      late = late || wanted == "late_weighted" || wanted == "late_stacked";
      if (contains(ids, wanted)) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("survival.models: no model '{}' for these modalities{}; there are {}",
                              wanted,
                              did_you_mean(wanted, ids),
                              join(ids, ", ")));
    }
    std::erase_if(specs, [&](const SurvivalSpec& spec) {
      return !contains(section.models, spec.id) && spec.id != kNoCovariates &&
             !(late && spec.family == "arm");
    });
  }
  return specs;
}

}  // namespace med3d::pipeline
