#include "med3d/pipeline/slides/extract_slides.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/io/features.h"
#include "med3d/pipeline/slides/test_slides.h"
#include "med3d/wsi/tile_file.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::small_tiles;
using testing::synth_slides;
using testing::TempFolder;

constexpr std::int64_t kSide = 16;

// The mean of each channel, and a number to count by: fast, and of known value.
class MeanEncoder : public Encoder {
 public:
  std::int64_t embedding_dim() const override { return 3; }
  Precision precision() const override { return used; }
  void calibrate(std::span<const std::uint8_t> rgb) override {
    EXPECT_EQ(calls, 0);
    found = {0.1F, static_cast<float>(rgb.size())};
    calibrated_on = rgb.size() / (3 * kSide * kSide);
  }
  void encode(std::span<const std::uint8_t> rgb, std::span<float> embeddings) override {
    if (calls++ == fail_at) throw Error(ErrorKind::kIo, "the power went");
    const std::size_t pixels = kSide * kSide;
    for (std::size_t i = 0; i < rgb.size() / (3 * pixels); ++i) {
      for (std::size_t c = 0; c < 3; ++c) {
        double sum = 0;
        for (std::size_t p = 0; p < pixels; ++p) sum += rgb[3 * (i * pixels + p) + c];
        embeddings[3 * i + c] = static_cast<float>(sum / static_cast<double>(pixels));
      }
      ++tiles;
      if (tiles == nan_at) embeddings[3 * i] = std::numeric_limits<float>::quiet_NaN();
    }
  }

  std::vector<float> scales() const override { return found; }
  void set_scales(std::span<const float> scales) override {
    found.assign(scales.begin(), scales.end());
  }

  // As a device that holds several batches.
  int in_flight() const override { return ahead; }
  void submit(std::span<const std::uint8_t> rgb) override {
    ASSERT_LT(static_cast<int>(held.size()), ahead);
    std::vector<float> embeddings(rgb.size() / (kSide * kSide));
    encode(rgb, embeddings);
    held.push_back(std::move(embeddings));
    most_held = std::max(most_held, static_cast<int>(held.size()));
  }
  void collect(std::span<float> embeddings) override {
    ASSERT_FALSE(held.empty());
    ASSERT_EQ(held.front().size(), embeddings.size());
    std::copy(held.front().begin(), held.front().end(), embeddings.begin());
    held.pop_front();
  }

  int ahead = 1;
  int most_held = 0;
  std::deque<std::vector<float>> held;
  std::vector<float> found;
  Precision used = Precision::kF32;
  std::size_t calibrated_on = 0;
  int calls = 0;
  int tiles = 0;
  int fail_at = -1;
  int nan_at = -1;
};

class ExtractSlidesTest : public ::testing::Test {
 protected:
  ExtractSlidesTest() : slides_(synth_slides(temp_.path() / "slides")) {
    tiled_ = tile_slides(slides_, folder_, small_tiles(), silent_progress());
    job_.batch = 4;
  }

  std::vector<SlideOutcome> extract() { return extract_with(std::make_unique<MeanEncoder>()); }
  std::vector<SlideOutcome> extract_with(std::unique_ptr<MeanEncoder> encoder) {
    encoder_ = encoder.get();
    loaded_.encoder = std::move(encoder);
    loaded_.name = "mean";
    loaded_.input_px = kSide;
    return extract_slides(slides_, tiled_, folder_, loaded_, job_, silent_progress());
  }
  std::string all_bytes() {
    std::string out;
    for (const char* id : {"a", "b"}) {
      for (const auto& path :
           {folder_.features_h5(id), folder_.features_pt(id), folder_.record(id)}) {
        out += read_file(path, 1 << 20);
      }
    }
    return out;
  }

  TempFolder temp_;
  std::vector<SlideItem> slides_;
  SlideFolder folder_{temp_.path() / "out"};
  std::vector<SlideOutcome> tiled_;
  LoadedEncoder loaded_;
  MeanEncoder* encoder_ = nullptr;
  ExtractJob job_;
};

