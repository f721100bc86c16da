#include "med3d/pipeline/volumes/extract_volumes.h"

#include <gtest/gtest.h>

#include "med3d/core/json.h"
#include "med3d/io/features.h"
#include "med3d/io/formats/deflate.h"
#include "med3d/pipeline/volumes/test_volumes.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::MeanVolumeEncoder;
using testing::ramp;
using testing::TempFolder;

class ExtractVolumesTest : public ::testing::Test {
 protected:
  ExtractVolumesTest() {
    job_.prepare.recipe = "mr";
    job_.prepare.options.size = {6, 5, 4};
    write("TCGA-AA-0001-1.nii.gz", 0.0F);
    write("TCGA-AA-0001-2.nii.gz", 10.0F);
    write("TCGA-AA-0002-1.nii.gz", 20.0F);
  }
  void write(const std::string& name, float base) {
    fs::create_directories(scans_);
    write_nifti(scans_ / name, ramp(base));
  }
  std::vector<VolumeItem> items() {
    VolumeSearch search;
    search.places = {scans_};
    search.modality = "MR";
    search.keep_names = true;
    return find_volumes(search).items;
  }
  std::vector<VolumeOutcome> extract(int fail_at = -1, int nan_at = -1) {
    auto encoder = std::make_unique<MeanVolumeEncoder>();
    encoder->fail_at = fail_at;
    encoder->nan_at = nan_at;
    encoder_ = encoder.get();
    loaded_.encoder = std::move(encoder);
    loaded_.name = "mean";
    return extract_volumes(items(), folder_, loaded_, job_, silent_progress());
  }
  // Of every file below the folder, by its name.
  std::map<std::string, std::string> all_files() {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.root)) {
      if (!entry.is_regular_file()) continue;
      out[fs::relative(entry.path(), folder_.root).string()] = read_file(entry.path(), 1 << 20);
    }
    return out;
  }

  TempFolder temp_;
  fs::path scans_ = temp_.path() / "scans";
  VolumeFolder folder_{temp_.path() / "out"};
  LoadedVolumeEncoder loaded_;
  MeanVolumeEncoder* encoder_ = nullptr;
  ExtractVolumesJob job_;
};

TEST_F(ExtractVolumesTest, WritesOneVectorAndOneRecordForEachScan) {
  const auto outcomes = extract();
  ASSERT_EQ(outcomes.size(), 3U);
  for (const auto& outcome : outcomes) {
    EXPECT_EQ(outcome.status, VolumeStatus::kDone) << outcome.reason;
    EXPECT_EQ(outcome.recipe, "mr");
    EXPECT_EQ(outcome.size, (std::array<std::int64_t, 3>{6, 5, 4}));
  }
  EXPECT_EQ(outcomes[0].patient, "TCGA-AA-0001");
  EXPECT_EQ(outcomes[0].series, "TCGA-AA-0001-1");
  const auto features = read_features(folder_.root / "mri/TCGA-AA-0001/TCGA-AA-0001-1.npy");
  ASSERT_EQ(features.rows(), 1U);
  ASSERT_EQ(features.cols(), 3U);
  const Json record = read_json(folder_.root / "mri/TCGA-AA-0001/TCGA-AA-0001-1.json");
  EXPECT_EQ(record.at("encoder").at("name"), "mean");
  EXPECT_EQ(record.at("recipe").at("name"), "mr");
  EXPECT_EQ(record.at("volume").at("files_sha256").get<std::string>().size(), 64U);
  EXPECT_EQ(encoder_->last_extent, (VolumeExtent{4, 5, 6}));  // depth, height, width
}

// Voxels 1 to 119 (0 is background); percentiles 1 and 99 of 1..119 are 2.18 and 117.82, so 1, 2
// and 118, 119 are clipped. The largest is 117.82; by symmetry about 60 the mean of the tissue is
// 60 and the mean over all 120 voxels 0. The standard deviation of the clipped values: squares
// of 3..117 around 60: 2 * sum_{1..57} k^2 = 2 * 57*58*115/6 = 126,730; and 4 * 57.82^2 = 13,372.6;
// variance 140,102.6 / 119 = 1,177.3, sd 34.312; (117.82 - 60) / 34.312 = 1.68511.
TEST_F(ExtractVolumesTest, EncodesWhatTheRecipeMakesOfTheScan) {
  extract();
  const auto features = read_features(folder_.root / "mri/TCGA-AA-0001/TCGA-AA-0001-1.npy");
  EXPECT_NEAR(features(0, 0), 0.0, 1e-6);
  EXPECT_NEAR(features(0, 1), 1.68511, 1e-4);
  EXPECT_EQ(features(0, 2), features(0, 1));
}

