#include "med3d/pipeline/leaks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <set>
#include <type_traits>

#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/report_sections.h"
#include "med3d/pipeline/run.h"
#include "med3d/pipeline/test_cohort.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/pipeline/training_rows.h"
#include "med3d/wsi/overview.h"

namespace med3d::pipeline {
namespace {

using testing::TempFolder;

// ---- By types: nothing can be fitted outside a training side

// There is no way to a TrainingRows but a Partition's training side: not from rows, not by
// inheritance, not by changing one that is there.
static_assert(!std::is_default_constructible_v<TrainingRows>);
static_assert(!std::is_constructible_v<TrainingRows, std::vector<std::size_t>>);
static_assert(!std::is_convertible_v<std::vector<std::size_t>, TrainingRows>);
static_assert(!std::is_constructible_v<TrainingRows, std::initializer_list<std::size_t>>);
static_assert(std::is_same_v<decltype(std::declval<const TrainingRows&>().rows()),
                             const std::vector<std::size_t>&>);
static_assert(
    std::is_same_v<decltype(std::declval<const Partition&>().training()), const TrainingRows&>);

TEST(LeaksByType, APartitionNeverHoldsARowOnBothSides) {
  testing::expect_error(ErrorKind::kData, "stands twice", [] { Partition({0, 1}, {1, 2}); });
}

// ---- Patients

std::set<std::string> codes(const std::vector<Leak>& leaks) {
  std::set<std::string> out;
  for (const Leak& leak : leaks) out.insert(leak.code);
  return out;
}

TEST(PersonOf, IsOneForEverySpelling) {
  for (const char* spelling : {"TCGA-BP-4352",
                               "tcga-bp-4352",
                               " TCGA-BP-4352 ",
                               "TCGA-BP-4352-01Z-00-DX1",
                               "TCGA-BP-4352-01Z-00-DX1.svs",
                               "TCGA_BP_4352",
                               "TCGA.BP.4352-01A-01-TS1",
                               "TCGA - BP - 4352",
                               "tcga_bp_4352_01z_00_dx1"}) {
    EXPECT_EQ(person_of(spelling), "tcga-bp-4352") << spelling;
  }
  EXPECT_EQ(person_of("c3l_00004-21"), "c3l-00004");
  EXPECT_EQ(person_of("Patient 7"), person_of("patient_7"));
  EXPECT_NE(person_of("P1-11"), person_of("P11-1"));
  EXPECT_NE(person_of("P1"), person_of("P01"));
}

// ---- Images

RgbImage noise_slide(std::uint32_t seed, std::int64_t width = 160, std::int64_t height = 120) {
  NumpyRandom random(seed);
  RgbImage image(width, height, 242);
  // Blots of tissue of various size and colour on glass.
  for (int blot = 0; blot < 14; ++blot) {
    const auto x0 = static_cast<double>(random.randint(static_cast<std::uint64_t>(width)));
    const auto y0 = static_cast<double>(random.randint(static_cast<std::uint64_t>(height)));
    const double radius = 6.0 + 22.0 * random.uniform();
    const auto shade = static_cast<std::uint8_t>(90 + random.randint(110));
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        const double dx = static_cast<double>(x) - x0;
        const double dy = static_cast<double>(y) - y0;
        if (dx * dx + dy * dy > radius * radius) continue;
        image.at(x, y)[0] = static_cast<std::uint8_t>(shade + 30);
        image.at(x, y)[1] = shade;
        image.at(x, y)[2] = static_cast<std::uint8_t>(shade + 20);
      }
    }
  }
  return image;
}

// As another compression would leave it: every value moved by up to `amount`.
RgbImage recompressed(RgbImage image, int amount, std::uint32_t seed) {
  NumpyRandom random(seed);
  for (auto& value : image.pixels) {
    const int moved = value - amount + static_cast<int>(random.randint(2 * amount + 1ULL));
    value = static_cast<std::uint8_t>(std::clamp(moved, 0, 255));
  }
  return image;
}

ImageHash hash_of(const RgbImage& image, const std::string& content) {
  return {content, look_of(image)};
}