TEST_F(ExtractSlidesTest, WritesOneRowForEachTileInTheirOrder) {
  const auto outcomes = extract();
  ASSERT_EQ(outcomes[0].status, SlideStatus::kDone) << outcomes[0].reason;
  const auto features = read_features(folder_.features_h5("a"));
  EXPECT_EQ(features, read_features(folder_.features_pt("a")));
  const auto tiles = read_tiles(folder_.tiles("a")).tiles;
  ASSERT_EQ(features.rows(), tiles.coords.rows());
  ASSERT_GT(features.rows(), 6U);
  // The mean of a tile hardly depends on its reduction to 16 x 16.
  const auto slide = open_slide(slides_[0].path);
  for (const std::size_t row : {std::size_t{0}, features.rows() - 1}) {
    const auto pixels = slide->read_region(tiles.coords(row, 0),
                                           tiles.coords(row, 1),
                                           tiles.read_level,
                                           tiles.read_size,
                                           tiles.read_size);
    double sum = 0;
    for (std::size_t i = 1; i < pixels.pixels.size(); i += 3) sum += pixels.pixels[i];
    EXPECT_NEAR(features(row, 1), sum / static_cast<double>(pixels.pixels.size() / 3), 1.0);
  }
}

TEST_F(ExtractSlidesTest, GivesTheSameBytesForAnyBatchAndNumberOfReaders) {
  extract();
  const std::string expected = all_bytes();
  job_.redo = true;
  job_.batch = 5;
  job_.readers = 3;
  extract();
  EXPECT_EQ(all_bytes(), expected);
}

TEST_F(ExtractSlidesTest, GivesTheSameBytesWithBatchesInFlight) {
  extract();
  const std::string expected = all_bytes();
  job_.redo = true;
  for (const int ahead : {2, 3}) {
    auto device = std::make_unique<MeanEncoder>();
    device->ahead = ahead;
    job_.batch = 3;
    extract_with(std::move(device));
    EXPECT_EQ(all_bytes(), expected);
    EXPECT_EQ(encoder_->most_held, ahead);
    EXPECT_TRUE(encoder_->held.empty()) << "a batch was never collected";
  }
}

// What another engine gave is not passed off as this one's.
TEST_F(ExtractSlidesTest, EncodesAgainWhenTheEngineIsAnother) {
  extract();
  loaded_.engine = {Engine::kTorch, "cpu"};
  EXPECT_EQ(extract()[0].status, SlideStatus::kDone);
  EXPECT_EQ(extract()[0].status, SlideStatus::kKept);
  const Json record = read_json(folder_.record("a"));
  EXPECT_EQ(record.at("encoder").at("engine"), "torch");
  EXPECT_EQ(record.at("encoder").at("device"), "cpu");
}

TEST_F(ExtractSlidesTest, TellsWhereTheTimeWentWhenSomethingWasEncoded) {
  int told = 0;
  ExtractTimes times;
  job_.times = [&](const ExtractTimes& found) {
    ++told;
    times = found;
  };
  extract();
  ASSERT_EQ(told, 1);
  EXPECT_EQ(times.tiles, encoder_->tiles);
  EXPECT_GT(times.encode_s, 0.0);
  EXPECT_GT(times.first_s, 0.0);
  EXPECT_GT(times.read_cpu_s, 0.0);
  EXPECT_LE(times.encode_s + times.wait_s, times.wall_s);
  EXPECT_LE(times.read_cpu_s, times.process_cpu_s);
  EXPECT_DOUBLE_EQ(times.busy(), times.encode_s / times.wall_s);
  EXPECT_EQ(times.calibrate_s, 0.0);
  extract();  // all is there already
  EXPECT_EQ(told, 1);
}