TEST_F(ExtractVolumesTest, KeepsWhatIsFinishedAndMakesAnewWhatDecidesItsBits) {
  extract();
  const auto before = all_files();
  for (const auto& outcome : extract()) EXPECT_EQ(outcome.status, VolumeStatus::kKept);
  EXPECT_EQ(encoder_->calls, 0);
  EXPECT_EQ(all_files(), before);

  write("TCGA-AA-0002-1.nii.gz", 21.0F);  // another content
  auto outcomes = extract();
  EXPECT_EQ(encoder_->calls, 1);
  EXPECT_EQ(outcomes[2].status, VolumeStatus::kDone);

  loaded_.weights_sha256 = "of others";
  extract();
  EXPECT_EQ(encoder_->calls, 3);
  job_.prepare.options.orientation = "RAS";
  extract();
  EXPECT_EQ(encoder_->calls, 3);
  job_.redo = true;
  extract();
  EXPECT_EQ(encoder_->calls, 3);
}

TEST_F(ExtractVolumesTest, DoesAgainWhatWasChangedOrDamagedSince) {
  extract();
  const auto before = all_files();
  const fs::path one = folder_.root / "mri/TCGA-AA-0001/TCGA-AA-0001-1.npy";
  write_file_atomic(one, "damaged");
  write_file_atomic(folder_.root / "mri/TCGA-AA-0001/TCGA-AA-0001-2.json", "{");
  fs::remove(folder_.root / "mri/TCGA-AA-0002/TCGA-AA-0002-1.json");
  extract();
  EXPECT_EQ(encoder_->calls, 3);
  EXPECT_EQ(all_files(), before);
}

TEST_F(ExtractVolumesTest, OneBadScanIsAnOutcomeAndTheOthersGoOn) {
  temp_.write("scans/TCGA-AA-0001-3.nii", "no volume at all");
  write_nifti(scans_ / "TCGA-AA-0003-1.nii.gz", [] {
    Volume flat = ramp(0);
    std::ranges::fill(flat.voxels, 0.0F);
    return flat;
  }());
  const auto outcomes = extract();
  ASSERT_EQ(outcomes.size(), 5U);
  EXPECT_EQ(outcomes[2].status, VolumeStatus::kFailed);
  EXPECT_EQ(outcomes[2].step, "read");
  EXPECT_EQ(outcomes[2].reason.find("TCGA-AA-0001-3"), std::string::npos) << outcomes[2].reason;
  EXPECT_EQ(outcomes[4].status, VolumeStatus::kFailed);
  EXPECT_EQ(outcomes[4].step, "prepare");
  EXPECT_EQ(outcomes[4].reason, "no voxel other than 0: nothing to normalise by");
  EXPECT_EQ(outcomes[3].status, VolumeStatus::kDone);
  EXPECT_EQ(exit_code(outcomes), 3);
  EXPECT_FALSE(fs::exists(folder_.root / "mri/TCGA-AA-0003"));
}

TEST_F(ExtractVolumesTest, NeverWritesAValueThatIsNotFinite) {
  const auto outcomes = extract(-1, 1);
  EXPECT_EQ(outcomes[1].status, VolumeStatus::kFailed);
  EXPECT_EQ(outcomes[1].reason, "the encoder gave a value that is not finite at 2");
  EXPECT_FALSE(fs::exists(folder_.root / "mri/TCGA-AA-0001/TCGA-AA-0001-2.npy"));
  EXPECT_EQ(outcomes[2].status, VolumeStatus::kDone);
}

TEST_F(ExtractVolumesTest, AFailureGoesOnAtTheScanThatFailedWithTheSameBytes) {
  extract();
  const auto whole = all_files();
  fs::remove_all(folder_.root);
  EXPECT_EQ(extract(1)[1].reason, "the power went");
  extract();
  EXPECT_EQ(encoder_->calls, 1);
  EXPECT_EQ(all_files(), whole);
}

TEST_F(ExtractVolumesTest, WithoutAModalityAScanIsRefusedByName) {
  auto scans = items();
  scans[0].modality = "";
  scans[1].modality = "PT";
  scans[2].kept = false;
  scans[2].problem = "a localizer";
  loaded_.encoder = std::make_unique<MeanVolumeEncoder>();
  const auto outcomes = extract_volumes(scans, folder_, loaded_, job_, silent_progress());
  EXPECT_EQ(outcomes[0].reason, "its modality is not known; name it (CT or MR)");
  EXPECT_EQ(outcomes[1].reason, "modality PT, expected CT or MR");
  EXPECT_EQ(outcomes[2].status, VolumeStatus::kDropped);
  EXPECT_EQ(outcomes[2].reason, "a localizer");
  EXPECT_EQ(exit_code(outcomes), 1);
}

