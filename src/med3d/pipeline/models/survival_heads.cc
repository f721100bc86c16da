// Elastic-net Cox, boosted Cox, and what turns any relative hazard into a probability.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/survival_internal.h"
#include "med3d/stats/survival/cox.h"
#include "med3d/stats/survival/cox_path.h"
#include "med3d/stats/survival/kaplan_meier.h"
#include "med3d/tabular/gradient_boosting.h"
#include "med3d/tabular/split.h"

namespace med3d::pipeline {
namespace {

namespace ss = stats::survival;

Matrix<double> risks_of(const RelativeHazard& hazard,
                        const std::vector<double>& f,
                        std::span<const double> horizons) {
  Matrix<double> out(f.size(), horizons.size());
  for (std::size_t i = 0; i < f.size(); ++i) {
    for (std::size_t h = 0; h < horizons.size(); ++h) out(i, h) = hazard.risk(f[i], horizons[h]);
  }
  return out;
}

// Verweij and van Houwelingen's cross-validated partial likelihood along a path: what the left-out
// patients add to the likelihood of all, given coefficients that have not seen them.
std::vector<double> cross_validated_likelihood(const ss::SurvivalTimes& times,
                                               const Matrix<double>& x,
                                               const std::vector<int>& fold,
                                               int folds,
                                               const ss::CoxPathOptions& options) {
  std::vector<double> sum(options.lambda.size(), 0.0);
  for (int k = 0; k < folds; ++k) {
    Rows rows;
    for (std::size_t i = 0; i < fold.size(); ++i) {
      if (fold[i] != k) rows.push_back(i);
    }
    const auto part = times.take(rows);
    const auto x_part = x.take_rows(rows);
    const auto path = ss::cox_path(part, x_part, options);
    for (std::size_t s = 0; s < sum.size(); ++s) {
      if (s >= path.lambda.size()) {
        sum[s] = -std::numeric_limits<double>::infinity();
        continue;
      }
      sum[s] += ss::cox_log_likelihood(times, path.linear_predictor(x, s)) -
                ss::cox_log_likelihood(part, path.linear_predictor(x_part, s));
    }
  }
  return sum;
}

class CoxHead final : public SurvivalHead {
 public:
  static std::unique_ptr<SurvivalHead> fit(const HeadRequest& request) {
    const auto& section = request.settings.survival;
    auto head = std::make_unique<CoxHead>();
    head->names_ = request.inputs.names();
    const auto x = request.inputs.flat(request.rows, 0.0);
    const auto& times = request.times;
    const int folds = static_cast<int>(
        std::min<std::int64_t>({section.cox_folds,
                                times.n_events(),
                                static_cast<std::int64_t>(times.size()) - times.n_events()}));
    if (folds < 2) {
      throw Error(ErrorKind::kData,
                  fmt::format("Cox elastic net: {} events among {} training patients, at least 2 "
                              "events and 2 others are needed to choose a penalty",
                              times.n_events(),
                              times.size()));
    }
    const auto fold = tabular::repeated_stratified_folds(
                          times.event(), {}, folds, 1, derive_seed(request.seed, "penalty"))
                          .front();
    double best = -std::numeric_limits<double>::infinity();
    for (const double alpha : section.cox_alpha) {
      ss::CoxPathOptions options;
      options.alpha = alpha;
      options.n_lambda = section.cox_lambdas;
      options.lambda_min_ratio = section.cox_lambda_min_ratio;
      // The choice among penalties is far coarser than either; correlated columns under a small
      // penalty would take hundreds of steps to the last digits.
      options.tolerance = 1e-5;
      options.max_iterations = 20;
      const auto path = ss::cox_path(times, x, options);
      if (path.lambda.empty()) throw Error(ErrorKind::kData, "Cox: " + path.not_estimable);
      options.lambda = path.lambda;
      const auto likelihood = cross_validated_likelihood(times, x, fold, folds, options);
      for (std::size_t s = 0; s < likelihood.size(); ++s) {
        if (!(likelihood[s] > best)) continue;
        best = likelihood[s];
        head->alpha_ = alpha;
        head->lambda_ = path.lambda[s];
        const auto row = path.coefficient.row(s);
        head->beta_.assign(row.begin(), row.end());
      }
    }
    head->hazard_ = RelativeHazard(times, head->linear_predictor(x));
    return head;
  }

