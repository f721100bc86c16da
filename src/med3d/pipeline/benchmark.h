// What this machine does a second: encoders, readers of slides, training. For `med3d bench`, and
// for whoever wants to know before a night's job how long it will take.
//
// Rates are the best of turns: work and a matrix product (kernels/product_rate.h) alternate for
// `seconds`, at least twice, and each counts by its fastest turn, so that a busy neighbour slows
// both or neither. One thread is timed in processor seconds, several on the wall. Nothing here is
// reproducible to the bit but the work itself: inputs are made from fixed seeds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "med3d/encoders/encoder.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/kernels/cpu.h"
#include "med3d/pipeline/engine.h"

namespace med3d::pipeline {

struct BenchSettings {
  int threads = 1;
  double seconds = 3.0;  // of each measurement; above 0
  // Of the matrix product it is set beside, 64 to 16,384; below about 2,000 it is slower than the
  // processor can.
  std::int64_t product_side = 4096;

  void validate() const;  // Error(kUsage)
};

// Work beside the matrix product of the same arithmetic and threads.
struct BenchRate {
  double per_s = 0.0;          // pieces of work
  double matmul_gflops = 0.0;  // of the product, in the same turns
  double share = 0.0;          // of that rate, by the operations of the work; 0 where not counted
};

struct EncoderBench {
  std::string name;
  std::string unit;  // "tiles" or "volumes"
  Precision precision = Precision::kF32;
  BenchRate rate;
  std::size_t bytes = 0;  // weights and activations
  double load_s = 0.0;    // from the call to a net that is ready, wall
  ChosenEngine engine;
  // On CUDA, where the matrix product of this processor is no measure and is 0: of the wall time,
  // that in which this thread stood still for the device. Below 1 the device waited, or would have
  // had to without a batch ahead.
  double device_busy = 0.0;
  // Tiles: of all processor time from slide to features, what reading (JPEG tiles of a slide on a
  // grid) and resizing take, on one processor for both; 0 for volumes.
  double decode_share = 0.0;
};

struct EncoderBenchOptions {
  std::string encoder = "resnet50-untrained";  // of tiles or of volumes
  std::filesystem::path weights;               // of a trained one
  Precision precision = Precision::kF32;
  ChosenEngine engine;
  std::int64_t batch = 16;
  VolumeExtent extent = {56, 448, 448};
  double tile_decode_s = 0.0;  // processor seconds to read a tile: 1 / ReaderBench::grid_per_s
};

// On CUDA as many batches are in flight as the encoder holds, and the rate is that of the wall.
// int8 takes its scales from the batch it is measured on, and its share is of bf16's product.
//
// Throws Error(kUsage) for a name that is not there, kUnsupported for a precision that the encoder
// or the processor lacks (bf16 where it would be emulated), and what loading throws.
EncoderBench bench_encoder(const EncoderBenchOptions& options, const BenchSettings& settings);

// A second is one of a processor, or of the wall where slides are decoded in workers.
struct ReaderBench {
  std::string format;         // "tiff"
  double random_per_s = 0.0;  // patches at random corners of level 0
  double grid_per_s = 0.0;    // neighbours, row by row from the middle row on
  double open_s = 0.0;        // wall
  std::int64_t patch_px = 256;
};

// A made slide of 4,096 x 4,096 pixels in JPEG tiles, nearly all tissue, in the system's folder for
// temporary files until the object goes away.
class BenchSlide {
 public:
  explicit BenchSlide(int threads);  // Throws Error(kIo)
  ~BenchSlide();
  BenchSlide(const BenchSlide&) = delete;
  BenchSlide& operator=(const BenchSlide&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path folder_;
  std::filesystem::path path_;
};

// One slide, one thread: slides are read beside each other, not one by several.
//
// Throws as open_slide and read_region; Error(kData) for a slide smaller than a patch.
ReaderBench bench_reader(const std::filesystem::path& slide,
                         std::int64_t patch_px,
                         const BenchSettings& settings);

struct TrainBench {
  std::string model;      // "clam_sb", "fusion"
  std::string precision;  // "f32" or "bf16"
  std::string unit;       // "bags" or "steps"
  BenchRate rate;
};

// Steps of CLAM_SB on bags of `patches` x 1,024 (Adam, dropout, instance clustering).
// Throws Error(kUnsupported) for kBf16 where it would be emulated.
TrainBench bench_clam(Arithmetic arithmetic, std::size_t patches, const BenchSettings& settings);

// Steps of 32 patients of the fusion net (blocks of 64, 1,024 and 512; on one thread whatever the
// settings say, as folds are trained beside each other). Needs LibTorch.
TrainBench bench_fusion(const BenchSettings& settings);

}  // namespace med3d::pipeline
