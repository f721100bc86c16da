// Heads on LibTorch: DeepSurv's log relative hazard, and hazards of a few intervals.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/nn/survival_net.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/survival_internal.h"
#include "med3d/stats/estimate.h"

namespace med3d::pipeline {
namespace {

nn::SurvivalNetOptions net_options(const HeadRequest& request,
                                   nn::SurvivalNetOptions::Loss loss,
                                   nn::FusionMode mode) {
  const auto& section = request.settings.survival;
  nn::SurvivalNetOptions options;
  options.loss = loss;
  options.mode = mode;
  options.hidden = section.hidden;
  options.dropout.assign(section.hidden.size(), section.dropout);
  options.epochs = section.epochs;
  options.learning_rate = section.learning_rate;
  options.weight_decay = section.weight_decay;
  if (request.inputs.arms().size() > 1) options.modality_dropout = section.modality_dropout;
  options.seed = request.seed;
  options.device = device_of(request.settings);
  return options;
}

class DeepSurvHead final : public SurvivalHead {
 public:
  DeepSurvHead(nn::SurvivalNet net, RelativeHazard hazard)
      : net_(std::move(net)), hazard_(std::move(hazard)) {}

  static std::unique_ptr<SurvivalHead> fit(const HeadRequest& request, nn::FusionMode mode) {
    auto net = nn::SurvivalNet::fit(request.rows,
                                    request.times,
                                    net_options(request, nn::SurvivalNetOptions::Loss::kCox, mode));
    const auto f = net.predict(request.rows);
    RelativeHazard hazard(request.times, {f.data(), f.size()});
    return std::make_unique<DeepSurvHead>(std::move(net), std::move(hazard));
  }
  Matrix<double> risk(const SurvivalInputs&,
                      const nn::FusionInput& rows,
                      std::span<const double> horizons) const override {
    const auto f = net_.predict(rows);
    Matrix<double> out(f.rows(), horizons.size());
    for (std::size_t i = 0; i < f.rows(); ++i) {
      for (std::size_t h = 0; h < horizons.size(); ++h) {
        out(i, h) = hazard_.risk(f(i, 0), horizons[h]);
      }
    }
    return out;
  }
  Json describe() const override {
    return {{"kind", "deepsurv"}, {"training_loss", net_.training_loss()}};
  }

 private:
  nn::SurvivalNet net_;
  RelativeHazard hazard_;
};

class DiscreteHead final : public SurvivalHead {
 public:
  DiscreteHead(nn::SurvivalNet net, std::vector<double> cuts, double last)
      : net_(std::move(net)), cuts_(std::move(cuts)), last_(last) {}

  static std::unique_ptr<SurvivalHead> fit(const HeadRequest& request, nn::FusionMode mode) {
    auto options = net_options(request, nn::SurvivalNetOptions::Loss::kDiscrete, mode);
    options.alpha = request.settings.survival.nll_alpha;
    std::vector<double> seen;
    for (std::size_t i = 0; i < request.times.size(); ++i) {
      if (request.times.has_event(i)) seen.push_back(request.times.time(i));
    }
    std::sort(seen.begin(), seen.end());
    const int intervals = request.settings.survival.intervals;
    for (int j = 1; j < intervals; ++j) {
      const double cut = stats::sorted_quantile(seen, static_cast<double>(j) / intervals);
      if (cut > 0.0 && (options.cuts.empty() || cut > options.cuts.back())) {
        options.cuts.push_back(cut);
      }
    }
    if (options.cuts.empty()) {
      throw Error(ErrorKind::kData,
                  fmt::format("discrete time: the {} events of the training rows share one time",
                              seen.size()));
    }
    const double last = std::max(request.times.longest(), options.cuts.back());
    auto net = nn::SurvivalNet::fit(request.rows, request.times, options);
    return std::make_unique<DiscreteHead>(std::move(net), options.cuts, last);
  }

  // Within an interval the hazard is taken as constant; beyond the last training time nothing is
  // known and the risk stays.
  Matrix<double> risk(const SurvivalInputs&,
                      const nn::FusionInput& rows,
                      std::span<const double> horizons) const override {
    const auto hazard = net_.predict(rows);
    Matrix<double> out(hazard.rows(), horizons.size());
    for (std::size_t i = 0; i < hazard.rows(); ++i) {
      for (std::size_t h = 0; h < horizons.size(); ++h) {
        double log_survival = 0.0;
        double begin = 0.0;
        for (std::size_t j = 0; j < hazard.cols() && begin < horizons[h]; ++j) {
          const double end = j < cuts_.size() ? cuts_[j] : last_;
          const double share =
              end > begin ? std::min(1.0, (horizons[h] - begin) / (end - begin)) : 1.0;
          log_survival += share * std::log1p(-std::min(hazard(i, j), 1.0 - 1e-12));
          begin = end;
        }
        out(i, h) = -std::expm1(log_survival);
      }
    }
    return out;
  }
  Json describe() const override {
    return {{"kind", "discrete"}, {"cuts_months", cuts_}, {"training_loss", net_.training_loss()}};
  }

 private:
  nn::SurvivalNet net_;
  std::vector<double> cuts_;
  double last_;
};

}  // namespace

std::unique_ptr<SurvivalHead> fit_deepsurv_head(const HeadRequest& request, nn::FusionMode mode) {
  return DeepSurvHead::fit(request, mode);
}
std::unique_ptr<SurvivalHead> fit_discrete_head(const HeadRequest& request, nn::FusionMode mode) {
  return DiscreteHead::fit(request, mode);
}

}  // namespace med3d::pipeline
