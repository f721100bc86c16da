#include <algorithm>
#include <memory>
#include <optional>

#include "med3d/pipeline/models/fused_inputs_internal.h"
#include "med3d/pipeline/models/kinds_internal.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/rows_internal.h"
#include "med3d/pipeline/models/table_internal.h"
#include "med3d/tabular/gradient_boosting.h"
#include "med3d/tabular/logistic.h"

namespace med3d::pipeline {
namespace {

class MajorityModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request) {
    const auto y = labels_of(request.cohort, request.training.rows());
    auto model = std::make_unique<MajorityModel>();
    model->prevalence_ = static_cast<double>(std::count(y.begin(), y.end(), 1)) /
                         static_cast<double>(std::max<std::size_t>(1, y.size()));
    return model;
  }
  static std::unique_ptr<Model> load(const Json& json, const TensorStore&, const FittedModels&) {
    auto model = std::make_unique<MajorityModel>();
    model->prevalence_ = json.at("prevalence").get<double>();
    return model;
  }
  std::vector<double> predict(const Cohort&, const Rows& rows) const override {
    return std::vector<double>(rows.size(), prevalence_);
  }
  Json save(const std::string&, TensorStore&) const override {
    return {{"prevalence", prevalence_}};
  }

 private:
  double prevalence_ = 0.5;
};

tabular::BoostingOptions boosting_options(const RunSettings& settings, std::uint64_t seed) {
  const auto& section = settings.classical;
  tabular::BoostingOptions options;
  options.rounds = section.rounds;
  options.max_depth = section.max_depth;
  options.learning_rate = section.learning_rate;
  options.subsample = section.subsample;
  options.colsample = section.colsample;
  options.seed = static_cast<std::uint32_t>(seed & 0x7FFFFFFFU);
  return options;
}

// Logistic regression or boosted trees behind one face.
class Classifier {
 public:
  static Classifier fit(const std::string& kind,
                        const Matrix<double>& x,
                        const std::vector<std::uint8_t>& y,
                        double c,
                        const FitRequest& request) {
    Classifier classifier;
    if (kind == "logistic") {
      tabular::LogisticOptions options;
      options.c = c;
      options.balanced = true;
      classifier.logistic_ = tabular::LogisticRegression::fit(x, y, options);
    } else {
      classifier.trees_ = std::make_shared<const tabular::GradientBoosting>(
          tabular::GradientBoosting::fit(x, y, boosting_options(request.settings, request.seed)));
    }
    return classifier;
  }
  std::vector<double> predict(const Matrix<double>& x) const {
    return logistic_ ? logistic_->predict_proba(x) : trees_->predict_proba(x);
  }
  bool is_trees() const { return trees_ != nullptr; }

  Json save(const std::string& name, TensorStore& store) const {
    if (logistic_) return {{"kind", "logistic"}, {"model", logistic_->to_json()}};
    store.put_bytes(name + "/trees", trees_->save_bytes());
    return {{"kind", "trees"}, {"tensors", name + "/trees"}};
  }
  static Classifier load(const Json& json, const TensorStore& store) {
    Classifier classifier;
    if (word_of(json, "kind", {"logistic", "trees"}) == "logistic") {
      classifier.logistic_ = tabular::LogisticRegression::from_json(json.at("model"));
    } else {
      classifier.trees_ =
          std::make_shared<const tabular::GradientBoosting>(tabular::GradientBoosting::load_bytes(
              store.get_bytes(json.at("tensors").get<std::string>())));
    }
    return classifier;
  }

 private:
  std::optional<tabular::LogisticRegression> logistic_;
  std::shared_ptr<const tabular::GradientBoosting> trees_;
};