  Matrix<double> risk(const SurvivalInputs& inputs,
                      const nn::FusionInput& rows,
                      std::span<const double> horizons) const override {
    return risks_of(hazard_, linear_predictor(inputs.flat(rows, 0.0)), horizons);
  }

  Json describe() const override {
    Json coefficients = Json::object();
    for (std::size_t j = 0; j < beta_.size(); ++j) {
      if (beta_[j] != 0.0) coefficients[names_[j]] = beta_[j];
    }
    return {{"kind", "cox"},
            {"alpha", alpha_},
            {"lambda", lambda_},
            {"log_hazard_ratio_per_sd", coefficients}};
  }

  Json save(const std::string&, TensorStore&) const override {
    return {{"kind", "cox"},
            {"alpha", alpha_},
            {"lambda", lambda_},
            {"beta", beta_},
            {"baseline", hazard_.to_json()}};
  }
  static std::unique_ptr<SurvivalHead> load(const HeadSource& source) {
    auto head = std::make_unique<CoxHead>();
    head->names_ = source.inputs.names();
    head->alpha_ = source.json.at("alpha").get<double>();
    head->lambda_ = source.json.at("lambda").get<double>();
    head->beta_ = numbers_of(source.json, "beta", source.inputs.width());
    head->hazard_ = RelativeHazard::from_json(source.json.at("baseline"));
    return head;
  }

 private:
  std::vector<double> linear_predictor(const Matrix<double>& x) const {
    std::vector<double> f(x.rows(), 0.0);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      for (std::size_t j = 0; j < beta_.size(); ++j) f[i] += beta_[j] * x(i, j);
    }
    return f;
  }

  std::vector<std::string> names_;
  double alpha_ = 0.0;
  double lambda_ = 0.0;
  std::vector<double> beta_;
  RelativeHazard hazard_;
};

class BoostedHead final : public SurvivalHead {
 public:
  BoostedHead(tabular::CoxBoosting trees, RelativeHazard hazard)
      : trees_(std::move(trees)), hazard_(std::move(hazard)) {}

  static std::unique_ptr<SurvivalHead> fit(const HeadRequest& request) {
    const auto& section = request.settings.survival;
    tabular::BoostingOptions options;
    options.rounds = section.rounds;
    options.max_depth = section.max_depth;
    options.learning_rate = section.boosting_rate;
    options.subsample = request.settings.classical.subsample;
    options.colsample = request.settings.classical.colsample;
    options.seed = static_cast<std::uint32_t>(request.seed & 0x7FFFFFFFU);
    const auto x = request.inputs.flat(request.rows, kNone);
    auto trees =
        tabular::CoxBoosting::fit(x, request.times.time_months(), request.times.event(), options);
    RelativeHazard hazard(request.times, trees.log_hazard(x));
    return std::make_unique<BoostedHead>(std::move(trees), std::move(hazard));
  }

  Matrix<double> risk(const SurvivalInputs& inputs,
                      const nn::FusionInput& rows,
                      std::span<const double> horizons) const override {
    return risks_of(hazard_, trees_.log_hazard(inputs.flat(rows, kNone)), horizons);
  }

  Json describe() const override { return {{"kind", "boosted"}, {"columns", trees_.columns()}}; }

  Json save(const std::string& name, TensorStore& store) const override {
    store.put_bytes(name + "/trees", trees_.save_bytes());
    return {{"kind", "boosted"}, {"tensors", name + "/trees"}, {"baseline", hazard_.to_json()}};
  }
  static std::unique_ptr<SurvivalHead> load(const HeadSource& source) {
    auto trees = tabular::CoxBoosting::load_bytes(
        source.store.get_bytes(source.json.at("tensors").get<std::string>()));
    if (trees.columns() != source.inputs.width()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("'tensors' holds trees of {} columns, the inputs have {}",
                              trees.columns(),
                              source.inputs.width()));
    }
    return std::make_unique<BoostedHead>(std::move(trees),
                                         RelativeHazard::from_json(source.json.at("baseline")));
  }

