#include "med3d/pipeline/benchmark.h"

#include <gtest/gtest.h>

#include "med3d/core/error.h"
#include "med3d/kernels/cpu.h"

namespace med3d::pipeline {
namespace {

constexpr BenchSettings kBrief = {2, 0.01, 512};

TEST(BenchReader, ReadsAMadeSlideAndRemovesIt) {
  std::filesystem::path path;
  {
    const BenchSlide slide(2);
    path = slide.path();
    const ReaderBench found = bench_reader(path, 256, kBrief);
    EXPECT_EQ(found.format, "tiff");
    EXPECT_GT(found.random_per_s, 0.0);
    EXPECT_GT(found.grid_per_s, 0.0);
    try {
      bench_reader(path, 4097, kBrief);
      ADD_FAILURE() << "a patch larger than the slide was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_STREQ(error.what(),
                   "a slide of 4096 x 4096 pixels, expected at least one patch of 4097");
    }
  }
  EXPECT_FALSE(std::filesystem::exists(path.parent_path()));
}

TEST(BenchEncoder, CountsOperationsOfTilesAndVolumes) {
  EncoderBenchOptions options;
  options.encoder = "resnet18-3d-untrained";
  options.extent = {8, 32, 32};
  const EncoderBench volume = bench_encoder(options, kBrief);
  EXPECT_EQ(volume.unit, "volumes");
  EXPECT_GT(volume.rate.share, 0.0);
  EXPECT_EQ(volume.decode_share, 0.0);

  options.encoder = "resnet50-untrained";
  options.batch = 1;
  options.tile_decode_s = 1.0;  // far more than encoding takes
  const EncoderBench tile = bench_encoder(options, kBrief);
  EXPECT_EQ(tile.unit, "tiles");
  EXPECT_GT(tile.rate.share, 0.0);
  EXPECT_GT(tile.bytes, 20'000'000U);  // 8.5 million weights of four bytes
  EXPECT_GT(tile.decode_share, 0.5);
}

TEST(BenchEncoder, NamesWhatItCannotDo) {
  EncoderBenchOptions options;
  options.encoder = "resnet5";
  EXPECT_THROW(bench_encoder(options, kBrief), Error);
  options.encoder = "resnet50-untrained";
  EXPECT_THROW(bench_encoder(options, {0, 1.0}), Error);
  EXPECT_THROW(bench_encoder(options, {1, 0.0}), Error);
  EXPECT_THROW(bench_encoder(options, {1, 1.0, 63}), Error);
  options.precision = Precision::kBf16;
  if (!native_bf16()) {
    EXPECT_THROW(bench_encoder(options, kBrief), Error);
  }
}

TEST(BenchTrain, MeasuresSteps) {
  const TrainBench clam = bench_clam(Arithmetic::kF32, 20, kBrief);
  EXPECT_EQ(clam.unit, "bags");
  EXPECT_GT(clam.rate.per_s, 0.0);
  EXPECT_GT(clam.rate.share, 0.0);
}

}  // namespace
}  // namespace med3d::pipeline
