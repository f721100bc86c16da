#include "med3d/pipeline/synth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "med3d/core/hash.h"
#include "med3d/pipeline/cohort_check.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

using testing::has_finding;
using testing::TempFolder;

std::map<std::string, std::string> hashes(const std::filesystem::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    out[entry.path().lexically_relative(folder).generic_string()] = sha256_file(entry.path());
  }
  return out;
}

// Area under the ROC curve by pairs.
double auc(const std::vector<double>& score, const std::vector<std::uint8_t>& label) {
  double wins = 0, pairs = 0;
  for (std::size_t i = 0; i < score.size(); ++i) {
    for (std::size_t j = 0; j < score.size(); ++j) {
      if (label[i] != 1 || label[j] != 0) continue;
      pairs += 1;
      wins += score[i] > score[j] ? 1.0 : (score[i] == score[j] ? 0.5 : 0.0);
    }
  }
  return wins / pairs;
}

class Synthetic : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = std::filesystem::temp_directory_path() / ("med3d-synth-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder);
    write_synthetic_cohort(folder);
    cohort = std::make_unique<Cohort>(
        load_cohort(read_cohort_settings(folder / "cohort.toml"), silent_progress(), 2));
  }
  static void TearDownTestSuite() {
    std::filesystem::remove_all(folder);
    cohort.reset();
  }
  static std::filesystem::path folder;
  static std::unique_ptr<Cohort> cohort;
};
std::filesystem::path Synthetic::folder;
std::unique_ptr<Cohort> Synthetic::cohort;

TEST_F(Synthetic, HasTheCountsItPromises) {
  EXPECT_EQ(cohort->size(), 240U);
  EXPECT_EQ(cohort->case_ids.front(), "SYN-0001");
  EXPECT_TRUE(cohort->synthetic);
  EXPECT_EQ(std::count(cohort->label.begin(), cohort->label.end(), 1), 29);  // round(0.12 * 240)
  std::map<std::string, int> patients, positives;
  for (std::size_t p = 0; p < cohort->size(); ++p) {
    ++patients[cohort->split[p]];
    positives[cohort->split[p]] += cohort->label[p];
  }
  EXPECT_EQ(patients["test"], 48);  // round(0.2 * 29) + round(0.2 * 211) = 6 + 42
  EXPECT_EQ(positives["test"], 6);
  EXPECT_EQ(cohort->columns.size(), 17U);
  ASSERT_EQ(cohort->modalities.size(), 3U);
  std::map<std::string, int> having;
  for (const auto& modality : cohort->modalities) {
    for (std::size_t p = 0; p < cohort->size(); ++p)
      having[modality.name] += modality.has(p) ? 1 : 0;
  }
  EXPECT_NEAR(having["ct"], 108, 25);
  EXPECT_NEAR(having["mri"], 24, 15);
  EXPECT_EQ(having["wsi"], 240);
  EXPECT_EQ(cohort->modalities[2].width, 1024U);
  for (const auto& outcome : cohort->outcomes) EXPECT_EQ(outcome.status, "used") << outcome.item;
}

TEST_F(Synthetic, CarriesFollowUpThatAgreesWithTheLabel) {
  for (std::size_t p = 0; p < cohort->size(); ++p) {
    ASSERT_GE(cohort->event[p], 0);
    if (cohort->label[p] == 1) {
      EXPECT_EQ(cohort->event[p], 1);
      EXPECT_LE(cohort->time_months[p], 12.0);
    } else {
      EXPECT_GT(cohort->time_months[p], 12.0);
    }
  }
}

TEST_F(Synthetic, IsSmallerThanFourMegabytes) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_LT(bytes, 4U << 20);
}

TEST_F(Synthetic, HoldsThePlantedSignalInEachModality) {
  // The mean of the first 32 values is the sufficient statistic of a vector.
  for (const auto& modality : cohort->modalities) {
    const Matrix<float> mean = modality.mean_by_patient();
    std::vector<double> planted, other;
    std::vector<std::uint8_t> label;
    for (std::size_t p = 0; p < cohort->size(); ++p) {
      if (!modality.has(p)) continue;
      double in = 0, out = 0;
      for (std::size_t c = 0; c < 32; ++c) in += mean(p, c);
      for (std::size_t c = 32; c < 512; ++c) out += mean(p, c);
      planted.push_back(in);
      other.push_back(out);
      label.push_back(cohort->label[p]);
    }
    if (std::count(label.begin(), label.end(), 1) < 5) continue;
    EXPECT_GT(auc(planted, label), 0.65) << modality.name;
    EXPECT_LT(auc(other, label), 0.65) << modality.name;
  }
  std::vector<double> stage;
  std::vector<std::uint8_t> label;
  for (const auto& column : cohort->columns) {
    if (column.name != "ajcc_path_tumor_stage") continue;
    for (std::size_t p = 0; p < cohort->size(); ++p) {
      if (cohort->is_missing(column.cells[p])) continue;
      stage.push_back(std::stod(column.cells[p]));
      label.push_back(cohort->label[p]);
    }
  }
  EXPECT_GT(auc(stage, label), 0.6);
}

