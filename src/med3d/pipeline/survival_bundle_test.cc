#include "med3d/pipeline/survival_bundle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "med3d/core/file.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/predict.h"
#include "med3d/pipeline/run.h"
#include "med3d/pipeline/test_cohort.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

Rows all_rows(const Cohort& cohort) {
  Rows rows(cohort.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  return rows;
}

// One fit of every model for all tests of this file.
class SurvivalBundleTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cohort_ = new Cohort(follow_up_cohort());
    settings_ = new RunSettings(survival_settings());
    const auto specs = survival_model_list(*settings_, cohort_->modality_names());
    const auto partition = Partition::all_for_training(all_rows(*cohort_));
    fit_ = new FittedSurvivalFold(
        fit_survival_fold(*cohort_, *settings_, specs, partition, 5, silent_progress()));
    folder_ = fs::temp_directory_path() / ("med3d-survival-bundle-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    make_folder(folder_);
    write_survival_bundle(folder_, *cohort_, *settings_, specs, *fit_, partition.training().rows());
  }
  static void TearDownTestSuite() {
    fs::remove_all(folder_);
    delete fit_;
    delete settings_;
    delete cohort_;
  }

  static Cohort* cohort_;
  static RunSettings* settings_;
  static FittedSurvivalFold* fit_;
  static fs::path folder_;
};
Cohort* SurvivalBundleTest::cohort_ = nullptr;
RunSettings* SurvivalBundleTest::settings_ = nullptr;
FittedSurvivalFold* SurvivalBundleTest::fit_ = nullptr;
fs::path SurvivalBundleTest::folder_;

// A patient without a table, without scans, without slides, and with none of them.
TEST_F(SurvivalBundleTest, PredictsAsTheModelsThatWereSavedForAnySubsetOfModalities) {
  const auto bundle = read_survival_bundle(folder_);
  EXPECT_EQ(bundle.models.size(), 1U + 3 * 4 + 1 + 4 + 2 + 2);
  ASSERT_EQ(bundle.models.size(), fit_->models.size());
  Cohort cohort = *cohort_;
  for (std::size_t i = 0; i < 40; ++i) {
    if ((i & 1) != 0) {
      cohort.has_clinical[i] = false;
      for (auto& column : cohort.columns) column.cells[i].clear();
    }
    if ((i & 2) != 0) cohort.modalities[0].items_of_patient[i].clear();
    if ((i & 4) != 0) cohort.modalities[1].items_of_patient[i].clear();
  }
  const auto rows = all_rows(cohort);
  const std::vector<double> times = {1.0, 12.0, 24.0, 60.0, 1000.0};
  std::size_t numbers = 0;
  std::size_t missing = 0;
  for (const auto& [id, model] : fit_->models) {
    const auto expected = model->risk(cohort, rows, times);
    const auto actual = bundle.models.at(id)->risk(cohort, rows, times);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double e = expected.data()[i];
      const double a = actual.data()[i];
      EXPECT_EQ(std::isnan(e), std::isnan(a)) << id;
      if (std::isnan(e)) {
        ++missing;
      } else {
        EXPECT_NEAR(a, e, 1e-12) << id;
        ++numbers;
      }
    }
  }
  EXPECT_GT(numbers, 5000U);
  EXPECT_GT(missing, 500U);
}

TEST_F(SurvivalBundleTest, WritesTheSameBytesOfTheSameModels) {
  const testing::TempFolder other;
  const auto specs = survival_model_list(*settings_, cohort_->modality_names());
  write_survival_bundle(other.path(), *cohort_, *settings_, specs, *fit_, all_rows(*cohort_));
  for (const char* name : {"survival.json", "survival.safetensors"}) {
    EXPECT_EQ(read_file(folder_ / name, 1ULL << 28), read_file(other.path() / name, 1ULL << 28));
  }
  // The arms' preprocessing stands there once, and once more for the columns of stage and grade.
  const Json json = read_json(folder_ / "survival.json");
  EXPECT_EQ(json.at("inputs").size(), 4U);
}

