#include "med3d/pipeline/evidence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/predict.h"
#include "med3d/pipeline/run.h"
#include "med3d/pipeline/test_cohort.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TempFolder;

FoldOutcome fold_of(const Rows& held_out, const std::vector<double>& probability) {
  FoldOutcome fold;
  fold.held_out = held_out;
  fold.models["clinical"].probability = probability;
  return fold;
}

// Two repeats of two folds: the patients are counted once, and one without a prediction not at all.
TEST(Evidence, TakesTheHeldOutPredictionsOfAllRepeats) {
  const Cohort cohort = small_cohort();
  NumpyRandom random(2);
  std::vector<FoldOutcome> folds;
  std::vector<std::uint8_t> label;
  std::vector<double> all;
  Rows patients;
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (int k = 0; k < 2; ++k) {
      Rows rows;
      std::vector<double> probability;
      for (std::size_t i = static_cast<std::size_t>(k); i < 50; i += 2) {
        rows.push_back(i);
        probability.push_back(i == 7 ? std::nan("") : 0.2 + 0.6 * random.uniform());
        if (i == 7) continue;
        label.push_back(cohort.label[i]);
        all.push_back(probability.back());
        patients.push_back(i);
      }
      folds.push_back(fold_of(rows, probability));
    }
  }
  const auto evidence = gather_evidence(cohort, RunSettings(), folds, patients);
  const auto& rate = evidence.rates.at("clinical");
  const auto expected = stats::fit_recalibrated_rate(label, all, patients);
  EXPECT_EQ(rate.n, 49U);
  EXPECT_EQ(rate.slope, expected.slope);
  EXPECT_EQ(rate.var_slope, expected.var_slope);
  EXPECT_TRUE(rate.at(0.4).has_interval());
  EXPECT_FALSE(evidence.raw.has_value());
}

class EvidenceOfARun : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / ("med3d-evidence-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    Cohort cohort = small_cohort();
    cohort.modalities[1].makers = {{"uni", "aa11"}};
    RunSettings settings = brief_settings();
    settings.run.models = {"clinical", "wsi", "late_weighted"};
    RunOptions options;
    options.output = folder_ / "run";
    run_cohort(cohort, settings, options, silent_progress());
    make_folder(folder_ / "out/slides");
    make_folder(folder_ / "out/h5_files");
    std::string slides = "case_id";
    for (int j = 0; j < 8; ++j) slides += ",wsi_" + std::to_string(j);
    write_file_atomic(folder_ / "out/wsi_features.csv",
                      slides + "\nN2,1,2,0,1,0,1,0,1\nN3,90,90,90,90,90,90,90,90\n");
    write_file_atomic(
        folder_ / "new.csv",
        std::string_view("case_id,age,stage,grade\nN1,61,4,3\nN2,150,1,\nN3,60,2,2\n"));
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  static PredictRequest request() {
    PredictRequest out;
    out.model = folder_ / "run/model";
    out.clinical = folder_ / "new.csv";
    out.wsi = folder_ / "out/wsi_features.csv";
    return out;
  }
  static void write_record(const std::string& weights) {
    write_json(folder_ / "out/slides/a.json",
               {{"encoder", {{"name", "uni"}, {"weights_sha256", weights}}}});
  }

  static fs::path folder_;
};
fs::path EvidenceOfARun::folder_;

TEST_F(EvidenceOfARun, GivesEachPredictionItsIntervalAndItsUnlikeInputs) {
  write_record("aa11");
  const auto result = predict(request(), silent_progress());
  const auto evidence = read_evidence(folder_ / "run/model");
  std::map<std::string, Prediction> found;
  for (const auto& row : result.rows) found[row.case_id + " " + row.model] = row;
  ASSERT_EQ(found.size(), 12U);  // late fusion brings all its arms
  for (const auto& [name, row] : found) {
    if (std::isnan(row.probability)) {
      EXPECT_FALSE(row.observed.ok()) << name;
      continue;
    }
    const auto expected = evidence.rates.at(row.model).at(row.probability);
    EXPECT_EQ(row.observed.value, expected.value) << name;
    if (!row.observed.ok()) continue;
    EXPECT_LT(row.observed.low, row.observed.value) << name;
    EXPECT_LT(row.observed.value, row.observed.high) << name;
  }
  using Names = std::vector<std::string>;
  EXPECT_EQ(found.at("N1 clinical").out_of_range, Names());
  EXPECT_EQ(found.at("N2 clinical").out_of_range, Names{"age"});
  EXPECT_EQ(found.at("N2 wsi").out_of_range, Names());
  EXPECT_EQ(found.at("N3 wsi").out_of_range, Names{"wsi"});
  EXPECT_EQ(found.at("N3 late_weighted").out_of_range, Names{"wsi"});
  EXPECT_EQ(result.out_of_range.size(), 2U);
  EXPECT_NE(result.csv().find(",age\n"), std::string::npos);
  const Json json = result.to_json();
  EXPECT_EQ(json.at("out_of_range").size(), 2U);
  EXPECT_TRUE(json.at("predictions")[0].at("observed").contains("low"));
}

TEST_F(EvidenceOfARun, RefusesFeaturesOfAnotherEncoderOrOtherWeights) {
  write_record("bb22");
  expect_error(ErrorKind::kData, "the model was trained on those of uni (weights aa11", [] {
    predict(request(), silent_progress());
  });
  // Without a record nobody can tell.
  fs::remove(folder_ / "out/slides/a.json");
  EXPECT_EQ(predict(request(), silent_progress()).rows.size(), 12U);
  write_record("aa11");
}

