#include "med3d/pipeline/run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/pipeline/predict.h"
#include "med3d/pipeline/test_cohort.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

fs::path scratch(const std::string& name) {
  const fs::path folder =
      fs::path(testing::TempDir()) / fmt::format("med3d-run-{}-{}", ::getpid(), name);
  fs::remove_all(folder);
  return folder;
}

RunSummary run_small(const fs::path& folder, const RunSettings& settings, int threads = 1) {
  RunOptions options;
  options.output = folder;
  options.threads = threads;
  return run_cohort(small_cohort(), settings, options, silent_progress());
}

// Name and hash of every file of a run folder but the registry and the log, which tell how often a
// run was called, and hidden ones.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto name = fs::relative(entry.path(), folder).string();
    if (!entry.is_regular_file() || name.starts_with(".") || name.starts_with("state.sqlite") ||
        name == "log.jsonl") {
      continue;
    }
    out[name] = sha256_file(entry.path());
  }
  return out;
}

RunSettings few_models() {
  RunSettings settings = brief_settings();
  settings.run.models = {"clinical", "late_weighted"};
  return settings;
}

TEST(Run, WritesEveryFileOfARunFolder) {
  const auto folder = scratch("files");
  const auto summary = run_small(folder, brief_settings());
  const auto files = contents(folder);
  for (const char* name : {"run.json",
                           "settings.toml",
                           "cohort.json",
                           "splits.csv",
                           "predictions.csv",
                           "metrics.json",
                           "report.json",
                           "final.json",
                           "clinical_features.csv",
                           "wsi_features.csv",
                           "ct_mri_features.csv",
                           "model/model.json",
                           "model/model.safetensors",
                           "folds/final.json",
                           "folds/repeat01-fold01.json",
                           "folds/repeat01-fold03.json"}) {
    EXPECT_TRUE(files.contains(name)) << name;
  }
  EXPECT_EQ(summary.pieces, 4U);
  EXPECT_EQ(summary.report.at("models").size(), 16U);
  // Every row says how many patients and events it rests on.
  for (const auto& model : summary.report.at("models")) {
    for (const auto& set : model.at("sets")) {
      EXPECT_EQ(set.at("n").get<int>(),
                set.at("positives").get<int>() + set.at("negatives").get<int>());
      EXPECT_TRUE(set.at("metrics").contains("auroc"));
    }
  }
}

TEST(Run, IsTheSameToTheByteAtOneThreadAndAtThree) {
  const auto one = scratch("one");
  const auto three = scratch("three");
  run_small(one, brief_settings(), 1);
  run_small(three, brief_settings(), 3);
  EXPECT_EQ(contents(one), contents(three));
}

TEST(Run, GoesOnWhereItWasStoppedAndEndsWithTheSameBytes) {
  const auto whole = scratch("whole");
  const auto broken = scratch("broken");
  run_small(whole, few_models());
  run_small(broken, few_models());
  // As after a kill: a piece missing, one cut short, a temporary left, results not yet written.
  fs::remove(broken / "folds/repeat01-fold02.json");
  std::ofstream(broken / "folds/repeat01-fold03.json") << "{\"key\": ";
  for (const char* name : {"folds", "model", "figures"}) {
    fs::create_directories(broken / name);
    std::ofstream(broken / name / ".x.json.tmp-999999999-00000000") << "half";
  }
  fs::remove(broken / "report.json");
  fs::remove(broken / "predictions.csv");
  const auto summary = run_small(broken, few_models());
  EXPECT_EQ(summary.taken_over, 2U);
  EXPECT_EQ(contents(broken), contents(whole));
}

// A digit that was flipped on the disk still reads as a number: the piece is computed again.
TEST(Run, DoesNotTrustAPieceWithAFlippedDigit) {
  const auto folder = scratch("flipped");
  run_small(folder, few_models());
  const auto before = contents(folder);
  const fs::path file = folder / "folds/repeat01-fold02.json";
  std::string text = read_file(file, 1 << 24);
  const auto digit = text.find("0.", text.find("\"outcome\"")) + 2;
  text[digit] = text[digit] == '1' ? '2' : '1';
  write_file_atomic(file, text);
  EXPECT_EQ(run_small(folder, few_models()).taken_over, 3U);
  EXPECT_EQ(contents(folder), before);
}

