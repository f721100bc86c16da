#include "med3d/stats/classification.h"

#include <cmath>
#include <functional>

#include "med3d/core/error.h"
#include "med3d/stats/calibration.h"
#include "med3d/stats/curves.h"
#include "med3d/stats/test_data.inl"

namespace med3d::stats {
namespace {

// A published validation table: TP 101, FN 59, FP 0, TN 48.
//   recall 101/160 = 0.63125, specificity 48/48 = 1, BA = 0.815625, F1 = 202/261
//   MCC = 101*48 / sqrt(101 * 160 * 48 * 107) = 4848 / sqrt(82997760)
constexpr Confusion kEhr{48, 0, 59, 101};

TEST(Confusion, MatchesHandComputedQuantities) {
  EXPECT_EQ(kEhr.n(), 208);
  EXPECT_DOUBLE_EQ(sensitivity(kEhr).value, 101.0 / 160.0);
  EXPECT_DOUBLE_EQ(specificity(kEhr).value, 1.0);
  EXPECT_DOUBLE_EQ(balanced_accuracy(kEhr).value, 0.815625);
  EXPECT_DOUBLE_EQ(f1(kEhr).value, 202.0 / 261.0);
  EXPECT_DOUBLE_EQ(precision(kEhr).value, 1.0);
  EXPECT_DOUBLE_EQ(npv(kEhr).value, 48.0 / 107.0);
  EXPECT_NEAR(mcc(kEhr).value, 4848.0 / std::sqrt(82997760.0), 1e-15);
  // po = 149/208; pe = (160*101 + 48*107) / 208^2 = 21296/43264; kappa =
  // (30992-21296)/(43264-21296)
  EXPECT_NEAR(cohen_kappa(kEhr).value, 9696.0 / 21968.0, 1e-15);
}

TEST(Confusion, CountsAPatientAtTheThresholdAsPositive) {
  const std::vector<std::uint8_t> label = {0, 0, 1, 1};
  const std::vector<double> probability = {0.5, 0.49, 0.5, 0.51};
  EXPECT_EQ(confusion(label, probability, 0.5), (Confusion{1, 1, 0, 2}));
  const std::vector<std::uint8_t> predicted = {1, 0, 1, 1};
  EXPECT_EQ(confusion(label, predicted), (Confusion{1, 1, 0, 2}));
}

TEST(Confusion, SwappingClassesSwapsTheQuantities) {
  const Confusion c{7, 2, 5, 11};
  EXPECT_DOUBLE_EQ(precision(c.swapped()).value, npv(c).value);
  EXPECT_DOUBLE_EQ(sensitivity(c.swapped()).value, specificity(c).value);
  EXPECT_DOUBLE_EQ(f1(c.swapped()).value, f1_negative(c).value);
  EXPECT_DOUBLE_EQ(mcc(c.swapped()).value, mcc(c).value);
  EXPECT_DOUBLE_EQ(balanced_accuracy(c.swapped()).value, balanced_accuracy(c).value);
}

TEST(Confusion, GivesNoBalancedAccuracyForASetWithoutNegatives) {
  const Confusion late_fusion{0, 0, 1, 2};
  EXPECT_DOUBLE_EQ(sensitivity(late_fusion).value, 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(precision(late_fusion).value, 1.0);
  for (const Estimate& estimate : {balanced_accuracy(late_fusion),
                                   mcc(late_fusion),
                                   cohen_kappa(late_fusion),
                                   specificity(late_fusion),
                                   macro_f1(late_fusion),
                                   weighted_f1(late_fusion)}) {
    EXPECT_FALSE(estimate.ok());
    EXPECT_TRUE(std::isnan(estimate.value));
    EXPECT_EQ(estimate.not_estimable, "no negatives in the set");
  }
  EXPECT_EQ(balanced_accuracy(Confusion{2, 1, 0, 0}).not_estimable, "no positives in the set");
  EXPECT_EQ(balanced_accuracy(Confusion{}).not_estimable, "no patients");
  EXPECT_EQ(weighted_f1(Confusion{}, ZeroDivision::kZero).not_estimable, "no patients");
}

TEST(Confusion, GivesNoPrecisionWhenNobodyIsPredictedPositiveUnlessAskedForZero) {
  const Confusion c{10, 0, 10, 0};
  EXPECT_EQ(precision(c).not_estimable, "nobody was predicted positive");
  EXPECT_EQ(macro_precision(c).not_estimable, "nobody was predicted positive");
  EXPECT_EQ(precision(c, ZeroDivision::kZero).value, 0.0);
  EXPECT_EQ(f1(c).value, 0.0);
  EXPECT_EQ(mcc(c).value, 0.0);
}

TEST(Confusion, DoesNotOverflowOnLargeCounts) {
  const std::int64_t k = 3'000'000'000;
  EXPECT_NEAR(mcc(Confusion{k, 0, 0, k}).value, 1.0, 1e-12);
  EXPECT_NEAR(cohen_kappa(Confusion{k, 0, 0, k}).value, 1.0, 1e-12);
}

template <class Call>
std::string message_of(Call call, ErrorKind kind) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Confusion, SaysWhatIsWrongWithItsInput) {
  const std::vector<std::uint8_t> label = {0, 1, 2};
  const std::vector<double> fine = {0.1, 0.2, 0.3};
  EXPECT_EQ(message_of([&] { confusion(label, fine); }, ErrorKind::kData),
            "row 2: label 2, expected 0 or 1");
  const std::vector<std::uint8_t> two = {0, 1};
  EXPECT_EQ(message_of([&] { confusion(two, fine); }, ErrorKind::kData),
            "2 labels but 3 scores, expected one of each per patient");
  EXPECT_EQ(message_of(
                [&] {
                  confusion(two, std::vector<double>{0.1, 1.5});
                },
                ErrorKind::kData),
            "row 1: probability 1.5, expected a number in [0, 1]");
  EXPECT_EQ(message_of(
                [&] {
                  confusion(two, std::vector<double>{0.1, std::nan("")});
                },
                ErrorKind::kData),
            "row 1: score nan, expected a finite number");
  EXPECT_EQ(message_of(
                [&] {
                  confusion(two, std::vector<double>{0.1, 0.2}, std::nan(""));
                },
                ErrorKind::kUsage),
            "threshold is not a number, expected a value in [0, 1]");
  EXPECT_EQ(message_of(
                [&] {
                  accuracy(Confusion{-1, 0, 0, 1});
                },
                ErrorKind::kUsage),
            "confusion counts tn -1 fp 0 fn 0 tp 1, expected none below 0");
}

std::map<std::string, Confusion> reference_confusions(const std::filesystem::path& folder) {
  std::map<std::string, Confusion> out;
  for (const auto& row : read_csv(folder / "confusion.csv")) {
    out[row[0]] = {std::stoll(row[1]), std::stoll(row[2]), std::stoll(row[3]), std::stoll(row[4])};
  }
  return out;
}

TEST(Confusion, MatchesScikitLearnOnEveryReferenceCase) {
  const auto folder = reference_folder("metrics");
  MED3D_NEED_REFERENCE(folder);
  using Value = std::function<Estimate(const Confusion&)>;
  const auto zero = ZeroDivision::kZero;
  const std::map<std::string, Value> of_table = {
      {"accuracy", accuracy},
      {"balanced_accuracy", balanced_accuracy},
      {"mcc", mcc},
      {"kappa", cohen_kappa},
      {"precision", [&](const Confusion& c) { return precision(c, zero); }},
      {"recall", [&](const Confusion& c) { return sensitivity(c, zero); }},
      {"specificity", [&](const Confusion& c) { return specificity(c, zero); }},
      {"f1", [&](const Confusion& c) { return f1(c, zero); }},
      {"precision_neg", [&](const Confusion& c) { return npv(c, zero); }},
      {"f1_neg", [&](const Confusion& c) { return f1_negative(c, zero); }},
      {"f1_macro", [&](const Confusion& c) { return macro_f1(c, zero); }},
      {"f1_weighted", [&](const Confusion& c) { return weighted_f1(c, zero); }},
      {"precision_macro", [&](const Confusion& c) { return macro_precision(c, zero); }},
      {"precision_weighted", [&](const Confusion& c) { return weighted_precision(c, zero); }},
      {"recall_macro", [&](const Confusion& c) { return macro_recall(c, zero); }}};
  using OfScores = std::function<Estimate(const Labelled&)>;
  const std::map<std::string, OfScores> of_scores = {
      {"roc_auc", [](const Labelled& d) { return auroc(d.label, d.score); }},
      {"average_precision", [](const Labelled& d) { return average_precision(d.label, d.score); }},
      {"pr_auc_trapezoid", [](const Labelled& d) { return pr_auc_trapezoid(d.label, d.score); }},
      {"brier", [](const Labelled& d) { return brier(d.label, d.score); }},
      {"log_loss", [](const Labelled& d) { return log_loss(d.label, d.score); }}};

  const auto tables = reference_confusions(folder);
  int compared = 0;
  int refused = 0;
  int with_scores = 0;
  for (const auto& row : read_csv(folder / "values.csv")) {
    const std::string& name = row[0];
    const std::string& metric = row[1];
    const double expected = std::stod(row[2]);
    const Confusion& table = tables.at(name);
    const bool one_class = table.positives() == 0 || table.negatives() == 0;
    Estimate ours;
    if (const auto found = of_table.find(metric); found != of_table.end()) {
      ours = found->second(table);
    } else {
      ASSERT_TRUE(of_scores.contains(metric)) << metric;
      const auto path = folder / "data" / (name + ".csv");
      if (!std::filesystem::exists(path)) continue;  // the larger random sets hold no scores
      const Labelled data = read_labelled(path);
      EXPECT_EQ(confusion(data.label, data.score, 0.5), table) << name;
      ours = of_scores.at(metric)(data);
      ++with_scores;
    }
    const bool must_refuse =
        one_class && (metric == "balanced_accuracy" || metric == "mcc" || metric == "kappa" ||
                      metric == "average_precision" || metric == "pr_auc_trapezoid");
    EXPECT_EQ(ours.ok(), !must_refuse) << name << " " << metric;
    if (must_refuse) {
      ++refused;
      continue;
    }
    EXPECT_NEAR(ours.value, expected, 1e-9) << name << " " << metric;
    ++compared;
  }
  EXPECT_GT(compared, 350);
  EXPECT_EQ(refused, 10);
  EXPECT_GT(with_scores, 70);
}

}  // namespace
}  // namespace med3d::stats
