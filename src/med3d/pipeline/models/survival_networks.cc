// Heads on LibTorch: DeepSurv's log relative hazard, and hazards of a few intervals.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

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

// Layers, loss and cuts of a net, and where its arrays are; block widths come from its inputs.
Json save_net(const nn::SurvivalNet& net,
              const nn::SurvivalNetOptions& options,
              const std::string& name,
              TensorStore& store) {
  store.put(name, net.parameters());
  return {{"tensors", name},
          {"mode", options.mode == nn::FusionMode::kMean ? "mean" : "concat"},
          {"projection", options.projection},
          {"hidden", options.hidden},
          {"batch_norm", options.batch_norm}};
}

struct LoadedNet {
  nn::SurvivalNet net;
  nn::SurvivalNetOptions options;
};
LoadedNet load_net(const HeadSource& source,
                   nn::SurvivalNetOptions::Loss loss,
                   const std::vector<double>& cuts) {
  nn::SurvivalNetOptions options;
  options.loss = loss;
  options.cuts = cuts;
  const auto& json = source.json;
  const bool mean = word_of(json, "mode", {"mean", "concat"}) == "mean";
  options.mode = mean ? nn::FusionMode::kMean : nn::FusionMode::kConcat;
  options.projection = json.at("projection").get<int>();
  options.hidden = json.at("hidden").get<std::vector<int>>();
  options.batch_norm = json.at("batch_norm").get<bool>();
  const auto arrays = source.store.get(json.at("tensors").get<std::string>());
  const auto widths = source.inputs.block_widths();
  // The whole chain of layers is held to the arrays as they are before anything is built.
  std::uint64_t inputs = widths.size();
  for (const std::size_t width : widths) inputs += width;
  auto chain = options.hidden;
  if (chain.empty()) throw Error(ErrorKind::kFormat, "'hidden' is empty");
  if (mean) chain.insert(chain.begin(), options.projection);
  chain.push_back(static_cast<int>(options.outputs()));
  (void)hidden_of({{"hidden", chain}}, inputs, arrays);
  options.dropout.assign(options.hidden.size(), 0.0);
  return {nn::SurvivalNet::from_parameters(options, widths, arrays), options};
}

class DeepSurvHead final : public SurvivalHead {
 public:
  DeepSurvHead(nn::SurvivalNet net, nn::SurvivalNetOptions options, RelativeHazard hazard)
      : net_(std::move(net)), options_(std::move(options)), hazard_(std::move(hazard)) {}

  static std::unique_ptr<SurvivalHead> fit(const HeadRequest& request, nn::FusionMode mode) {
    const auto options = net_options(request, nn::SurvivalNetOptions::Loss::kCox, mode);
    auto net = nn::SurvivalNet::fit(request.rows, request.times, options);
    const auto f = net.predict(request.rows);
    RelativeHazard hazard(request.times, {f.data(), f.size()});
    return std::make_unique<DeepSurvHead>(std::move(net), options, std::move(hazard));
  }
  static std::unique_ptr<SurvivalHead> load(const HeadSource& source) {
    auto [net, options] = load_net(source, nn::SurvivalNetOptions::Loss::kCox, {});
    return std::make_unique<DeepSurvHead>(
        std::move(net), std::move(options), RelativeHazard::from_json(source.json.at("baseline")));
  }
  Json save(const std::string& name, TensorStore& store) const override {
    Json json = {{"kind", "deepsurv"}};
    json.update(save_net(net_, options_, name, store));
    json["baseline"] = hazard_.to_json();
    return json;
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
  nn::SurvivalNetOptions options_;
  RelativeHazard hazard_;
};

class DiscreteHead final : public SurvivalHead {
 public:
  DiscreteHead(nn::SurvivalNet net, nn::SurvivalNetOptions options, double last)
      : net_(std::move(net)), options_(std::move(options)), last_(last) {}

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
    return std::make_unique<DiscreteHead>(std::move(net), options, last);
  }
  static std::unique_ptr<SurvivalHead> load(const HeadSource& source) {
    const auto cuts = numbers_of(source.json, "cuts_months");
    const auto last = source.json.at("last_month").get<double>();
    if (cuts.empty() || !std::is_sorted(cuts.begin(), cuts.end(), std::less_equal<>()) ||
        !(cuts.front() > 0.0) || !(last >= cuts.back())) {
      throw Error(ErrorKind::kFormat,
                  "'cuts_months' and 'last_month': expected times above 0 that rise");
    }
    auto [net, options] = load_net(source, nn::SurvivalNetOptions::Loss::kDiscrete, cuts);
    return std::make_unique<DiscreteHead>(std::move(net), std::move(options), last);
  }
  Json save(const std::string& name, TensorStore& store) const override {
    Json json = {{"kind", "discrete"}, {"cuts_months", options_.cuts}, {"last_month", last_}};
    json.update(save_net(net_, options_, name, store));
    return json;
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
          const double end = j < options_.cuts.size() ? options_.cuts[j] : last_;
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
    return {{"kind", "discrete"},
            {"cuts_months", options_.cuts},
            {"training_loss", net_.training_loss()}};
  }

 private:
  nn::SurvivalNet net_;
  nn::SurvivalNetOptions options_;
  double last_;
};

}  // namespace

std::unique_ptr<SurvivalHead> load_deepsurv_head(const HeadSource& source) {
  return DeepSurvHead::load(source);
}
std::unique_ptr<SurvivalHead> load_discrete_head(const HeadSource& source) {
  return DiscreteHead::load(source);
}

std::unique_ptr<SurvivalHead> fit_deepsurv_head(const HeadRequest& request, nn::FusionMode mode) {
  return DeepSurvHead::fit(request, mode);
}
std::unique_ptr<SurvivalHead> fit_discrete_head(const HeadRequest& request, nn::FusionMode mode) {
  return DiscreteHead::fit(request, mode);
}

}  // namespace med3d::pipeline