 private:
  tabular::CoxBoosting trees_;
  RelativeHazard hazard_;
};

class HeadModel final : public SurvivalModel {
 public:
  HeadModel(SurvivalInputs inputs, std::unique_ptr<SurvivalHead> head)
      : inputs_(std::move(inputs)), head_(std::move(head)) {}

  Matrix<double> risk(const Cohort& cohort,
                      const Rows& rows,
                      std::span<const double> horizons) const override {
    Matrix<double> out(rows.size(), horizons.size(), kNone);
    const auto part = inputs_.apply(cohort, rows);
    if (part.chosen.rows.empty()) return out;
    const auto risks = head_->risk(inputs_, part.input, horizons);
    for (std::size_t i = 0; i < part.chosen.position.size(); ++i) {
      const auto row = risks.row(i);
      std::copy(row.begin(), row.end(), out.row(part.chosen.position[i]).begin());
    }
    return out;
  }
  Json describe() const override { return head_->describe(); }
  std::vector<std::string> remarks() const override { return head_->remarks(); }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return inputs_.warnings(cohort, rows);
  }
  Json save(const std::string& name, SurvivalArchive& archive) const override {
    return {{"kind", "head"},
            {"inputs", inputs_.save(archive)},
            {"head", head_->save(name, archive.arrays)}};
  }

 private:
  SurvivalInputs inputs_;
  std::unique_ptr<SurvivalHead> head_;
};

class NoCovariates final : public SurvivalModel {
 public:
  explicit NoCovariates(const ss::KaplanMeier& curve) {
    for (const auto& step : curve.row) {
      if (step.n_event == 0) continue;
      time_.push_back(step.time_months);
      survival_.push_back(step.survival);
    }
  }
  explicit NoCovariates(const Json& json)
      : time_(numbers_of(json, "time_months")),
        survival_(numbers_of(json, "survival", time_.size())) {
    const bool stands =
        std::adjacent_find(time_.begin(), time_.end(), std::greater_equal<>()) != time_.end();
    const bool climbs =
        std::adjacent_find(survival_.begin(), survival_.end(), std::less<>()) != survival_.end();
    if (stands || climbs || survival_.size() != time_.size() ||
        (!survival_.empty() && (survival_.front() > 1.0 || survival_.back() < 0.0))) {
      throw Error(ErrorKind::kFormat, "'time_months' and 'survival' are no survival curve");
    }
  }

  Matrix<double> risk(const Cohort&,
                      const Rows& rows,
                      std::span<const double> horizons) const override {
    Matrix<double> out(rows.size(), horizons.size());
    for (std::size_t h = 0; h < horizons.size(); ++h) {
      const auto after = std::upper_bound(time_.begin(), time_.end(), horizons[h]);
      const double survival = after == time_.begin()
                                  ? 1.0
                                  : survival_[static_cast<std::size_t>(after - time_.begin()) - 1];
      for (std::size_t i = 0; i < rows.size(); ++i) out(i, h) = 1.0 - survival;
    }
    return out;
  }
  Json describe() const override { return {{"kind", "kaplan-meier"}}; }
  Json save(const std::string&, SurvivalArchive&) const override {
    return {{"kind", "kaplan-meier"}, {"time_months", time_}, {"survival", survival_}};
  }

 private:
  std::vector<double> time_, survival_;  // at each time of an event
};

}  // namespace

RelativeHazard::RelativeHazard(const ss::SurvivalTimes& times, std::span<const double> f) {
  for (const double value : f) middle_ += value / static_cast<double>(f.size());
  const auto order = times.order();
  // At risk from the end: the sum over those still watched at each time.
  std::vector<double> at_risk(order.size());
  double sum = 0.0;
  for (std::size_t i = order.size(); i > 0; --i) {
    sum += std::exp(f[order[i - 1]] - middle_);
    at_risk[i - 1] = sum;
  }
  double hazard = 0.0;
  for (std::size_t i = 0; i < order.size();) {
    const double time = times.time(order[i]);
    const double risk_set = at_risk[i];
    int events = 0;
    for (; i < order.size() && times.time(order[i]) == time; ++i) {
      events += times.has_event(order[i]) ? 1 : 0;
    }
    if (events == 0) continue;
    hazard += events / risk_set;
    time_.push_back(time);
    hazard_.push_back(hazard);
  }
}