// The follow-up told of a risk group is that of the training patients whose held-out risk lies in
// that third, by Kaplan-Meier on the log-log scale.
TEST_F(SurvivalBundleTest, TellsTheFollowUpOfPatientsOfTheSameRisk) {
  const auto bundle = read_survival_bundle(folder_);
  const auto& saved = *std::find_if(bundle.saved.begin(), bundle.saved.end(), [](const auto& one) {
    return one.id == "clinical_cox";
  });
  EXPECT_EQ(saved.modalities, (std::vector<std::string>{"clinical"}));
  ASSERT_EQ(saved.groups.size(), 3U);
  const auto& risk = fit_->out_of_fold.at("clinical_cox");
  EXPECT_EQ(saved.risks.size(), risk.size());
  Rows high;
  for (std::size_t i = 0; i < risk.size(); ++i) {
    if (risk[i] > saved.cuts[1]) high.push_back(i);
  }
  EXPECT_EQ(saved.groups[2].n, high.size());
  stats::survival::CurveOptions options;
  options.scale = stats::survival::IntervalScale::kLogLog;
  const auto curve = stats::survival::kaplan_meier(times_of(*cohort_, high), options);
  for (std::size_t h = 0; h < bundle.horizons_months.size(); ++h) {
    const auto expected = curve.at(bundle.horizons_months[h]);
    const auto& actual = saved.groups[2].survival[h];
    ASSERT_EQ(actual.ok(), expected.ok());
    if (!expected.ok()) continue;
    EXPECT_DOUBLE_EQ(actual.value, expected.value);
    EXPECT_DOUBLE_EQ(actual.low, expected.low);
    EXPECT_DOUBLE_EQ(actual.high, expected.high);
  }
  // Who has the higher risk has had the event more often.
  EXPECT_GT(saved.groups[0].survival[0].value, saved.groups[2].survival[0].value);
}

// Risks 0.1 0.2 0.2 0.4: 0.3 is above three of four, 0.2 above one and equal to two (half), 0.05
// above none.
TEST(SavedSurvival, RanksAmongTheTrainingPatients) {
  SavedSurvival saved;
  saved.risks = {0.1, 0.2, 0.2, 0.4};
  saved.cuts = {0.15, 0.3};
  EXPECT_DOUBLE_EQ(saved.percentile(0.3), 75.0);
  EXPECT_DOUBLE_EQ(saved.percentile(0.2), 50.0);
  EXPECT_DOUBLE_EQ(saved.percentile(0.05), 0.0);
  EXPECT_DOUBLE_EQ(saved.percentile(0.9), 100.0);
  EXPECT_TRUE(std::isnan(saved.percentile(std::nan(""))));
  EXPECT_EQ(saved.group(0.15), 0);
  EXPECT_EQ(saved.group(0.3), 1);
  EXPECT_EQ(saved.group(0.31), 2);
  EXPECT_EQ(saved.group(std::nan("")), -1);
}

