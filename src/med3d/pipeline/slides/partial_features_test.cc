#include "med3d/pipeline/slides/partial_features.h"

#include <gtest/gtest.h>

#include <fstream>

#include "med3d/core/error.h"
#include "med3d/core/file.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

class PartialFeaturesTest : public testing::Test {
 protected:
  PartialFeaturesTest() {
    std::string name = (fs::temp_directory_path() / "med3d-partial-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    path_ = folder_ / "slide.part";
  }
  ~PartialFeaturesTest() override { fs::remove_all(folder_); }

  // Two of three tiles kept, dim 2.
  static FeatureBatch batch(std::uint64_t first) {
    const auto f = static_cast<float>(first);
    return {first, {0, 3, 0}, {f, f + 1, f + 2, f + 3}};
  }
  std::vector<FeatureBatch> all(const PartialFeatures& features) const {
    std::vector<FeatureBatch> out;
    features.read([&](const FeatureBatch& b) { out.push_back(b); });
    return out;
  }

  fs::path folder_;
  fs::path path_;
};

TEST_F(PartialFeaturesTest, GoesOnWhereItStopped) {
  {
    PartialFeatures features(path_, "key", 2);
    features.append(batch(0));
    features.append(batch(3));
  }
  PartialFeatures features(path_, "key", 2);
  EXPECT_EQ(features.tiles_done(), 6U);
  EXPECT_EQ(features.rows(), 4U);
  features.append(batch(6));
  const auto read = all(features);
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read[1].first, 3U);
  EXPECT_EQ(read[1].dropped, (std::vector<std::uint8_t>{0, 3, 0}));
  EXPECT_EQ(read[2].embeddings, (std::vector<float>{6, 7, 8, 9}));
}

TEST_F(PartialFeaturesTest, BeginsAnewForAnotherKeyOrWidth) {
  { PartialFeatures(path_, "key", 2).append(batch(0)); }
  EXPECT_EQ(PartialFeatures(path_, "other", 2).tiles_done(), 0U);
  { PartialFeatures(path_, "key", 2).append(batch(0)); }
  EXPECT_EQ(PartialFeatures(path_, "key", 3).tiles_done(), 0U);
}

// Cut at every byte: what is taken over is always whole records, and what was cut can be redone.
TEST_F(PartialFeaturesTest, TakesOnlyWholeRecordsOfAFileCutAnywhere) {
  {
    PartialFeatures features(path_, "key", 2);
    features.append(batch(0));
    features.append(batch(3));
  }
  const std::string whole = read_file(path_, 1 << 20);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    PartialFeatures features(path_, "key", 2);
    ASSERT_EQ(features.tiles_done() % 3, 0U) << size;
    ASSERT_LT(features.tiles_done(), 6U) << size;
    for (std::uint64_t first = features.tiles_done(); first < 6; first += 3) {
      features.append(batch(first));
    }
    ASSERT_EQ(read_file(path_, 1 << 20), whole) << size;
  }
}

TEST_F(PartialFeaturesTest, CutsOffARecordWithAFlippedBit) {
  {
    PartialFeatures features(path_, "key", 2);
    features.append(batch(0));
    features.append(batch(3));
  }
  std::string bytes = read_file(path_, 1 << 20);
  bytes[bytes.size() - 20] = static_cast<char>(bytes[bytes.size() - 20] ^ 1);
  std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  EXPECT_EQ(PartialFeatures(path_, "key", 2).tiles_done(), 3U);
}

TEST_F(PartialFeaturesTest, RefusesABatchThatIsNotTheNext) {
  PartialFeatures features(path_, "key", 2);
  EXPECT_THROW(features.append(batch(3)), Error);
  FeatureBatch wrong = batch(0);
  wrong.embeddings.pop_back();
  EXPECT_THROW(features.append(wrong), Error);
}

}  // namespace
}  // namespace med3d::pipeline
