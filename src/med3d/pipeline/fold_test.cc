#include "med3d/pipeline/fold.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/pipeline/test_cohort.h"

namespace med3d::pipeline {
namespace {

const std::vector<std::string> kModalities = {"clinical", "ct", "wsi"};

Partition first_split(const Cohort& cohort) {
  Rows training;
  Rows held_out;
  for (std::size_t i = 0; i < cohort.size(); ++i) (i % 4 == 1 ? held_out : training).push_back(i);
  return {training, held_out};
}

FoldOutcome outcome_of(const Cohort& cohort, const RunSettings& settings) {
  return fit_fold(cohort,
                  settings,
                  model_list(settings, kModalities),
                  first_split(cohort),
                  3,
                  silent_progress())
      .outcome;
}

TEST(Partition, RefusesAPatientOnBothSides) {
  EXPECT_THROW(Partition({0, 1, 2}, {2, 3}), Error);
  EXPECT_THROW(Partition({0, 0}, {3}), Error);
}

TEST(Partition, InnerFoldsCoverTheTrainingSideOnceAndNothingElse) {
  const Cohort cohort = small_cohort();
  const Partition partition = first_split(cohort);
  Rows seen;
  for (const auto& inner : partition.inner_folds(cohort.label, {}, 3, 1)) {
    seen.insert(seen.end(), inner.held_out().begin(), inner.held_out().end());
    for (const std::size_t row : inner.training().rows()) {
      EXPECT_NE(row % 4, 1U);  // held out of the outer partition
    }
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, partition.training().rows());
}

TEST(Partition, HasNoInnerFoldsWhereAClassHasOneMember) {
  const std::vector<std::uint8_t> label = {1, 0, 0, 0};
  EXPECT_TRUE(Partition::all_for_training({0, 1, 2, 3}).inner_folds(label, {}, 3, 1).empty());
}

// Sorted: 0.1 (0), 0.3 (0), 0.4 (1), 0.8 (1). Between 0.3 and 0.4 both classes are right: 0.35.
TEST(BestThreshold, IsTheMidpointThatSeparatesTheClasses) {
  const std::vector<std::uint8_t> label = {0, 1, 0, 1};
  const std::vector<double> probability = {0.1, 0.4, 0.3, 0.8};
  EXPECT_DOUBLE_EQ(best_threshold(label, probability), 0.35);
}

TEST(BestThreshold, IsOneHalfForASingleClass) {
  const std::vector<std::uint8_t> label = {1, 1};
  EXPECT_DOUBLE_EQ(best_threshold(label, std::vector<double>{0.1, 0.9}), 0.5);
}

TEST(FitFold, GivesEveryModelAPredictionForEveryPatientWithOneOfItsModalities) {
  const Cohort cohort = small_cohort();
  const FoldOutcome outcome = outcome_of(cohort, brief_settings());
  EXPECT_EQ(outcome.models.size(), 16U);
  for (const auto& [id, model] : outcome.models) {
    EXPECT_EQ(model.not_fitted, "") << id;
    for (std::size_t i = 0; i < outcome.held_out.size(); ++i) {
      const bool has_ct = outcome.held_out[i] % 2 == 0;
      const bool expected = !id.starts_with("ct_mri") || has_ct;
      EXPECT_EQ(std::isnan(model.probability[i]), !expected) << id << " row " << i;
    }
  }
}

// The heart of honest validation: what a model says of a held-out patient cannot depend on the
// held-out labels, nor on the other held-out patients.
TEST(FitFold, DoesNotLookAtTheHeldOutPatients) {
  const Cohort cohort = small_cohort();
  const FoldOutcome before = outcome_of(cohort, brief_settings());
  Cohort changed = cohort;
  const std::size_t watched = before.held_out.front();
  for (const std::size_t row : before.held_out) {
    changed.label[row] = 1 - changed.label[row];
    if (row == watched) continue;
    changed.columns[0].cells[row] = "900";
    changed.columns[1].cells[row] = "";
    for (const std::size_t item : changed.modalities[1].items_of_patient[row]) {
      for (float& value : changed.modalities[1].items.row(item)) value = 1e4F;
    }
  }
  const FoldOutcome after = outcome_of(changed, brief_settings());
  for (const auto& [id, model] : before.models) {
    const auto& other = after.models.at(id);
    EXPECT_EQ(model.threshold, other.threshold) << id;
    if (std::isnan(model.probability[0])) continue;
    EXPECT_EQ(model.probability[0], other.probability[0]) << id;
  }
}

TEST(FitFold, RecordsAnArmWhoseTrainingPatientsAreOfOneClass) {
  Cohort cohort = small_cohort();
  // CT is left to negatives only.
  for (std::size_t i = 0; i < cohort.size(); ++i) {
    if (cohort.label[i] == 1) cohort.modalities[0].items_of_patient[i].clear();
  }
  const FoldOutcome outcome = outcome_of(cohort, brief_settings());
  EXPECT_NE(outcome.models.at("ct_mri").not_fitted.find("0 positive"), std::string::npos)
      << outcome.models.at("ct_mri").not_fitted;
  EXPECT_EQ(outcome.models.at("clinical").not_fitted, "");
  EXPECT_FALSE(outcome.models.at("late_weighted").weights.at("ct_mri") > 0.0);
  for (const double p : outcome.models.at("late_weighted").probability) EXPECT_FALSE(std::isnan(p));
  // Learning weights has nothing to learn this arm's from: it starts at a half and must not stay.
  EXPECT_EQ(outcome.models.at("late_learned").weights.at("ct_mri"), 0.0);
}

// A third is positive: whatever the inner folds' prevalences are, nobody is called positive.
TEST(FitFold, CallsEverybodyTheMajorityClassInTheReferenceRow) {
  const FoldOutcome outcome = outcome_of(small_cohort(), brief_settings());
  const auto& majority = outcome.models.at(kMajorityModel);
  EXPECT_EQ(majority.threshold, 0.5);
  for (const double p : majority.probability) EXPECT_LT(p, majority.threshold);
}

// "site" was dropped when the table was read, and the stage baseline sees no "age".
TEST(FitFold, TakesDeclarationsOfColumnsThatAModelDoesNotSee) {
  RunSettings settings = brief_settings();
  settings.run.models = {"clinical", "stage_grade_logistic"};
  settings.cohort.clinical.drop = {"site"};
  settings.cohort.clinical.categorical = {"age"};
  settings.cohort.clinical.ordinal = {{"histology", {"low", "high"}}};
  const FoldOutcome outcome = outcome_of(small_cohort(), settings);
  EXPECT_EQ(outcome.models.at("clinical").not_fitted, "");
  EXPECT_EQ(outcome.models.at("stage_grade_logistic").not_fitted, "");
}

// Every training cell is a built-in stage word, one held-out cell is not: the column is text
// throughout, and the word is a category that was not seen.
TEST(FitFold, ReadsAColumnInTheSameWayOnBothSidesOfASplit) {
  Cohort cohort = small_cohort();
  Column column{"t", {}, "clinical"};
  for (std::size_t i = 0; i < cohort.size(); ++i) {
    column.cells.push_back(i == 5 ? "T2/T3" : "T" + std::to_string(1 + i % 3));
  }
  cohort.columns.push_back(column);
  RunSettings settings = brief_settings();
  settings.run.models = {"clinical"};
  const FoldOutcome outcome = outcome_of(cohort, settings);
  for (const double p : outcome.models.at("clinical").probability) EXPECT_FALSE(std::isnan(p));
}

TEST(FitFold, ChoosesAmongCandidatesByInnerFoldsAndSaysWhich) {
  RunSettings settings = brief_settings();
  settings.run.models = {"clinical"};
  settings.validation.select = {{"clinical_arm.balance", {"none", "smote"}}};
  const auto outcome = outcome_of(small_cohort(), settings);
  ASSERT_EQ(outcome.models.at("clinical").chosen.size(), 1U);
  EXPECT_TRUE(outcome.models.at("clinical").chosen.front().starts_with("clinical_arm.balance="));
}

TEST(FoldOutcome, ReadsBackWhatItWrote) {
  FoldOutcome outcome = outcome_of(small_cohort(), brief_settings());
  outcome.repeat = 2;
  const FoldOutcome again = FoldOutcome::from_json(parse_json(dump_json(outcome.to_json()), "t"));
  EXPECT_EQ(dump_json(again.to_json()), dump_json(outcome.to_json()));
}

// Weights 0.8 and 0.4: (0.8 * 0.5 + 0.4 * 0.2) / 1.2 = 0.4; one arm alone keeps its own answer.
TEST(CombineLate, RenormalisesOverTheArmsThatArePresent) {
  Matrix<double> probability(3, 2, std::nan(""));
  probability(0, 0) = 0.5;
  probability(0, 1) = 0.2;
  probability(1, 1) = 0.2;
  const auto combined = combine_late(probability, {0.8, 0.4});
  EXPECT_NEAR(combined[0], 0.4, 1e-12);
  EXPECT_NEAR(combined[1], 0.2, 1e-12);
  EXPECT_TRUE(std::isnan(combined[2]));
}

TEST(CombineLate, AnswersByThePlainMeanWhereNoPresentArmHasAWeight) {
  Matrix<double> probability(1, 2, std::nan(""));
  probability(0, 1) = 0.3;
  EXPECT_NEAR(combine_late(probability, {1.0, 0.0})[0], 0.3, 1e-12);
}

// Two repeats: patient 0 gets 0.2 and 0.6 at thresholds 0.3 and 0.6: mean 0.4 below mean 0.45.
TEST(Aggregate, AveragesAPatientsPredictionsAndThresholdsOverRepeats) {
  Cohort cohort = small_cohort(4);
  cohort.label = {1, 0, 1, 0};
  std::vector<FoldOutcome> outcomes(2);
  for (int r = 0; r < 2; ++r) {
    auto& outcome = outcomes[static_cast<std::size_t>(r)];
    outcome.repeat = r;
    outcome.held_out = {0, 1};
    auto& model = outcome.models["clinical"];
    model.probability =
        r == 0 ? std::vector<double>{0.2, std::nan("")} : std::vector<double>{0.6, 0.1};
    model.threshold = r == 0 ? 0.3 : 0.6;
  }
  const auto set = aggregate("cross-validation", cohort, outcomes);
  const auto& model = set.models.at("clinical");
  EXPECT_NEAR(model.probability[0], 0.4, 1e-12);
  EXPECT_NEAR(model.threshold[0], 0.45, 1e-12);
  EXPECT_EQ(model.predicted[0], 0);
  EXPECT_NEAR(model.probability[1], 0.1, 1e-12);
  ASSERT_EQ(model.repeat_auroc.size(), 1U);  // repeat 1 has one class only: not estimable
  EXPECT_DOUBLE_EQ(model.repeat_auroc[0], 1.0);
}

}  // namespace
}  // namespace med3d::pipeline
