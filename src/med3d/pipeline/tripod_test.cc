#include "med3d/pipeline/tripod.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace med3d::pipeline
