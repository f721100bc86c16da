#include "med3d/pipeline/tripod.h"

#include <gtest/gtest.h>

#include "med3d/pipeline/test_report.h"

namespace med3d::pipeline {
namespace {

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Tripod, NamesEachArmsMeansAgainstClassImbalance) {
  RunSettings settings;
  settings.clinical_arm.balance = "smote";
  settings.clinical_arm.fit.class_weights = true;  // dropped by the arm where it oversamples
  settings.radiology_arm.fit.class_weights = true;
  settings.radiology_arm.fit.sampler = "weighted";
  settings.wsi_arm.fit.class_weights = false;
  const std::string text = class_imbalance(settings);
  EXPECT_TRUE(says(text, "Clinical arm: smote;")) << text;
  EXPECT_TRUE(says(text, "CT/MRI arm: weighted loss, weighted sampler;")) << text;
  EXPECT_TRUE(says(text, "whole-slide arm: none;")) << text;
}

TEST(Tripod, SaysWhetherArmsAreRecalibrated) {
  RunSettings settings;
  settings.fusion.calibrate_arms = "none";
  EXPECT_TRUE(says(class_imbalance(settings), "Not recalibrated")) << class_imbalance(settings);
  settings.fusion.calibrate_arms = "platt";
  EXPECT_TRUE(says(class_imbalance(settings), "Platt")) << class_imbalance(settings);
  EXPECT_FALSE(says(class_imbalance(settings), "Not recalibrated")) << class_imbalance(settings);
}

std::string value_of(const Json& tripod, const std::string& item) {
  for (const auto& one : tripod) {
    if (one.at("item") == item) return one.at("value");
  }
  return "no item " + item;
}

TEST(Tripod, TimeToEventIsAddedToTheItemsItAnswers) {
  Json report = hand_made_report();
  const Cohort cohort = small_cohort();
  const RunSettings settings = brief_settings();
  const Json without = tripod_json(report, cohort, settings);
  report["survival"] = hand_made_survival();
  const Json with = tripod_json(report, cohort, settings);
  // Dates are the author's; follow-up is known.
  EXPECT_EQ(value_of(without, "5b"), "");
  EXPECT_EQ(value_of(with, "5b"),
            "Time to event: median follow-up 40.000 (36.000 to 45.000) months (reverse "
            "Kaplan-Meier), longest 88.5; calendar dates are the author's to add.");
  EXPECT_TRUE(says(value_of(with, "8a"), "PFI (progression-free interval), horizons 12, 24 months"))
      << value_of(with, "8a");
  EXPECT_TRUE(says(value_of(with, "10"),
                   "Riley's criteria ask for clinical_cox: 300 patients and 99 events for 4 "
                   "parameters."))
      << value_of(with, "10");
  EXPECT_TRUE(says(value_of(with, "20b"), "90 patients followed, 30 events, 7 competing events."));
  EXPECT_EQ(value_of(with, "21").substr(value_of(without, "21").size()),
            " Time to event: 90 patients followed, 30 events, 7 competing events.");
  // Of the set that ranks, not of the test set, and not of a model that could not be fitted there.
  EXPECT_TRUE(says(value_of(with, "23a"), "Time to event: Clinical Cox: C 0.700 (0.600 to 0.800)"))
      << value_of(with, "23a");
  EXPECT_FALSE(says(value_of(with, "23a"), "0.900 (0.800")) << value_of(with, "23a");
  EXPECT_TRUE(says(value_of(with, "23b"), "subgroups"));
  EXPECT_EQ(value_of(with, "1"), "");
}

TEST(Tripod, SampleSizeStaysSilentWhereRileysCriteriaAreNotEstimable) {
  Json report = hand_made_report();
  report["survival"] = hand_made_survival();
  report["survival"]["sample_size"].erase(1);
  const Json tripod = tripod_json(report, small_cohort(), brief_settings());
  EXPECT_FALSE(says(value_of(tripod, "10"), "Riley")) << value_of(tripod, "10");
}

}  // namespace
}  // namespace med3d::pipeline
