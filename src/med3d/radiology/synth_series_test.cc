#include "med3d/radiology/synth_series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/series_header.h"
#include "med3d/radiology/test_dicom.inc"

namespace med3d {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::map<std::string, std::string> hashes(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& file : files_of(folder)) {
    out[file.lexically_relative(folder).generic_string()] = sha256_file(file);
  }
  return out;
}

// Mean of the voxels within `radius` of a point.
double mean_within(const Volume& volume, const Vector3& centre, double radius) {
  double sum = 0, count = 0;
  for (std::int64_t z = 0; z < volume.size[2]; ++z) {
    for (std::int64_t y = 0; y < volume.size[1]; ++y) {
      for (std::int64_t x = 0; x < volume.size[0]; ++x) {
        const Vector3 p = volume.patient_from_voxel(
            {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)});
        if (norm({p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]}) > radius) continue;
        sum += volume.at(x, y, z);
        count += 1;
      }
    }
  }
  return sum / count;
}

SynthStudyOptions options_of(SynthModality modality, std::uint64_t seed = 3) {
  SynthStudyOptions options;
  options.modality = modality;
  options.seed = seed;
  options.uid_seed = seed;
  return options;
}

TEST(SynthStudy, IsTheSameBytesForTheSameOptions) {
  const TestFolder folder("synth_study_bytes");
  const SynthStudyOptions options = options_of(SynthModality::kCt);
  const SynthStudyInfo info = write_synth_study(folder.path() / "a", options);
  write_synth_study(folder.path() / "b", options);
  EXPECT_EQ(hashes(folder.path() / "a"), hashes(folder.path() / "b"));
  std::uint64_t bytes = 0;
  for (const auto& file : files_of(folder.path() / "a")) bytes += fs::file_size(file);
  EXPECT_EQ(info.bytes, bytes);
  EXPECT_LT(bytes, 800'000U);
  SynthStudyOptions other = options;
  other.seed = 4;
  write_synth_study(folder.path() / "c", other);
  EXPECT_NE(hashes(folder.path() / "a"), hashes(folder.path() / "c"));
}

TEST(SynthStudy, HoldsTheSeriesItDescribes) {
  for (const bool german : {false, true}) {
    for (const SynthModality modality : {SynthModality::kCt, SynthModality::kMr}) {
      const TestFolder folder("synth_study_series");
      SynthStudyOptions options = options_of(modality);
      options.german = german;
      const SynthStudyInfo info = write_synth_study(folder.path(), options);
      ASSERT_EQ(info.series.size(), 6U);
      EXPECT_EQ(describe_synth_study(options).series.size(), 6U);
      int kept = 0;
      for (const SynthSeriesInfo& series : info.series) {
        kept += series.kept ? 1 : 0;
        const auto files = files_of(folder.path() / series.folder);
        EXPECT_EQ(static_cast<std::int64_t>(files.size()), series.images);
        const SeriesHeader header = read_dicom_series_header(files.front());
        EXPECT_EQ(header.facts.description, series.description);
        EXPECT_EQ(header.patient_id, "SYN-0001");
        EXPECT_EQ(header.facts.modality, modality == SynthModality::kCt ? "CT" : "MR");
      }
      EXPECT_EQ(kept, 2);
    }
  }
}

TEST(SynthStudy, IsAnAbdomenInHounsfieldUnits) {
  const TestFolder folder("synth_study_hu");
  SynthStudyOptions options = options_of(SynthModality::kCt);
  options.heterogeneity = 0.0;
  const SynthStudyInfo info = write_synth_study(folder.path(), options);
  const auto volume = [&](std::size_t series) {
    return load_series(files_of(folder.path() / info.series[series].folder));
  };
  const SeriesVolume venous = volume(3);
  EXPECT_EQ(venous.volume.units, VoxelUnits::kHu);
  EXPECT_EQ(venous.plane, Plane::kAxial);
  EXPECT_EQ(venous.volume.size, (std::array<std::int64_t, 3>{72, 72, 16}));
  EXPECT_NEAR(venous.volume.spacing_mm[0], 5.0, 1e-9);
  EXPECT_NEAR(venous.volume.spacing_mm[2], 6.0, 1e-9);
  EXPECT_NEAR(venous.volume.at(0, 0, 0), -1000.0, 24.0);  // air; the sum's tails end at 3.5 sd
  // The tumour's middle: 38 HU before contrast, 148 in the arterial phase, 113 in the venous one.
  const Vector3& centre = info.tumour_centre_mm;
  EXPECT_NEAR(mean_within(volume(1).volume, centre, 18), 38.0, 6.0);  // of 70 voxels, noise of 11
  EXPECT_NEAR(mean_within(volume(2).volume, centre, 18), 148.0, 4.0);
  EXPECT_NEAR(mean_within(venous.volume, centre, 18), 113.0, 4.0);
  // The reformat lies where the axial slices lie.
  const SeriesVolume coronal = volume(4);
  EXPECT_EQ(coronal.plane, Plane::kCoronal);
  EXPECT_NEAR(mean_within(coronal.volume, centre, 18), 113.0, 5.0);
}

TEST(SynthStudy, ShowsTheTumourItWasAskedFor) {
  const TestFolder folder("synth_study_tumour");
  int studies = 0;
  for (const SynthModality modality : {SynthModality::kCt, SynthModality::kMr}) {
    const auto mean_around = [&](const SynthStudyOptions& options, double radius) {
      const fs::path place = folder.path() / std::to_string(studies++);
      const SynthStudyInfo info = write_synth_study(place, options);
      const SeriesVolume scan = load_series(files_of(place / info.series[3].folder));
      return mean_within(scan.volume, info.tumour_centre_mm, radius);
    };
    SynthStudyOptions small = options_of(modality), large = small, faint = small, dead = small;
    small.tumour_radius_mm = 10;
    large.tumour_radius_mm = 40;
    faint.enhancement = 0.2;
    dead.necrosis = 0.7;
    const double usual = mean_around(options_of(modality), 15);
    EXPECT_GT(mean_around(large, 40), mean_around(small, 40) + 40);
    EXPECT_LT(mean_around(faint, 15), usual - 40);
    EXPECT_LT(mean_around(dead, 15), usual - 40);
  }
}

TEST(SynthStudy, HoldsTheSamePixelsUnderOtherUidsWhenAsked) {
  const TestFolder folder("synth_study_copy");
  SynthStudyOptions options = options_of(SynthModality::kMr);
  const SynthStudyInfo info = write_synth_study(folder.path() / "a", options);
  options.uid_seed = 99;
  options.patient_id = "SYN-0002";
  write_synth_study(folder.path() / "b", options);
  const auto a = files_of(folder.path() / "a" / info.series[1].folder);
  const auto b = files_of(folder.path() / "b" / info.series[1].folder);
  EXPECT_EQ(load_series(a).volume.voxels, load_series(b).volume.voxels);
  const SeriesHeader first = read_dicom_series_header(a[0]),
                     second = read_dicom_series_header(b[0]);
  EXPECT_NE(first.series_uid, second.series_uid);
  EXPECT_NE(first.study_uid, second.study_uid);
  EXPECT_NE(first.instance_uid, second.instance_uid);
  EXPECT_EQ(second.patient_id, "SYN-0002");
}

TEST(SynthStudy, RefusesATumourThatMakesNoSense) {
  const auto message = [](const SynthStudyOptions& options) -> std::string {
    try {
      options.validate();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  SynthStudyOptions options;
  EXPECT_EQ(message(options), "");
  options.tumour_radius_mm = 61;
  EXPECT_EQ(message(options), "synth study tumour_radius_mm: 61, expected 6 to 60");
  options = {};
  options.enhancement = NAN;
  EXPECT_EQ(message(options), "synth study enhancement: nan, expected 0 to 2");
  options = {};
  options.necrosis = 0.9;
  EXPECT_EQ(message(options), "synth study necrosis: 0.9, expected 0 to 0.8");
  options = {};
  options.heterogeneity = -1;
  EXPECT_EQ(message(options), "synth study heterogeneity: -1, expected 0 to 1");
  options = {};
  options.patient_id = "";
  EXPECT_EQ(message(options), "synth study patient_id: expected 1 to 64 characters");
}

}  // namespace
}  // namespace med3d
