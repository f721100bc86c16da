// An encoder of the user's own, exported from PyTorch, as an Encoder of tiles.
//
// Such a file is a program that runs with our rights: see nn/torchscript.h before loading one.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "med3d/encoders/encoder.h"

namespace med3d::pipeline {

struct TorchScriptOptions {
  std::int64_t input_px = 224;  // side of the tile it takes, 1 to 4096
  std::array<float, 3> mean = {
      0.485F, 0.456F, 0.406F};  // ImageNet's, of red, green, blue in [0, 1]
  std::array<float, 3> stddev = {0.229F, 0.224F, 0.225F};  // > 0
  int threads = 1;
  std::int64_t batch = 16;

  void validate() const;  // Error(kUsage) naming the field
  // What of these decides a feature's bits, for records: "input 224 mean 0.485 ... std 0.229 ...".
  std::string text() const;
};

// Loads the program and runs it on one black tile, which tells the width of its output.
// Throws Error(kUsage) for options out of their range, kData if the tile does not give one row of
// finite numbers, and as nn::TorchScriptModule.
std::unique_ptr<Encoder> load_torchscript_encoder(const std::filesystem::path& program,
                                                  const TorchScriptOptions& options);

}  // namespace med3d::pipeline
