#include "med3d/pipeline/probast.h"

#include <gtest/gtest.h>

#include <map>

#include "med3d/pipeline/test_report.h"

namespace med3d::pipeline {
namespace {

Json question(const Json& probast, const std::string& number) {
  for (const auto& domain : probast.at("domains")) {
    for (const auto& one : domain.at("questions")) {
      if (one.at("question") == number) return one;
    }
  }
  return {};
}

bool says(const Json& question, const std::string& part) {
  return question.at("value").get<std::string>().find(part) != std::string::npos;
}

TEST(Probast, HasTheTwentyQuestionsOfTheFourDomains) {
  const Json probast = probast_json(hand_made_report(), small_cohort(), brief_settings());
  std::map<std::string, std::size_t> n;
  std::vector<std::string> numbers;
  for (const auto& domain : probast.at("domains")) {
    n[domain.at("domain")] = domain.at("questions").size();
    for (const auto& one : domain.at("questions")) {
      numbers.push_back(one.at("question"));
      const bool answered = one.at("status") == "answered";
      EXPECT_EQ(answered, !one.at("answer").get<std::string>().empty()) << numbers.back();
    }
  }
  const std::map<std::string, std::size_t> expected = {
      {"Participants", 2}, {"Predictors", 3}, {"Outcome", 6}, {"Analysis", 9}};
  EXPECT_EQ(n, expected);
  EXPECT_EQ(numbers.size(), 20U);
  EXPECT_EQ(numbers.front(), "1.1");
  EXPECT_EQ(numbers.back(), "4.9");
}

TEST(Probast, NeverJudgesOverAnOpenQuestion) {
  const Json probast = probast_json(hand_made_report(), small_cohort(), brief_settings());
  EXPECT_TRUE(probast.at("judgement").is_null());
  for (const auto& domain : probast.at("domains")) {
    const bool open = domain.at("open").get<int>() > 0;
    EXPECT_EQ(open, domain.at("judgement").is_null()) << domain.at("domain");
  }
}

TEST(Probast, JudgesADomainByItsWorstAnswer) {
  const auto of = [](const std::vector<std::string>& answers) {
    Json questions = Json::array();
    for (const auto& answer : answers) {
      questions.push_back({{"status", answer.empty() ? "author" : "answered"}, {"answer", answer}});
    }
    return risk_of_bias(questions);
  };
  EXPECT_EQ(of({"yes", "probably yes"}), "low");
  EXPECT_EQ(of({"yes", "no information"}), "unclear");
  EXPECT_EQ(of({"no information", "probably no"}), "high");
  EXPECT_EQ(of({"no"}), "high");
  EXPECT_TRUE(of({"no", ""}).is_null());
}

// 45 training patients of whom 15 are positive; 3 columns, 6 and 8 numbers of embeddings:
// 15 / 17 = 0.88 each, 15 / 3 = 5 for the table alone.
TEST(Probast, CountsPatientsForEachNumberAModelMayWeigh) {
  const Json one =
      question(probast_json(hand_made_report(), small_cohort(), brief_settings()), "4.1");
  EXPECT_EQ(one.at("answer"), "no");
  EXPECT_TRUE(says(one, "15 patients in the smaller class")) << one;
  EXPECT_TRUE(says(one, "3 columns and 14 numbers of embeddings: 0.88 each")) << one;
  EXPECT_TRUE(says(one, "table alone: 5")) << one;
  EXPECT_TRUE(says(one, "Held-out test: 5 in the smaller class")) << one;
}

// 1 column, no embeddings, 600 training patients with 200 positives and no test: 200 each.
TEST(Probast, EnoughEventsAreEnough) {
  Cohort cohort = small_cohort(600);
  cohort.modalities.clear();
  cohort.columns.resize(1);
  for (auto& split : cohort.split) split = "train";
  EXPECT_EQ(
      question(probast_json(hand_made_report(), cohort, brief_settings()), "4.1").at("answer"),
      "yes");
}

TEST(Probast, MissingValuesCountAgainstAndTheirAbsenceFor) {
  Json report = hand_made_report();
  const Cohort cohort = small_cohort();
  EXPECT_EQ(question(probast_json(report, cohort, {}), "4.4").at("answer"), "probably no");
  report["cohort"]["missing"] = Json::array();
  EXPECT_EQ(question(probast_json(report, cohort, {}), "4.4").at("answer"), "yes");
}

TEST(Probast, CensoringIsAnsweredOnlyWhereTheRunCanSeeIt) {
  Json report = hand_made_report();
  Cohort cohort = small_cohort();
  RunSettings settings = brief_settings();
  cohort.endpoint.column = "dead";
  EXPECT_EQ(question(probast_json(report, cohort, settings), "4.6").at("status"), "author");
  cohort.endpoint.column.clear();
  cohort.endpoint.time_column = "days";
  EXPECT_EQ(question(probast_json(report, cohort, settings), "4.6").at("answer"), "probably no");
  report["survival"] = hand_made_survival();
  const Json with = question(probast_json(report, cohort, settings), "4.6");
  EXPECT_EQ(with.at("answer"), "probably yes");
  EXPECT_TRUE(says(with, "7 competing events")) << with;
  settings.survival.unknown_at_horizon = "exclude";
  EXPECT_EQ(question(probast_json(report, cohort, settings), "4.6").at("answer"), "probably no");
}

TEST(Probast, ExclusionsAreLeftToTheAuthorWithTheirReasons) {
  Cohort cohort = small_cohort();
  cohort.flow = {{"with a label", 60, {{"no label", 4}, {"no modality", 0}}}};
  const Json one = question(probast_json(hand_made_report(), cohort, brief_settings()), "4.3");
  EXPECT_EQ(one.at("status"), "author");
  EXPECT_TRUE(says(one, "4 patients left out: 4 (no label).")) << one;
  cohort.flow.clear();
  EXPECT_EQ(
      question(probast_json(hand_made_report(), cohort, brief_settings()), "4.3").at("answer"),
      "yes");
}

TEST(Probast, GeneratedPatientsAreNoDataSource) {
  Cohort cohort = small_cohort();
  cohort.synthetic = true;
  EXPECT_EQ(question(probast_json(hand_made_report(), cohort, {}), "1.1").at("answer"), "no");
}

}  // namespace
}  // namespace med3d::pipeline
