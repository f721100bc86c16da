#include "med3d/pipeline/artefacts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/io/features.h"
#include "med3d/stats/umap.h"
#include "med3d/tabular/resample.h"

namespace med3d::pipeline {
namespace {

// All that write_bundle and write_final_artefacts may write.
constexpr const char* kFinalFiles[] = {"final.json",
                                       "clinical_features.csv",
                                       "wsi_features.csv",
                                       "ct_mri_features.csv",
                                       "ct_features.csv",
                                       "mri_features.csv",
                                       "model/model.json",
                                       "model/model.safetensors"};

Rows all_rows(const Cohort& cohort) {
  Rows rows(cohort.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  return rows;
}

bool has_one_of(const Cohort& cohort, std::size_t row, const std::vector<std::string>& modalities) {
  const auto there = available_modalities(cohort, row);
  return std::any_of(modalities.begin(), modalities.end(), [&](const std::string& name) {
    return std::find(there.begin(), there.end(), name) != there.end();
  });
}

Rows rows_with(const Cohort& cohort, const std::vector<std::string>& modalities) {
  Rows rows;
  for (const std::size_t row : all_rows(cohort)) {
    if (has_one_of(cohort, row, modalities)) rows.push_back(row);
  }
  return rows;
}

void write_features(const std::filesystem::path& path,
                    const Cohort& cohort,
                    const Rows& rows,
                    const Matrix<float>& values,
                    const std::string& prefix) {
  FeatureTable table;
  for (const std::size_t row : rows) table.case_ids.push_back(cohort.case_ids[row]);
  table.columns = feature_columns(prefix, values.cols());
  table.values = values;
  write_file_atomic(path, feature_table_csv(table));
}

Json curve_json(const std::string& title, const nn::LearningCurve& curve) {
  Json series = Json::array();
  const auto add = [&](const char* name, const std::vector<double>& values) {
    if (values.empty()) return;
    Json numbers = Json::array();
    for (const double v : values) numbers.push_back(std::isfinite(v) ? Json(v) : Json(nullptr));
    series.push_back({{"name", name}, {"values", numbers}});
  };
  add("training loss", curve.training_loss);
  add("training accuracy", curve.training_accuracy);
  add("validation loss", curve.validation_loss);
  add("validation accuracy", curve.validation_accuracy);
  add("validation balanced accuracy", curve.validation_balanced_accuracy);
  return {{"title", title},
          {"series", series},
          {"best_epoch", curve.best_epoch >= 0 ? Json(curve.best_epoch) : Json(nullptr)}};
}

Json matrix_json(const Matrix<float>& values) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < values.rows(); ++i) {
    const auto row = values.row(i);
    rows.push_back(std::vector<float>(row.begin(), row.end()));
  }
  return rows;
}

}  // namespace

