// Small scans in a temporary folder, and an encoder of known value, for the tests of this folder.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "med3d/pipeline/test_support.h"
#include "med3d/pipeline/volumes/extract_volumes.h"
#include "med3d/radiology/nifti.h"

namespace med3d::pipeline::testing {

// 6 x 5 x 4 voxels: value `base` at the first, one more at each next.
inline Volume ramp(float base) {
  Volume out;
  out.size = {6, 5, 4};
  for (int i = 0; i < 120; ++i) out.voxels.push_back(base + static_cast<float>(i));
  return out;
}

// The mean, the largest and the last voxel: fast, and of known value.
class MeanVolumeEncoder : public VolumeEncoder {
 public:
  std::int64_t embedding_dim() const override { return 3; }
  Precision precision() const override { return Precision::kF32; }
  double operations() const override { return 0; }
  std::size_t bytes() const override { return 0; }
  void encode(std::span<const float> volume,
              const VolumeExtent& extent,
              std::span<float> embedding) override {
    if (calls++ == fail_at) throw Error(ErrorKind::kIo, "the power went");
    last_extent = extent;
    double sum = 0;
    float most = volume.front();
    for (const float voxel : volume) {
      sum += static_cast<double>(voxel);
      most = std::max(most, voxel);
    }
    embedding[0] = static_cast<float>(sum / static_cast<double>(volume.size()));
    embedding[1] = most;
    embedding[2] = calls - 1 == nan_at ? std::numeric_limits<float>::quiet_NaN() : volume.back();
  }
  FeatureMap encode_with_map(std::span<const float>,
                             const VolumeExtent&,
                             std::span<float>) override {
    return {};
  }

  VolumeExtent last_extent{};
  int calls = 0;
  int fail_at = -1;
  int nan_at = -1;
};

}  // namespace med3d::pipeline::testing
