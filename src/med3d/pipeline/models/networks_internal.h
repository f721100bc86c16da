// What the models made of networks share: options from settings, members of different seeds, and
// the way into and out of a bundle.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "med3d/nn/bag_classifier.h"
#include "med3d/nn/mlp.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

nn::DeviceKind device_of(const RunSettings& settings);
std::uint64_t member_seed(const FitRequest& request, int member);
nn::Pool pool_of(const std::string& name);

nn::MlpOptions mlp_options(const std::vector<int>& hidden,
                           const std::vector<double>& dropout,
                           bool batch_norm,
                           const FitSettings& fit,
                           std::uint64_t seed,
                           nn::DeviceKind device,
                           bool has_validation);

// A word of a bundle, one of those that save() writes.
std::string word_of(const Json& json, const char* key, const std::vector<std::string>& allowed);

// The widths of a bundle's hidden layers. What a network of them would hold must be there in the
// arrays, which are as large as the file, so that a few digits cannot ask for any memory they like.
std::vector<int> hidden_of(const Json& json, std::uint64_t inputs, const nn::Parameters& arrays);

// How many networks of different seeds a bundle's model has.
std::size_t members_of(const Json& json);
nn::Parameters arrays_of(const Json& json, const TensorStore& store, std::size_t member);

// An MLP's options in a bundle, and back.
Json to_json(const nn::MlpOptions& options, std::size_t inputs);
nn::MlpOptions mlp_options_from(const Json& json, const TensorStore& store);

// Rows of a layer's output for patients of whom nothing is there: zeros. `layer` counts from 1.
Matrix<float> no_embedding(std::size_t rows, const std::vector<int>& hidden, int layer);

// Networks of different seeds on the same data; their probabilities are averaged.
template <class Network>
class Ensemble {
 public:
  void add(Network member) { members_.push_back(std::move(member)); }

  template <class Input>
  std::vector<double> predict(const Input& x) const {
    std::vector<double> mean = members_.front().predict(x);
    for (std::size_t m = 1; m < members_.size(); ++m) {
      const auto p = members_[m].predict(x);
      for (std::size_t i = 0; i < p.size(); ++i) mean[i] += p[i];
    }
    for (double& p : mean) p /= static_cast<double>(members_.size());
    return mean;
  }
  // Hidden layers of different networks do not share axes: the first member's is the embedding.
  const Network& first() const { return members_.front(); }
  const std::vector<Network>& members() const { return members_; }
  const nn::LearningCurve* curve() const { return &members_.front().curve(); }

  // Puts the members' arrays into the store and says in `json` where they are.
  void save(const std::string& name, TensorStore& store, Json& json) const {
    for (std::size_t m = 0; m < members_.size(); ++m) {
      store.put(fmt::format("{}/{}", name, m), members_[m].parameters());
    }
    json["members"] = members_.size();
    json["tensors"] = name;
  }
  // make(parameters) gives one member.
  template <class Make>
  static Ensemble load(const Json& json, const TensorStore& store, Make make) {
    Ensemble ensemble;
    for (std::size_t m = 0; m < members_of(json); ++m) {
      ensemble.add(make(arrays_of(json, store, m)));
    }
    return ensemble;
  }

 private:
  std::vector<Network> members_;
};

Json save_mlps(const Ensemble<nn::Mlp>& members,
               const std::string& name,
               TensorStore& store,
               const nn::MlpOptions& options,
               std::size_t inputs);
Ensemble<nn::Mlp> load_mlps(const Json& json,
                            const TensorStore& store,
                            const nn::MlpOptions& options);

}  // namespace med3d::pipeline
