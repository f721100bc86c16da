#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/pipeline/models/survival_internal.h"
#include "med3d/pipeline/run.h"
#include "med3d/pipeline/survival_evaluation.h"
#include "med3d/pipeline/survival_optimism.h"
#include "med3d/pipeline/test_cohort.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/stats/survival/cox.h"

namespace med3d::pipeline {
namespace {

struct Fitted {
  std::vector<SurvivalSpec> specs;
  SurvivalFold fold;
};
Fitted fit_all(const Cohort& cohort, const RunSettings& settings, const Partition& partition) {
  Fitted out{survival_model_list(settings, cohort.modality_names()), {}};
  out.fold =
      fit_survival_fold(cohort, settings, out.specs, partition, 5, silent_progress()).outcome;
  return out;
}

Rows range(std::size_t begin, std::size_t end) {
  Rows rows;
  for (std::size_t i = begin; i < end; ++i) rows.push_back(i);
  return rows;
}

TEST(SurvivalFold, EveryHeadGivesRisksThatRiseWithTime) {
  const Cohort cohort = follow_up_cohort();
  const auto settings = survival_settings();
  const auto [specs, fold] = fit_all(cohort, settings, Partition(range(0, 70), range(70, 90)));
  EXPECT_EQ(specs.size(), 1U + 3 * 4 + 1 + 4 + 2 + 2);
  for (const auto& spec : specs) {
    const auto& model = fold.models.at(spec.id);
    EXPECT_EQ(model.not_fitted, "") << spec.id;
    ASSERT_EQ(model.risk.rows(), 20U) << spec.id;
    for (std::size_t i = 0; i < 20; ++i) {
      const bool scan_arm = spec.arms == std::vector<std::string>{"ct_mri"};
      const bool has = !scan_arm || cohort.modalities[0].has(70 + i);
      EXPECT_EQ(std::isnan(model.risk(i, 0)), !has) << spec.id;
      for (std::size_t h = 0; has && h < model.risk.cols(); ++h) {
        EXPECT_GE(model.risk(i, h), h == 0 ? 0.0 : model.risk(i, h - 1)) << spec.id;
        EXPECT_LE(model.risk(i, h), 1.0) << spec.id;
      }
    }
    if (spec.family == "reference") continue;
    ASSERT_EQ(model.cuts.size(), 2U) << spec.id;
    EXPECT_LE(model.cuts[0], model.cuts[1]) << spec.id;
  }
}

// What is judged must not be learnt from: other follow-up of the held-out patients changes nothing.
TEST(SurvivalFold, TheOutcomeOfHeldOutPatientsIsNotRead) {
  Cohort cohort = follow_up_cohort();
  auto settings = survival_settings();
  settings.survival.heads = {"cox", "boosted"};
  const Partition partition(range(0, 70), range(70, 90));
  const auto before = fit_all(cohort, settings, partition).fold;
  for (std::size_t i = 70; i < 90; ++i) {
    cohort.time_months[i] = 1.0;
    cohort.event[i] = 1 - cohort.event[i];
    cohort.label[i] = static_cast<std::uint8_t>(cohort.event[i]);
  }
  const auto after = fit_all(cohort, settings, partition).fold;
  EXPECT_EQ(before.to_json().dump(), after.to_json().dump());
}

TEST(SurvivalFold, ReadsBackWhatItWrote) {
  const Cohort cohort = follow_up_cohort();
  auto settings = survival_settings();
  settings.survival.models = {"clinical_cox", "ct_mri_cox"};
  const auto fold = fit_all(cohort, settings, Partition(range(0, 70), range(70, 90))).fold;
  EXPECT_EQ(SurvivalFold::from_json(fold.to_json()).to_json().dump(), fold.to_json().dump());
  Json broken = fold.to_json();
  broken["models"]["clinical_cox"]["risk"].erase(0);
  EXPECT_THROW(SurvivalFold::from_json(broken), Error);
}

TEST(SurvivalFold, SaysWhyAModelCouldNotBeFitted) {
  Cohort cohort = follow_up_cohort();
  const auto settings = survival_settings();
  for (std::size_t i = 0; i < 70; ++i) cohort.event[i] = cohort.label[i] = 0;
  const auto fold = fit_all(cohort, settings, Partition(range(0, 70), range(70, 90))).fold;
  EXPECT_NE(fold.models.at("clinical_cox").not_fitted.find("0 events among 70"), std::string::npos);
  EXPECT_NE(fold.models.at("late_stacked").not_fitted.find("no arm"), std::string::npos);
  EXPECT_EQ(fold.models.at(kNoCovariates).not_fitted, "");
}

TEST(SurvivalModelList, RefusesAModelItDoesNotHave) {
  auto settings = survival_settings();
  settings.survival.models = {"clinical_coks"};
  try {
    survival_model_list(settings, {"clinical"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what()).find("did you mean 'clinical_cox'"), std::string::npos);
  }
}

// Wanted late fusion brings its arms.
TEST(SurvivalModelList, LateFusionBringsItsArms) {
  auto settings = survival_settings();
  settings.survival.models = {"late_stacked"};
  std::vector<std::string> ids;
  for (const auto& spec : survival_model_list(settings, {"clinical", "wsi"}))
    ids.push_back(spec.id);
  EXPECT_EQ(ids,
            (std::vector<std::string>{"kaplan_meier", "clinical_cox", "wsi_cox", "late_stacked"}));
}

// Two patients at risk, f = log 2 and 0, events at 1 and 2: with middle m, H0(1) = e^m / (2 + 1),
// H0(2) = H0(1) + e^m / 1. Risk of the first at 1: 1 - exp(-2 / 3); of the second at 2:
// 1 - exp(-(1/3 + 1)).
TEST(RelativeHazard, MatchesHandComputedRisks) {
  const std::vector<double> f = {std::log(2.0), 0.0};
  const RelativeHazard hazard({{1.0, 2.0}, {1, 1}}, f);
  EXPECT_NEAR(hazard.risk(f[0], 1.0), 1.0 - std::exp(-2.0 / 3.0), 1e-12);
  EXPECT_NEAR(hazard.risk(f[1], 2.0), 1.0 - std::exp(-4.0 / 3.0), 1e-12);
  EXPECT_EQ(hazard.risk(f[0], 0.5), 0.0);
  EXPECT_EQ(hazard.risk(f[0], 99.0), hazard.risk(f[0], 2.0));
}

// An arm whose out-of-fold risk runs the wrong way gets no weight; the right one keeps its sign.
TEST(LateStack, TakesOutAnArmThatPointsTheWrongWay) {
  NumpyRandom random(3);
  Matrix<double> oof(200, 2);
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  FittedSurvival fitted;
  const Cohort cohort = follow_up_cohort();
  const auto partition = Partition::all_for_training(range(0, 90));
  const auto settings = survival_settings();
  const std::shared_ptr<const SurvivalModel> any =
      fit_no_covariates({cohort, settings, partition.training(), 1, nullptr});
  fitted["a"] = any;
  fitted["b"] = any;
  for (std::size_t i = 0; i < 200; ++i) {
    const double z = random.normal();
    oof(i, 0) = 1.0 / (1.0 + std::exp(-z));
    oof(i, 1) = 1.0 / (1.0 + std::exp(z + random.normal()));
    time.push_back(-std::log(1.0 - random.uniform()) * std::exp(-z) * 20.0);
    event.push_back(1);
  }
  const auto stack = fit_late_stack({"a", "b"}, oof, {time, event}, 24.0, fitted);
  const Json weights = stack.model->describe().at("weights");
  EXPECT_GT(weights.at("a").get<double>(), 0.5);
  EXPECT_EQ(weights.at("b").get<double>(), 0.0);
}

TEST(PlanSurvival, NoPatientIsOnBothSidesAndTestRowsStayOut) {
  const Cohort cohort = follow_up_cohort();
  auto settings = survival_settings();
  settings.survival.designs = {"cross-validation", "source", "site", "preserved-site"};
  settings.survival.learning_curve = {0.5};
  settings.survival.min_site_patients = 5;
  const auto pieces = plan_survival(cohort, settings);
  std::map<std::string, std::size_t> held_out;
  std::set<std::string> files;
  for (const auto& piece : pieces) {
    EXPECT_TRUE(files.insert(piece.file()).second) << piece.file();
    held_out[piece.set] += piece.partition.held_out().size();
    for (const std::size_t row : piece.partition.training().rows()) {
      EXPECT_NE(cohort.split[row], "test");
    }
    if (piece.set == "test") continue;
    for (const std::size_t row : piece.partition.held_out()) EXPECT_NE(cohort.split[row], "test");
    if (piece.set == "leave-one-site-out" || piece.set == "preserved-site folds") {
      std::set<std::string> learnt;
      for (const std::size_t row : piece.partition.training().rows()) {
        learnt.insert(cohort.source[row] + cohort.site[row]);
      }
      for (const std::size_t row : piece.partition.held_out()) {
        EXPECT_FALSE(learnt.contains(cohort.source[row] + cohort.site[row]));
      }
    }
  }
  // Each of the 75 training patients is judged once in every division of them.
  for (const char* set : {"cross-validation", "leave-one-site-out", "preserved-site folds"}) {
    EXPECT_EQ(held_out.at(set), 75U) << set;
  }
  EXPECT_EQ(held_out.at("TCGA to CPTAC") + held_out.at("CPTAC to TCGA"), 75U);
  EXPECT_EQ(held_out.at("test"), 15U);
}

TEST(PlanSurvival, RefusesTransferWithinOneSource) {
  Cohort cohort = follow_up_cohort();
  cohort.source.assign(cohort.size(), "TCGA");
  EXPECT_THROW(plan_survival(cohort, survival_settings()), Error);
}

// Four patients, two repeats: the mean of the risks is what is judged, and C is by hand. Times 1 2
// 3 4, all events; mean risks .8 .6 .7 .1: pairs (2,3) discordant, the other five concordant.
TEST(AggregateSurvival, JudgesTheMeanOfTheRepeats) {
  Cohort cohort = follow_up_cohort(30);
  auto settings = survival_settings();
  settings.survival.horizons_months = {24};
  const std::size_t width = risk_times(settings).size();
  for (std::size_t i = 0; i < 4; ++i) {
    cohort.time_months[i] = static_cast<double>(i + 1);
    cohort.event[i] = cohort.label[i] = 1;
  }
  std::vector<SurvivalPiece> pieces;
  std::vector<SurvivalFold> folds;
  const double risks[2][4] = {{0.9, 0.5, 0.6, 0.0}, {0.7, 0.7, 0.8, 0.2}};
  for (int repeat = 0; repeat < 2; ++repeat) {
    pieces.push_back({"cross-validation", repeat, 0, 1.0, Partition(range(4, 20), range(0, 4))});
    SurvivalFold fold;
    fold.held_out = range(0, 4);
    fold.models["clinical_cox"].risk = Matrix<double>(4, width);
    fold.models["clinical_cox"].cuts = {0.3, 0.65};
    for (std::size_t i = 0; i < 4; ++i) {
      for (double& value : fold.models["clinical_cox"].risk.row(i)) value = risks[repeat][i];
    }
    folds.push_back(fold);
  }
  settings.survival.models = {"clinical_cox"};
  const auto specs = survival_model_list(settings, {"clinical"});
  SurvivalContext context{
      cohort, settings, specs, aggregate_survival(cohort, settings, pieces, folds), 1};
  const auto& model = context.sets.at(0).models.at("clinical_cox");
  EXPECT_NEAR(model.risk(1, 0), 0.6, 1e-12);
  EXPECT_EQ(model.group(0, 0), 2);
  EXPECT_EQ(model.group(1, 0), 1);
  EXPECT_EQ(model.group(3, 0), 0);
  const Json report = evaluate_survival(context);
  const auto& set = report.at("models").at(1).at("sets").at(0);
  EXPECT_EQ(set.at("n"), 4);
  EXPECT_EQ(set.at("events"), 4);
  EXPECT_NEAR(set.at("metrics").at("c_index").at("value").get<double>(), 5.0 / 6.0, 1e-12);
}

TEST(SurvivalRun, WritesItsSectionAndGoesOnFromFinishedPieces) {
  const testing::TempFolder temp;
  const Cohort cohort = follow_up_cohort();
  auto settings = survival_settings();
  settings.run.models = {"stage_grade_logistic"};
  settings.survival.models = {"clinical_cox", "wsi_cox", "late_stacked"};
  settings.survival.subgroups = {"source", "age", "no such column"};
  const RunOptions options{temp.path() / "run", 2, false, false};
  const auto summary = run_cohort(cohort, settings, options, silent_progress(), &cohort);
  const Json& survival = summary.report.at("survival");
  EXPECT_EQ(survival.at("follow_up").at("n"), 90);
  EXPECT_GT(survival.at("follow_up").at("competing").get<int>(), 0);
  EXPECT_TRUE(survival.at("incidence").at(0).contains("competing"));
  EXPECT_EQ(survival.at("best").at("set"), "cross-validation");
  EXPECT_FALSE(survival.at("comparisons").empty());
  EXPECT_FALSE(survival.at("subgroups").empty());
  EXPECT_EQ(survival.at("warnings").size(), 1U);
  for (const auto& model : survival.at("models")) {
    for (const auto& set : model.at("sets")) {
      EXPECT_TRUE(set.contains("n") && set.contains("events"));
    }
  }
  const auto csv = read_file(options.output / "survival_predictions.csv", 1U << 24);
  EXPECT_NE(csv.find("competing"), std::string::npos);
  const auto report = read_file(options.output / "report.json", 1U << 26);

  // One piece lost, another damaged: both are made again, and the bytes are the same.
  std::filesystem::remove(options.output / "folds" / "survival-cross-validation-r01-f01.json");
  write_file_atomic(options.output / "folds" / "survival-tcga-to-cptac-r01-f01.json", "{");
  const RunOptions other{temp.path() / "run", 1, false, false};
  const auto again = run_cohort(cohort, settings, other, silent_progress(), &cohort);
  EXPECT_EQ(again.taken_over, again.pieces - 2);
  EXPECT_EQ(read_file(options.output / "report.json", 1U << 26), report);
  EXPECT_EQ(read_file(options.output / "survival_predictions.csv", 1U << 24), csv);
}

// Excluding the unknown at a horizon is the plain AUROC of the rest, IPCW weighs them: with
// censoring before the horizon the two differ, and both say how many were unknown.
TEST(SurvivalRun, SaysHowManyPatientsAreUnknownAtAHorizon) {
  const testing::TempFolder temp;
  const Cohort cohort = follow_up_cohort();
  auto settings = survival_settings();
  settings.run.models = {"stage_grade_logistic"};
  settings.survival.models = {"clinical_cox"};
  settings.survival.designs = {"cross-validation"};
  std::vector<double> auc;
  for (const char* rule : {"ipcw", "exclude"}) {
    settings.survival.unknown_at_horizon = rule;
    const auto summary = run_cohort(
        cohort, settings, {temp.path() / rule, 2, false, false}, silent_progress(), &cohort);
    const auto& models = summary.report.at("survival").at("models");
    for (const auto& set : models.at(1).at("sets")) {
      if (set.at("name") != "cross-validation") continue;
      auc.push_back(set.at("metrics").at("auc_24").at("value").get<double>());
      for (const auto& horizon : set.at("horizons")) {
        EXPECT_EQ(horizon.at("events").get<int>() + horizon.at("free").get<int>() +
                      horizon.at("unknown").get<int>(),
                  set.at("n").get<int>());
      }
    }
  }
  ASSERT_EQ(auc.size(), 2U);
  EXPECT_NE(auc[0], auc[1]);
  EXPECT_NEAR(auc[0], auc[1], 0.1);
}

const Json& optimism_of(const Json& rows, const std::string& model, const std::string& metric) {
  for (const Json& row : rows) {
    if (row.at("model") == model && row.at("metric") == metric) return row;
  }
  throw Error(ErrorKind::kNotFound, model + " " + metric);
}

// Ten columns of noise and 60 patients: apparent discrimination is all optimism, so the corrected C
// lies near one half, and the same at any number of threads.
TEST(SurvivalOptimism, TakesAwayWhatFittingNoiseSeemedToTell) {
  Cohort cohort = follow_up_cohort(60);
  NumpyRandom random(5);
  cohort.columns.clear();
  for (int c = 0; c < 10; ++c) {
    cohort.columns.push_back({"noise" + std::to_string(c), {}, "clinical"});
    for (std::size_t i = 0; i < 60; ++i) {
      cohort.columns.back().cells.push_back(std::to_string(random.normal()));
    }
  }
  auto settings = survival_settings();
  settings.survival.models = {"clinical_cox", "wsi_cox"};
  settings.survival.cox_lambda_min_ratio = 1e-4;
  settings.survival.optimism = 30;
  const auto specs = survival_model_list(settings, cohort.modality_names());
  const Json one = optimism_json(cohort, settings, specs, range(0, 60), 1);
  EXPECT_EQ(one.dump(), optimism_json(cohort, settings, specs, range(0, 60), 2).dump());
  ASSERT_EQ(one.size(), 3U);  // of the table's Cox model only
  const Json& c = optimism_of(one, "clinical_cox", "c_index");
  EXPECT_EQ(c.at("repeats"), 30);
  const double apparent = c.at("apparent").at("value");
  const double corrected = c.at("corrected").at("value");
  EXPECT_GT(apparent, 0.6);
  EXPECT_NEAR(corrected, 0.5, 0.12);
  EXPECT_DOUBLE_EQ(corrected, apparent - c.at("optimism").at("value").get<double>());
  // Fitted too extreme: the slope falls.
  EXPECT_GT(optimism_of(one, "clinical_cox", "calibration_slope").at("optimism").at("value"), 0.0);
}

TEST(SurvivalOptimism, SaysNothingWhereNoneIsAskedFor) {
  const Cohort cohort = follow_up_cohort(60);
  const auto settings = survival_settings();
  const auto specs = survival_model_list(settings, cohort.modality_names());
  EXPECT_TRUE(optimism_json(cohort, settings, specs, range(0, 60), 1).empty());
}

TEST(FollowUpCohort, KeepsPatientsWhoseOutcomeAtTheHorizonIsUnknown) {
  const testing::TempFolder temp;
  CohortSettings settings;
  settings.clinical.table = temp.write("t.csv",
                                       "case_id,age,pfi_time,pfi,dead\n"
                                       "a,50,5,1,1\nb,60,5,0,1\nc,55,40,0,0\nd,58,30,1,0\n"
                                       "e,59,,,\n");
  settings.endpoint.name = "PFI";
  settings.endpoint.time_column = "pfi_time";
  settings.endpoint.event_column = "pfi";
  settings.endpoint.time_unit = "months";
  settings.endpoint.horizon_months = 24;
  settings.endpoint.competing_column = "dead";
  // At 24 months b is unknown; for time to event b was followed for 5 months and then died.
  EXPECT_EQ(load_cohort(settings, silent_progress(), 1).size(), 3U);
  const Cohort cohort = load_follow_up_cohort(settings, silent_progress(), 1);
  EXPECT_EQ(cohort.case_ids, (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_EQ(cohort.label, (std::vector<std::uint8_t>{1, 0, 0, 1}));
  EXPECT_EQ(cohort.competing, (std::vector<std::uint8_t>{0, 1, 0, 0}));
  ASSERT_EQ(cohort.columns.size(), 1U);  // what competes is no covariate
  EXPECT_EQ(cohort.columns[0].name, "age");

  settings.endpoint.competing_value = "9";
  EXPECT_NE(testing::load_error(settings).find("competing_value '9' does not occur"),
            std::string::npos);
  settings.endpoint.competing_value = "1";
  settings.endpoint.competing_column = "pfi";
  EXPECT_NE(testing::load_error(settings).find("does not compete with itself"), std::string::npos);
  settings.endpoint = {};
  settings.endpoint.name = "x";
  settings.endpoint.column = "pfi";
  settings.endpoint.positive_class = "1";
  EXPECT_THROW(load_follow_up_cohort(settings, silent_progress(), 1), Error);
}

}  // namespace
}  // namespace med3d::pipeline