// Worked by hand: two halves of 10 and 110 in red, green and blue alike give 12 columns of each; in
// red alone 110 counts 0.299 * 110 = 32.89, so 33.
TEST(ImageLook, IsTheMeanGreyOf24Times24Places) {
  RgbImage image(48, 72, 10);
  for (std::int64_t y = 0; y < 72; ++y) {
    for (std::int64_t x = 24; x < 48; ++x) {
      for (int c = 0; c < 3; ++c) image.at(x, y)[c] = 110;
    }
  }
  const Look look = look_of(image);
  ASSERT_EQ(look.grey.size(), 576U);
  EXPECT_EQ(look.grey[11], 10);
  EXPECT_EQ(look.grey[12], 110);
  EXPECT_EQ(look.grey[575], 110);
  RgbImage red(24, 24);
  for (std::size_t i = 0; i < red.pixels.size(); i += 3) red.pixels[i] = 110;
  EXPECT_EQ(look_of(red).grey[0], 33);
  EXPECT_TRUE(look_of(RgbImage()).grey.empty());
}

TEST(ImageLook, KnowsASlideAgainAndTellsOthersApart) {
  std::vector<ImageHash> hashes;
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const RgbImage slide = noise_slide(seed);
    hashes.push_back(hash_of(slide, fmt::format("{}", seed)));
    EXPECT_TRUE(hashes.back().similar(hash_of(recompressed(slide, 6, seed + 100), "x"))) << seed;
    EXPECT_TRUE(hashes.back().similar(hash_of(averaged(slide, 80, 60), "x"))) << seed;
  }
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    for (std::size_t j = i + 1; j < hashes.size(); ++j) {
      EXPECT_FALSE(hashes[i].similar(hashes[j])) << i << " " << j;
    }
  }
}

// Empty glass looks like all other empty glass: that is no reason to accuse anybody.
TEST(ImageLook, SaysNothingOfEmptyGlass) {
  const RgbImage glass(160, 120, 242);
  EXPECT_FALSE(
      hash_of(recompressed(glass, 2, 1), "a").similar(hash_of(recompressed(glass, 2, 2), "b")));
}

TEST(ImageHashOfAVolume, IsOfSizeAndVoxels) {
  Volume volume;
  volume.size = {2, 1, 3};
  volume.voxels = {1, 2, 3, 4, 5, 6};
  const std::string content = hash_volume(volume).content;
  Volume moved = volume;
  moved.patient_from_voxel.m[0][3] = 17;
  moved.spacing_mm = {2, 2, 2};
  EXPECT_EQ(hash_volume(moved).content, content);
  Volume other = volume;
  other.voxels[5] = 7;
  EXPECT_NE(hash_volume(other).content, content);
  other = volume;
  other.size = {1, 2, 3};
  EXPECT_NE(hash_volume(other).content, content);
  EXPECT_FALSE(hash_volume(volume).similar(hash_volume(volume)));  // scans have no look
}

// ---- Planted leaks

// A clean cohort of 60 patients, drawn from `seed`: 45 for training, 15 for test, never balanced;
// vectors of CT (16 numbers) and slides (24), all above 0 as those behind a ReLU are.
Cohort clean_cohort(std::uint32_t seed) {
  Cohort cohort = small_cohort();
  NumpyRandom random(seed);
  for (std::size_t p = 0; p < cohort.size(); ++p) {
    cohort.case_ids[p] = fmt::format("TCGA-B{}-{:04}", random.randint(8), 1000 + p);
  }
  const std::size_t widths[] = {16, 24};
  for (std::size_t m = 0; m < 2; ++m) {
    Modality& modality = cohort.modalities[m];
    modality.width = widths[m];
    const std::size_t n = modality.item_ids.size();
    modality.items = {};
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<float> row(modality.width);
      // Much in common, as features of one organ have.
      for (std::size_t c = 0; c < row.size(); ++c) {
        row[c] = static_cast<float>(
            std::max(0.0, 0.5 + 0.4 * std::sin(static_cast<double>(c)) + 0.15 * random.normal()));
      }
      modality.items.append_row(row);
    }
  }
  return cohort;
}

