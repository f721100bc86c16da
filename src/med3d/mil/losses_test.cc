#include "med3d/mil/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "med3d/io/formats/csv.h"
#include "med3d/mil/test_reference.inc"

namespace med3d::mil {
namespace {

using testing_mil::expect_error;
using testing_mil::test_data;

TEST(SmoothTop1Svm, EqualsTheReference) {
  const auto folder = test_data("reference/clam");
  MED3D_NEEDS_REFERENCE(folder);
  const Table table = read_table(folder / "smooth_top1_svm.csv");
  ASSERT_GE(table.rows.size(), 10U);
  for (const auto& row : table.rows) {
    const std::vector<float> x = {std::stof(row[0]), std::stof(row[1])};
    std::vector<float> gradient(2);
    const double loss = smooth_top1_svm(x, std::stoi(row[2]), gradient);
    EXPECT_NEAR(loss, std::stod(row[3]), 1e-5) << row[0];
    EXPECT_NEAR(gradient[0], std::stof(row[4]), 1e-6) << row[0];
    EXPECT_NEAR(gradient[1], std::stof(row[5]), 1e-6) << row[0];
  }
}

// Three classes at 0, 1, 2, the first true: smooth log(e^0 + e^(1+1) + e^(1+2)) = log(28.4746)
// = 3.34901. Leading by 10, the third: hard, 10 + 1 - 0.
TEST(SmoothTop1Svm, MatchesHandComputedValues) {
  const std::vector<float> close = {0.0F, 1.0F, 2.0F};
  EXPECT_NEAR(smooth_top1_svm(close, 0, {}), 3.349012, 1e-6);
  const std::vector<float> far = {0.0F, 0.0F, 10.0F};
  std::vector<float> gradient(3);
  EXPECT_DOUBLE_EQ(smooth_top1_svm(far, 0, gradient), 11.0);
  EXPECT_EQ(gradient, (std::vector<float>{-1.0F, 0.0F, 1.0F}));
  EXPECT_DOUBLE_EQ(smooth_top1_svm(far, 2, gradient), 0.0);
  EXPECT_EQ(gradient, (std::vector<float>{0.0F, 0.0F, 0.0F}));
}

// Logits 0 and log 3: probabilities 1/4 and 3/4.
TEST(CrossEntropy, MatchesHandComputedValues) {
  const std::vector<float> x = {0.0F, std::log(3.0F)};
  std::vector<float> gradient(2);
  EXPECT_NEAR(cross_entropy(x, 0, gradient), std::log(4.0), 1e-7);
  EXPECT_NEAR(gradient[0], -0.75, 1e-7);
  EXPECT_NEAR(gradient[1], 0.75, 1e-7);
  const std::vector<float> large = {1000.0F, -1000.0F};
  EXPECT_DOUBLE_EQ(cross_entropy(large, 1, gradient), 2000.0);
}

// Hazards 1/2, 1/4 (logits 0, -log 3): survival 1/2, 3/8. Event in the second interval:
// -log S_0 - log h_1 = log 2 + log 4 = log 8. Censored there: -log 3/8; with alpha 0.5 half of it.
TEST(SurvivalNll, MatchesHandComputedValues) {
  const std::vector<float> x = {0.0F, -std::log(3.0F)};
  std::vector<float> gradient(2);
  EXPECT_NEAR(survival_nll(x, {1, false}, 0.0, gradient), std::log(8.0), 1e-6);
  EXPECT_NEAR(gradient[0], 0.5, 1e-6);    // h_0
  EXPECT_NEAR(gradient[1], -0.75, 1e-6);  // h_1 - 1
  EXPECT_NEAR(survival_nll(x, {1, false}, 0.5, gradient), std::log(8.0), 1e-6);
  EXPECT_NEAR(survival_nll(x, {1, true}, 0.0, gradient), std::log(8.0 / 3.0), 1e-6);
  EXPECT_NEAR(gradient[0], 0.5, 1e-6);
  EXPECT_NEAR(gradient[1], 0.25, 1e-6);
  EXPECT_NEAR(survival_nll(x, {1, true}, 0.5, gradient), 0.5 * std::log(8.0 / 3.0), 1e-6);
  // The floor: log 1e-7, and no slope.
  const std::vector<float> sure = {100.0F, 0.0F};
  EXPECT_NEAR(survival_nll(sure, {0, true}, 0.0, gradient), -std::log(1e-7), 1e-9);
  EXPECT_EQ(gradient, (std::vector<float>{0.0F, 0.0F}));
  const auto head = survival_head(0.0);
  EXPECT_NEAR(head->probabilities(x)[1], 3.0 / 8.0, 1e-7);
  EXPECT_NEAR(head->risk(x), -(0.5 + 3.0 / 8.0), 1e-7);
}

TEST(Losses, RefuseLabelsBeyondTheLogits) {
  const std::vector<float> x = {0.0F, 1.0F};
  for (const int label : {-1, 2}) {
    expect_error(ErrorKind::kUsage, "expected 0 to 1", [&] { cross_entropy(x, label, {}); });
    expect_error(ErrorKind::kUsage, "expected 0 to 1", [&] { smooth_top1_svm(x, label, {}); });
    expect_error(ErrorKind::kUsage, "expected 0 to 1", [&] {
      survival_nll(x, {label, false}, 0.0, {});
    });
  }
  expect_error(ErrorKind::kUsage, "alpha_surv", [] { survival_head(1.0); });
}

}  // namespace
}  // namespace med3d::mil
