#include "med3d/pipeline/volumes/aggregate_volumes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "med3d/core/json.h"
#include "med3d/core/random.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/models.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

class AggregateVolumesTest : public ::testing::Test {
 protected:
  // A vector of a scan, with a record of `slices` slices of one voxel; 0 = none.
  void scan(const std::string& modality,
            const std::string& patient,
            const std::string& series,
            const std::vector<float>& values,
            int slices = 0) {
    Matrix<float> row(1, values.size());
    std::ranges::copy(values, row.data());
    const fs::path path = folder_.root / modality / patient / (series + ".npy");
    write_file_atomic(path, npy_bytes(row));
    if (slices == 0) return;
    write_json(VolumeFolder::record_of(path),
               {{"volume", {{"size", {1, 1, slices}}}},
                {"recipe", {{"options", "one"}}},
                {"encoder", {{"name", "mean"}, {"trained", true}}}});
  }
  PatientVectors pooled(VolumePool pool, const fs::path& model = {}) {
    return aggregate_volumes(scan_files(folder_), {pool, model}, silent_progress());
  }
  static std::vector<float> row(const FeatureTable& table, std::size_t i) {
    const auto values = table.values.row(i);
    return {values.begin(), values.end()};
  }

  TempFolder temp_;
  VolumeFolder folder_{temp_.path() / "out"};
};