TEST(Run, RefitsTheFinalModelsWhenTheirBundleIsGone) {
  const auto folder = scratch("bundle-gone");
  run_small(folder, few_models());
  const auto before = contents(folder);
  fs::remove_all(folder / "model");
  run_small(folder, few_models());
  EXPECT_EQ(contents(folder), before);
}

TEST(Run, RefusesAFolderThatHoldsAnotherRunUnlessToldToOverwrite) {
  const auto folder = scratch("other");
  run_small(folder, few_models());
  RunSettings other = few_models();
  other.run.seed = 2;
  EXPECT_THROW(run_small(folder, other), Error);
  RunOptions options;
  options.output = folder;
  options.overwrite = true;
  EXPECT_EQ(run_cohort(small_cohort(), other, options, silent_progress()).taken_over, 0U);
}

// While the new run is at work, and after it, nothing in the folder is of the old one.
TEST(Run, LeavesNothingOfTheRunItReplaces) {
  const auto folder = scratch("replaced");
  const auto fresh = scratch("fresh");
  run_small(folder, brief_settings());
  write_file_atomic(folder / "notes.txt", std::string_view("kept"));
  write_file_atomic(folder / "report.html", std::string_view("of the old run"));
  write_file_atomic(folder / "figures/roc-early.csv", std::string_view("of the old run"));
  Cohort table_only = small_cohort();
  table_only.modalities.clear();
  RunSettings settings = few_models();
  settings.run.models = {"clinical"};
  RunOptions options;
  options.overwrite = true;
  for (const auto& output : {folder, fresh}) {
    options.output = output;
    run_cohort(table_only, settings, options, silent_progress());
  }
  EXPECT_TRUE(fs::remove(folder / "notes.txt"));
  EXPECT_EQ(contents(folder), contents(fresh));
  EXPECT_FALSE(fs::exists(folder / "wsi_features.csv"));
}

// The arms of a cohort are fitted once for all fusions that are tried on it.
TEST(Run, FitsOtherFusionsOnTheArmsThatAreThere) {
  const auto folder = scratch("other-fusions");
  const auto fresh = scratch("other-fusions-fresh");
  RunSettings settings = few_models();
  settings.run.models = {"clinical", "early_concat", "late_weighted"};
  run_small(folder, settings);
  const auto arms = fs::last_write_time(folder / "folds/repeat01-fold01.json");
  settings.fusion.late_rule = "excess";
  RunOptions options;
  options.output = folder;
  options.overwrite = true;
  run_cohort(small_cohort(), settings, options, silent_progress());
  EXPECT_EQ(fs::last_write_time(folder / "folds/repeat01-fold01.json"), arms);
  run_small(fresh, settings);
  EXPECT_EQ(contents(folder), contents(fresh));
}

TEST(Run, RefusesToBeginWhereTheStagesBeforeWereNotDone) {
  RunOptions options;
  options.output = scratch("from-train");
  options.choice.from = "train";
  EXPECT_THROW(run_cohort(small_cohort(), few_models(), options, silent_progress()), Error);
}

TEST(Run, RefusesAFolderOfOtherFiles) {
  const auto folder = scratch("foreign");
  write_file_atomic(folder / "thesis.docx", std::string_view("x"));
  EXPECT_THROW(run_small(folder, few_models()), Error);
  EXPECT_TRUE(fs::exists(folder / "thesis.docx"));
}

TEST(Run, WritesNothingInADryRun) {
  const auto folder = scratch("dry");
  RunOptions options;
  options.output = folder;
  options.dry_run = true;
  const auto summary = run_cohort(small_cohort(), few_models(), options, silent_progress());
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_EQ(summary.plan.at("patients"), 60);
}