TEST_F(ExtractVolumesTest, CropsToAMaskAndAsksForOneWhereMasksAreInUse) {
  Volume mask = ramp(0);
  std::ranges::fill(mask.voxels, 0.0F);
  mask.at(2, 2, 2) = 1.0F;
  mask.at(3, 3, 2) = 1.0F;
  fs::create_directories(temp_.path() / "masks");
  write_nifti(temp_.path() / "masks/TCGA-AA-0001-1.nii.gz", mask);
  job_.prepare.needs_mask = true;
  job_.prepare.margin_mm = 0.0;
  job_.prepare.options.orientation = "";
  VolumeSearch search;
  search.places = {scans_};
  search.modality = "MR";
  search.keep_names = true;
  search.masks = temp_.path() / "masks";
  const auto scans = find_volumes(search).items;
  // 2 x 2 x 1 voxels of the ramp: 2 + 6 * 2 + 30 * 2 = 74, 75, 80, 81.
  SeriesVolume loaded = load_scan(scans[0], job_.series);
  PrepareOptions only_crop = job_.prepare;
  only_crop.recipe = "paper";
  only_crop.options.size = {2, 2, 1};
  const Volume cropped = prepare_scan(loaded.volume, scans[0], only_crop);
  EXPECT_NEAR(cropped.voxels[0], (74.0 + 158.58) / 324.70, 1e-5);
  EXPECT_NEAR(cropped.voxels[3], (81.0 + 158.58) / 324.70, 1e-5);
  loaded_.encoder = std::make_unique<MeanVolumeEncoder>();
  const auto outcomes = extract_volumes(scans, folder_, loaded_, job_, silent_progress());
  EXPECT_EQ(outcomes[0].status, VolumeStatus::kDone) << outcomes[0].reason;
  EXPECT_EQ(outcomes[1].reason, "no mask for it among the masks");
}

// A NIfTI of MedicalNet's own volume, through its recipe and its net, to its own embedding.
TEST_F(ExtractVolumesTest, GivesMedicalNetsEmbeddingOfTheReferenceVolume) {
  const fs::path root = testing::reference_data() / "reference";
  const fs::path folder = root / "medicalnet/t1_kmeans";
  if (!fs::exists(folder)) {
    GTEST_SKIP() << "REFERENCE VECTORS NOT FOUND: " << folder << " (set MED3D_TEST_DATA)";
  }
  const Array raw = read_npy(folder / "raw_dhw.npy");
  ASSERT_EQ(raw.shape.size(), 3U);
  Volume volume;
  for (std::size_t i = 0; i < 3; ++i) {
    volume.size[i] = static_cast<std::int64_t>(raw.shape[2 - i]);
  }
  volume.voxels = as_f32(raw);
  fs::remove_all(scans_);
  fs::create_directories(scans_);
  write_nifti(scans_ / "TCGA-AA-0009.nii.gz", volume);
  const fs::path weights = temp_.path() / "resnet_18.pth";
  write_file_atomic(
      weights,
      gzip_decompress(read_file(root / "weights/medicalnet_resnet_18_A.pth.gz", 1ULL << 30),
                      1ULL << 30,
                      "weights"));
  loaded_.encoder = find_volume_encoder("medicalnet-resnet18").load(weights, {});
  loaded_.name = "medicalnet-resnet18";
  job_.prepare.recipe = "medicalnet";
  job_.prepare.options.size = {96, 96, 24};
  job_.prepare.options.orientation = "";
  const auto outcomes = extract_volumes(items(), folder_, loaded_, job_, silent_progress());
  ASSERT_EQ(outcomes[0].status, VolumeStatus::kDone) << outcomes[0].reason;
  const auto found = read_features(folder_.root / "mri/TCGA-AA-0009/TCGA-AA-0009.npy");
  const auto expected = read_features(folder / "dhw_24x96x96/embed_18A_zero0.npy");
  ASSERT_EQ(found.size(), expected.size());
  double off = 0;
  double norm = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    off += std::pow(found.data()[i] - expected.data()[i], 2);
    norm += std::pow(expected.data()[i], 2);
  }
  EXPECT_LT(std::sqrt(off / norm), 1e-4);
}

}  // namespace
}  // namespace med3d::pipeline
