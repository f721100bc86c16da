#include "med3d/nn/volume_classifier.h"

#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool3d.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <stdexcept>

#include "med3d/core/error.h"
#include "med3d/nn/internal/random_stream.h"
#include "med3d/nn/internal/volume_network.h"

namespace med3d::nn {
namespace {

VolumeNetDesign tiny(bool bottleneck, bool projection, bool dilated) {
  return {{1, 2, 1, 1}, bottleneck, projection, dilated, 2};
}

std::vector<float> normals(std::size_t n, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<float> out(n);
  for (float& v : out) v = random.normal();
  return out;
}

// The net once more with LibTorch's own differentiation.
class Oracle {
 public:
  Oracle(const VolumeNetDesign& design, const Parameters& parameters) : design_(design) {
    for (const Parameter& p : parameters) {
      const std::vector<std::int64_t> shape(p.shape.begin(), p.shape.end());
      at::Tensor t = at::from_blob(const_cast<float*>(p.values.data()), shape, at::kFloat).clone();
      if (p.name.find("running") == std::string::npos) t.requires_grad_(true);
      tensor[p.name] = t;
    }
  }

  at::Tensor logits(const at::Tensor& volumes, const at::Tensor& mask) {
    at::Tensor x = at::relu(unit(volumes, "conv1", "bn1", 2, 1));
    x = at::max_pool3d(x, {3, 3, 3}, {2, 2, 2}, {1, 1, 1});
    std::int64_t in = design_.width;
    for (std::size_t g = 0; g < 4; ++g) {
      const std::int64_t out = (design_.width << g) * (design_.bottleneck ? 4 : 1);
      const std::int64_t dilation = design_.dilated && g >= 2 ? (g == 2 ? 2 : 4) : 1;
      for (int b = 0; b < design_.blocks[g]; ++b) {
        const std::string n = "layer" + std::to_string(g + 1) + "." + std::to_string(b) + ".";
        const std::int64_t stride = b == 0 && g > 0 && dilation == 1 ? 2 : 1;
        at::Tensor y;
        if (design_.bottleneck) {
          y = at::relu(unit(x, n + "conv1", n + "bn1", 1, 1));
          y = at::relu(unit(y, n + "conv2", n + "bn2", stride, dilation));
          y = unit(y, n + "conv3", n + "bn3", 1, 1);
        } else {
          y = at::relu(unit(x, n + "conv1", n + "bn1", stride, dilation));
          y = unit(y, n + "conv2", n + "bn2", 1, dilation);
        }
        at::Tensor shortcut = x;
        if (stride != 1 || in != out) {
          if (design_.projection) {
            shortcut = unit(x, n + "downsample.0", n + "downsample.1", stride, 1);
          } else {
            shortcut = x.slice(2, 0, x.size(2), stride)
                           .slice(3, 0, x.size(3), stride)
                           .slice(4, 0, x.size(4), stride);
            shortcut = at::cat(
                {shortcut,
                 at::zeros(
                     {x.size(0), out - in, shortcut.size(2), shortcut.size(3), shortcut.size(4)})},
                1);
          }
        }
        x = at::relu(y.add(shortcut));
        in = out;
      }
    }
    return at::linear(x.mean({2, 3, 4}).mul(mask), tensor["fc.weight"], tensor["fc.bias"]);
  }

  std::map<std::string, at::Tensor> tensor;

 private:
  at::Tensor unit(const at::Tensor& x,
                  const std::string& convolution,
                  const std::string& norm,
                  std::int64_t stride,
                  std::int64_t dilation) {
    const at::Tensor& w = tensor[convolution + ".weight"];
    const std::int64_t padding = dilation * (w.size(2) / 2);
    const at::Tensor y = at::conv3d(x,
                                    w,
                                    {},
                                    {stride, stride, stride},
                                    {padding, padding, padding},
                                    {dilation, dilation, dilation});
    return at::batch_norm(y,
                          tensor[norm + ".weight"],
                          tensor[norm + ".bias"],
                          tensor[norm + ".running_mean"],
                          tensor[norm + ".running_var"],
                          true,
                          0.1,
                          1e-5,
                          false);
  }