TEST_F(ExtractSlidesTest, GoesOnAfterAStopAndEndsWithTheSameBytes) {
  extract();
  const int tiles = encoder_->tiles;
  const std::string expected = all_bytes();
  for (const char* name : {"slides", "h5_files", "pt_files"}) fs::remove_all(folder_.root / name);
  auto stopped = std::make_unique<MeanEncoder>();
  stopped->fail_at = 3;
  EXPECT_THROW(extract_with(std::move(stopped)), Error);
  const auto outcomes = extract();
  EXPECT_EQ(outcomes[0].status, SlideStatus::kDone);
  EXPECT_EQ(all_bytes(), expected);
  EXPECT_LT(encoder_->tiles, tiles) << "nothing was resumed";
  EXPECT_FALSE(fs::exists(folder_.partial("a")));
}

// The scales come from the first slides' tiles, so that a job that goes on takes the same.
TEST_F(ExtractSlidesTest, CalibratesAnInt8EncoderOnTheSlidesBeforeTheirFirstBatch) {
  auto quantised = std::make_unique<MeanEncoder>();
  quantised->used = Precision::kInt8;
  double calibrate_s = 0.0;
  job_.times = [&](const ExtractTimes& times) { calibrate_s = times.calibrate_s; };
  auto outcomes = extract_with(std::move(quantised));
  ASSERT_EQ(outcomes[0].status, SlideStatus::kDone) << outcomes[0].reason;
  const auto tiles = static_cast<std::size_t>(outcomes[0].tiles);
  EXPECT_GE(encoder_->calibrated_on, std::min<std::size_t>(tiles, 8));
  EXPECT_LE(encoder_->calibrated_on, 8 * slides_.size());
  EXPECT_GT(calibrate_s, 0.0);

  // They are kept: another job has them without looking at a tile, unless the weights are others.
  const std::vector<float> scales = encoder_->found;
  EXPECT_EQ(scales.size(), 2U);
  const auto again = [&] {
    quantised = std::make_unique<MeanEncoder>();
    quantised->used = Precision::kInt8;
    outcomes = extract_with(std::move(quantised));
  };
  again();
  EXPECT_EQ(outcomes[0].status, SlideStatus::kKept);
  EXPECT_EQ(encoder_->calibrated_on, 0U);
  EXPECT_EQ(encoder_->found, scales);
  write_file_atomic(folder_.int8_scales(), "{");
  again();
  EXPECT_GT(encoder_->calibrated_on, 0U) << "a damaged file is none";
  EXPECT_EQ(outcomes[0].status, SlideStatus::kKept);
  loaded_.weights_sha256 = "others";
  again();
  EXPECT_GT(encoder_->calibrated_on, 0U);
  EXPECT_EQ(outcomes[0].status, SlideStatus::kDone);

  outcomes = extract();
  EXPECT_EQ(encoder_->calibrated_on, 0U) << "f32 has no scales";
}

TEST_F(ExtractSlidesTest, KeepsWhatFitsAndEncodesWhatDoesNot) {
  extract();
  auto outcomes = extract();
  EXPECT_EQ(outcomes[0].status, SlideStatus::kKept);
  EXPECT_EQ(encoder_->calls, 0);
  EXPECT_EQ(outcomes[0].features, outcomes[0].tiles);

  loaded_.weights_sha256 = "other";
  EXPECT_EQ(extract()[0].status, SlideStatus::kDone);
  loaded_.options = "other";
  EXPECT_EQ(extract()[0].status, SlideStatus::kDone);
  fs::resize_file(folder_.features_pt("b"), 10);
  outcomes = extract();
  EXPECT_EQ(outcomes[0].status, SlideStatus::kKept);
  EXPECT_EQ(outcomes[1].status, SlideStatus::kDone);
}