TEST(Run, LeavesNothingOfTheRunThatItOverwrites) {
  const auto folder = scratch("overwritten");
  run_small(folder, few_models());
  Cohort cohort = small_cohort();
  cohort.modalities.pop_back();
  cohort.sha256 = "1111";
  RunOptions options;
  options.output = folder;
  options.overwrite = true;
  run_cohort(cohort, few_models(), options, silent_progress());
  const auto fresh = scratch("fresh");
  options.output = fresh;
  run_cohort(cohort, few_models(), options, silent_progress());
  EXPECT_EQ(contents(folder), contents(fresh));
}

TEST(Run, RefitsTheFinalModelsWhenWhatTheyLeftWasChanged) {
  const auto folder = scratch("changed");
  run_small(folder, few_models());
  const auto before = contents(folder);
  for (const char* name : {"final.json", "model/model.json", "clinical_features.csv"}) {
    write_file_atomic(folder / name, std::string_view("{}"));
    EXPECT_EQ(run_small(folder, few_models()).taken_over, 3U) << name;
    EXPECT_EQ(contents(folder), before) << name;
  }
}

TEST(Run, ClearsTemporariesOfAKilledProcessFromTheBundle) {
  const auto folder = scratch("killed");
  write_file_atomic(folder / "run.json", std::string_view("{"));
  fs::create_directories(folder / "model");
  const auto left = folder / "model/.model.safetensors.tmp-999999999-00000000";
  std::ofstream(left) << "half";
  RunOptions options;
  options.output = folder;
  options.overwrite = true;
  run_cohort(small_cohort(), few_models(), options, silent_progress());
  EXPECT_FALSE(fs::exists(left));
}

TEST(Run, ComputesAPieceAgainWhoseFileTellsOfOtherPatients) {
  const auto folder = scratch("other-patients");
  run_small(folder, few_models());
  const auto before = contents(folder);
  const auto file = folder / "folds/repeat01-fold01.json";
  Json piece = read_json(file);
  piece["outcome"]["held_out"][0] = 1000000;
  write_json(file, piece);
  run_small(folder, few_models());
  EXPECT_EQ(contents(folder), before);
}

// Two columns of two values each: SMOTENC has no number to interpolate.
TEST(Run, FinishesOnATableInWhichSmotencCannotWork) {
  Cohort cohort = small_cohort();
  cohort.columns.resize(2);
  for (std::size_t i = 0; i < cohort.size(); ++i) {
    cohort.columns[0].cells[i] = std::to_string(i % 2);
    cohort.columns[1].cells[i] = std::to_string((i / 3) % 2);
  }
  RunOptions options;
  options.output = scratch("binary");
  const auto summary = run_cohort(cohort, few_models(), options, silent_progress());
  EXPECT_EQ(summary.report.at("class_balance").size(), 4U);  // all methods but SMOTENC
}

TEST(Run, WritesAFileForEachOfCtAndMriWhereTheirWidthsDiffer) {
  Cohort cohort = small_cohort();
  Modality mri = cohort.modalities[1];
  mri.name = "mri";
  cohort.modalities.insert(cohort.modalities.begin() + 1, mri);
  RunSettings settings = few_models();
  settings.radiology_arm.joint = false;
  RunOptions options;
  options.output = scratch("widths");
  run_cohort(cohort, settings, options, silent_progress());
  EXPECT_TRUE(fs::exists(options.output / "ct_features.csv"));
  EXPECT_TRUE(fs::exists(options.output / "mri_features.csv"));
  EXPECT_FALSE(fs::exists(options.output / "ct_mri_features.csv"));
}

// Four epochs, the last one kept: number 3, counted from 0 as docs/run_directory.md says.
TEST(Run, CountsTheEpochThatWasKeptFromZero) {
  const auto summary = run_small(scratch("epoch"), few_models());
  const auto& curve = summary.report.at("learning_curves").at(0);
  ASSERT_EQ(curve.at("series").at(0).at("values").size(), 4U);
  EXPECT_EQ(curve.at("best_epoch"), 3);
}

