#include "med3d/pipeline/predict_raw.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/predict.h"
#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/test_cohort.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/radiology/test_dicom.inc"
#include "med3d/wsi/synth_slide.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TempFolder;

constexpr std::size_t kSlideWidth = 1024;  // of resnet50-untrained
constexpr std::size_t kScanWidth = 512;    // of resnet18-3d-untrained

// 40 patients with a table and random vectors as wide as the encoders'.
Cohort wide_cohort() {
  Cohort cohort = small_cohort(40);
  cohort.modalities[0].name = "ct";
  NumpyRandom random(9);
  const std::size_t widths[] = {kScanWidth, kSlideWidth};
  const FeatureMaker makers[] = {{"resnet18-3d-untrained", ""}, {"resnet50-untrained", ""}};
  for (std::size_t m = 0; m < 2; ++m) {
    auto& modality = cohort.modalities[m];
    modality.width = widths[m];
    modality.items = Matrix<float>(modality.item_ids.size(), widths[m]);
    for (std::size_t i = 0; i < modality.items.size(); ++i) {
      modality.items.data()[i] = static_cast<float>(random.normal());
    }
    modality.makers = {makers[m]};
  }
  return cohort;
}

// As if the run had made its vectors from files: small tiles and small volumes, to be quick.
RunSettings raw_run_settings() {
  RunSettings settings = brief_settings();
  settings.run.models = {"clinical", "ct_mri", "wsi", "late_weighted"};
  auto& slides = settings.raw.slides;
  slides.folder = {"/somewhere/slides"};
  slides.encoder = "resnet50-untrained";
  slides.preset = "bwh_biopsy";
  slides.target_mpp = 2.0;
  slides.pictures = false;
  auto& scans = settings.raw.scans;
  scans.folder = "/somewhere/scans";
  scans.filter = false;
  scans.size = {8, 16, 16};
  return settings;
}

class PredictRawTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / ("med3d-predict-raw-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    write_model(folder_ / "model", raw_run_settings());
    make_folder(folder_ / "slides");
    SynthSlideOptions slide;
    slide.width = 1200;
    slide.height = 900;
    write_synth_slide(folder_ / "slides/whole.svs", slide);
    write_file_atomic(folder_ / "slides/broken.svs", std::string_view("no slide at all"));
    write_scan("one", "PAT-7");
    write_file_atomic(folder_ / "scans/broken.dcm", std::string(200, 'x'));
    write_file_atomic(folder_ / "row.csv",
                      std::string_view("case_id,age,stage,grade\nP1,61,4,3\n"));
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  static void write_model(const fs::path& to, const RunSettings& settings) {
    const Cohort cohort = wide_cohort();
    const auto specs = model_list(settings, cohort.modality_names());
    Rows rows(cohort.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    const auto fitted =
        fit_fold(cohort, settings, specs, Partition::all_for_training(rows), 5, silent_progress());
    std::map<std::string, double> thresholds;
    for (const auto& [id, model] : fitted.outcome.models) thresholds[id] = model.threshold;
    write_bundle(to, cohort, settings, specs, fitted.models, thresholds);
    write_evidence(to, gather_evidence(cohort, settings, {}, rows));
  }

  static void write_scan(const std::string& name, const std::string& patient) {
    for (int i = 0; i < 6; ++i) {
      TestSlice slice;
      slice.modality = "CT";
      slice.series = "1.2." + std::to_string(name.size()) + "3";
      slice.position = fmt::format("0\\0\\{}", 5 * i);
      slice.extra_low = element(0x00080018, "UI", fmt::format("{}.{}", slice.series, i)) +
                        element(0x0008103E, "LO", "Arterial") + element(0x00100020, "LO", patient) +
                        element(0x0020000D, "UI", "1.2");
      const auto file = folder_ / fmt::format("scans/{}/{}.dcm", name, i);
      make_folder(file.parent_path());
      write_file_atomic(file, slice.bytes());
    }
  }

  static PredictRequest request() {
    PredictRequest out;
    out.model = folder_ / "model";
    out.clinical = folder_ / "row.csv";
    out.raw.slides = {folder_ / "slides"};
    out.raw.dicom = folder_ / "scans";
    out.raw.patient = "P1";
    return out;
  }

  static fs::path folder_;
};
fs::path PredictRawTest::folder_;

// One patient with a row, a slide, a broken slide and a CT series: one answer from all that can be
// read, and what could not be is told.
TEST_F(PredictRawTest, GoesFromFilesToOneAnswerPastABrokenSlide) {
  const TempFolder temp;
  auto asked = request();
  asked.raw.work = temp.path() / "work";
  const auto result = predict(asked, silent_progress());
  ASSERT_EQ(result.rows.size(), 4U);
  for (const auto& row : result.rows) {
    EXPECT_EQ(row.case_id, "P1");
    EXPECT_FALSE(std::isnan(row.probability)) << row.model;
    if (row.model != "late_weighted") continue;
    EXPECT_EQ(row.modalities_used, (std::vector<std::string>{"clinical", "ct", "wsi"}));
  }
  ASSERT_EQ(result.items.size(), 3U);
  EXPECT_EQ(result.items[0].item, "broken");
  EXPECT_EQ(result.items[0].status, "failed");
  EXPECT_NE(result.items[0].reason, "");
  EXPECT_EQ(result.items[1].item, "whole");
  EXPECT_EQ(result.items[1].status, "used");
  EXPECT_EQ(result.items[2].kind, "scan");
  EXPECT_EQ(result.items[2].status, "used") << result.items[2].reason;
  EXPECT_EQ(result.failed_items, 1U);
  EXPECT_EQ(result.to_json().at("items").size(), 3U);

  // The vectors are those of the jobs themselves, and a second call keeps what is finished.
  const SlideFolder slides{temp.path() / "work/slides"};
  const auto record = slides.record("whole");
  const auto written = fs::last_write_time(record);
  const auto again = predict(asked, silent_progress());
  EXPECT_EQ(fs::last_write_time(record), written);
  EXPECT_EQ(again.csv(), result.csv());

  // The same through the vectors that were made.
  PredictRequest vectors;
  vectors.model = asked.model;
  vectors.clinical = asked.clinical;
  vectors.wsi = slides.slide_vectors();
  vectors.ct = temp.path() / "work/scans/ct_scans.csv";
  const auto by_vectors = predict(vectors, silent_progress());
  for (std::size_t i = 0; i < result.rows.size(); ++i) {
    EXPECT_EQ(by_vectors.rows[i].probability, result.rows[i].probability);
  }
}

TEST_F(PredictRawTest, ATemporaryWorkFolderIsRemoved) {
  fs::path used;
  {
    const WorkFolder work("");
    used = work.path();
    EXPECT_TRUE(fs::is_directory(used));
  }
  EXPECT_FALSE(fs::exists(used));
}

TEST_F(PredictRawTest, SaysWhenNothingCanBeRead) {
  const TempFolder temp;
  temp.write("bad/a.svs", "no slide");
  PredictRequest asked;
  asked.model = folder_ / "model";
  asked.raw.slides = {temp.path() / "bad"};
  expect_error(ErrorKind::kData, "none of 1 slides and scans can be used; slide a:", [&] {
    predict(asked, silent_progress());
  });
  // With a table the answer is the table's.
  asked.clinical = folder_ / "row.csv";
  const auto result = predict(asked, silent_progress());
  EXPECT_EQ(result.failed_items, 1U);
  for (const auto& row : result.rows)
    EXPECT_EQ(std::isnan(row.probability), row.model != "clinical" && row.model != "late_weighted");
}

TEST_F(PredictRawTest, RefusesWhatItCannotPrepareAsTheModelsOwn) {
  const TempFolder temp;
  // A bundle that was trained on vectors.
  auto settings = raw_run_settings();
  settings.raw = {};
  write_model(temp.path() / "vectors", settings);
  auto asked = request();
  asked.model = temp.path() / "vectors";
  expect_error(ErrorKind::kUsage, "trained on vectors", [&] { predict(asked, silent_progress()); });
  // Scans of two patients are not both this one.
  asked = request();
  asked.raw.slides.clear();
  write_scan("other", "PAT-8");
  expect_error(
      ErrorKind::kData, "the scans are of 2 patients", [&] { predict(asked, silent_progress()); });
  fs::remove_all(folder_ / "scans/other");
  asked = request();
  asked.ct = folder_ / "row.csv";
  expect_error(ErrorKind::kUsage, "name one", [&] { predict(asked, silent_progress()); });
  asked = request();
  asked.wsi = folder_ / "row.csv";
  expect_error(ErrorKind::kUsage, "name one", [&] { predict(asked, silent_progress()); });
  asked = request();
  asked.raw.patient = "../../x";
  expect_error(ErrorKind::kUsage, "the patient's name", [&] { predict(asked, silent_progress()); });
}

// Weights of another hash are refused before anything is encoded; those of the model are found in
// the folder of weights, whatever their name.
TEST_F(PredictRawTest, TakesTheModelsOwnWeightsAlone) {
  const TempFolder temp;
  const auto weights = temp.write("folder/deep/some name.bin", "the weights of the model");
  const auto other = temp.write("other.bin", "others");
  Evidence evidence = read_evidence(folder_ / "model");
  evidence.raw->settings.slides.encoder = "uni";
  evidence.makers["wsi"] = {{"uni", sha256_file(weights)}};
  RawInputs inputs;
  inputs.slides = {folder_ / "slides"};
  const auto prepare = [&] {
    prepare_raw(inputs, evidence, temp.path() / "work", 1, silent_progress());
  };
  expect_error(ErrorKind::kNotFound, "--slide-weights", prepare);
  inputs.slide_weights = other;
  expect_error(ErrorKind::kData, "the model's vectors were made by uni (weights", prepare);
  EXPECT_FALSE(fs::exists(temp.path() / "work/slides/patches"));
  // Found by its hash, it is read; it is no weights file, which the encoder's loader says.
  inputs.slide_weights.clear();
  inputs.weights_folder = temp.path() / "folder";
  expect_error(ErrorKind::kFormat, "some name.bin", prepare);
}

TEST_F(PredictRawTest, TheBundleNamesNoPlaceOfTheTrainingMachine) {
  for (const char* name : {"model.json", "evidence.json"}) {
    EXPECT_EQ(read_file(folder_ / "model" / name, 1ULL << 28).find("/somewhere"), std::string::npos)
        << name;
  }
  const auto raw = *read_evidence(folder_ / "model").raw;
  EXPECT_TRUE(raw.slides && raw.scans);
  EXPECT_EQ(raw.settings.slides.encoder, "resnet50-untrained");
  EXPECT_EQ(raw.settings.slides.target_mpp, 2.0);
  EXPECT_EQ(raw.settings.scans.size, (std::vector<int>{8, 16, 16}));
}

}  // namespace
}  // namespace med3d::pipeline
