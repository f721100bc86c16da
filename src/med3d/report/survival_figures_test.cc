#include "med3d/report/survival_figures.h"

#include <gtest/gtest.h>

#include "med3d/report/document.h"
#include "med3d/report/report.h"
#include "med3d/report/sample_report.h"

namespace med3d::report {
namespace {

Json value(double v, double low, double high) {
  return {{"value", v}, {"low", low}, {"high", high}};
}

// A report with one model of time to event, by hand.
Json with_survival() {
  Json report = sample_report();
  const Json curve = {{"time_months", {6.0, 18.0, 40.0}}, {"survival", {0.9, 0.7, 0.6}}};
  const Json beside = {{"id", "ssign"},
                       {"label", "SSIGN, pT4 as 0"},
                       {"mark", "point table not checked against its source"},
                       {"n", 90},
                       {"events", 30},
                       {"model", value(0.75, 0.7, 0.8)},
                       {"lowest", value(0.71, 0.66, 0.76)},
                       {"midpoint", value(0.73, 0.68, 0.78)},
                       {"highest", value(0.72, 0.67, 0.77)},
                       {"difference", value(0.02, -0.03, 0.07)}};
  const Json set = {
      {"name", "test"},
      {"n", 100},
      {"events", 34},
      {"metrics", {{"c_index", value(0.75, 0.7, 0.8)}}},
      {"risk_groups",
       {{"groups",
         {{{"name", "low"},
           {"n", 50},
           {"events", 10},
           {"curve", curve},
           {"at_risk", {{12.0, 45}, {24.0, 31}}}}}},
        {"log_rank", {{"p", 0.01}}}}},
      {"baselines", {beside}},
      {"calibration",
       {{"groups",
         {{{"n", 50}, {"mean_risk", 0.1}, {"observed", value(0.12, 0.05, 0.2)}},
          {{"n", 50}, {"mean_risk", 0.4}, {"observed", value(0.45, 0.3, 0.6)}}}}}},
      {"decision_curve",
       {{{"threshold", 0.1}, {"net_benefit", {{"value", 0.2}}}, {"treat_all", {{"value", 0.18}}}},
        {{"threshold", 0.3},
         {"net_benefit", {{"value", 0.1}}},
         {"treat_all", {{"value", -0.4}}}}}}};
  report["survival"] = {
      {"endpoint",
       {{"name", "PFI"}, {"unknown_at_horizon", "ipcw"}, {"main_horizon_months", 24.0}}},
      {"follow_up", {{"n", 100}, {"events", 34}, {"competing", 0}}},
      {"models",
       {{{"id", "early_cox"}, {"label", "Early fusion"}, {"family", "fusion"}, {"sets", {set}}}}},
      {"subgroups",
       {{{"set", "cross-validation"},
         {"subgroup", "source"},
         {"value", "CPTAC"},
         {"model", "early_cox"},
         {"n", 40},
         {"events", 9},
         {"c_index", value(0.66, 0.5, 0.8)}}}},
      {"best", {{"arm", ""}, {"fusion", "early_cox"}, {"baseline", ""}}}};
  return report;
}

Survival sample() { return *read_document(with_survival()).survival; }

TEST(SurvivalFigures, ForestHoldsModelsAndMarkedScores) {
  const auto figure = c_index_forest(sample(), "test");
  ASSERT_TRUE(figure);
  const std::string csv = to_csv(figure->data);
  EXPECT_NE(csv.find("fusion,Early fusion,,100,34,0.75,0.7,0.8"), std::string::npos) << csv;
  EXPECT_NE(csv.find("point table not checked against its source,90,30,0.73,0.68,0.78"),
            std::string::npos)
      << csv;
  EXPECT_FALSE(figure->caption.empty());
  EXPECT_FALSE(c_index_forest(sample(), "nowhere"));
}

TEST(SurvivalFigures, CalibrationNeedsTwoGroups) {
  Survival survival = sample();
  auto& set = survival.models[0].sets[0];
  const auto figure = horizon_calibration_plot(survival.models[0], set, "24");
  ASSERT_TRUE(figure);
  EXPECT_NE(to_csv(figure->data).find("50,0.4,0.45,0.3,0.6"), std::string::npos);
  set.calibration.pop_back();
  EXPECT_FALSE(horizon_calibration_plot(survival.models[0], set, "24"));
}

// Treating all has a net benefit of -0.4, far below the frame: in the data, not in the drawing.
TEST(SurvivalFigures, DecisionCurveKeepsInItsDataWhatTheFrameCutsOff) {
  Survival survival = sample();
  auto& set = survival.models[0].sets[0];
  const auto figure = decision_curve(survival.models[0], set, "24");
  ASSERT_TRUE(figure);
  EXPECT_NE(to_csv(figure->data).find("0.3,0.1,-0.4,0"), std::string::npos);
  set.decision.clear();
  EXPECT_FALSE(decision_curve(survival.models[0], set, "24"));
}

TEST(SurvivalFigures, SubgroupsAreOfOneModel) {
  const auto figure = subgroup_forest(sample(), "early_cox");
  ASSERT_TRUE(figure);
  EXPECT_NE(to_csv(figure->data).find("source,CPTAC,,40,9,0.66,0.5,0.8"), std::string::npos);
  EXPECT_FALSE(subgroup_forest(sample(), "another"));
}

TEST(SurvivalFigures, PageShowsScoresBesideTheModelWithTheirMark) {
  const std::string page = render_html(with_survival());
  for (const char* text : {"Beside the scores of the clinic",
                           "SSIGN, pT4 as 0 *",
                           "* point table not checked against its source.",
                           "patients still watched",
                           "decision curve, test set"}) {
    EXPECT_NE(page.find(text), std::string::npos) << text;
  }
}

TEST(SurvivalFigures, AMalformedRowNamesItsPlace) {
  Json report = with_survival();
  report["survival"]["models"][0]["sets"][0]["baselines"][0]["n"] = -1;
  try {
    (void)render_html(report);
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("survival.models[0].sets[0].baselines[0].n"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace med3d::report