// A bundle comes from elsewhere: whatever survival.json says, the answer is a message.
TEST_F(SurvivalBundleTest, RefusesABundleThatContradictsItself) {
  const auto entry = [](Json& json, const std::string& id) -> Json& {
    for (auto& one : json.at("models")) {
      if (one.at("id") == id) return one;
    }
    throw std::runtime_error(id);
  };
  const auto model = [&](Json& json, const std::string& id) -> Json& {
    return entry(json, id).at("model");
  };
  const auto head = [&](Json& json, const std::string& id) -> Json& {
    return model(json, id).at("head");
  };
  const std::vector<std::pair<const char*, std::function<void(Json&)>>> faults = {
      {"columns", [&](Json& j) { j.erase("columns"); }},
      {"format", [&](Json& j) { j["format"] = 2; }},
      {"endpoint", [&](Json& j) { j["endpoint"] = 3; }},
      {"horizons_months",
       [&](Json& j) {
         j["endpoint"]["horizons_months"] = {24, 12};
       }},
      {"horizons_months", [&](Json& j) { j["endpoint"]["horizons_months"] = Json::array(); }},
      {"widths", [&](Json& j) { j["widths"]["wsi"] = -1; }},
      {"SHA-256", [&](Json& j) { j["arrays"]["sha256"] = "00"; }},
      {"arm", [&](Json& j) { j["inputs"]["wsi"]["arm"] = "liver"; }},
      {"names", [&](Json& j) { j["inputs"]["wsi"]["names"].erase(0); }},
      {"inputs/wsi", [&](Json& j) { j["inputs"]["wsi"]["features"] = 7; }},
      {"encoder", [&](Json& j) { j["inputs"]["clinical"].erase("encoder"); }},
      {"inputs", [&](Json& j) { model(j, "wsi_cox")["inputs"]["inputs"] = {"clinical"}; }},
      {"inputs", [&](Json& j) { model(j, "wsi_cox")["inputs"]["inputs"] = Json::array(); }},
      {"kind", [&](Json& j) { model(j, "wsi_cox")["kind"] = "oracle"; }},
      {"kind", [&](Json& j) { head(j, "wsi_cox")["kind"] = "forest"; }},
      {"beta", [&](Json& j) { head(j, "wsi_cox")["beta"].push_back(1.0); }},
      {"baseline",
       [&](Json& j) { head(j, "wsi_cox")["baseline"]["cumulative_hazard"].front() = 1e9; }},
      {"cumulative_hazard",
       [&](Json& j) { head(j, "wsi_cox")["baseline"]["cumulative_hazard"].erase(0); }},
      {"hidden",
       [&](Json& j) {
         head(j, "wsi_deepsurv")["hidden"] = {65536, 65536};
       }},
      {"hidden", [&](Json& j) { head(j, "wsi_deepsurv")["hidden"] = Json::array(); }},
      {"hidden", [&](Json& j) { head(j, "early_mean_deepsurv")["projection"] = 60000; }},
      {"mode", [&](Json& j) { head(j, "wsi_deepsurv")["mode"] = "sum"; }},
      {"cuts_months",
       [&](Json& j) {
         head(j, "wsi_discrete")["cuts_months"] = {5, 4};
       }},
      {"columns", [&](Json& j) { head(j, "wsi_boosted")["tensors"] = "early_boosted/trees"; }},
      {"not a model bundle", [&](Json& j) { head(j, "wsi_boosted")["tensors"] = Json::array(); }},
      {"survival curve", [&](Json& j) { model(j, kNoCovariates)["survival"].front() = 1.5; }},
      {"weights", [&](Json& j) { model(j, "late_weighted")["weights"].erase(0); }},
      {"weights", [&](Json& j) { model(j, "late_weighted")["weights"].front() = -1; }},
      {"beta", [&](Json& j) { model(j, "late_stacked")["beta"].erase(0); }},
      {"horizon_months", [&](Json& j) { model(j, "late_stacked")["horizon_months"] = 0; }},
      {"risks", [&](Json& j) { entry(j, "wsi_cox")["risks"].front() = 2.0; }},
      {"cuts", [&](Json& j) { entry(j, "wsi_cox")["cuts"].erase(0); }},
      {"groups", [&](Json& j) { entry(j, "wsi_cox")["groups"].erase(0); }},
      {"share",
       [&](Json& j) {
         entry(j, "wsi_cox")["groups"][0]["survival"][0] = {
             {"value", 3.0}, {"low", 0.0}, {"high", 1.0}};
       }},
      {"two models", [&](Json& j) { j["models"].push_back(j["models"].front()); }},
  };
  const testing::TempFolder temp;
  const auto copy = temp.path() / "copy";
  for (const auto& [what, spoil] : faults) {
    fs::remove_all(copy);
    fs::copy(folder_, copy, fs::copy_options::recursive);
    Json json = read_json(copy / "survival.json");
    spoil(json);
    write_json(copy / "survival.json", json);
    try {
      read_survival_bundle(copy);
      ADD_FAILURE() << what << ": accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  }
}

// A run with follow-up leaves the models beside the classifiers, and prediction asks both.
TEST(PredictSurvival, GivesRisksRanksAndTheFollowUpOfTheSameGroup) {
  const testing::TempFolder temp;
  const Cohort cohort = follow_up_cohort();
  auto settings = survival_settings();
  settings.run.models = {"clinical"};
  settings.survival.models = {"clinical_cox", "wsi_cox", "late_stacked"};
  settings.survival.designs = {"cross-validation"};
  const RunOptions options{temp.path() / "run", 2, false, false};
  run_cohort(cohort, settings, options, silent_progress(), &cohort);
  const auto model = options.output / "model";
  ASSERT_TRUE(fs::exists(model / "survival.json"));

  PredictRequest request;
  request.model = model;
  request.clinical = temp.write("new.csv", "case_id,age,stage,grade\nN1,61,4,4\nN2,61,1,1\n");
  std::string slides = "case_id";
  for (int j = 0; j < 8; ++j) slides += ",wsi_" + std::to_string(j);
  request.wsi = temp.write("slides.csv", slides + "\nN3,0,0,0,0,0,0,0,1\n");
  const auto result = predict(request, silent_progress());
  EXPECT_EQ(result.survival_endpoint, "PFI");
  EXPECT_EQ(result.main_horizon_months, 24.0);
  std::map<std::string, SurvivalPrediction> found;
  for (const auto& row : result.survival) found[row.case_id + " " + row.model] = row;
  EXPECT_EQ(found.size(), 12U);  // late fusion brings all its arms
  const auto& ill = found.at("N1 clinical_cox");
  const auto& well = found.at("N2 clinical_cox");
  EXPECT_GT(ill.risk_score, well.risk_score);
  EXPECT_GT(ill.percentile, well.percentile);
  EXPECT_EQ(ill.risk_group, "high");
  EXPECT_EQ(well.risk_group, "low");
  ASSERT_EQ(ill.horizons.size(), survival_horizons(settings).size());
  for (std::size_t h = 0; h < ill.horizons.size(); ++h) {
    EXPECT_LT(ill.horizons[h].survival, well.horizons[h].survival);
    const double before = h > 0 ? ill.horizons[h - 1].survival : 1.0;
    EXPECT_LE(ill.horizons[h].survival, before);
    if (!ill.horizons[h].observed.has_interval()) continue;
    EXPECT_LE(ill.horizons[h].observed.low, ill.horizons[h].observed.value);
  }
  EXPECT_TRUE(ill.horizons[0].observed.ok());
  // Without a table: the slide alone, and nothing from the model of the table.
  EXPECT_TRUE(std::isnan(found.at("N3 clinical_cox").risk_score));
  EXPECT_EQ(found.at("N3 clinical_cox").risk_group, "");
  EXPECT_FALSE(std::isnan(found.at("N3 late_stacked").risk_score));
  EXPECT_EQ(found.at("N3 late_stacked").modalities_used, (std::vector<std::string>{"wsi"}));
  // risk_score is log(-log S) at the main horizon.
  const auto at_24 = std::find_if(ill.horizons.begin(), ill.horizons.end(), [](const auto& one) {
    return one.horizon_months == 24.0;
  });
  ASSERT_NE(at_24, ill.horizons.end());
  EXPECT_NEAR(ill.risk_score, std::log(-std::log(at_24->survival)), 1e-9);

  const Json json = result.to_json();
  EXPECT_EQ(json.at("survival").at("predictions").size(), 12U);
  EXPECT_NE(result.csv().find("event-free at 24 months"), std::string::npos);

  // Both kinds have models; an unknown name is told from all of them.
  request.models = {"late_stacked"};
  EXPECT_EQ(predict(request, silent_progress()).survival.size(), 3U);
  request.models = {"late_stackd"};
  testing::expect_error(ErrorKind::kUsage, "did you mean 'late_stacked'", [&] {
    predict(request, silent_progress());
  });
}

// What the bundle holds is part of the run: gone or changed, it is made again, to the same bytes.
TEST(PredictSurvival, ARunMakesItsPartOfTheBundleAgainWhereItIsGone) {
  const testing::TempFolder temp;
  const Cohort cohort = follow_up_cohort();
  auto settings = survival_settings();
  settings.run.models = {"stage_grade_logistic"};
  settings.survival.models = {"clinical_cox"};
  settings.survival.designs = {"cross-validation"};
  const RunOptions options{temp.path() / "run", 1, false, false};
  run_cohort(cohort, settings, options, silent_progress(), &cohort);
  const auto model = options.output / "model";
  const auto before = bundle_sha256(model);
  write_file_atomic(model / "survival.json", std::string_view("{}"));
  fs::remove(model / "evidence.json");
  const auto again = run_cohort(cohort, settings, options, silent_progress(), &cohort);
  EXPECT_EQ(again.taken_over, again.pieces - 1);
  EXPECT_EQ(bundle_sha256(model), before);
}

}  // namespace
}  // namespace med3d::pipeline