  VolumeNetDesign design_;
};

void compare_with_autograd(const VolumeNetDesign& design, const char* label) {
  SCOPED_TRACE(label);
  constexpr std::int64_t kVolumes = 3;
  const VolumeShape extent = {17, 20, 18};
  VolumeNetwork network(design, 5);
  // Norms that are not the identity, so that every gradient is reached.
  std::vector<float> state = network.state();
  const std::vector<float> noise = normals(state.size(), 9);
  for (std::size_t i = 0; i < state.size(); ++i) state[i] += 0.02F * std::abs(noise[i]);
  network.set_state(state);
  Oracle oracle(design, network.parameters());
  const std::vector<float> voxels = normals(kVolumes * 17 * 20 * 18, 1);
  const std::vector<float> upstream = {0.5F, -1.0F, 2.0F};
  std::vector<float> mask(static_cast<std::size_t>(kVolumes * design.embedding_dim()), 2.0F);
  for (std::size_t i = 0; i < mask.size(); i += 3) mask[i] = 0.0F;
  const std::vector<float> logits = network.forward(voxels, extent, mask, 2);
  network.backward(upstream, 2);

  const auto tensor = [](const std::vector<float>& v, at::IntArrayRef shape) {
    return at::from_blob(const_cast<float*>(v.data()), shape, at::kFloat);
  };
  const at::Tensor expected = oracle.logits(tensor(voxels, {kVolumes, 1, 17, 20, 18}),
                                            tensor(mask, {kVolumes, design.embedding_dim()}));
  expected.mul(tensor(upstream, {kVolumes, 1})).sum().backward();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(logits[i], expected.data_ptr<float>()[i], 1e-4);
  }
  for (const Parameter& gradient : network.gradients()) {
    const at::Tensor of_oracle = oracle.tensor[gradient.name].grad().contiguous();
    ASSERT_EQ(static_cast<std::size_t>(of_oracle.numel()), gradient.values.size());
    double largest = 1e-3;
    double difference = 0.0;
    for (std::size_t i = 0; i < gradient.values.size(); ++i) {
      const double e = of_oracle.data_ptr<float>()[i];
      largest = std::max(largest, std::abs(e));
      difference = std::max(difference, std::abs(gradient.values[i] - e));
    }
    EXPECT_LT(difference, 1e-3 * largest) << gradient.name;
  }
}

TEST(VolumeNetwork, HasTheGradientsOfAutograd) {
  compare_with_autograd(tiny(false, false, true), "shortcut A, dilated");
  compare_with_autograd(tiny(false, true, false), "shortcut B, strides");
  compare_with_autograd(tiny(true, true, true), "bottleneck, shortcut B, dilated");
  compare_with_autograd(tiny(true, false, false), "bottleneck, shortcut A, strides");
}

// One step on a known gradient. AdamW: p (1 - rate * decay) - rate * sign(g), as m / sqrt(v) is the
// sign of g in the first step (eps 1e-8 aside); Adam's decay goes into the gradient, where a first
// step cannot show its size.
TEST(VolumeNetwork, StepsAsAdamWAndHoldsTheEncoderBack) {
  const VolumeNetDesign design = tiny(false, false, true);
  VolumeNetwork network(design, 5);
  const std::vector<float> voxels = normals(2 * 16 * 16 * 16, 1);
  const auto before = network.parameters();
  network.forward(voxels, {16, 16, 16}, {}, 1);
  network.backward(std::vector<float>{1.0F, 2.0F}, 1);
  network.step(0.01, 0.0, 0.5, true);
  const auto after = network.parameters();
  // d(sum)/d bias = 1 + 2 = 3 > 0
  EXPECT_NEAR(find_parameter(after, "fc.bias").values[0],
              find_parameter(before, "fc.bias").values[0] * (1.0F - 0.01F * 0.5F) - 0.01F,
              1e-6);
  EXPECT_EQ(find_parameter(after, "layer2.0.conv1.weight"),
            find_parameter(before, "layer2.0.conv1.weight"));
}

// 16 x 16 x 16 of noise; in class 1 a cube of four voxels a side is brighter.
struct Blobs {
  explicit Blobs(std::size_t n, std::uint64_t seed) {
    RandomStream random(seed);
    for (std::size_t i = 0; i < n; ++i) {
      y.push_back(i % 3 == 0 ? 1 : 0);
      std::vector<float> v(4096);
      for (float& voxel : v) voxel = random.normal();
      const std::size_t at = 4 + random.below(4);
      for (std::size_t j = 0; y.back() == 1 && j < 64; ++j) {
        v[((at + j / 16) * 16 + at + j / 4 % 4) * 16 + at + j % 4] += 3.0F;
      }
      volumes.push_back(std::move(v));
    }
  }
  VolumeSet set() const {
    return {{16, 16, 16}, volumes.size(), [this](std::size_t i, std::span<float> out) {
              std::copy(volumes[i].begin(), volumes[i].end(), out.begin());
            }};
  }
  std::vector<std::vector<float>> volumes;
  std::vector<std::uint8_t> y;
};

VolumeTrainingOptions quick() {
  VolumeTrainingOptions options;
  options.epochs = 6;
  options.batch_size = 8;
  options.learning_rate = 1e-2;
  options.shift = 1;
  options.seed = 3;
  return options;
}

TEST(VolumeClassifier, FindsWhatTellsTheClassesApart) {
  const Blobs training(48, 1);
  const Blobs validation(24, 2);
  const Blobs test(30, 3);
  const auto net = VolumeClassifier::fit({{1, 1, 1, 1}, false, true, true, 4},
                                         training.set(),
                                         training.y,
                                         validation.set(),
                                         validation.y,
                                         quick());
  const auto said = net.predict(test.set());
  double positive = 0.0;
  double negative = 0.0;
  for (std::size_t i = 0; i < test.y.size(); ++i) {
    (test.y[i] == 1 ? positive : negative) += said.probability[i];
  }
  EXPECT_GT(positive / 10.0, negative / 20.0 + 0.3);
  EXPECT_LT(net.history().back().training_loss, net.history().front().training_loss);
}

TEST(VolumeClassifier, GoesOnToTheSameBitsFromAnyEpoch) {
  const Blobs training(17, 1);
  const Blobs validation(9, 2);
  const VolumeNetDesign design = {{1, 1, 1, 1}, false, false, false, 2};
  VolumeTrainingOptions options = quick();
  options.weighted_sampler = true;
  options.class_weights = false;
  std::vector<VolumeTrainingState> states;
  const auto whole =
      VolumeClassifier::fit(design,
                            training.set(),
                            training.y,
                            validation.set(),
                            validation.y,
                            options,
                            {},
                            nullptr,
                            [&](const VolumeTrainingState& state) { states.push_back(state); });
  ASSERT_EQ(states.size(), 6U);
  for (const std::size_t at : {0U, 3U, 5U}) {
    const auto resumed = VolumeClassifier::fit(design,
                                               training.set(),
                                               training.y,
                                               validation.set(),
                                               validation.y,
                                               options,
                                               {},
                                               &states[at]);
    EXPECT_EQ(resumed.parameters(), whole.parameters()) << at;
    EXPECT_EQ(resumed.best_epoch(), whole.best_epoch()) << at;
  }
  const auto same = VolumeClassifier::from_parameters(design, whole.parameters());
  EXPECT_EQ(same.predict(validation.set()).logit, whole.predict(validation.set()).logit);
}

TEST(VolumeClassifier, StopsWhenValidationNoLongerGains) {
  const Blobs training(12, 1);
  const Blobs validation(9, 2);
  VolumeTrainingOptions options = quick();
  options.epochs = 40;
  options.patience = 2;
  options.learning_rate = 1e-9;  // nothing is learnt, so nothing is gained
  const auto net = VolumeClassifier::fit({{1, 1, 1, 1}, false, false, false, 2},
                                         training.set(),
                                         training.y,
                                         validation.set(),
                                         validation.y,
                                         options);
  EXPECT_LT(net.history().size(), 40U);
  EXPECT_EQ(static_cast<int>(net.history().size()), net.best_epoch() + 1 + 2);
}

void expect_error(ErrorKind kind, const char* part, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.kind()), to_string(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(VolumeClassifier, SaysWhatItCannotTrainOn) {
  const Blobs training(12, 1);
  const VolumeNetDesign design = {{1, 1, 1, 1}, false, false, false, 2};
  const std::vector<std::uint8_t> one_class(12, 0);
  const auto fit = [&](std::span<const std::uint8_t> y,
                       const VolumeTrainingOptions& options,
                       const Parameters& initial) {
    VolumeClassifier::fit(design, training.set(), y, training.set(), training.y, options, initial);
  };
  expect_error(ErrorKind::kData, "training: 12 volumes of class 0 and 0 of class 1", [&] {
    fit(one_class, quick(), {});
  });
  VolumeTrainingOptions options = quick();
  options.batch_size = 1;
  expect_error(ErrorKind::kUsage, "batch_size is 1", [&] { fit(training.y, options, {}); });
  expect_error(ErrorKind::kFormat, "'conv1.weight' is missing", [&] {
    fit(training.y, quick(), {{"fc.bias", {1}, {0.0F}}});
  });
  Blobs broken(12, 1);
  broken.volumes[4][7] = NAN;
  expect_error(ErrorKind::kData, "volume 4: voxel 7 is not finite", [&] {
    VolumeClassifier::fit(design, broken.set(), broken.y, training.set(), training.y, quick());
  });
}

}  // namespace
}  // namespace med3d::nn