void write_final_artefacts(const std::filesystem::path& run_folder,
                           const Cohort& cohort,
                           const RunSettings& settings,
                           const std::vector<ModelSpec>& specs,
                           const FittedModels& models,
                           const Partition& partition) {
  // The paper's three files. Where an arm could not be fitted, its inputs are still written.
  const auto clinical = models.find("clinical");
  if (clinical != models.end()) {
    const Rows rows = rows_with(cohort, {"clinical"});
    const int layer = settings.clinical_arm.embedding == "fc2" ? 2 : 3;
    write_features(run_folder / "clinical_features.csv",
                   cohort,
                   rows,
                   clinical->second->embed(cohort, rows, layer),
                   "ehr");
  }
  const auto write_means = [&](const std::string& name,
                               const std::string& prefix,
                               const std::vector<std::string>& modalities) {
    const Rows rows = rows_with(cohort, modalities);
    if (rows.empty()) return;
    write_features(run_folder / (name + "_features.csv"),
                   cohort,
                   rows,
                   mean_block(cohort, rows, modalities).values,
                   prefix);
  };
  // One file for both kinds of scans, as in the paper, where their vectors are of one width.
  const Modality* ct = cohort.find_modality("ct");
  const Modality* mri = cohort.find_modality("mri");
  if (ct != nullptr && mri != nullptr && ct->width != mri->width) {
    write_means("ct", "ct", {"ct"});
    write_means("mri", "mri", {"mri"});
  } else {
    write_means("ct_mri", "ctmri", {"ct", "mri"});
  }
  write_means("wsi", "wsi", {"wsi"});

  Json final_json;
  Json remarks = Json::object();
  // One fit per balancing method on the training patients, with a share held out to draw its
  // validation curve: the paper's Figures 8 to 11.
  final_json["class_balance"] = Json::array();
  final_json["learning_curves"] = Json::array();
  const auto spec = std::find_if(
      specs.begin(), specs.end(), [](const ModelSpec& s) { return s.id == "clinical"; });
  if (clinical != models.end() && spec != specs.end()) {
    for (const char* method : {"none", "smote", "adasyn", "smotenc", "random"}) {
      RunSettings tried = settings;
      tried.clinical_arm.balance = method;
      tried.clinical_arm.fit.ensemble = 1;
      tried.clinical_arm.fit.validation_share =
          std::max(0.2, settings.clinical_arm.fit.validation_share);
      std::unique_ptr<Model> model;
      try {
        model = spec->fit({cohort,
                           tried,
                           partition.training(),
                           derive_seed(static_cast<std::uint64_t>(settings.run.seed), method),
                           {}});
      } catch (const Error& error) {
        // A method that cannot work on this table (SMOTENC without a numeric column) is no reason
        // to lose the run, which may not even use it.
        remarks[fmt::format("clinical, balancing: {}", method)] = {error.what()};
        continue;
      }
      if (const auto* counts = model->class_counts()) {
        final_json["class_balance"].push_back({{"method", method},
                                               {"before", {counts->before[0], counts->before[1]}},
                                               {"after", {counts->after[0], counts->after[1]}}});
      }
      if (model->curve() != nullptr) {
        final_json["learning_curves"].push_back(
            curve_json(fmt::format("Clinical MLP, balancing: {}", method), *model->curve()));
      }
    }
  }
  for (const auto& s : specs) {
    const auto found = models.find(s.id);
    if (s.id == "clinical" || found == models.end() || found->second->curve() == nullptr) continue;
    final_json["learning_curves"].push_back(curve_json(s.label, *found->second->curve()));
  }

  // Hidden layers for UMAP: the clinical arm's last, the first of the paper's baselines and of
  // early concatenation.
  final_json["layers"] = Json::array();
  for (const auto& s : specs) {
    const auto found = models.find(s.id);
    const bool shown = s.family == "paper-baseline" || s.id == "early_concat" || s.id == "clinical";
    if (!shown || found == models.end()) continue;
    const Rows rows = rows_with(cohort, s.modalities);
    const int layer = s.id == "clinical" ? 3 : 1;
    const auto values = found->second->embed(cohort, rows, layer);
    if (values.rows() < 5 || values.cols() < 2) continue;
    final_json["layers"].push_back({{"model", s.id},
                                    {"title", fmt::format("{}, hidden layer fc{}", s.label, layer)},
                                    {"rows", rows},
                                    {"values", matrix_json(values)}});
  }
  for (const auto& [id, model] : models) {
    if (!model->remarks().empty()) remarks[id] = model->remarks();
  }
  final_json["remarks"] = remarks;
  write_json(run_folder / "final.json", final_json);
}

Json final_artefact_hashes(const std::filesystem::path& run_folder) {
  Json hashes = Json::object();
  for (const char* name : kFinalFiles) {
    const auto file = run_folder / name;
    if (std::filesystem::is_regular_file(file)) hashes[name] = sha256_file(file);
  }
  return hashes;
}

void remove_final_artefacts(const std::filesystem::path& run_folder) {
  for (const char* name : kFinalFiles) std::filesystem::remove(run_folder / name);
}

Json umap_json(const Json& final_artefacts, const EvaluationContext& context) {
  Json out = Json::array();
  for (const auto& layer : final_artefacts.at("layers")) {
    const auto id = layer.at("model").get<std::string>();
    const auto all = layer.at("rows").get<Rows>();
    // Held-out verdicts: test patients by the final fit, the others by cross-validation.
    std::map<std::size_t, bool> correct;
    for (const auto& set : context.sets) {
      const auto found = set.models.find(id);
      if (found == set.models.end()) continue;
      for (std::size_t i = 0; i < set.rows.size(); ++i) {
        if (std::isnan(found->second.probability[i])) continue;
        correct[set.rows[i]] = found->second.predicted[i] == context.cohort.label[set.rows[i]];
      }
    }
    Rows rows;
    Matrix<double> x;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!correct.contains(all[i])) continue;
      const auto values = layer.at("values").at(i).get<std::vector<double>>();
      x.append_row(values);
      rows.push_back(all[i]);
    }
    if (rows.size() < 5) continue;
    stats::UmapOptions options;
    options.seed = derive_seed(static_cast<std::uint64_t>(context.settings.run.seed), "umap/" + id);
    const auto embedding = stats::umap(x, options).embedding;
    Json entry = {{"title", layer.at("title")},
                  {"x", Json::array()},
                  {"y", Json::array()},
                  {"label", Json::array()},
                  {"correct", Json::array()}};
    for (std::size_t i = 0; i < rows.size(); ++i) {
      entry["x"].push_back(embedding(i, 0));
      entry["y"].push_back(embedding(i, 1));
      entry["label"].push_back(static_cast<int>(context.cohort.label[rows[i]]));
      entry["correct"].push_back(correct.at(rows[i]) ? 1 : 0);
    }
    out.push_back(entry);
  }
  return out;
}

}  // namespace med3d::pipeline