TEST_F(Synthetic, PassesItsOwnCheck) {
  for (const auto& finding : check_cohort(*cohort)) {
    EXPECT_NE(finding.level, "error") << finding.text;
    EXPECT_NE(finding.code, "informative_missingness") << finding.text;
  }
  EXPECT_TRUE(has_finding(check_cohort(*cohort), "synthetic"));
  EXPECT_TRUE(has_finding(check_cohort(*cohort), "constant_column", "cancer_history"));
}

TEST(SyntheticCohort, IsTheSameBytesForTheSameSeed) {
  const TempFolder folder;
  write_synthetic_cohort(folder.path() / "a", 30, 11);
  write_synthetic_cohort(folder.path() / "b", 30, 11);
  write_synthetic_cohort(folder.path() / "c", 30, 12);
  EXPECT_EQ(hashes(folder.path() / "a"), hashes(folder.path() / "b"));
  EXPECT_NE(hashes(folder.path() / "a"), hashes(folder.path() / "c"));
}

TEST(SyntheticCohort, IsMarkedForTheReaderAndForDescribeFolder) {
  const TempFolder folder;
  write_synthetic_cohort(folder.path(), 20, 3);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "SYNTHETIC.txt"));
  EXPECT_TRUE(describe_folder(folder.path()).cohort.synthetic);
  EXPECT_TRUE(read_cohort_settings(folder.path() / "cohort.toml").cohort.synthetic);
}

TEST(SyntheticCohort, RefusesASizeThatMakesNoSense) {
  const TempFolder folder;
  EXPECT_THROW(write_synthetic_cohort(folder.path(), 19), Error);
  EXPECT_THROW(write_synthetic_cohort(folder.path(), 10000), Error);
}

TEST(SyntheticCohort, LeavesNoItemOfAnOlderOne) {
  const TempFolder folder;
  write_synthetic_cohort(folder.path(), 30, 1);
  write_synthetic_cohort(folder.path(), 20, 2);
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder.path() / "Features")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_LT(entry.path().filename().string(), "SYN-0021") << entry.path();
  }
}

TEST(SyntheticCohort, RefusesAFolderOfRealPatients) {
  const TempFolder folder;
  folder.write("clinical+genomic_split.csv", "case_id\nreal\n");
  EXPECT_THROW(write_synthetic_cohort(folder.path(), 20, 1), Error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "SYNTHETIC.txt"));
}

// clinical_features.csv, wsi_features.csv, ct_mri_features.csv with a label in the first.
TEST(PaperLayout, IsRecognisedAndRead) {
  const TempFolder folder;
  folder.write("clinical_features.csv", "case_id,ehr_0,ehr_1,label\nA,1,2,0\nB,3,4,1\nC,5,6,0\n");
  folder.write("wsi_features.csv", "case_id,wsi_0,wsi_1\nA,1,2\nB,3,4\n");
  folder.write("ct_mri_features.csv", "case_id,ctmri_0\nC,9\n");
  const auto settings = describe_folder(folder.path());
  EXPECT_EQ(settings.endpoint.column, "label");
  const Cohort cohort = load_cohort(settings, silent_progress(), 1);
  EXPECT_EQ(cohort.size(), 3U);
  EXPECT_EQ(cohort.columns.size(), 2U);
  EXPECT_NE(cohort.find_modality("ct"), nullptr);
  EXPECT_TRUE(cohort.find_modality("ct")->has(2));
  EXPECT_FALSE(cohort.find_modality("wsi")->has(2));
}

TEST(PaperLayout, TakesTheLabelFromItsOwnFile) {
  const TempFolder folder;
  folder.write("clinical_features.csv", "case_id,ehr_0\nA,1\nB,3\n");
  folder.write("labels.csv", "case_id,vital_status_12\nA,0\nB,1\n");
  const auto settings = describe_folder(folder.path());
  EXPECT_EQ(settings.endpoint.positive_class, "0");
  const Cohort cohort = load_cohort(settings, silent_progress(), 1);
  EXPECT_EQ(cohort.label, (std::vector<std::uint8_t>{1, 0}));
}

}  // namespace
}  // namespace med3d::pipeline
