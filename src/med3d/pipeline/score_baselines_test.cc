#include "med3d/pipeline/score_baselines.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"

namespace med3d::pipeline {
namespace {

// Five patients with MMIST's columns; size and necrosis are not in the table.
//
//   patient  T    N   M   grade  stage   SSIGN                           Leibovich
//   0        T1a  N0  M0  1      I       0 + 0 or 2 (necrosis): 0..2      0 + 0..1
//   1        T3a  N0  M0  4      III     2 + 3 + (0, 2) + (0, 2): 5..9    4 + 3 + (0, 1) + (0, 1)
//   2        T2b  N0  M1  3      IV      1 + 4 + 2 + 1 + (0, 2): 8..10    does not apply
//   3        T1b  NX  M0  2      I       (0, 2) + (0, 2): 0..4            2 + 0 + (0, 1)
//   4        nothing: T, N, M, grade free
Cohort five() {
  Cohort cohort;
  cohort.name = "five";
  cohort.missing_values = {"-1"};
  cohort.columns = {{"ajcc_path_tumor_pt", {"2", "8", "6", "3", "-1"}, "clinical"},
                    {"ajcc_path_nodes_pn", {"1", "1", "1", "0", "-1"}, "clinical"},
                    {"ajcc_path_metastasis_pm", {"1", "1", "2", "1", "-1"}, "clinical"},
                    {"ajcc_path_tumor_stage", {"1", "3", "4", "1", "-1"}, "clinical"},
                    {"grade", {"1", "4", "3", "2", "high"}, "clinical"}};
  for (int i = 0; i < 5; ++i) cohort.case_ids.push_back("P" + std::to_string(i));
  return cohort;
}

const Json& entry(const Json& list, const std::string& id) {
  for (const Json& one : list) {
    if (one.at("id") == id) return one;
  }
  throw Error(ErrorKind::kNotFound, "no entry " + id);
}

TEST(ScoreBaselines, WritesTheRangeOfEveryPatient) {
  const Cohort cohort = five();
  const ScoreBaselines scores(cohort);
  const std::string csv = scores.csv();
  const std::string mark = "point table not checked against its source";
  for (const char* line : {"P0,ssign,yes,0,2,0 to 2,0 to 2,necrosis,",
                           "P1,ssign,yes,5,9,5 to 6,7 to 9,size_cm+necrosis,",
                           "P2,ssign,yes,8,10,7 to 9,10 or more,necrosis,",
                           "P3,ssign,yes,0,4,0 to 2,3 to 4,size_cm+necrosis,",
                           "P2,leibovich_2003,no,,,,,",
                           "P1,leibovich_2003,yes,7,9,high,high,size_cm+necrosis,",
                           "P2,ajcc_stage,yes,4,4,IV,IV,,"}) {
    EXPECT_NE(csv.find(line), std::string::npos) << line << "\n" << csv;
  }
  EXPECT_NE(csv.find("P0,ssign,yes,0,2,0 to 2,0 to 2,necrosis," + mark), std::string::npos);
}

TEST(ScoreBaselines, SummaryCountsWhatIsExactAndWhatIsOpen) {
  const Cohort cohort = five();
  const Json summary = ScoreBaselines(cohort).summary();
  EXPECT_EQ(summary.at("columns").at("t"), "ajcc_path_tumor_pt");
  EXPECT_EQ(summary.at("unread").at("grade"), 1);
  EXPECT_EQ(summary.at("stage_contradicts"), 0);
  const Json& stage = entry(summary.at("scores"), "ajcc_stage");
  EXPECT_EQ(stage.at("n"), 5);
  EXPECT_EQ(stage.at("exact"), 4);
  const Json& leibovich = entry(summary.at("scores"), "leibovich_2003");
  EXPECT_EQ(leibovich.at("n"), 4);
  EXPECT_EQ(leibovich.at("does_not_apply"), 1);
  EXPECT_EQ(leibovich.at("may_not_apply"), 1);
  EXPECT_EQ(leibovich.at("open_items").at("necrosis"), 4);
  EXPECT_FALSE(leibovich.at("mark").get<std::string>().empty());
  // Ranges 0..2, 5..9, 8..10, 0..4 and 0..13 (2 + 2 + 4 + 2 + 3 + 2 less than it could be: 15).
  const Json& ssign = entry(summary.at("scores"), "ssign");
  EXPECT_EQ(ssign.at("exact"), 0);
  EXPECT_DOUBLE_EQ(ssign.at("mean_width"), (2.0 + 4.0 + 2.0 + 4.0 + 15.0) / 5.0);
}

// Patients 0 to 3, events of 1 (10 months), 2 (5) and 3 (20); 0 censored at 30. Comparable pairs:
// 2 before 1, 3, 0; 1 before 3, 0; 3 before 0: six.
//   lowest   0:0 1:5 2:8 3:0   tie of 3 and 0: 5.5 / 6
//   midpoint 0:1 1:7 2:9 3:2   6 / 6
//   highest  0:2 1:9 2:10 3:4  6 / 6
TEST(ScoreBaselines, JudgesTheThreeEndsOnTheModelsPatients) {
  const Cohort cohort = five();
  const ScoreBaselines scores(cohort);
  const stats::survival::SurvivalTimes times({30, 10, 5, 20}, {0, 1, 1, 1});
  const std::vector<double> risk = {0.1, 0.9, 0.2, 0.3};
  const Json all = scores.beside({0, 1, 2, 3}, times, risk, 0.95);
  const Json& ssign = entry(all, "ssign");
  EXPECT_EQ(ssign.at("n"), 4);
  EXPECT_EQ(ssign.at("events"), 3);
  EXPECT_EQ(ssign.at("metric"), "c_index");
  EXPECT_DOUBLE_EQ(ssign.at("lowest").at("value"), 5.5 / 6.0);
  EXPECT_DOUBLE_EQ(ssign.at("midpoint").at("value"), 1.0);
  EXPECT_DOUBLE_EQ(ssign.at("highest").at("value"), 1.0);
  // The model puts 1 above 2 and 3 above 2: 4 of 6.
  EXPECT_DOUBLE_EQ(ssign.at("model").at("value"), 4.0 / 6.0);
  EXPECT_DOUBLE_EQ(ssign.at("difference").at("value"), 4.0 / 6.0 - 1.0);
  // Without patient 2, whom Leibovich does not know: 1 before 3, 0; 3 before 0.
  const Json& leibovich = entry(all, "leibovich_2003");
  EXPECT_EQ(leibovich.at("n"), 3);
  EXPECT_EQ(leibovich.at("events"), 2);
  EXPECT_DOUBLE_EQ(leibovich.at("model").at("value"), 1.0);
}

TEST(ScoreBaselines, JudgesAClassByAuroc) {
  const Cohort cohort = five();
  const ScoreBaselines scores(cohort);
  const std::vector<std::uint8_t> label = {0, 1, 1, 0};
  const std::vector<double> risk = {0.1, 0.9, 0.2, 0.3};
  const Json all = scores.beside({0, 1, 2, 3}, label, risk, 0.95);
  const Json& ssign = entry(all, "ssign");
  EXPECT_EQ(ssign.at("metric"), "auroc");
  EXPECT_EQ(ssign.at("events"), 2);
  EXPECT_DOUBLE_EQ(ssign.at("lowest").at("value"), 1.0);
  EXPECT_DOUBLE_EQ(ssign.at("model").at("value"), 0.75);
}

// 3 of 5 positive. The model calls 0, 1 and 3: TP 2, FP 1, FN 1: F1 = 2 / (2 + 1) = 2/3. The rule:
// TP 3, FP 2: 3 / (3 + 1) = 3/4.
TEST(ScoreBaselines, AlwaysPositiveIsJudgedByF1) {
  const std::vector<std::uint8_t> positive = {1, 1, 1, 0, 0};
  const std::vector<std::uint8_t> predicted = {1, 1, 0, 1, 0};
  stats::BootstrapOptions options;
  options.repeats = 200;
  options.seed = 3;
  const Json row = beside_always_positive(positive, predicted, options);
  EXPECT_EQ(row.at("metric"), "f1");
  EXPECT_EQ(row.at("n"), 5);
  EXPECT_EQ(row.at("events"), 3);
  EXPECT_DOUBLE_EQ(row.at("model").at("value"), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(row.at("midpoint").at("value"), 0.75);
  EXPECT_DOUBLE_EQ(row.at("difference").at("value"), 2.0 / 3.0 - 0.75);
  EXPECT_LT(row.at("difference").at("low").get<double>(), 2.0 / 3.0 - 0.75);
  EXPECT_GT(row.at("difference").at("high").get<double>(), 2.0 / 3.0 - 0.75);
  // The model that is the rule differs from it in no sample.
  const std::vector<std::uint8_t> all = {1, 1, 1, 1, 1};
  const Json same = beside_always_positive(positive, all, options);
  EXPECT_EQ(same.at("difference").at("low"), 0.0);
  EXPECT_EQ(same.at("difference").at("high"), 0.0);
  options.repeats = 0;
  EXPECT_TRUE(
      beside_always_positive(positive, predicted, options).at("difference").at("low").is_null());
  const std::vector<std::uint8_t> nobody = {0, 0, 0, 0, 0};
  EXPECT_TRUE(
      beside_always_positive(nobody, nobody, options).at("model").contains("not_estimable"));
}

TEST(ScoreBaselines, LeavesOutPatientsWithoutABaseline) {
  const stats::survival::SurvivalTimes times({30, 10, 5, 20}, {0, 1, 1, 1});
  const double none = std::nan("");
  const Json row = beside_baseline("stage_grade_cox",
                                   "Stage and grade",
                                   times,
                                   std::vector<double>{0.1, 0.9, 0.2, 0.3},
                                   std::vector<double>{0.1, 0.2, none, 0.3},
                                   0.95);
  EXPECT_EQ(row.at("n"), 3);
  EXPECT_DOUBLE_EQ(row.at("model").at("value"), 1.0);
  EXPECT_DOUBLE_EQ(row.at("midpoint").at("value"), 2.0 / 3.0);
  EXPECT_EQ(row.at("lowest"), row.at("highest"));
}

TEST(ScoreBaselines, HasNothingToSayOfATableWithoutStage) {
  Cohort cohort = five();
  cohort.columns.resize(1);
  cohort.columns[0].name = "age";
  const ScoreBaselines scores(cohort);
  EXPECT_TRUE(scores.empty());
  EXPECT_EQ(scores.csv(), "");
}

}  // namespace
}  // namespace med3d::pipeline