double RelativeHazard::cumulative_baseline(double time_months) const {
  const auto after = std::upper_bound(time_.begin(), time_.end(), time_months);
  return after == time_.begin() ? 0.0
                                : hazard_[static_cast<std::size_t>(after - time_.begin()) - 1];
}

double RelativeHazard::risk(double f, double time_months) const {
  return -std::expm1(-cumulative_baseline(time_months) * std::exp(f - middle_));
}

Json RelativeHazard::to_json() const {
  return {{"middle", middle_}, {"time_months", time_}, {"cumulative_hazard", hazard_}};
}

RelativeHazard RelativeHazard::from_json(const Json& json) {
  RelativeHazard out;
  out.middle_ = json.at("middle").get<double>();
  out.time_ = numbers_of(json, "time_months");
  out.hazard_ = numbers_of(json, "cumulative_hazard", out.time_.size());
  const auto falls = [](const std::vector<double>& values) {
    return !std::is_sorted(values.begin(), values.end()) ||
           (!values.empty() && values.front() < 0.0);
  };
  if (falls(out.time_) || falls(out.hazard_) || out.hazard_.size() != out.time_.size()) {
    throw Error(ErrorKind::kFormat,
                "'baseline': times and cumulative hazards must be as many, 0 or more, and rise");
  }
  return out;
}

std::vector<double> numbers_of(const Json& json, const char* key, std::size_t expected) {
  auto values = json.at(key).get<std::vector<double>>();
  if (expected > 0 && values.size() != expected) {
    throw Error(ErrorKind::kFormat,
                fmt::format("'{}' holds {} numbers, expected {}", key, values.size(), expected));
  }
  return values;
}

std::unique_ptr<SurvivalHead> load_cox_head(const HeadSource& source) {
  return CoxHead::load(source);
}
std::unique_ptr<SurvivalHead> load_boosted_head(const HeadSource& source) {
  return BoostedHead::load(source);
}

std::unique_ptr<SurvivalHead> fit_cox_head(const HeadRequest& request) {
  return CoxHead::fit(request);
}
std::unique_ptr<SurvivalHead> fit_boosted_head(const HeadRequest& request) {
  return BoostedHead::fit(request);
}

std::unique_ptr<SurvivalModel> fit_survival_model(const SurvivalRequest& request,
                                                  const std::vector<std::string>& arms,
                                                  const std::vector<std::string>& columns,
                                                  const FitHead& fit_head) {
  auto inputs = SurvivalInputs::fit(request, arms, columns);
  const auto part = inputs.apply(request.cohort, request.training.rows());
  const auto times = times_of(request.cohort, part.chosen.rows);
  if (times.n_events() < 2) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} events among {} training patients, at least 2 are needed",
                            fmt::join(arms, " and "),
                            times.n_events(),
                            times.size()));
  }
  auto head = fit_head({inputs, part.input, times, request.settings, request.seed});
  return std::make_unique<HeadModel>(std::move(inputs), std::move(head));
}

std::unique_ptr<SurvivalModel> load_head_model(const Json& json,
                                               const SurvivalArchive& archive,
                                               const LoadHead& load_head) {
  auto inputs = SurvivalInputs::load(json.at("inputs"), archive);
  auto head = load_head({json.at("head"), archive.arrays, inputs});
  return std::make_unique<HeadModel>(std::move(inputs), std::move(head));
}

std::unique_ptr<SurvivalModel> load_no_covariates(const Json& json) {
  return std::make_unique<NoCovariates>(json);
}

std::unique_ptr<SurvivalModel> fit_no_covariates(const SurvivalRequest& request) {
  return std::make_unique<NoCovariates>(
      ss::kaplan_meier(times_of(request.cohort, request.training.rows())));
}

}  // namespace med3d::pipeline