std::vector<ImagePrint> clean_images(const Cohort& cohort, std::uint32_t seed) {
  std::vector<ImagePrint> images;
  for (std::size_t p = 0; p < cohort.size(); p += 4) {
    const auto slide = static_cast<std::uint32_t>(p) + 1000 * seed;
    images.push_back({"wsi",
                      fmt::format("slide-{}", p),
                      cohort.case_ids[p],
                      hash_of(noise_slide(slide, 68, 64), fmt::format("slide {}", p))});
    images.push_back(
        {"ct", fmt::format("series-{}", p), cohort.case_ids[p], {fmt::format("series {}", p), {}}});
  }
  return images;
}

float half(float value) {  // 11 bits of the significand, as float16 keeps
  const auto bits = (std::bit_cast<std::uint32_t>(value) + 0x1000U) & 0xFFFFE000U;
  return std::bit_cast<float>(bits);
}

// One of the kinds of leak, at a place that `seed` chooses. Returns the code it must be found
// under.
constexpr int kPlants = 10;
std::string plant(int kind, std::uint32_t seed, Cohort& cohort, std::vector<ImagePrint>& images) {
  NumpyRandom random(seed + 7);
  const std::size_t train = random.randint(45);
  const std::size_t test = 45 + random.randint(15);
  const auto respell = [&](const std::string& id) { cohort.case_ids[test] = id; };
  const std::string& id = cohort.case_ids[train];
  const auto copy_vector = [&](std::size_t m, float (*change)(float)) {
    Modality& modality = cohort.modalities[m];
    const auto pick = [&](bool of_test) {
      for (;;) {
        const auto i = static_cast<std::size_t>(random.randint(modality.item_ids.size()));
        if ((cohort.split[modality.patient_of_item[i]] == "test") == of_test) return i;
      }
    };
    const std::size_t from = pick(false);
    const std::size_t to = pick(true);
    for (std::size_t c = 0; c < modality.width; ++c) {
      modality.items.row(to)[c] = change(modality.items.row(from)[c]);
    }
  };
  const auto copy_image = [&](const std::string& modality, bool exactly) {
    // Patients 0, 4, ..., 56 have images; those from 48 on are test patients.
    const std::size_t from = 4 * random.randint(11);
    ImagePrint image;
    for (const ImagePrint& candidate : images) {
      if (candidate.modality == modality && candidate.case_id == cohort.case_ids[from]) {
        image = candidate;
      }
    }
    image.case_id = cohort.case_ids[48] + (random.randint(2) == 0 ? "" : "-01Z-00-DX1");
    image.item = "planted";
    if (!exactly) {
      image.hash =
          hash_of(recompressed(
                      noise_slide(static_cast<std::uint32_t>(from) + 1000 * seed, 68, 64), 4, seed),
                  "other bytes");
    }
    images.push_back(image);
  };
  switch (kind) {
    case 0:
      respell(id + "-01Z-00-DX1");
      return "patient_across_splits";
    case 1:
      respell(to_lower(id));
      return "patient_across_splits";
    case 2:
      respell("  " + id + " ");
      return "patient_across_splits";
    case 3: {
      std::string other = id;
      std::replace(other.begin(), other.end(), '-', random.randint(2) == 0 ? '_' : ' ');
      respell(other + "_01A");
      return "patient_across_splits";
    }
    case 4:
      copy_vector(random.randint(2), [](float value) { return value; });
      return "vector_across_splits";
    case 5:
      copy_vector(random.randint(2), half);
      return "vector_across_splits";
    case 6:
      copy_image("wsi", true);
      return "image_across_splits";
    case 7:
      copy_image("ct", true);
      return "image_across_splits";
    case 8:
      copy_image("wsi", false);
      return "similar_image_across_splits";
    default: {
      // 10 positives of 20 test patients.
      for (std::size_t p = 40; p < 60; ++p) {
        cohort.split[p] = "test";
        cohort.label[p] = p % 2 == 0 ? 1 : 0;
      }
      return "balanced_test";
    }
  }
}

TEST(Leaks, FindsEachOf200PlantedOnes) {
  int found = 0;
  for (int i = 0; i < 200; ++i) {
    const auto seed = static_cast<std::uint32_t>(i);
    Cohort cohort = clean_cohort(seed);
    auto images = clean_images(cohort, seed);
    const std::string expected = plant(i % kPlants, seed, cohort, images);
    const auto leaks = check_leaks(cohort, images);
    EXPECT_TRUE(codes(leaks).contains(expected)) << "case " << i << ": " << expected;
    EXPECT_EQ(leaks.size(), 1U) << "case " << i << ": more than was planted";
    found += codes(leaks).contains(expected) ? 1 : 0;
  }
  EXPECT_EQ(found, 200);
}