TEST_F(ExtractSlidesTest, WritesNothingOfASlideWithAValueThatIsNotFinite) {
  auto encoder = std::make_unique<MeanEncoder>();
  encoder->nan_at = 2;  // of the first slide, as there is one reader
  const auto outcomes = extract_with(std::move(encoder));
  EXPECT_EQ(outcomes[0].status, SlideStatus::kFailed);
  EXPECT_NE(outcomes[0].reason.find("not finite in tiles 0 to 3"), std::string::npos)
      << outcomes[0].reason;
  EXPECT_FALSE(fs::exists(folder_.features_h5("a")));
  EXPECT_EQ(outcomes[1].status, SlideStatus::kDone);
}

TEST_F(ExtractSlidesTest, PassesOnWhatTilingCouldNot) {
  tiled_[0].status = SlideStatus::kFailed;
  tiled_[0].reason = "why";
  const auto outcomes = extract();
  EXPECT_EQ(outcomes[0].reason, "why");
  EXPECT_EQ(outcomes[1].status, SlideStatus::kDone);
}

TEST_F(ExtractSlidesTest, FailsASlideWithoutCoordinates) {
  fs::remove(folder_.tiles("a"));
  fs::remove(folder_.process_list());
  tiled_.clear();
  const auto outcomes = extract();
  EXPECT_EQ(outcomes[0].status, SlideStatus::kFailed);
  EXPECT_NE(outcomes[0].reason.find("no coordinates of tiles"), std::string::npos);
  EXPECT_EQ(outcomes[1].status, SlideStatus::kDone);
}

TEST_F(ExtractSlidesTest, KnowsASlideWithoutTissueFromTheProcessList) {
  fs::remove(folder_.tiles("a"));
  tiled_.clear();
  const auto outcomes = extract();
  EXPECT_EQ(outcomes[0].status, SlideStatus::kEmpty);
  EXPECT_EQ(exit_code(outcomes), 0);
}

TEST_F(ExtractSlidesTest, ReadsCoordinatesOfAnotherFolderUnderTridentsName) {
  fs::create_directories(temp_.path() / "other");
  for (const char* id : {"a", "b"}) {
    fs::rename(folder_.tiles(id), temp_.path() / "other" / (std::string(id) + "_patches.h5"));
  }
  tiled_.clear();
  job_.patches = temp_.path() / "other";
  EXPECT_EQ(exit_code(extract()), 0);
}

// Zeros within a slide spoil tiles: too many of them fail it, some are left out and counted.
TEST_F(ExtractSlidesTest, LeavesOutUnreadableTilesUpToAShare) {
  std::string bytes = read_file(slides_[0].path, 1 << 24);
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() / 3), 20'000, '\0');
  write_file_atomic(slides_[0].path, bytes);
  auto outcomes = extract();
  ASSERT_EQ(outcomes[0].status, SlideStatus::kFailed);
  EXPECT_NE(outcomes[0].reason.find("tiles cannot be read, more than 1 %"), std::string::npos);
  EXPECT_EQ(outcomes[1].status, SlideStatus::kDone);
  job_.max_bad_tiles = 1.0;
  outcomes = extract();
  ASSERT_EQ(outcomes[0].status, SlideStatus::kDone) << outcomes[0].reason;
  EXPECT_EQ(outcomes[0].dropped["unreadable"] + outcomes[0].features, outcomes[0].tiles);
  EXPECT_GT(outcomes[0].dropped["unreadable"], 0);
  EXPECT_EQ(read_features(folder_.features_h5("a")).rows(),
            static_cast<std::size_t>(outcomes[0].features));
  // What was kept under a looser rule does not pass the stricter one.
  job_.max_bad_tiles = 0.0;
  EXPECT_EQ(extract()[0].status, SlideStatus::kFailed);
}

TEST_F(ExtractSlidesTest, RefusesOptionsOutOfTheirRange) {
  job_.batch = 0;
  EXPECT_THROW(extract(), Error);
  job_.batch = 4;
  job_.max_bad_tiles = 2;
  EXPECT_THROW(extract(), Error);
}

}  // namespace
}  // namespace med3d::pipeline
