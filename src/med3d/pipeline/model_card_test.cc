#include "med3d/pipeline/model_card.h"

#include <gtest/gtest.h>

#include "med3d/pipeline/probast.h"
#include "med3d/pipeline/test_report.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

ModelCard card_of(const Cohort& cohort, const RunSettings& settings) {
  Json report = hand_made_report();
  report["probast"] = probast_json(report, cohort, settings);
  return model_card(report, cohort, settings);
}

void expect_says(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in\n" << text;
}

TEST(ModelCard, FrontMatterNamesMetricsWithTheirCountsAndIntervals) {
  const auto card = card_of(small_cohort(), brief_settings());
  ASSERT_TRUE(card.markdown.starts_with("---\n"));
  const auto end = card.markdown.find("\n---\n", 4);
  ASSERT_NE(end, std::string::npos);
  const std::string front = card.markdown.substr(0, end + 1);
  for (const char* line :
       {"license: other\n",
        "library_name: med3d\n",
        "datasets:\n  - small\n",
        "  - name: \"Clinical | MLP\"\n",
        "        split: cross-validation\n",
        "        - type: roc_auc\n          value: 0.81\n          name: \"AUROC "
        "(95 % interval 0.700 to 0.900; n = 45, 15 positive)\"\n"}) {
    expect_says(front, line);
  }
  // What is not estimable has no number there, and the rule without a model no place at all.
  EXPECT_EQ(front.find("- type: average_precision"), std::string::npos);
  EXPECT_EQ(front.find("Majority"), std::string::npos);
  EXPECT_EQ(front.find("language"), std::string::npos);
}

TEST(ModelCard, SaysWhatItIsNotForAndWhatStandsBesideIt) {
  const auto card = card_of(small_cohort(), brief_settings());
  for (const char* part : {"not a medical device",
                           "It is not tumour recurrence.",
                           "| Clinical \\| MLP | cross-validation | 45 | 15 | 0.810 (0.700 to "
                           "0.900) | not estimable |",
                           "the rule \"always positive\": -0.020 (-0.100 to 0.060)",
                           "* few events",
                           "| wsi | 60 | 8 | not recorded beside the vectors |",
                           "of 20 questions on bias are open"}) {
    expect_says(card.markdown, part);
  }
  EXPECT_EQ(card.json.at("eval_metrics").at(0).at("events"), 15);
  EXPECT_EQ(card.json.at("label_classes").at("1"), "dead within 12 months");
  EXPECT_EQ(card.json.at("network_data_format").at("inputs").at("wsi").at("length"), 8);
  EXPECT_NE(card.json.at("intended_use").get<std::string>().find("not a medical device"),
            std::string::npos);
}

TEST(ModelCard, NamesSyntheticDataInEveryPlace) {
  Cohort cohort = small_cohort();
  cohort.synthetic = true;
  const auto card = card_of(cohort, brief_settings());
  expect_says(card.markdown, "  - synthetic-data\n");
  expect_says(card.markdown, "**Synthetic data: every patient is made up.**");
  EXPECT_EQ(card.json.at("synthetic"), true);
}

// Records as `volume features` and `slide features` leave them.
TEST(ModelCard, ReadsEncodersFromTheRecordsBesideTheVectors) {
  const testing::TempFolder temp;
  std::filesystem::create_directories(temp.path() / "slides");
  std::filesystem::create_directories(temp.path() / "ct" / "P1");
  temp.write("slides/a.json", R"({"encoder": {"name": "uni", "trained": true}})");
  temp.write("slides/b.json", R"({"encoder": {"name": "resnet50-untrained", "trained": false}})");
  temp.write("slides/c.json", "{");
  temp.write("ct/P1/s.json", R"({"encoder": {"name": "medicalnet", "trained": true}})");
  RunSettings settings = brief_settings();
  settings.cohort.wsi.features = {temp.path() / "wsi_features.csv"};
  settings.cohort.ct.features = {temp.path() / "ct"};
  const Json encoders = encoders_json(settings.cohort);
  ASSERT_EQ(encoders.size(), 2U);
  EXPECT_EQ(encoders.at(0).dump(),
            R"({"modality":"ct","encoders":[{"name":"medicalnet","trained":true}]})");
  EXPECT_EQ(encoders.at(1).at("encoders").size(), 2U);
  const auto card = card_of(small_cohort(), settings);
  expect_says(card.markdown,
              "resnet50-untrained (**untrained weights: its vectors mean nothing**)");
  // No path of this machine.
  EXPECT_EQ(card.markdown.find(temp.path().string()), std::string::npos);
  EXPECT_EQ(card.json.dump().find(temp.path().string()), std::string::npos);
}

TEST(ModelCard, GivesTheSameBytesForTheSameRun) {
  const auto a = card_of(small_cohort(), brief_settings());
  const auto b = card_of(small_cohort(), brief_settings());
  EXPECT_EQ(a.markdown, b.markdown);
  EXPECT_EQ(a.json.dump(), b.json.dump());
}

}  // namespace
}  // namespace med3d::pipeline
