#include "med3d/pipeline/run_settings.h"

#include <gtest/gtest.h>

#include <string>

#include "med3d/core/error.h"
#include "med3d/pipeline/test_cohort.h"

namespace med3d::pipeline {
namespace {

RunSettings valid_settings() {
  RunSettings settings = brief_settings();
  settings.cohort.clinical.table = "t.csv";
  settings.cohort.endpoint.name = "dead_12";
  settings.cohort.endpoint.column = "dead_12";
  settings.cohort.endpoint.positive_class = "1";
  return settings;
}

std::string refusal(const RunSettings& settings) {
  try {
    settings.validate();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(RunSettings, RefuseCandidatesThatNoModelWouldTry) {
  for (const char* key : {"validation.folds", "run.seed", "radiology_arm.joint"}) {
    RunSettings settings = valid_settings();
    settings.validation.select = {{key, {"1", "0"}}};
    if (std::string(key) == "validation.folds") settings.validation.select = {{key, {"3", "4"}}};
    if (std::string(key) == "radiology_arm.joint") {
      settings.validation.select = {{key, {"true", "false"}}};
    }
    EXPECT_NE(refusal(settings).find("cannot be chosen by nested selection"), std::string::npos)
        << key << ": " << refusal(settings);
  }
  RunSettings settings = valid_settings();
  settings.validation.select = {{"fusion.late_rule", {"balanced_accuracy", "excess"}}};
  EXPECT_NE(refusal(settings).find("cannot be chosen"), std::string::npos) << refusal(settings);
  settings.validation.select = {{"clinical_arm.balance", {"none", "smote"}}};
  EXPECT_EQ(refusal(settings), "no error");
}

TEST(RunSettings, RefuseANetworkThatCannotBeBuilt) {
  RunSettings settings = valid_settings();
  settings.radiology_arm.fit.loss = "cross_entropy";
  EXPECT_NE(refusal(settings).find("[radiology_arm] loss"), std::string::npos) << refusal(settings);
  settings = valid_settings();
  settings.wsi_arm.hidden = {0};
  EXPECT_NE(refusal(settings).find("[wsi_arm] hidden"), std::string::npos) << refusal(settings);
  settings.wsi_arm.hidden = {8};
  settings.wsi_arm.dropout = {1.0};
  EXPECT_NE(refusal(settings).find("[wsi_arm] dropout"), std::string::npos) << refusal(settings);
}

}  // namespace
}  // namespace med3d::pipeline