class TableBaseline final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::string& kind,
                                    const std::vector<std::string>& columns) {
    auto model = std::make_unique<TableBaseline>();
    const auto training = rows_with_table(request.cohort, request.training.rows());
    const auto y = labels_of(request.cohort, training.rows);
    require_both_classes(y, "clinical table");
    const auto table = chosen_table(request.cohort, training.rows, columns);
    model->encoder_ = fit_encoder(request.cohort, request.settings, table);
    model->classifier_ = Classifier::fit(
        kind, model->encoder_.transform(table), y, request.settings.classical.logistic_c, request);
    return model;
  }
  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels&) {
    auto model = std::make_unique<TableBaseline>();
    model->encoder_ = tabular::ClinicalEncoder::from_json(json.at("encoder"));
    model->classifier_ = Classifier::load(json.at("classifier"), store);
    return model;
  }
  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto chosen = rows_with_table(cohort, rows);
    if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(classifier_.predict(encoder_.transform(clinical_table(cohort, chosen.rows))),
                   chosen.position,
                   rows.size());
  }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return encoder_warnings(encoder_, cohort, rows);
  }
  Json save(const std::string& name, TensorStore& store) const override {
    return {{"encoder", encoder_.to_json()}, {"classifier", classifier_.save(name, store)}};
  }

 private:
  tabular::ClinicalEncoder encoder_;
  Classifier classifier_;
};

class FusedBaseline final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::string& kind,
                                    const std::vector<std::string>& arms) {
    auto model = std::make_unique<FusedBaseline>();
    const auto training = rows_with_any(request.cohort, request.training.rows(), arms);
    const auto y = labels_of(request.cohort, training.rows);
    require_both_classes(y, "fusion");
    model->inputs_ = FusedInputs::fit(request, request.training, arms, 0);
    model->fill_ = kind == "logistic" ? 0.0 : kNone;
    model->classifier_ =
        Classifier::fit(kind,
                        model->inputs_.flat(request.cohort, training.rows, model->fill_),
                        y,
                        request.settings.classical.fused_logistic_c,
                        request);
    return model;
  }
  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels& fitted) {
    auto model = std::make_unique<FusedBaseline>();
    model->inputs_ = FusedInputs::load(json.at("inputs"), fitted);
    model->classifier_ = Classifier::load(json.at("classifier"), store);
    model->fill_ = model->classifier_.is_trees() ? kNone : 0.0;
    return model;
  }
  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto chosen = rows_with_any(cohort, rows, inputs_.arms());
    if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(classifier_.predict(inputs_.flat(cohort, chosen.rows, fill_)),
                   chosen.position,
                   rows.size());
  }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return inputs_.warnings(cohort, rows);
  }
  Json save(const std::string& name, TensorStore& store) const override {
    return {{"inputs", inputs_.save()}, {"classifier", classifier_.save(name, store)}};
  }

 private:
  FusedInputs inputs_;
  double fill_ = 0.0;
  Classifier classifier_;
};

}  // namespace

std::unique_ptr<Model> fit_majority(const FitRequest& request) {
  return MajorityModel::fit(request);
}
std::unique_ptr<Model> load_majority(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels& fitted) {
  return MajorityModel::load(json, store, fitted);
}
std::unique_ptr<Model> fit_table_baseline(const FitRequest& request,
                                          const std::string& kind,
                                          const std::vector<std::string>& columns) {
  return TableBaseline::fit(request, kind, columns);
}
std::unique_ptr<Model> load_table_baseline(const Json& json,
                                           const TensorStore& store,
                                           const FittedModels& fitted) {
  return TableBaseline::load(json, store, fitted);
}
std::unique_ptr<Model> fit_fused_baseline(const FitRequest& request,
                                          const std::string& kind,
                                          const std::vector<std::string>& arms) {
  return FusedBaseline::fit(request, kind, arms);
}
std::unique_ptr<Model> load_fused_baseline(const Json& json,
                                           const TensorStore& store,
                                           const FittedModels& fitted) {
  return FusedBaseline::load(json, store, fitted);
}

}  // namespace med3d::pipeline
