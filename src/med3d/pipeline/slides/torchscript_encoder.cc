#include "med3d/pipeline/slides/torchscript_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/nn/torchscript.h"

namespace med3d::pipeline {
namespace {

constexpr std::size_t kChannels = 3;

class TorchScriptEncoder : public Encoder {
 public:
  TorchScriptEncoder(nn::TorchScriptModule module, const TorchScriptOptions& options)
      : module_(std::move(module)), side_(static_cast<std::size_t>(options.input_px)) {
    for (std::size_t c = 0; c < kChannels; ++c) {
      for (std::size_t value = 0; value < table_[c].size(); ++value) {
        table_[c][value] =
            (static_cast<float>(value) / 255.0F - options.mean[c]) / options.stddev[c];
      }
    }
    const std::vector<std::uint8_t> black(kChannels * side_ * side_, 0);
    const Matrix<float> row = run(black, 1);
    for (const float value : row.row(0)) {
      if (!std::isfinite(value)) {
        throw Error(ErrorKind::kData, "the program gives a value that is not finite");
      }
    }
    dim_ = static_cast<std::int64_t>(row.cols());
  }

  std::int64_t embedding_dim() const override { return dim_; }
  Precision precision() const override { return Precision::kF32; }

  void encode(std::span<const std::uint8_t> rgb, std::span<float> embeddings) override {
    const std::size_t n = rgb.size() / (kChannels * side_ * side_);
    // One at a time: how a program sums may depend on the tiles beside it in a batch, and a resumed
    // job has other neighbours.
    for (std::size_t i = 0; i < n; ++i) {
      const Matrix<float> row =
          run(rgb.subspan(i * kChannels * side_ * side_, kChannels * side_ * side_), 1);
      if (static_cast<std::int64_t>(row.cols()) != dim_) {
        throw Error(
            ErrorKind::kData,
            fmt::format(
                "the program gave {} numbers for a tile and {} for the first", row.cols(), dim_));
      }
      std::copy_n(row.row(0).begin(),
                  row.cols(),
                  embeddings.begin() + static_cast<std::ptrdiff_t>(i * row.cols()));
    }
  }

 private:
  Matrix<float> run(std::span<const std::uint8_t> rgb, std::size_t n) {
    const std::size_t plane = side_ * side_;
    input_.resize(n * kChannels * plane);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < kChannels; ++c) {
        float* out = input_.data() + (i * kChannels + c) * plane;
        const std::uint8_t* in = rgb.data() + i * kChannels * plane + c;
        for (std::size_t p = 0; p < plane; ++p) out[p] = table_[c][in[kChannels * p]];
      }
    }
    return module_.forward(input_, n, kChannels, side_, side_);
  }

  nn::TorchScriptModule module_;
  std::size_t side_;
  std::int64_t dim_ = 0;
  std::array<std::array<float, 256>, kChannels> table_{};  // normalised value of a byte
  std::vector<float> input_;
};

}  // namespace

void TorchScriptOptions::validate() const {
  if (input_px < 1 || input_px > 4096) {
    throw Error(ErrorKind::kUsage, fmt::format("input_px is {}, expected 1 to 4096", input_px));
  }
  for (std::size_t c = 0; c < kChannels; ++c) {
    if (!std::isfinite(mean[c]) || !std::isfinite(stddev[c]) || !(stddev[c] > 0)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("mean {} and standard deviation {}, expected finite numbers, the "
                              "latter above 0",
                              mean[c],
                              stddev[c]));
    }
  }
  if (batch < 1)
    throw Error(ErrorKind::kUsage, fmt::format("batch is {}, expected 1 or more", batch));
}

std::string TorchScriptOptions::text() const {
  return fmt::format("input {} mean {} {} {} std {} {} {}",
                     input_px,
                     mean[0],
                     mean[1],
                     mean[2],
                     stddev[0],
                     stddev[1],
                     stddev[2]);
}

std::unique_ptr<Encoder> load_torchscript_encoder(const std::filesystem::path& program,
                                                  const TorchScriptOptions& options) {
  options.validate();
  return std::make_unique<TorchScriptEncoder>(
      nn::TorchScriptModule::load(program, nn::DeviceKind::kCpu, options.threads), options);
}

}  // namespace med3d::pipeline