// At most 1 % is allowed; on these none is raised.
TEST(Leaks, RaisesNoFalseAlarmOn200CleanCohorts) {
  int alarms = 0;
  for (std::uint32_t seed = 1000; seed < 1200; ++seed) {
    const Cohort cohort = clean_cohort(seed);
    alarms += check_leaks(cohort, clean_images(cohort, seed)).empty() ? 0 : 1;
  }
  EXPECT_EQ(alarms, 0);
}

// What is shared inside one side of the split is no leak.
TEST(Leaks, LooksAcrossTheSplitOnly) {
  Cohort cohort = clean_cohort(1);
  for (std::size_t c = 0; c < 24; ++c) {
    cohort.modalities[1].items.row(3)[c] = cohort.modalities[1].items.row(5)[c];
  }
  std::vector<ImagePrint> images = {{"ct", "a", cohort.case_ids[0], {"same", {}}},
                                    {"ct", "b", cohort.case_ids[1], {"same", {}}},
                                    {"mri", "c", cohort.case_ids[59], {"same", {}}},
                                    {"ct", "d", "TCGA-ZZ-0000", {"same", {}}}};
  EXPECT_TRUE(check_leaks(cohort, images).empty());
  for (auto& split : cohort.split) split.clear();
  cohort.case_ids[59] = cohort.case_ids[0];
  EXPECT_TRUE(check_leaks(cohort, images).empty());
}

// Few patients may be balanced by chance: 9 of 18 is no alarm, 10 of 20 is.
TEST(Leaks, CountsABalancedTestSetFromTenOfEach) {
  Cohort cohort = clean_cohort(1);
  for (std::size_t p = 0; p < 60; ++p) cohort.split[p] = p < 42 ? "train" : "test";
  for (std::size_t p = 42; p < 60; ++p) cohort.label[p] = p % 2 == 0 ? 1 : 0;
  EXPECT_TRUE(check_leaks(cohort).empty());
  for (std::size_t p = 40; p < 42; ++p) cohort.split[p] = "test";
  cohort.label[40] = 1;
  cohort.label[41] = 0;
  EXPECT_EQ(codes(check_leaks(cohort)), std::set<std::string>{"balanced_test"});
}

// ---- The run

TEST(Leaks, RefuseTheRunUnlessAReasonIsGiven) {
  const TempFolder folder;
  Cohort cohort = small_cohort();
  cohort.case_ids[50] = to_lower(cohort.case_ids[3]) + " ";
  RunSettings settings = brief_settings();
  settings.run.models = {"clinical"};
  RunOptions options;
  options.output = folder.path() / "run";
  EXPECT_THROW(run_cohort(cohort, settings, options, silent_progress()), LeakError);
  EXPECT_FALSE(std::filesystem::exists(options.output));
  options.allow_leak = "patient 3 is meant";
  const auto summary = run_cohort(cohort, settings, options, silent_progress());
  const auto& first = summary.report.at("banners").front();
  EXPECT_EQ(first.at("level"), "danger");
  EXPECT_NE(first.at("text").get<std::string>().find("Reason given: patient 3 is meant"),
            std::string::npos);
  // Without the reason, not even a finished run is taken over.
  options.allow_leak.clear();
  EXPECT_THROW(run_cohort(cohort, settings, options, silent_progress()), LeakError);
}

TEST(Leaks, RefuseARunOnRawFilesByItsImages) {
  RunSettings settings = brief_settings();
  RunOptions options;
  options.dry_run = true;
  options.images = {{"wsi", "a", "P000", {"same", {}}}, {"wsi", "b", "P059", {"same", {}}}};
  testing::expect_error(ErrorKind::kData,
                        "wsi: 1 pair of images of training and test with the same pixels",
                        [&] { run_cohort(small_cohort(), settings, options, silent_progress()); });
}

}  // namespace
}  // namespace med3d::pipeline
