// CLAM itself, on its own bags and weights (reference/clam, made with torch and CLAM's classes).
#include "med3d/mil/clam.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "med3d/core/json.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/npy.h"
#include "med3d/mil/clam_weights.h"
#include "med3d/mil/test_reference.inc"

namespace med3d::mil {
namespace {

using testing_mil::test_data;
using testing_mil::view_of;

std::filesystem::path weights_file(const std::string& model) {
  const auto folder = test_data("reference/weights");
  return model == "real_ckpt" ? folder / "clam_real_s_0_checkpoint.pt" : folder / (model + ".pth");
}

// |found - expected| <= 1e-5 max(1, |expected|).
void expect_close(double found, double expected, const std::string& what) {
  EXPECT_NEAR(found, expected, 1e-5 * std::max(1.0, std::abs(expected))) << what;
}

std::vector<std::filesystem::path> forward_cases() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(test_data("reference/clam/fwd"))) {
    if (entry.path().extension() == ".json") out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// "clam_mb_small__bag_8__label0__ce" -> its four parts.
std::vector<std::string> parts_of(const std::string& stem) {
  std::vector<std::string> out;
  std::size_t from = 0;
  for (std::size_t at; (at = stem.find("__", from)) != std::string::npos; from = at + 2) {
    out.push_back(stem.substr(from, at - from));
  }
  out.push_back(stem.substr(from));
  return out;
}

TEST(Clam, EqualsTheReferenceOnEveryForwardPass) {
  MED3D_NEEDS_REFERENCE(test_data("reference/clam/fwd"));
  std::map<std::string, Matrix<float>> bags;
  std::map<std::string, Clam> nets;
  std::size_t compared = 0;
  for (const auto& file : forward_cases()) {
    const std::vector<std::string> part = parts_of(file.stem().string());
    ASSERT_EQ(part.size(), 4U) << file;
    const auto bag_file = test_data("reference/clam/" + part[1] + ".npy");
    if (!std::filesystem::exists(bag_file)) continue;
    if (!bags.contains(part[1])) bags[part[1]] = to_matrix(read_npy(bag_file));
    ClamOptions options;
    options.shared_instances = true;  // bag_8 has as many patches as k_sample
    options.subtyping = part[0].find("_sub3") != std::string::npos;
    options.inst_loss = instance_loss_of(part[3]);
    const std::string key = part[0] + part[3];
    if (!nets.contains(key)) nets.emplace(key, read_clam(weights_file(part[0]), options));
    Clam& net = nets.at(key);
    const Target target{part[2].back() - '0', false};
    const BagOutput out = net.forward(view_of(bags[part[1]]), &target);

    const Json expected = read_json(file);
    const std::string what = file.filename().string();
    for (std::size_t c = 0; c < out.logits.size(); ++c) {
      expect_close(static_cast<double>(out.logits[c]), expected["logits"][0][c], what + " logits");
      expect_close(out.probabilities[c], expected["Y_prob"][0][c], what + " Y_prob");
    }
    EXPECT_EQ(out.predicted, expected["Y_hat"].get<int>()) << what;
    expect_close(out.instance_loss, expected["instance_loss"], what + " instance_loss");
    expect_close(out.bag_loss, expected["bag_loss"], what + " bag_loss");
    expect_close(out.total_loss, expected["total_loss"], what + " total_loss");
    EXPECT_EQ(out.instance_label, expected["inst_labels"].get<std::vector<int>>()) << what;
    EXPECT_EQ(out.instance_predicted, expected["inst_preds"].get<std::vector<int>>()) << what;
    const auto stem = file.parent_path() / (part[0] + "__" + part[1]);
    for (const auto& [name, found] :
         {std::pair<std::string, const Matrix<float>*>{"__A_raw.npy", &out.attention_raw},
          {"__M.npy", &out.embedding}}) {
      const Matrix<float> reference = to_matrix(read_npy(stem.string() + name));
      ASSERT_EQ(found->rows(), reference.rows()) << what << name;
      ASSERT_EQ(found->cols(), reference.cols()) << what << name;
      for (std::size_t i = 0; i < reference.size(); ++i) {
        const auto wanted = static_cast<double>(reference.data()[i]);
        ASSERT_NEAR(
            static_cast<double>(found->data()[i]), wanted, 1e-5 * std::max(1.0, std::abs(wanted)))
            << what << name << " " << i;
      }
    }
    ++compared;
  }
  EXPECT_GE(compared, 60U);
}

// 24 Adam steps without dropout; PyTorch in double is the yardstick: two runs in f32 drift apart by
// their rounding.
TEST(Clam, FollowsTheReferenceThroughItsFirstSteps) {
  MED3D_NEEDS_REFERENCE(test_data("reference/clam/train"));
  std::string missing;
  for (const std::string run : {"clam_sb_small_ce", "clam_mb_small_svm"}) {
    const auto folder = test_data("reference/clam/train/" + run);
    const std::size_t cut = run.rfind('_');
    ClamOptions options;
    options.shared_instances = true;
    options.drop_out = 0.0;
    options.precision = Arithmetic::kF32;
    options.lr = 2e-4;
    options.inst_loss = instance_loss_of(run.substr(cut + 1));
    Clam net = read_clam(weights_file(run.substr(0, cut)), options);
    const bool in_double = std::filesystem::exists(folder / "losses_f64.csv");
    const Table losses = read_table(folder / (in_double ? "losses_f64.csv" : "losses.csv"));
    std::size_t steps = 0;
    for (const auto& row : losses.rows) {
      const auto file = test_data("reference/clam/" + row[1] + ".npy");
      if (!std::filesystem::exists(file)) {
        missing += run + " from step " + row[0] + " (" + file.filename().string() + ") ";
        break;
      }
      const Matrix<float> bag = to_matrix(read_npy(file));
      const Target target{std::stoi(row[2]), false};
      const BagOutput out = net.train_step(view_of(bag), target, 0);
      expect_close(out.bag_loss, std::stod(row[3]), run + " bag_loss, step " + row[0]);
      expect_close(out.instance_loss, std::stod(row[4]), run + " inst_loss, step " + row[0]);
      expect_close(out.total_loss, std::stod(row[5]), run + " total, step " + row[0]);
      ++steps;
    }
    EXPECT_GE(steps, 2U);
    if (steps < losses.rows.size()) continue;
    const Clam expected = read_clam(folder / "final.pth", options);
    double worst = 0.0;
    for (std::size_t i = 0; i < expected.parameters().size(); ++i) {
      worst = std::max(worst,
                       std::abs(static_cast<double>(net.parameters()[i]) -
                                static_cast<double>(expected.parameters()[i])));
    }
    EXPECT_LT(worst, 1e-5) << run;
  }
  if (!missing.empty()) GTEST_SKIP() << "BAGS OF THE REFERENCE TRAINING ARE NOT THERE: " << missing;
}

// ---- Gradients

struct Variant {
  std::string name;
  ClamOptions options;
};

std::vector<Variant> variants() {
  ClamOptions small;
  small.embed_dim = 10;
  small.hidden_dim = 12;
  small.attention_dim = 7;
  small.k_sample = 3;
  small.drop_out = 0.0;
  small.precision = Arithmetic::kF32;
  small.seed = 3;
  std::vector<Variant> out;
  const auto add = [&](const std::string& name, const std::function<void(ClamOptions&)>& change) {
    ClamOptions options = small;
    change(options);
    out.push_back({name, options});
  };
  add("sb svm", [](ClamOptions&) {});
  add("sb ce, bag svm", [](ClamOptions& o) {
    o.inst_loss = InstanceLossKind::kCe;
    o.bag_loss = BagLossKind::kSvm;
  });
  add("mb subtyping, three classes", [](ClamOptions& o) {
    o.model_type = ModelType::kClamMb;
    o.subtyping = true;
    o.n_classes = 3;
  });
  add("mb ungated", [](ClamOptions& o) {
    o.model_type = ModelType::kClamMb;
    o.gated = false;
  });
  add("sb ungated subtyping", [](ClamOptions& o) {
    o.gated = false;
    o.subtyping = true;
    o.inst_loss = InstanceLossKind::kCe;
  });
  add("sb with dropout", [](ClamOptions& o) { o.drop_out = 0.25; });
  add("ungated with dropout", [](ClamOptions& o) {
    o.drop_out = 0.3;
    o.gated = false;
  });
  add("sb without clustering", [](ClamOptions& o) { o.no_inst_cluster = true; });
  add("abmil, survival", [](ClamOptions& o) {
    o.model_type = ModelType::kAbmil;
    o.bag_loss = BagLossKind::kNllSurv;
    o.n_classes = 4;
    o.alpha_surv = 0.2;
  });
  add("mean", [](ClamOptions& o) { o.model_type = ModelType::kMean; });
  add("max", [](ClamOptions& o) { o.model_type = ModelType::kMax; });
  add("mil", [](ClamOptions& o) { o.model_type = ModelType::kMil; });
  add("mil, three classes", [](ClamOptions& o) {
    o.model_type = ModelType::kMil;
    o.n_classes = 3;
  });
  return out;
}

// Along a drawn direction in the space of each parameter, (f(p + e d) - f(p - e d)) / 2e against
// the gradient's component; f is computed in f32, whose noise of 1e-7 over e = 4e-3 stays below
// 1e-4.
TEST(Clam, GradientsEqualCentralDifferencesInEveryVariant) {
  for (const Variant& variant : variants()) {
    for (const std::size_t rows : {std::size_t{13}, std::size_t{300}}) {
      Clam net(variant.options);
      // Weights a few times larger than at first, so that attention differs between patches.
      std::vector<float> start(net.parameters().begin(), net.parameters().end());
      for (float& value : start) value *= 2.0F;
      net.set_parameters(start);
      const Matrix<float> bag = testing_mil::drawn_bag(rows, 10, 5);
      const Target target{1, variant.options.bag_loss == BagLossKind::kNllSurv && rows == 13};
      net.backward(view_of(bag), target, 9);
      const std::vector<float> gradient(net.gradient().begin(), net.gradient().end());
      for (const ParameterInfo& parameter : net.parameter_info()) {
        int agree = 0;
        std::string seen;
        for (const std::uint32_t draw : {17U, 18U, 19U}) {
          NumpyRandom random(draw);
          std::vector<float> up = start, down = start;
          constexpr double kStep = 4e-3;
          std::vector<double> direction(parameter.size);
          double along = 0.0;
          double length = 0.0;
          for (double& d : direction) {
            d = random.normal();
            length += d * d;
          }
          for (std::size_t i = 0; i < parameter.size; ++i) {
            const double d = direction[i] / std::sqrt(length);
            const std::size_t at = parameter.offset + i;
            up[at] += static_cast<float>(kStep * d);
            down[at] -= static_cast<float>(kStep * d);
            along += d * static_cast<double>(gradient[at]);
          }
          net.set_parameters(up);
          const double above = net.backward(view_of(bag), target, 9).total_loss;
          net.set_parameters(down);
          const double below = net.backward(view_of(bag), target, 9).total_loss;
          net.set_parameters(start);
          const double measured = (above - below) / (2.0 * kStep);
          if (std::abs(along - measured) < 3e-4 + 3e-3 * std::abs(along)) ++agree;
          seen += std::to_string(along) + " for " + std::to_string(measured) + "; ";
        }
        EXPECT_GE(agree, 2) << variant.name << ", " << rows << " patches, " << parameter.name
                            << ": " << seen;
      }
    }
  }
}

// ---- Invariants

// The same step on 1, 2 and 5 threads: the same bits, in both arithmetics.
TEST(Clam, StepsToTheSameBitsAtAnyNumberOfThreads) {
  for (const Arithmetic precision : {Arithmetic::kF32, Arithmetic::kBf16}) {
    std::vector<std::vector<float>> found;
    for (const int threads : {1, 2, 5}) {
      ClamOptions options;
      options.embed_dim = 96;
      options.precision = precision;
      options.threads = threads;
      Clam net(options);
      for (int step = 0; step < 3; ++step) {
        const Matrix<float> bag = testing_mil::drawn_bag(700, 96, 7);
        net.train_step(view_of(bag), {step % 2, false}, static_cast<std::uint64_t>(step));
      }
      found.emplace_back(net.parameters().begin(), net.parameters().end());
    }
    EXPECT_EQ(found[0], found[1]);
    EXPECT_EQ(found[0], found[2]);
  }
}

// bf16 keeps 8 bits: 2^-9 relative for each factor; sums of a thousand come out closer.
TEST(Clam, StepsInBf16PointWhereThoseInF32Do) {
  if (!native_bf16()) GTEST_SKIP() << "this processor has no bf16";
  std::vector<std::vector<float>> gradient;
  for (const Arithmetic precision : {Arithmetic::kF32, Arithmetic::kBf16}) {
    ClamOptions options;
    options.precision = precision;
    options.no_inst_cluster = true;  // which patches are chosen may change with the rounding
    Clam net(options);
    const Matrix<float> bag = testing_mil::drawn_bag(500, 1024, 11);
    net.backward(view_of(bag), {1, false}, 4);
    gradient.emplace_back(net.gradient().begin(), net.gradient().end());
  }
  double product = 0.0, first = 0.0, second = 0.0;
  for (std::size_t i = 0; i < gradient[0].size(); ++i) {
    const auto a = static_cast<double>(gradient[0][i]);
    const auto b = static_cast<double>(gradient[1][i]);
    product += a * b;
    first += a * a;
    second += b * b;
  }
  EXPECT_GT(product / std::sqrt(first * second), 0.9999);
  EXPECT_NEAR(std::sqrt(second / first), 1.0, 0.01);
}

// Half of what is dropped at 0.5 in the long run, and the mean stays: M of a bag of equal patches
// whose h is 1 everywhere would be 1; here through the whole net.
TEST(Clam, DropsActivationsAsOftenAsAsked) {
  ClamOptions options;
  options.model_type = ModelType::kMean;
  options.embed_dim = 1;
  options.drop_out = 0.25;
  options.precision = Arithmetic::kF32;
  Clam net(options);
  std::vector<float> values(net.parameters().size(), 0.0F);
  for (std::size_t j = 0; j < 512; ++j) values[j] = 1.0F;  // W0: h = x
  net.set_parameters(values);
  const Matrix<float> bag(1000, 1, 1.0F);
  const BagOutput first = net.backward(view_of(bag), {0, false}, 1);
  double sum = 0.0;
  for (std::size_t j = 0; j < 512; ++j) {
    sum += static_cast<double>(first.embedding(0, j)) / 512.0;
    // Of 1000 patches 750 are kept, each at 4/3; the deviation is sqrt(187.5) / 750 = 0.018.
    EXPECT_NEAR(static_cast<double>(first.embedding(0, j)), 1.0, 0.1);
  }
  EXPECT_NEAR(sum, 1.0, 0.004);
  EXPECT_EQ(net.backward(view_of(bag), {0, false}, 1).embedding, first.embedding);
  EXPECT_NE(net.backward(view_of(bag), {0, false}, 2).embedding, first.embedding);
  EXPECT_NEAR(static_cast<double>(net.forward(view_of(bag)).embedding(0, 0)), 1.0, 1e-5);
}

TEST(Clam, IsSafeOnSlidesOfFewPatches) {
  ClamOptions options;
  options.embed_dim = 4;
  Clam net(options);
  const Target target{0, false};
  // 15 patches: clusters of 7; 3: of 1; 1: none.
  for (const auto& [rows, instances] : std::vector<std::pair<std::size_t, std::size_t>>{
           {16, 16}, {15, 14}, {8, 8}, {3, 2}, {1, 0}}) {
    const Matrix<float> bag = testing_mil::drawn_bag(rows, 4, 2);
    const BagOutput out = net.train_step(view_of(bag), target, 1);
    EXPECT_EQ(out.instance_label.size(), instances) << rows;
    EXPECT_EQ(out.attention_raw.cols(), rows);
    if (instances == 0) {
      EXPECT_EQ(out.instance_loss, 0.0);
    }
  }
}

TEST(Clam, RefusesWhatItCannotTake) {
  using testing_mil::expect_error;
  ClamOptions options;
  options.embed_dim = 4;
  Clam net(options);
  const Matrix<float> wide(3, 5, 1.0F);
  const Matrix<float> empty(0, 4);
  Matrix<float> infinite(3, 4, 1.0F);
  infinite(1, 2) = HUGE_VALF;
  expect_error(ErrorKind::kData, "expected patches with 4", [&] { net.forward(view_of(wide)); });
  expect_error(ErrorKind::kData, "a bag of 0 patches", [&] { net.forward(view_of(empty)); });
  expect_error(ErrorKind::kNumerical, "is not finite", [&] { net.forward(view_of(infinite)); });
  const Matrix<float> good(3, 4, 1.0F);
  const Target beyond{2, false};
  expect_error(ErrorKind::kUsage, "label 2", [&] { net.train_step(view_of(good), beyond, 1); });
  std::vector<float> values(net.parameters().begin(), net.parameters().end());
  values[0] = NAN;
  expect_error(ErrorKind::kData, "attention_net.0.weight", [&] { net.set_parameters(values); });
  options.bag_loss = BagLossKind::kNllSurv;
  expect_error(ErrorKind::kUsage, "no_inst_cluster", [&] { Clam refused(options); });
  options = {};
  options.drop_out = 1.0;
  expect_error(ErrorKind::kUsage, "drop_out", [&] { Clam refused(options); });
  expect_error(ErrorKind::kUsage, "did you mean 'clam_sb'", [] { model_type_of("clam_sd"); });
}

}  // namespace
}  // namespace med3d::mil
