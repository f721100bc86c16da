#include "med3d/pipeline/volumes/radiomics_volumes.h"

#include <cmath>

#include "med3d/core/json.h"
#include "med3d/io/features.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/radiology/nifti.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

Volume scan(int seed) {
  Volume volume;
  volume.size = {9, 8, 7};
  for (int i = 0; i < 9 * 8 * 7; ++i) {
    volume.voxels.push_back(static_cast<float>((i * 37 + seed * i * i) % 211 - 60));
  }
  return volume;
}

Volume box_mask(std::int64_t side, float label = 1.0F) {
  Volume mask;
  mask.size = {9, 8, 7};
  mask.voxels.assign(9 * 8 * 7, 0.0F);
  for (std::int64_t z = 1; z < 1 + side; ++z) {
    for (std::int64_t y = 1; y < 1 + side; ++y) {
      for (std::int64_t x = 1; x < 1 + side; ++x) mask.at(x, y, z) = label;
    }
  }
  return mask;
}

// Two patients, the first with two scans; a mask without its label and one that is no file.
struct Cohort {
  TempFolder folder;
  fs::path table;

  Cohort() {
    write_nifti(folder.path() / "a.nii.gz", scan(1));
    write_nifti(folder.path() / "b.nii.gz", scan(2));
    write_nifti(folder.path() / "c.nii", scan(3));
    write_nifti(folder.path() / "small.nii.gz", box_mask(3));
    write_nifti(folder.path() / "large.nii.gz", box_mask(5, 2.0F));
    table = folder.write("scans.csv",
                         "Case_ID,Image,Mask,Label\n"
                         "tcga-a3-3306-01,a.nii.gz,small.nii.gz,\n"
                         "TCGA-A3-3306,b.nii.gz,large.nii.gz,2\n"
                         "P2,c.nii,small.nii.gz,1\n");
  }
  RadiomicsJob job(const std::string& name = "out") const {
    RadiomicsJob job;
    job.output = folder.path() / name;
    return job;
  }
};

std::string text_of(const fs::path& path) { return read_file(path, 1 << 24); }

TEST(RadiomicsVolumes, WritesARowForEachScanAndEachPatient) {
  const Cohort cohort;
  const auto items = read_radiomics_list(cohort.table);
  ASSERT_EQ(items.size(), 3U);
  EXPECT_EQ(items[1].case_id, "TCGA-A3-3306");
  EXPECT_EQ(items[1].scan_id, "scan_2");
  EXPECT_EQ(items[1].label, 2);
  const auto job = cohort.job();
  const auto outcomes = extract_radiomics(items, job, silent_progress());
  EXPECT_EQ(exit_code(outcomes), 0) << radiomics_text(outcomes);
  const FeatureTable scans = read_feature_table(job.output / "radiomics_scan_features.csv");
  const FeatureTable patients = read_feature_table(job.output / "radiomics_features.csv");
  ASSERT_EQ(scans.case_ids.size(), 3U);
  ASSERT_EQ(patients.case_ids, (std::vector<std::string>{"P2", "TCGA-A3-3306"}));
  EXPECT_EQ(patients.columns, radiomics::feature_names());
  for (std::size_t j = 0; j < patients.columns.size(); ++j) {
    EXPECT_EQ(patients.values(0, j), scans.values(2, j));
    const float mean = (scans.values(0, j) + scans.values(1, j)) / 2;
    EXPECT_NEAR(patients.values(1, j), mean, 1e-5F * std::max(1.0F, std::abs(mean)));
  }
  const auto direct = radiomics::extract(scan(3), box_mask(3));
  for (std::size_t j = 0; j < direct.features.size(); ++j) {
    EXPECT_EQ(outcomes[2].result.features[j].value, direct.features[j].value);
  }
}

TEST(RadiomicsVolumes, TakesTheLargestRegionIfAskedTo) {
  const Cohort cohort;
  auto job = cohort.job();
  job.pool = ScanPool::kLargest;
  extract_radiomics(read_radiomics_list(cohort.table), job, silent_progress());
  const FeatureTable scans = read_feature_table(job.output / "radiomics_scan_features.csv");
  const FeatureTable patients = read_feature_table(job.output / "radiomics_features.csv");
  for (std::size_t j = 0; j < patients.columns.size(); ++j) {
    EXPECT_EQ(patients.values(1, j), scans.values(1, j));
  }
}

