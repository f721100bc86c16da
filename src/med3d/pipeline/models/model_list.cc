#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/models/kinds_internal.h"
#include "med3d/pipeline/models/table_internal.h"

namespace med3d::pipeline {
namespace {

constexpr const char* kPaper = "MeD-3D (Maqsood and Khan 2025)";

std::string title_of(const std::string& arm) {
  if (arm == "clinical") return "Clinical and genomic";
  if (arm == "ct_mri") return "CT/MRI";
  if (arm == "ct") return "CT";
  if (arm == "mri") return "MRI";
  return "Whole-slide";
}

}  // namespace

std::vector<std::string> modalities_of_arm(const std::string& arm) {
  if (arm == "ct_mri") return {"ct", "mri"};
  return {arm};
}
std::vector<std::string> arm_ids(const std::vector<ModelSpec>& specs) {
  std::vector<std::string> ids;
  for (const auto& spec : specs) {
    if (spec.family == "arm") ids.push_back(spec.id);
  }
  return ids;
}

bool is_fusion(const ModelSpec& spec) {
  return spec.family == "fusion" || spec.id.starts_with("fused_");
}

std::vector<ModelSpec> model_list(const RunSettings& settings,
                                  const std::vector<std::string>& modalities) {
  const auto has = [&](std::string_view name) {
    return std::find(modalities.begin(), modalities.end(), name) != modalities.end();
  };
  std::vector<std::string> arms;
  if (has("clinical")) arms.push_back("clinical");
  if (settings.radiology_arm.joint && (has("ct") || has("mri"))) arms.push_back("ct_mri");
  if (!settings.radiology_arm.joint && has("ct")) arms.push_back("ct");
  if (!settings.radiology_arm.joint && has("mri")) arms.push_back("mri");
  if (has("wsi")) arms.push_back("wsi");

  std::vector<ModelSpec> specs;
  const auto add = [&](ModelSpec spec) { specs.push_back(std::move(spec)); };

  add({kMajorityModel,
       "Always the majority class",
       "reference",
       {},
       "",
       "",
       fit_majority,
       load_majority});
  for (const auto& arm : arms) {
    ModelSpec spec;
    spec.id = arm;
    spec.family = "arm";
    spec.modalities = modalities_of_arm(arm);
    spec.reference = kPaper;
    if (arm == "clinical") {
      spec.label = "Clinical and genomic MLP";
      spec.settings_section = "clinical_arm";
      spec.fit = fit_clinical_model;
      spec.load = load_clinical_model;
    } else if (arm == "wsi") {
      spec.label = "Whole-slide MLP";
      spec.settings_section = "wsi_arm";
      spec.fit = [](const FitRequest& request) {
        const auto& s = request.settings.wsi_arm;
        return fit_vector_model(request,
                                {{"wsi"}, s.hidden, s.dropout, s.batch_norm, s.pool, s.fit});
      };
      spec.load = load_vector_model;
    } else {
      spec.label = title_of(arm) + " scan bags";
      spec.settings_section = "radiology_arm";
      spec.fit = [used = spec.modalities](const FitRequest& request) {
        return fit_bag_model(request, used);
      };
      spec.load = load_bag_model;
    }
    add(std::move(spec));
  }
  for (const auto& arm : arms) {
    ModelSpec spec;
    spec.id = arm + "_mlp2";
    spec.label = title_of(arm) + ", two-layer MLP of the paper";
    spec.family = "paper-baseline";
    spec.modalities = modalities_of_arm(arm);
    spec.reference = kPaper;
    spec.settings_section = "baseline_mlp";
    if (arm == "clinical") {
      spec.fit = [](const FitRequest& request) {
        RunSettings changed = request.settings;
        const auto& s = request.settings.baseline_mlp;
        changed.clinical_arm.balance = "none";
        changed.clinical_arm.hidden = s.hidden;
        changed.clinical_arm.dropout = s.dropout;
        changed.clinical_arm.batch_norm = s.batch_norm;
        changed.clinical_arm.fit = s.fit;
        return fit_clinical_model(
            {request.cohort, changed, request.training, request.seed, request.fitted});
      };
      spec.load = load_clinical_model;
    } else {
      spec.fit = [used = spec.modalities](const FitRequest& request) {
        const auto& s = request.settings.baseline_mlp;
        return fit_vector_model(request, {used, s.hidden, s.dropout, s.batch_norm, "mean", s.fit});
      };
      spec.load = load_vector_model;
    }
    add(std::move(spec));
  }
  if (has("clinical")) {
    add({"stage_grade_logistic",
         "Stage and grade, logistic regression",
         "baseline",
         {"clinical"},
         "classical",
         "",
         [](const FitRequest& request) {
           const auto columns = stage_and_grade_columns(request.cohort);
           if (columns.empty()) {
             throw Error(ErrorKind::kData,
                         "no column of the table has 'stage' or 'grade' in its name");
           }
           return fit_table_baseline(request, "logistic", columns);
         },
         load_table_baseline});
    add({"clinical_logistic",
         "Clinical table, penalised logistic regression",
         "baseline",
         {"clinical"},
         "classical",
         "",
         [](const FitRequest& request) {
           return fit_table_baseline(request, "logistic", request.settings.clinical_arm.columns);
         },
         load_table_baseline});
    add({"clinical_trees",
         "Clinical table, gradient-boosted trees",
         "baseline",
         {"clinical"},
         "classical",
         "Chen and Guestrin 2016",
         [](const FitRequest& request) {
           return fit_table_baseline(request, "trees", request.settings.clinical_arm.columns);
         },
         load_table_baseline});
  }
  if (arms.size() > 1) {
    std::vector<std::string> used;
    for (const auto& arm : arms) {
      for (auto& name : modalities_of_arm(arm)) {
        if (has(name)) used.push_back(name);
      }
    }
    add({"early_concat",
         "Early fusion, concatenation",
         "fusion",
         used,
         "fusion",
         kPaper,
         [arms](const FitRequest& r) { return fit_early_fusion(r, arms, nn::FusionMode::kConcat); },
         load_early_fusion});
    add({"early_mean",
         "Early fusion, mean of projections",
         "fusion",
         used,
         "fusion",
         kPaper,
         [arms](const FitRequest& r) { return fit_early_fusion(r, arms, nn::FusionMode::kMean); },
         load_early_fusion});
    add({"late_weighted",
         "Late fusion, weighted sum",
         "fusion",
         used,
         "",
         kPaper,
         nullptr,
         load_late_fusion,
         true});
    add({"late_learned",
         "Late fusion, learned weights",
         "fusion",
         used,
         "",
         kPaper,
         nullptr,
         load_late_fusion,
         true});
    add({"fused_logistic",
         "All modalities, penalised logistic regression",
         "baseline",
         used,
         "classical",
         "",
         [arms](const FitRequest& r) { return fit_fused_baseline(r, "logistic", arms); },
         load_fused_baseline});
    add({"fused_trees",
         "All modalities, gradient-boosted trees",
         "baseline",
         used,
         "classical",
         "Chen and Guestrin 2016",
         [arms](const FitRequest& r) { return fit_fused_baseline(r, "trees", arms); },
         load_fused_baseline});
  }

  if (!settings.run.models.empty()) {
    std::vector<std::string> ids;
    for (const auto& spec : specs) ids.push_back(spec.id);
    for (const auto& wanted : settings.run.models) {
      if (std::find(ids.begin(), ids.end(), wanted) == ids.end()) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("run.models: no model '{}' for these modalities{}; there are {}",
                                wanted,
                                did_you_mean(wanted, ids),
                                join(ids, ", ")));
      }
    }
    // What a wanted fusion is made of is fitted too.
    bool fusion_wanted = false;
    for (const auto& spec : specs) {
      const bool wanted =
          std::find(settings.run.models.begin(), settings.run.models.end(), spec.id) !=
          settings.run.models.end();
      fusion_wanted |= wanted && is_fusion(spec);
    }
    std::erase_if(specs, [&](const ModelSpec& spec) {
      const bool wanted =
          std::find(settings.run.models.begin(), settings.run.models.end(), spec.id) !=
          settings.run.models.end();
      return !wanted && spec.id != kMajorityModel && !(fusion_wanted && spec.family == "arm");
    });
  }
  return specs;
}

}  // namespace med3d::pipeline