TEST_F(EvidenceOfARun, NamesTheModelByAllItsDocuments) {
  const auto model = folder_ / "run/model";
  const std::string lines = sha256_file(model / "evidence.json") + "  evidence.json\n" +
                            sha256_file(model / "model.json") + "  model.json\n";
  EXPECT_EQ(bundle_sha256(model), sha256_hex(lines));
  EXPECT_EQ(read_bundle(model).sha256, bundle_sha256(model));
}

TEST_F(EvidenceOfARun, SaysWhereNothingWasHeldOut) {
  const TempFolder temp;
  fs::copy(folder_ / "run/model", temp.path() / "model", fs::copy_options::recursive);
  fs::remove(temp.path() / "model/evidence.json");
  auto asked = request();
  asked.model = temp.path() / "model";
  for (const auto& row : predict(asked, silent_progress()).rows) {
    EXPECT_NE(row.observed.not_estimable.find("no held-out predictions"), std::string::npos);
  }
}

// Evidence comes from elsewhere too: whatever it says, the answer is a message.
TEST_F(EvidenceOfARun, RefusesEvidenceThatContradictsItself) {
  const std::vector<std::pair<const char*, std::function<void(Json&)>>> faults = {
      {"another model", [](Json& j) { j["of"]["model.json"] = "00"; }},
      {"another model", [](Json& j) { j["of"]["survival.json"] = "00"; }},
      {"format", [](Json& j) { j["format"] = 9; }},
      {"rates", [](Json& j) { j["rates"] = 1; }},
      {"slope", [](Json& j) { j["rates"]["wsi"]["slope"] = "steep"; }},
      {"covariance",
       [](Json& j) {
         j["rates"]["wsi"]["covariance"] = {1, 5, 1};
       }},
      {"covariance",
       [](Json& j) {
         j["rates"]["wsi"]["covariance"] = {-1, 0, 1};
       }},
      {"reason", [](Json& j) { j["rates"]["wsi"]["not_estimable"] = ""; }},
      {"columns", [](Json& j) { j["ranges"].erase("columns"); }},
      {"encoder", [](Json& j) { j["encoders"]["wsi"][0].erase("encoder"); }},
      {"settings",
       [](Json& j) {
         j["raw"] = {{"slides", true}};
       }},
      {"unknown key",
       [](Json& j) {
         j["raw"] = {{"slides", true},
                     {"scans", false},
                     {"not_repeatable_slides", ""},
                     {"not_repeatable_scans", ""},
                     {"filter_rules", ""},
                     {"settings", "[slides]\nfoldr = \"x\"\n"}};
       }},
      {"preset",
       [](Json& j) {
         j["raw"] = {{"slides", true},
                     {"scans", false},
                     {"not_repeatable_slides", ""},
                     {"not_repeatable_scans", ""},
                     {"filter_rules", ""},
                     {"settings", "[slides]\npreset = \"/etc/passwd\"\n"}};
       }},
  };
  const TempFolder temp;
  const auto copy = temp.path() / "model";
  for (const auto& [what, spoil] : faults) {
    fs::remove_all(copy);
    fs::copy(folder_ / "run/model", copy, fs::copy_options::recursive);
    Json json = read_json(copy / "evidence.json");
    spoil(json);
    write_json(copy / "evidence.json", json);
    try {
      read_bundle(copy);
      ADD_FAILURE() << what << ": accepted";
    } catch (const Error& error) {
      const std::string text = error.what();
      const bool told = text.find(what) != std::string::npos ||
                        (std::string_view(what) == "settings" &&
                         text.find("missing or not of its type") != std::string::npos);
      EXPECT_TRUE(told) << what << ": " << text;
      EXPECT_EQ(text.find("passwd"), std::string::npos);
    }
  }
}

TEST(FeatureMakers, ReadsTheRecordsBesideFeatures) {
  const TempFolder temp;
  const auto record = [&](const std::string& name, const char* encoder, const char* weights) {
    make_folder((temp.path() / name).parent_path());
    write_json(temp.path() / name, {{"encoder", {{"name", encoder}, {"weights_sha256", weights}}}});
  };
  record("slides/a.json", "uni", "11");
  record("slides/b.json", "conch", "22");
  record("slides/b.tiles.json", "none", "33");
  record("ct/P1/s.json", "medicalnet", "44");
  write_file_atomic(temp.path() / "slides/c.json", std::string_view("{"));  // damaged: passed over
  const FeatureMaker uni{"uni", "11"};
  const FeatureMaker conch{"conch", "22"};
  using Makers = std::vector<FeatureMaker>;
  EXPECT_EQ(makers_of({temp.path() / "h5_files/a.h5"}, "wsi"), Makers{uni});
  EXPECT_EQ(makers_of({temp.path() / "h5_files/a.h5", temp.path() / "pt_files/b.pt"}, "wsi"),
            (Makers{conch, uni}));
  EXPECT_EQ(makers_of({temp.path() / "wsi_features.csv"}, "wsi"), (Makers{conch, uni}));
  EXPECT_EQ(makers_of({temp.path() / "ct/P1/s.npy"}, "ct"), (Makers{{"medicalnet", "44"}}));
  EXPECT_EQ(makers_of({temp.path() / "ct_features.csv"}, "ct"), (Makers{{"medicalnet", "44"}}));
  EXPECT_EQ(makers_of({temp.path() / "mri_features.csv"}, "mri"), Makers());
}

}  // namespace
}  // namespace med3d::pipeline
