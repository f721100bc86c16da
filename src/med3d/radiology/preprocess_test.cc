#include "med3d/radiology/preprocess.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "med3d/core/file.h"
#include "med3d/io/formats/deflate.h"
#include "med3d/io/formats/npy.h"
#include "med3d/radiology/test_support.inc"
#include "med3d/radiology/test_volume.inc"

namespace med3d {
namespace {

// A numpy array (D, H, W) as a volume: nothing is turned.
Volume volume_of(const Array& array) {
  Volume out;
  const std::size_t skip = array.shape.size() - 3;
  for (std::size_t i = 0; i < 3; ++i)
    out.size[i] = static_cast<std::int64_t>(array.shape[skip + 2 - i]);
  out.voxels = as_f32(array);
  return out;
}

RecipeOptions as_stored(VolumeSize size) {
  RecipeOptions out;
  out.size = size;
  out.orientation = "";
  out.threads = 2;
  return out;
}

// MedicalNet's own code on a real MR (reference/05_medicalnet.py).
TEST(Preprocess, MedicalNetRecipeGivesTheTensorsOfItsOwnCode) {
  const auto root = test_data("reference/medicalnet/t1_kmeans");
  MED3D_NEEDS_DATA(root);
  for (const std::string order : {"dhw", "xyz"}) {
    const Volume raw = volume_of(read_npy(root / (order == "dhw" ? "raw_dhw.npy" : "raw.npy")));
    const auto folder = root / (order + "_24x96x96");
    EXPECT_EQ(zoom_nearest(raw, {96, 96, 24}).voxels, as_f32(read_npy(folder / "resized.npy")));
    RecipeOptions options = as_stored({96, 96, 24});
    const VolumeRecipe& recipe = volume_recipe("medicalnet");
    const std::vector<float> kept = recipe.apply(raw, options).voxels;
    const std::vector<float> expected = as_f32(read_npy(folder / "input_zero0.npy"));
    options.zeros = ZeroVoxels::kNoise;
    options.seed = 1234;  // the reference's
    const std::vector<float> noisy = recipe.apply(raw, options).voxels;
    const std::vector<float> expected_noise = as_f32(read_npy(folder / "input.npy"));
    ASSERT_EQ(kept.size(), expected.size());
    for (std::size_t i = 0; i < kept.size(); ++i) {
      ASSERT_NEAR(kept[i], expected[i], 1e-6) << i;
      ASSERT_NEAR(noisy[i], expected_noise[i], 1e-6) << i;
    }
  }
}

TEST(Preprocess, MedicalNetRecipeResizesToThePapersSize) {
  const auto root = test_data("reference/medicalnet/t1_kmeans");
  MED3D_NEEDS_DATA(root);
  const Volume raw = volume_of(read_npy(root / "raw_dhw.npy"));
  const Array resized = parse_npy(
      gzip_decompress(read_file(root / "dhw_56x448x448/resized.npy.gz", 1 << 24), 1 << 28, "r"),
      "resized");
  EXPECT_TRUE(zoom_nearest(raw, {448, 448, 56}).voxels == as_f32(resized));
}

// tests/reference/volume_resize.py
TEST(Preprocess, PaperRecipeClipsScalesAndResizes) {
  Volume volume = reference_grid(7, 8, 9);
  for (float& voxel : volume.voxels) voxel = voxel * 40.0F - 1500.0F;
  const Volume out = volume_recipe("paper").apply(volume, as_stored({4, 6, 5}));
  EXPECT_NEAR(checksum(out), 5976.13154706909, 1e-3);
  EXPECT_NEAR(out.voxels.front(), -2.665291037881121, 1e-6);  // (-1024 + 158.58) / 324.70
  EXPECT_NEAR(out.voxels.back(), 1.1659377887280569, 1e-6);
  EXPECT_EQ(RecipeOptions().size, (VolumeSize{448, 448, 56}));
}

TEST(Preprocess, MrRecipeNormalisesTheVoxelsThatAreNotZero) {
  const Volume volume = reference_grid(7, 8, 9);
  const Volume out = volume_recipe("mr").apply(volume, as_stored({9, 8, 7}));
  EXPECT_NEAR(checksum(out), 72.036769573161, 1e-2);  // 504 sums of single precision
  EXPECT_EQ(out.voxels[0], 0.0F);
  EXPECT_NEAR(out.voxels[1], -0.42851058094228384, 1e-6);
}

TEST(Preprocess, CtRecipeNormalisesByTheBody) {
  Volume volume;
  volume.size = {4, 1, 1};
  volume.units = VoxelUnits::kHu;
  volume.voxels = {-3024, 0, 100, 3000};
  const Volume out = volume_recipe("ct").apply(volume, as_stored({4, 1, 1}));
  // Above -500: 0, 100, 1024; mean 374.667, sd = sqrt(((374.667)^2 + 274.667^2 + 649.333^2) / 3).
  const double mean = 1124.0 / 3;
  const double sd =
      std::sqrt((mean * mean + (100 - mean) * (100 - mean) + (1024 - mean) * (1024 - mean)) / 3);
  EXPECT_NEAR(out.voxels[0], (-1024 - mean) / sd, 1e-6);
  EXPECT_NEAR(out.voxels[2], (100 - mean) / sd, 1e-6);
  EXPECT_NEAR(out.voxels[3], (1024 - mean) / sd, 1e-6);
}

TEST(Preprocess, BringsAxesToOneOrientation) {
  const Volume volume = reference_grid(4, 4, 4);
  RecipeOptions options;
  options.size = {4, 4, 4};
  const Volume turned = reorient(volume, "RAI");
  EXPECT_EQ(volume_recipe("paper").apply(turned, options).voxels,
            volume_recipe("paper").apply(volume, options).voxels);
  options.orientation = "";
  EXPECT_NE(volume_recipe("paper").apply(turned, options).voxels,
            volume_recipe("paper").apply(volume, options).voxels);
}

TEST(Preprocess, NamesWhatItCannotNormalise) {
  Volume flat = reference_grid(2, 2, 2);
  for (float& voxel : flat.voxels) voxel = 5.0F;
  const RecipeOptions options = as_stored({2, 2, 2});
  const auto refused = [&](const char* recipe, const std::string& part) {
    expect_error(ErrorKind::kData, part, [&] { volume_recipe(recipe).apply(flat, options); });
  };
  refused("medicalnet", "all 8 voxels above 0 are equal");
  refused("mr", "all 8 voxels other than 0 are equal");
  refused("ct", "arbitrary units");
  for (float& voxel : flat.voxels) voxel = 0.0F;
  refused("medicalnet", "no voxel above 0");
  refused("mr", "no voxel other than 0");
  flat.units = VoxelUnits::kHu;
  for (float& voxel : flat.voxels) voxel = -1000.0F;
  refused("ct", "no voxel above -500 HU");
  expect_error(ErrorKind::kUsage, "did you mean 'medicalnet'", [] { volume_recipe("medicalnte"); });
  expect_error(ErrorKind::kUsage, "a side of 0 voxels", [&] {
    volume_recipe("paper").apply(flat, as_stored({0, 2, 2}));
  });
  EXPECT_EQ(volume_recipes().size(), 4U);
}

}  // namespace
}  // namespace med3d