TEST(RadiomicsVolumes, GoesOnFromWhatIsThereToTheSameBytes) {
  const Cohort cohort;
  const auto items = read_radiomics_list(cohort.table);
  const auto whole = cohort.job("whole");
  extract_radiomics(items, whole, silent_progress());
  const auto job = cohort.job("pieces");
  extract_radiomics({items[0]}, job, silent_progress());
  const auto outcomes = extract_radiomics(items, job, silent_progress());
  EXPECT_EQ(outcomes[0].status, RadiomicsStatus::kKept);
  EXPECT_EQ(outcomes[1].status, RadiomicsStatus::kDone);
  for (const char* name :
       {"radiomics_features.csv", "radiomics_scan_features.csv", "radiomics_settings.json"}) {
    EXPECT_EQ(text_of(job.output / name), text_of(whole.output / name)) << name;
  }
  // Other options, another file, or a damaged record: computed again.
  auto wider = job;
  wider.options.bin_width = 10.0;
  EXPECT_EQ(extract_radiomics(items, wider, silent_progress())[0].status, RadiomicsStatus::kDone);
  write_nifti(cohort.folder.path() / "a.nii.gz", scan(9));
  const auto changed = extract_radiomics(items, wider, silent_progress());
  EXPECT_EQ(changed[0].status, RadiomicsStatus::kDone);
  EXPECT_EQ(changed[1].status, RadiomicsStatus::kKept);
  for (const auto& entry : fs::directory_iterator(wider.output / "scans")) {
    write_file_atomic(entry.path(), "{\"key\": 3");
  }
  EXPECT_EQ(extract_radiomics(items, wider, silent_progress())[1].status, RadiomicsStatus::kDone);
  auto again = wider;
  again.overwrite = true;
  EXPECT_EQ(extract_radiomics(items, again, silent_progress())[1].status, RadiomicsStatus::kDone);
}

TEST(RadiomicsVolumes, RecordsABadScanAndGoesOn) {
  const Cohort cohort;
  cohort.folder.write("damaged.nii", "not a scan");
  write_nifti(cohort.folder.path() / "one.nii.gz", box_mask(1));
  const auto table = cohort.folder.write("bad.csv",
                                         "patient,image,mask,scan_id\n"
                                         "P1,a.nii.gz,large.nii.gz,x\n"
                                         "P2,damaged.nii,small.nii.gz,x\n"
                                         "P3,a.nii.gz,missing.nii.gz,x\n"
                                         "P4,a.nii.gz,small.nii.gz,x\n"
                                         "P5,a.nii.gz,one.nii.gz,x\n"
                                         "P6,a.nii.gz,scans.csv,x\n");
  auto job = cohort.job();
  job.options.minimum_dimensions = 0;
  const auto outcomes = extract_radiomics(read_radiomics_list(table), job, silent_progress());
  EXPECT_EQ(exit_code(outcomes), 3);
  EXPECT_NE(outcomes[0].reason.find("label 1 is not in the mask: it has 2"), std::string::npos);
  EXPECT_EQ(outcomes[1].status, RadiomicsStatus::kFailed);
  EXPECT_EQ(outcomes[2].status, RadiomicsStatus::kFailed);
  EXPECT_EQ(outcomes[3].status, RadiomicsStatus::kDone);
  EXPECT_NE(outcomes[4].reason.find("42 of 107 features not estimable"), std::string::npos)
      << outcomes[4].reason;
  EXPECT_NE(outcomes[5].reason.find("a mask is a NIfTI file"), std::string::npos);
  const FeatureTable patients = read_feature_table(job.output / "radiomics_features.csv");
  EXPECT_EQ(patients.case_ids, (std::vector<std::string>{"P4"}));
  const Json document = read_json(job.output / "outcomes.json");
  EXPECT_TRUE(document["scans"][4]["result"]["features"]["original_glcm_MCC"].is_null());
  EXPECT_TRUE(document["scans"][1]["result"].is_null());
}

TEST(RadiomicsVolumes, RefusesATableThatCannotBeRead) {
  const Cohort cohort;
  const auto refuse = [&](const std::string& text, const std::string& part) {
    const auto table = cohort.folder.write("t.csv", text);
    try {
      read_radiomics_list(table);
      ADD_FAILURE() << "no error, expected one saying '" << part << "'";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refuse("image,mask\na,b\n", "no column case_id");
  refuse("case_id,image\na,b\n", "mask");
  refuse("case_id,image,mask\na,,b\n", "line 2: column 'image' is blank");
  refuse("case_id,image,mask,label\na,b,c,1.5\n", "label '1.5', expected a whole number");
  refuse("case_id,image,mask,scan_id\na,b,c,s\na,d,e,s\n", "line 3: this scan of this patient");
}

TEST(RadiomicsVolumes, MakesAModalityOfACohort) {
  const Cohort cohort;
  const auto job = cohort.job();
  extract_radiomics(read_radiomics_list(cohort.table), job, silent_progress());
  EXPECT_EQ(radiomics_item("x/TCGA-A3-3306_ct.nii.gz", "m.nii").case_id, "TCGA-A3-3306");
  EXPECT_EQ(radiomics_item("x/Anna_Muster.nii.gz", "m.nii").case_id, "case_1");
  CohortSettings settings;
  settings.cohort.name = "small";
  settings.endpoint.name = "PFI";
  settings.endpoint.column = "label";
  settings.endpoint.positive_class = "1";
  settings.clinical.table = cohort.folder.write(
      "clinical.csv", "case_id,age,label\nP1,50,0\nP2,60,1\nTCGA-A3-3306,70,0\nP4,40,1\n");
  settings.ct.features = {job.output / "radiomics_features.csv"};
  const auto loaded = load_cohort(settings, silent_progress(), 1);
  const Modality* ct = loaded.find_modality("ct");
  ASSERT_NE(ct, nullptr);
  EXPECT_EQ(ct->item_ids, (std::vector<std::string>{"P2", "TCGA-A3-3306"}));
  EXPECT_EQ(ct->items.cols(), 107U);
}

}  // namespace
}  // namespace med3d::pipeline
