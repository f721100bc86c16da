#include "med3d/report/survival_figures.h"

#include <gtest/gtest.h>

#include "med3d/report/document.h"
#include "med3d/report/figures.h"
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
  const Json curve = {{"time_months", {6.0, 18.0, 40.0}},
                      {"survival", {0.9, 0.7, 0.6}},
                      {"low", {0.8, 0.55, nullptr}},
                      {"high", {1.0, 0.85, nullptr}},
                      {"cumulative_hazard", {0.1, 0.35, 0.5}}};
  const Json alike = {{"id", "always_positive"},
                      {"label", "Everybody alike"},
                      {"metric", "c_index"},
                      {"n", 100},
                      {"events", 34},
                      {"model", value(0.75, 0.7, 0.8)},
                      {"lowest", value(0.5, 0.5, 0.5)},
                      {"midpoint", value(0.5, 0.5, 0.5)},
                      {"highest", value(0.5, 0.5, 0.5)},
                      {"difference", value(0.25, 0.2, 0.3)}};
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
      {"metrics",
       {{"c_index", value(0.75, 0.7, 0.8)},
        {"c_index_uno", value(0.74, 0.68, 0.8)},
        {"ici", value(0.03, 0.02, 0.06)},
        {"integrated_brier", value(0.15, 0.12, 0.18)}}},
      {"proportional_hazards", {{"p", 0.004}}},
      {"warnings", {"hazards are not proportional"}},
      {"risk_groups",
       {{"groups",
         {{{"name", "low"},
           {"n", 50},
           {"events", 10},
           {"curve", curve},
           {"at_risk", {{12.0, 45}, {24.0, 31}}}}}},
        {"log_rank", {{"p", 0.01}}}}},
      {"baselines", {alike, beside}},
      {"calibration",
       {{"curve", {{"risk", {0.1, 0.2, 0.4}}, {"observed", {0.11, 0.21, 0.44}}}},
        {"groups",
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
      {"follow_up",
       {{"n", 100},
        {"events", 34},
        {"competing", 3},
        {"median_follow_up_months", value(50, 44, 57)},
        {"restricted_mean_months", value(41.5, 38, 45)},
        {"longest_months", 120.0}}},
      {"incidence",
       {{{"horizon_months", 24.0},
         {"n_at_risk", 61},
         {"aalen_johansen", value(0.233, 0.19, 0.28)},
         {"one_minus_kaplan_meier", value(0.238, 0.2, 0.29)},
         {"competing", value(0.05, 0.02, 0.08)}}}},
      {"comparisons",
       {{{"set", "test"},
         {"a", "early_cox"},
         {"b", "clinical_cox"},
         {"test", "paired bootstrap"},
         {"metric", "c_index"},
         {"difference", value(0.011, -0.02, 0.04)},
         {"p", 0.44},
         {"p_adjusted", 0.88}}}},
      {"optimism",
       {{{"model", "clinical_cox"},
         {"label", "Clinical Cox"},
         {"n", 75},
         {"events", 25},
         {"repeats", 200},
         {"metric", "c_index"},
         {"apparent", {{"value", 0.83}}},
         {"optimism", {{"value", 0.06}}},
         {"corrected", {{"value", 0.77}}}}}},
      {"sample_size",
       {{{"model", "early_cox"},
         {"n", 75},
         {"events", 25},
         {"parameters", 9},
         {"patients_needed", 442},
         {"events_needed", 146},
         {"parameters_supported", 3}}}},
      {"learning_curve",
       {{{"model", "early_cox"},
         {"share", 0.5},
         {"n_training", 37.0},
         {"events_training", 12.0},
         {"c_index", value(0.66, 0.5, 0.8)}},
        {{"model", "early_cox"},
         {"share", 1.0},
         {"n_training", 75.0},
         {"events_training", 25.0},
         {"c_index", value(0.75, 0.7, 0.8)}}}},
      {"warnings", {"subgroup 'x' is left out"}},
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

TEST(SurvivalFigures, RiskGroupsHaveTheirIntervalsAndHazardsInTheData) {
  const Survival survival = sample();
  const Figure figure = survival_curves(survival.models[0], survival.models[0].sets[0]);
  const std::string csv = to_csv(figure.data);
  EXPECT_NE(csv.find("group,time_months,survival,low,high,cumulative_hazard,at_risk\n"),
            std::string::npos);
  EXPECT_NE(csv.find("low,18,0.7,0.55,0.85,0.35,\n"), std::string::npos) << csv;
  // What R calls NA stays empty, and the band ends there.
  EXPECT_NE(csv.find("low,40,0.6,,,0.5,\n"), std::string::npos) << csv;
  EXPECT_NE(csv.find("low,24,,,,,31\n"), std::string::npos) << csv;
  EXPECT_NE(figure.svg.inline_markup("x", "t", "d").find("band b0"), std::string::npos);
}

TEST(SurvivalFigures, CalibrationShowsTheSmoothedCurve) {
  const Survival survival = sample();
  const auto figure =
      horizon_calibration_plot(survival.models[0], survival.models[0].sets[0], "24");
  ASSERT_TRUE(figure);
  EXPECT_NE(to_csv(figure->data).find("smooth curve,,0.4,0.44,,"), std::string::npos)
      << to_csv(figure->data);
  EXPECT_NE(figure->caption.find("ICI 0.03"), std::string::npos) << figure->caption;
}

TEST(SurvivalFigures, LearningCurveIsOfTheBestModels) {
  Survival survival = sample();
  const auto figure = survival_learning_curve(survival);
  ASSERT_TRUE(figure);
  EXPECT_NE(to_csv(figure->data).find("Early fusion,0.5,37,12,0.66,0.5,0.8"), std::string::npos);
  survival.best.clear();
  EXPECT_FALSE(survival_learning_curve(survival));
}

// Every statistic that a run computes has its place on the page.
TEST(SurvivalFigures, PageShowsEveryStatisticOfTheRun) {
  const std::string page = render_html(with_survival());
  for (const char* text : {"Median follow-up (reverse Kaplan-Meier)<td class=\"n\" "
                           "data-v=\"50\">50.000<small>44.000",
                           "Mean time without the event",
                           "Event, Aalen-Johansen",
                           "Another event first",
                           "data-v=\"0.25\">0.250<small>0.200",
                           "Uno&#39;s C",
                           "Integrated Brier score",
                           "Risk groups differ, log-rank p<td class=\"n\" data-v=\"0.01\">0.010",
                           "Hazards not proportional, p<td class=\"n\" data-v=\"0.004\">0.004",
                           "hazards are not proportional",
                           "Differences of the C-index",
                           "data-v=\"0.88\">0.880",
                           "less what fitting added on 200 bootstrap samples",
                           ">0.770",
                           "Riley's criteria",
                           ">442",
                           "C-index by the number of training patients",
                           "subgroup &#39;x&#39; is left out",
                           "Net reclassification is left out on purpose"}) {
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
