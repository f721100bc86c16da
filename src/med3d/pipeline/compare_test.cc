#include "med3d/pipeline/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "med3d/core/error.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

class Compare : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  fs::path write_run(const std::string& name, const std::string& predictions) {
    fs::create_directories(folder_ / name);
    write(name + "/predictions.csv", "case_id,set,model,label,probability\n" + predictions);
    write(name + "/report.json", R"({"best":{"arm":"ct","fusion":"early","baseline":""}})");
    return folder_ / name;
  }
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("med3d-compare-" +
               std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string message(const std::vector<fs::path>& sources, const CompareOptions& options = {}) {
    try {
      (void)compare_predictions(sources, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing";
  }

  fs::path folder_;
};

double metric_of(const ComparedPredictor& predictor, const std::string& name) {
  for (const auto& [metric, estimate] : predictor.metrics) {
    if (metric == name) return estimate.value;
  }
  return std::nan("");
}

const char* const kTheirs =
    "case_id,probability,label\n"
    "A,0.9,1\nB,0.6,1\nC,0.4,0\nD,0.2,0\nE,0.7,1\n";

// Common patients A, B, C, D (labels 1 1 0 0); E is only in the first file.
//   first   .9 .6 .4 .2: AUROC 1;   Brier (.01 + .16 + .16 + .04) / 4 = .0925
//   second  .5 .2 .3 .1: AUROC 3/4; Brier (.25 + .64 + .09 + .01) / 4 = .2475
TEST_F(Compare, FilesOnTheirCommonPatientsByHand) {
  const auto first = write("first.csv", kTheirs);
  const auto second = write("second.csv", "patient id,prob\nD,0.1\nA,0.5\nB,0.2\nC,0.3\nF,0.3\n");
  CompareOptions options;
  options.bootstrap = 100;
  const auto result = compare_predictions({first, second}, options);
  EXPECT_EQ(result.task, "classes");
  EXPECT_EQ(result.n, 4U);
  EXPECT_EQ(result.events, 2U);
  ASSERT_EQ(result.predictors.size(), 2U);
  EXPECT_EQ(result.predictors[0].name, "first");
  EXPECT_EQ(result.predictors[0].patients, 5U);
  EXPECT_EQ(result.predictors[0].not_common, 1U);
  EXPECT_EQ(result.predictors[1].not_common, 1U);
  EXPECT_DOUBLE_EQ(metric_of(result.predictors[0], "auroc"), 1.0);
  EXPECT_DOUBLE_EQ(metric_of(result.predictors[1], "auroc"), 0.75);
  EXPECT_NEAR(metric_of(result.predictors[0], "brier"), 0.0925, 1e-12);
  ASSERT_EQ(result.pairs.size(), 2U);
  EXPECT_EQ(result.pairs[0].metric, "auroc");
  EXPECT_EQ(result.pairs[0].first, "second");
  EXPECT_DOUBLE_EQ(result.pairs[0].difference.value, -0.25);
  EXPECT_EQ(result.pairs[1].metric, "brier");
  EXPECT_NEAR(result.pairs[1].difference.value, 0.2475 - 0.0925, 1e-12);
}

// A (5, event), B (10, event), C (20, censored), D (30, event): pairs AB AC AD BC BD, five.
//   ours    .9 .8 .1 .2   all five right
//   theirs  4 9 1 2       AB wrong: 4 of 5
TEST_F(Compare, RisksOfTimeToEventRankOnly) {
  const auto ours = write("ours.csv",
                          "case_id,risk_probability,time_months,event\n"
                          "A,0.9,5,1\nB,0.8,10,1\nC,0.1,20,0\nD,0.2,30,1\n");
  const auto theirs = write("theirs.csv", "case_id,risk\nA,4\nB,9\nC,1\nD,2\n");
  CompareOptions options;
  options.bootstrap = 200;
  options.horizon_months = 12.0;
  options.reference = "theirs";
  const auto result = compare_predictions({ours, theirs}, options);
  EXPECT_EQ(result.task, "survival");
  EXPECT_EQ(result.events, 3U);
  EXPECT_DOUBLE_EQ(metric_of(result.predictors[0], "c_index"), 1.0);
  EXPECT_DOUBLE_EQ(metric_of(result.predictors[1], "c_index"), 0.8);
  EXPECT_NEAR(result.pairs[0].difference.value, 0.2, 1e-12);
  // Nobody is lost before 12 months: (.01 + .04 + .01 + .04) / 4.
  EXPECT_NEAR(metric_of(result.predictors[0], "brier"), 0.025, 1e-12);
  EXPECT_EQ(result.pairs[1].metric, "brier");
  EXPECT_FALSE(result.pairs[1].difference.ok());
  EXPECT_TRUE(std::isnan(result.pairs[1].p_adjusted));
}

TEST_F(Compare, DaysAreMonthsOfTheYear) {
  const auto a = write("a.csv",
                       "case_id,probability,time_days,event\n"
                       "A,0.9,365.25,1\nB,0.2,730.5,0\n");
  const auto b = write("b.csv", "case_id,probability,time_months,event\nA,0.9,12,1\nB,0.2,24,0\n");
  CompareOptions options;
  options.bootstrap = 100;
  EXPECT_EQ(compare_predictions({a, b}, options).n, 2U);
}

// Three against the reference: Holm takes the smallest p times three, and so on.
TEST_F(Compare, HolmCountsTheComparisonsOfAMetric) {
  std::string text = "case_id,model,probability,label\n";
  const double noise[] = {0.0, 0.35, 0.6, 0.9};
  for (int m = 0; m < 4; ++m) {
    for (int i = 0; i < 40; ++i) {
      const double u = std::fmod(0.37 * i + 0.11 * m, 1.0);
      const double p = (1.0 - noise[m]) * (i % 2) + noise[m] * u;
      text += "P" + std::to_string(i) + ",m" + std::to_string(m) + "," + std::to_string(p) + "," +
              std::to_string(i % 2) + "\n";
    }
  }
  CompareOptions options;
  options.bootstrap = 100;
  options.reference = "many: m3";
  const auto result = compare_predictions({write("many.csv", text)}, options);
  ASSERT_EQ(result.pairs.size(), 6U);
  double smallest = 1.0;
  double adjusted = 1.0;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_GE(result.pairs[i].p_adjusted, result.pairs[i].p);
    if (result.pairs[i].p < smallest) {
      smallest = result.pairs[i].p;
      adjusted = result.pairs[i].p_adjusted;
    }
  }
  EXPECT_DOUBLE_EQ(adjusted, std::min(1.0, 3.0 * smallest));
}

TEST_F(Compare, RunsAreTakenByTheirBestModels) {
  std::string rows;
  for (int i = 0; i < 6; ++i) {
    const std::string id = "P" + std::to_string(i);
    const std::string label = std::to_string(i % 2);
    rows += id + ",test,ct," + label + ",0." + std::to_string(1 + i) + "\n";
    rows += id + ",test,early," + label + ",0." + std::to_string(i % 2 == 0 ? 2 : 8) + "\n";
    rows += id + ",test,clinical," + label + ",0.5\n";
    rows += id + ",cross-validation,ct," + label + ",0.5\n";
  }
  const auto run = write_run("run-a", rows);
  CompareOptions options;
  options.bootstrap = 100;
  auto result = compare_predictions({run}, options);
  EXPECT_EQ(result.set, "test");
  ASSERT_EQ(result.predictors.size(), 2U);
  EXPECT_EQ(result.predictors[0].name, "run-a: ct");
  EXPECT_EQ(result.predictors[1].name, "run-a: early");
  options.models = {"clinical"};
  result =
      compare_predictions({run, write("theirs.csv", "id,score\nP0,1\nP1,2\nP2,2.5\n")}, options);
  EXPECT_EQ(result.n, 3U);
  EXPECT_EQ(result.predictors[0].not_common, 3U);
  options.models = {"clinica"};
  EXPECT_NE(message({run}, options).find("did you mean 'clinical'"), std::string::npos);
  options.models.clear();
  options.set = "held out";
  EXPECT_NE(message({run}, options).find("no set 'held out'"), std::string::npos);
}

TEST_F(Compare, ResultDoesNotDependOnThreads) {
  const auto first = write("first.csv", kTheirs);
  const auto second = write("second.csv", "case_id,probability\nA,0.5\nB,0.2\nC,0.3\nD,0.1\n");
  CompareOptions options;
  options.bootstrap = 100;
  const auto one = comparison_json(compare_predictions({first, second}, options)).dump();
  options.threads = 3;
  EXPECT_EQ(one, comparison_json(compare_predictions({first, second}, options)).dump());
}

TEST_F(Compare, SaysWhatIsWrongWithASource) {
  const auto good = write("good.csv", kTheirs);
  const auto bad = [&](const std::string& text) { return message({good, write("bad.csv", text)}); };
  EXPECT_NE(bad("case_id,age\nA,1\n").find("probability and risk"), std::string::npos);
  EXPECT_NE(bad("case_id,probability\nA,1.5\n").find("expected 0 to 1"), std::string::npos);
  EXPECT_NE(bad("case_id,probability\nA,high\n").find("expected a number"), std::string::npos);
  EXPECT_NE(bad("case_id,probability\n,0.5\n").find("without an id"), std::string::npos);
  EXPECT_NE(bad("case_id,probability\nA,0.5\na,0.5\n").find("second row"), std::string::npos);
  EXPECT_NE(bad("case_id,probability,label\nA,0.5,2\n").find("expected 0 or 1"), std::string::npos);
  EXPECT_NE(bad("case_id,probability,label\nA,0.5,0\n").find("1 patients have another outcome"),
            std::string::npos);
  EXPECT_NE(bad("case_id,probability\nZ,0.5\n").find("no patient is answered by all"),
            std::string::npos);
  EXPECT_NE(bad("case_id,probability,time_months,event\nA,0.5,-1,1\n").find("negative time"),
            std::string::npos);
  EXPECT_NE(message({good}).find("a comparison needs two"), std::string::npos);
  EXPECT_NE(message({good, folder_ / "none.csv"}).find("no such run or file"), std::string::npos);
  // No message holds the patient's id.
  EXPECT_EQ(bad("case_id,probability\nSECRET,high\n").find("SECRET"), std::string::npos);
}

}  // namespace
}  // namespace med3d::pipeline