TEST_F(AggregateVolumesTest, PoolsTheScansOfAPatientApartAndTogether) {
  scan("ct", "B", "1", {1, 2});
  scan("ct", "B", "2", {3, -2});
  scan("mri", "B", "3", {5, 6});
  scan("ct", "A", "9", {7, 7});
  const auto mean = pooled(VolumePool::kMean);
  EXPECT_EQ(mean.ct.case_ids, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(row(mean.ct, 1), (std::vector<float>{2, 0}));
  EXPECT_EQ(mean.mri.case_ids, (std::vector<std::string>{"B"}));
  EXPECT_EQ(row(mean.ct_mri, 1), (std::vector<float>{3, 2}));  // (1+3+5)/3, (2-2+6)/3
  EXPECT_EQ(mean.ct_mri.columns, (std::vector<std::string>{"ctmri_0", "ctmri_1"}));
  ASSERT_EQ(mean.weights.size(), 4U);
  EXPECT_EQ(mean.weights[0].weight, 1.0);
  EXPECT_NEAR(*mean.weights[1].weight, 1.0 / 3.0, 1e-15);
  const auto max = pooled(VolumePool::kMax);
  EXPECT_EQ(row(max.ct_mri, 1), (std::vector<float>{5, 6}));
  EXPECT_EQ(row(max.ct, 1), (std::vector<float>{3, 2}));
  EXPECT_FALSE(max.weights[0].weight.has_value());
}

TEST_F(AggregateVolumesTest, TakesTheScanOfTheMostVoxelsWhereNoModelIsAsked) {
  scan("ct", "A", "1", {1, 1}, 30);
  scan("ct", "A", "2", {2, 2}, 40);
  scan("ct", "A", "3", {3, 3}, 40);
  scan("ct", "B", "1", {4, 4});
  const auto found = pooled(VolumePool::kMostInformative);
  EXPECT_EQ(found.ct.case_ids, (std::vector<std::string>{"A"}));
  EXPECT_EQ(row(found.ct, 0), (std::vector<float>{2, 2}));  // the first of equals
  ASSERT_EQ(found.left_out.size(), 1U);
  EXPECT_EQ(found.left_out[0].reason, "no record of its size beside it");
}

TEST_F(AggregateVolumesTest, LeavesOutWhatCannotBeReadAndTellsIt) {
  scan("ct", "A", "1", {1, 1});
  scan("ct", "A", "2", {1, 1, 1});
  scan("ct", "A", "3", {1, std::numeric_limits<float>::quiet_NaN()});
  temp_.write("out/ct/A/4.npy", "nothing");
  const auto found = pooled(VolumePool::kMean);
  EXPECT_EQ(found.left_out.size(), 3U);
  EXPECT_EQ(found.left_out[0].reason, "3 features, the scans before it have 2");
  EXPECT_EQ(row(found.ct, 0), (std::vector<float>{1, 1}));
}

TEST_F(AggregateVolumesTest, WritesNoTableOfBothWhereWidthsDiffer) {
  scan("ct", "A", "1", {1, 1}, 3);
  scan("mri", "A", "2", {1, 1, 1}, 3);
  const auto found = pooled(VolumePool::kMean);
  EXPECT_TRUE(found.ct_mri.case_ids.empty());
  ASSERT_EQ(found.notes.size(), 1U);
  EXPECT_EQ(found.notes[0], "CT has 2 features and MRI 3: no table of both");
  temp_.write("out/ct_mri_features.csv", "of an earlier call");
  EXPECT_EQ(write_patient_vectors(folder_, found),
            (std::vector<std::string>{"ct_features.csv", "mri_features.csv", "scan_weights.csv"}));
  EXPECT_FALSE(fs::exists(folder_.root / "ct_mri_features.csv"));
}

TEST_F(AggregateVolumesTest, AsksForAModelAndForAFolderOfScans) {
  scan("ct", "A", "1", {1, 1});
  EXPECT_THROW(pooled(VolumePool::kAttention), Error);
  try {
    scan_files({temp_.path() / "elsewhere"});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  }
}

// 40 patients of one to three scans of 8 numbers; positive ones have one scan whose first number is
// 3 higher. A bag model of attention is trained on them by the pipeline itself.
class TrainedBagsTest : public AggregateVolumesTest {
 protected:
  void SetUp() override {
    NumpyRandom random(3);
    std::string table = "case_id,dead\n";
    for (int p = 0; p < 40; ++p) {
      const std::string patient = fmt::format("TCGA-AA-{:04}", p);
      const bool positive = p % 2 == 0;
      table += patient + (positive ? ",1\n" : ",0\n");
      const int scans = 1 + p % 3;
      for (int s = 0; s < scans; ++s) {
        std::vector<float> values(8);
        for (auto& value : values) value = static_cast<float>(random.normal());
        if (positive && s == scans - 1) values[0] += 3.0F;
        scan(p % 5 == 0 ? "mri" : "ct", patient, fmt::format("s{}", s), values, 10);
      }
    }
    temp_.write("patients.csv", table);
    settings_.clinical.table = temp_.path() / "patients.csv";
    settings_.endpoint.name = "dead";
    settings_.endpoint.column = "dead";
    settings_.endpoint.positive_class = "1";
    for (auto* modality : {&settings_.ct, &settings_.mri}) {
      modality->features = {folder_.root / (modality->section == "ct" ? "ct" : "mri")};
      modality->case_from = "folder";
    }
    settings_.wsi.enabled = false;
  }
  CohortSettings settings_;
};

TEST_F(TrainedBagsTest, AFolderOfScansIsASourceOfBagsForACohort) {
  const Cohort cohort = load_cohort(settings_, silent_progress(), 1);
  for (const auto& outcome : cohort.outcomes) {
    EXPECT_EQ(outcome.status, "used") << outcome.item << ": " << outcome.reason;
  }
  EXPECT_EQ(cohort.size(), 40U);
  const Modality* ct = cohort.find_modality("ct");
  ASSERT_NE(ct, nullptr);
  EXPECT_EQ(ct->width, 8U);
  EXPECT_EQ(ct->items_of_patient[2].size(), 3U);  // TCGA-AA-0002: 1 + 2 % 3 scans
  EXPECT_EQ(ct->item_ids[ct->items_of_patient[2][0]], "TCGA-AA-0002/s0");
}

TEST_F(TrainedBagsTest, ThePapersBagModelLearnsFromItAndPoolsByIt) {
  const Cohort cohort = load_cohort(settings_, silent_progress(), 1);
  RunSettings run;
  run.radiology_arm.pool = "attention";
  run.radiology_arm.hidden = {8};
  run.radiology_arm.fit.ensemble = 2;
  run.radiology_arm.fit.epochs = 60;
  const auto specs = model_list(run, {"ct", "mri"});
  const auto spec = std::ranges::find(specs, "ct_mri", &ModelSpec::id);
  ASSERT_NE(spec, specs.end());
  Rows rows(cohort.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  const Partition partition = Partition::all_for_training(rows);
  const FittedModels none;
  FittedModels models;
  models["ct_mri"] = spec->fit({cohort, run, partition.training(), 5, none});
  write_bundle(temp_.path() / "model", cohort, run, {*spec}, models, {{"ct_mri", 0.5}});

  const auto found = pooled(VolumePool::kAttention, temp_.path() / "model");
  // TCGA-AA-0002 has three scans, the third of them with the signal.
  std::vector<double> weights;
  for (const auto& one : found.weights) {
    if (one.scan.patient == "TCGA-AA-0002") weights.push_back(*one.weight);
  }
  ASSERT_EQ(weights.size(), 3U);
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1.0, 1e-6);
  // Its vector is the weighted sum of its scans.
  std::vector<double> expected(8, 0.0);
  for (std::size_t s = 0; s < 3; ++s) {
    const auto values = read_features(folder_.root / "ct/TCGA-AA-0002" / fmt::format("s{}.npy", s));
    for (std::size_t j = 0; j < 8; ++j) {
      expected[j] += weights[s] * static_cast<double>(values(0, j));
    }
  }
  const auto at = static_cast<std::size_t>(
      std::ranges::find(found.ct_mri.case_ids, "TCGA-AA-0002") - found.ct_mri.case_ids.begin());
  for (std::size_t j = 0; j < 8; ++j) {
    EXPECT_NEAR(found.ct_mri.values(at, j), expected[j], 1e-5);
  }
  const auto best = pooled(VolumePool::kMostInformative, temp_.path() / "model");
  std::size_t right = 0;
  std::size_t several = 0;
  for (const auto& one : best.weights) {
    const int p = std::stoi(one.scan.patient.substr(8));
    if (p % 2 != 0 || p % 3 == 0 || one.weight != 1.0) continue;
    ++several;
    if (one.scan.series == fmt::format("s{}", p % 3)) ++right;
  }
  EXPECT_GT(several, 8U);
  EXPECT_GE(right, several * 3 / 5);
}

// ct_mri_features.csv of this module is a modality of a cohort.
TEST_F(TrainedBagsTest, ItsTablesAreReadByACohort) {
  write_patient_vectors(folder_, pooled(VolumePool::kMean));
  settings_.ct.features = {folder_.root / "ct_mri_features.csv"};
  settings_.ct.case_from = "name";
  settings_.mri.enabled = false;
  const Cohort cohort = load_cohort(settings_, silent_progress(), 1);
  const Modality* ct = cohort.find_modality("ct");
  ASSERT_NE(ct, nullptr);
  EXPECT_EQ(ct->item_ids.size(), 40U);
  EXPECT_EQ(ct->width, 8U);
}

}  // namespace
}  // namespace med3d::pipeline
