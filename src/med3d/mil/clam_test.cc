// CLAM itself, on its own bags and weights (reference/clam, made with torch and CLAM's classes).
#include "med3d/mil/clam.h"

#include <gtest/gtest.h>

#include <cmath>
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
    Clam net = read_clam(weights_file(part[0]), options);
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
  for (const std::string run : {"clam_sb_small_ce", "clam_mb_small_svm"}) {
    const auto folder = test_data("reference/clam/train/" + run);
    const std::size_t cut = run.rfind('_');
    ClamOptions options;
    options.shared_instances = true;
    options.drop_out = 0.0;
    options.lr = 2e-4;
    options.inst_loss = instance_loss_of(run.substr(cut + 1));
    Clam net = read_clam(weights_file(run.substr(0, cut)), options);
    const bool in_double = std::filesystem::exists(folder / "losses_f64.csv");
    const Table losses = read_table(folder / (in_double ? "losses_f64.csv" : "losses.csv"));
    bool complete = true;
    for (const auto& row : losses.rows) {
      const auto file = test_data("reference/clam/" + row[1] + ".npy");
      if (!std::filesystem::exists(file)) {
        complete = false;
        break;
      }
      const Matrix<float> bag = to_matrix(read_npy(file));
      const Target target{std::stoi(row[2]), false};
      const BagOutput out = net.train_step(view_of(bag), target, 0);
      expect_close(out.bag_loss, std::stod(row[3]), run + " bag_loss, step " + row[0]);
      expect_close(out.instance_loss, std::stod(row[4]), run + " inst_loss, step " + row[0]);
      expect_close(out.total_loss, std::stod(row[5]), run + " total, step " + row[0]);
    }
    if (!complete) {
      GTEST_SKIP() << "A BAG OF THE REFERENCE TRAINING IS NOT THERE: " << folder.string();
    }
    const Clam expected = read_clam(folder / "final.pth", options);
    double worst = 0.0;
    for (std::size_t i = 0; i < expected.parameters().size(); ++i) {
      worst = std::max(worst,
                       std::abs(static_cast<double>(net.parameters()[i]) -
                                static_cast<double>(expected.parameters()[i])));
    }
    EXPECT_LT(worst, 1e-5) << run;
  }
}

}  // namespace
}  // namespace med3d::mil