TEST(Run, RefusesAnUnreadableTableBeforeAnythingIsFitted) {
  Cohort cohort = small_cohort();
  cohort.columns[0].cells[7] = "old";
  RunOptions options;
  options.output = scratch("unreadable");
  try {
    run_cohort(cohort, few_models(), options, silent_progress());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'old', expected a number as in 59 of 60"),
              std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(fs::exists(options.output));
}

TEST(Run, RefusesThePapersLeakWithoutATableBeforeAnythingIsFitted) {
  Cohort cohort = small_cohort();
  cohort.columns.clear();
  RunSettings settings = brief_settings();
  settings.validation.protocol = "paper-leak";
  RunOptions options;
  options.output = scratch("leak-without-table");
  EXPECT_THROW(run_cohort(cohort, settings, options, silent_progress()), Error);
  EXPECT_FALSE(fs::exists(options.output));
}

TEST(Run, SaysThatAVitalStatusIsNotRecurrence) {
  const auto folder = scratch("honest");
  const auto summary = run_small(folder, few_models());
  EXPECT_FALSE(summary.report.at("endpoint").at("is_recurrence").get<bool>());
  bool said = false;
  for (const auto& banner : summary.report.at("banners")) {
    said |= banner.at("text").get<std::string>().find("not recurrence") != std::string::npos;
  }
  EXPECT_TRUE(said);
}

TEST(Run, ShowsThePapersLeakBesideTheHonestResult) {
  RunSettings settings = few_models();
  settings.validation.protocol = "paper-leak";
  const auto summary = run_small(scratch("leak"), settings);
  const auto& rows = summary.report.at("paper_leak").at("rows");
  ASSERT_EQ(rows.size(), 4U);  // SMOTE, ADASYN, honest cross-validation, honest test
  EXPECT_NE(rows[0].at("label").get<std::string>().find("synthetic"), std::string::npos);
  // 40 negatives of 60 patients: 80 rows after balancing, of which a fifth is judged on.
  EXPECT_EQ(rows[0].at("n"), 16);
  EXPECT_EQ(rows[0].at("positives"), rows[0].at("negatives"));
}

TEST(Bundle, PredictsAsTheModelsThatWereSaved) {
  const Cohort cohort = small_cohort();
  for (const char* pool : {"mean", "attention", "top"}) {
    RunSettings settings = brief_settings();
    settings.wsi_arm.pool = pool;
    const auto specs = model_list(settings, {"clinical", "ct", "wsi"});
    Rows rows(cohort.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    const auto fitted =
        fit_fold(cohort, settings, specs, Partition::all_for_training(rows), 5, silent_progress());
    std::map<std::string, double> thresholds;
    for (const auto& [id, model] : fitted.outcome.models) thresholds[id] = model.threshold;
    const auto folder = scratch(std::string("bundle-") + pool);
    write_bundle(folder, cohort, settings, specs, fitted.models, thresholds);
    const Bundle bundle = read_bundle(folder);
    ASSERT_EQ(bundle.models.size(), fitted.models.size());
    for (const auto& [id, model] : fitted.models) {
      const auto expected = model->predict(cohort, rows);
      const auto actual = bundle.models.at(id)->predict(cohort, rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        EXPECT_TRUE(expected[i] == actual[i] || (std::isnan(expected[i]) && std::isnan(actual[i])))
            << id << " row " << i << " pool " << pool;
      }
    }
  }
}

class PredictTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = scratch("predict");
    run_small(folder_, brief_settings());
    write_file_atomic(folder_ / "new.csv",
                      std::string_view("case_id,age,stage,grade\nN1,61,4,3\nN2,50,1,\n"));
    std::string slides = "case_id";
    for (int j = 0; j < 8; ++j) slides += ",wsi_" + std::to_string(j);
    slides += "\nN2,1,2,3,4,5,6,7,8\nN3,0,0,0,0,0,0,0,1\n";
    write_file_atomic(folder_ / "slides.csv", slides);
    write_file_atomic(folder_ / "narrow.csv", std::string_view("case_id,wsi_0,wsi_1\nN3,1,2\n"));
    write_file_atomic(folder_ / "no_stage.csv", std::string_view("case_id,age,grade\nN1,61,3\n"));
    write_file_atomic(folder_ / "text.csv",
                      std::string_view("case_id,age,stage,grade\nN1,old,4,3\n"));
  }
  static PredictRequest request() {
    PredictRequest out;
    out.model = folder_ / "model";
    return out;
  }
  static std::string message(const PredictRequest& wrong) {
    try {
      predict(wrong, silent_progress());
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  static fs::path folder_;
};
fs::path PredictTest::folder_;

TEST_F(PredictTest, AnswersForAnyPatientWithAtLeastOneModality) {
  auto asked = request();
  asked.clinical = folder_ / "new.csv";
  asked.wsi = folder_ / "slides.csv";
  const auto result = predict(asked, silent_progress());
  std::map<std::string, std::vector<std::string>> used;
  for (const auto& row : result.rows) {
    if (row.model != "late_weighted") continue;
    EXPECT_FALSE(std::isnan(row.probability)) << row.case_id;
    used[row.case_id] = row.modalities_used;
  }
  EXPECT_EQ(used.at("N1"), (std::vector<std::string>{"clinical"}));
  EXPECT_EQ(used.at("N2"), (std::vector<std::string>{"clinical", "wsi"}));
  EXPECT_EQ(used.at("N3"), (std::vector<std::string>{"wsi"}));
  EXPECT_EQ(result.endpoint, "dead_12");
  EXPECT_EQ(result.model_sha256.size(), 64U);
}

TEST_F(PredictTest, RefusesATableWithoutAColumnTheModelNeeds) {
  auto asked = request();
  asked.clinical = folder_ / "no_stage.csv";
  EXPECT_NE(message(asked).find("stage"), std::string::npos) << message(asked);
}

TEST_F(PredictTest, RefusesACellThatIsNoNumber) {
  auto asked = request();
  asked.clinical = folder_ / "text.csv";
  EXPECT_NE(message(asked).find("age"), std::string::npos) << message(asked);
}

TEST_F(PredictTest, RefusesVectorsOfAnotherWidth) {
  auto asked = request();
  asked.wsi = folder_ / "narrow.csv";
  EXPECT_NE(message(asked).find("8"), std::string::npos) << message(asked);
}

TEST_F(PredictTest, RefusesNothingToPredictFromAndUnknownModels) {
  EXPECT_NE(message(request()).find("nothing to predict from"), std::string::npos);
  auto asked = request();
  asked.clinical = folder_ / "new.csv";
  asked.models = {"clinicl"};
  EXPECT_NE(message(asked).find("did you mean 'clinical'"), std::string::npos) << message(asked);
}

TEST_F(PredictTest, RefusesABundleWhoseArraysWereChanged) {
  const auto copy = scratch("tampered");
  fs::create_directories(copy);
  fs::copy(folder_ / "model", copy, fs::copy_options::recursive);
  std::string bytes = read_file(copy / "model.safetensors", 1ULL << 30);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file_atomic(copy / "model.safetensors", bytes);
  auto asked = request();
  asked.model = copy;
  asked.clinical = folder_ / "new.csv";
  EXPECT_NE(message(asked).find("SHA-256"), std::string::npos) << message(asked);
}

// A bundle comes from elsewhere: whatever model.json says, the answer is a message.
TEST_F(PredictTest, RefusesABundleThatContradictsItself) {
  const auto model = [](Json& json, const char* id) -> Json& {
    for (auto& entry : json.at("models")) {
      if (entry.at("id") == id) return entry.at("model");
    }
    throw std::runtime_error(id);
  };
  const std::vector<std::pair<const char*, std::function<void(Json&)>>> faults = {
      {"columns", [&](Json& j) { j.erase("columns"); }},
      {"columns", [&](Json& j) { j["columns"] = 3; }},
      {"endpoint",
       [&](Json& j) {
         j["endpoint"] = Json::array({1, 2});
       }},
      {"widths", [&](Json& j) { j["widths"]["wsi"] = "wide"; }},
      {"format", [&](Json& j) { j["format"] = "one"; }},
      {"members", [&](Json& j) { model(j, "wsi")["network"]["members"] = 0; }},
      {"members", [&](Json& j) { model(j, "ct_mri")["members"] = 0; }},
      {"members", [&](Json& j) { model(j, "early_mean")["members"] = 0; }},
      {"inputs", [&](Json& j) { model(j, "wsi")["network"]["inputs"] = 1000000000000; }},
      {"hidden",
       [&](Json& j) {
         model(j, "wsi")["network"]["hidden"] = {65536, 65536};
       }},
      {"hidden", [&](Json& j) { model(j, "wsi")["network"]["hidden"] = Json::array(); }},
      {"loss", [&](Json& j) { model(j, "wsi")["network"]["loss"] = "hinge"; }},
      {"pool", [&](Json& j) { model(j, "ct_mri")["pool"] = "median"; }},
      {"rule", [&](Json& j) { model(j, "wsi")["pooling"]["rule"] = "worst"; }},
      {"mode", [&](Json& j) { model(j, "early_mean")["mode"] = "sum"; }},
      {"kind", [&](Json& j) { model(j, "clinical_trees")["classifier"]["kind"] = "forest"; }},
      {"widths", [&](Json& j) { model(j, "early_mean")["inputs"]["widths"] = {8}; }},
      {"widths", [&](Json& j) { model(j, "fused_logistic")["inputs"]["widths"][1] = 1000000000; }},
      {"model.json", [&](Json& j) { model(j, "fused_trees")["inputs"]["standardizers"] = 1; }},
      {"layer", [&](Json& j) { model(j, "early_mean")["inputs"]["layer"] = -4; }},
      {"threshold", [&](Json& j) { j["models"][1]["threshold"] = "half"; }},
      {"models", [&](Json& j) { j["models"] = "none"; }}};
  for (const auto& [what, spoil] : faults) {
    const auto copy = scratch("contradiction");
    fs::create_directories(copy);
    fs::copy(folder_ / "model", copy, fs::copy_options::recursive);
    Json json = read_json(copy / "model.json");
    spoil(json);
    write_json(copy / "model.json", json);
    try {
      read_bundle(copy);
      ADD_FAILURE() << what << ": accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  }
}

TEST_F(PredictTest, TellsOfAnUnknownCategoryWhicheverModelIsAsked) {
  Cohort cohort = small_cohort();
  Column sex{"sex", {}, "clinical"};
  for (std::size_t i = 0; i < cohort.size(); ++i) sex.cells.push_back(i % 2 == 0 ? "F" : "M");
  cohort.columns.push_back(sex);
  RunOptions options;
  options.output = scratch("category");
  run_cohort(cohort, brief_settings(), options, silent_progress());
  write_file_atomic(options.output / "new.csv",
                    std::string_view("case_id,age,stage,grade,sex\nN1,61,4,3,other\n"));
  for (const char* id : {"late_weighted", "early_mean", "clinical_trees", "fused_logistic"}) {
    PredictRequest asked;
    asked.model = options.output / "model";
    asked.clinical = options.output / "new.csv";
    asked.models = {id};
    const auto result = predict(asked, silent_progress());
    EXPECT_TRUE(std::any_of(result.warnings.begin(),
                            result.warnings.end(),
                            [](const std::string& text) {
                              return text.find("not seen in training") != std::string::npos;
                            }))
        << id;
  }
}

TEST_F(PredictTest, CarriesNoPathOfTheTrainingMachineInItsBundle) {
  Cohort cohort = small_cohort();
  RunSettings settings = few_models();
  settings.cohort.clinical.table = "/home/someone/hospital/table.csv";
  RunOptions options;
  options.output = scratch("paths");
  run_cohort(cohort, settings, options, silent_progress());
  const std::string text = read_file(options.output / "model/model.json", 1ULL << 30);
  EXPECT_EQ(text.find("someone"), std::string::npos);
}

TEST_F(PredictTest, RefusesAFolderThatIsNoBundle) {
  auto asked = request();
  asked.model = folder_;
  asked.clinical = folder_ / "new.csv";
  EXPECT_NE(message(asked).find("no model.json"), std::string::npos) << message(asked);
}

}  // namespace
}  // namespace med3d::pipeline
