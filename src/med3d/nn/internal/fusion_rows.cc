#include "med3d/nn/internal/fusion_rows.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "med3d/core/error.h"

namespace med3d::nn {

void check_fusion_input(const FusionInput& input,
                        const std::vector<std::size_t>& block_inputs,
                        const char* what) {
  const std::string name = what;
  const std::size_t n = input.present.rows();
  if (input.blocks.size() != block_inputs.size() || input.present.cols() != block_inputs.size()) {
    throw Error(ErrorKind::kData,
                name + ": " + std::to_string(input.blocks.size()) + " blocks and " +
                    std::to_string(input.present.cols()) + " mask columns, expected " +
                    std::to_string(block_inputs.size()) + " of each");
  }
  if (n == 0) throw Error(ErrorKind::kData, name + ": no rows");
  for (std::size_t k = 0; k < block_inputs.size(); ++k) {
    const Matrix<float>& block = input.blocks[k];
    if (block.rows() != n || block.cols() != block_inputs[k] || block.cols() == 0) {
      throw Error(ErrorKind::kData,
                  name + ": block " + std::to_string(k) + " is " + std::to_string(block.rows()) +
                      " x " + std::to_string(block.cols()) + ", expected " + std::to_string(n) +
                      " x " +
                      (block_inputs[k] == 0 ? "1 or more" : std::to_string(block_inputs[k])));
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (input.present(i, k) > 1) {
        throw Error(ErrorKind::kData,
                    name + ": mask of row " + std::to_string(i) + ", block " + std::to_string(k) +
                        " is " + std::to_string(input.present(i, k)) + ", expected 0 or 1");
      }
      if (input.present(i, k) == 0) continue;
      const auto row = block.row(i);
      for (std::size_t j = 0; j < row.size(); ++j) {
        if (!std::isfinite(row[j])) {
          throw Error(ErrorKind::kData,
                      name + ": row " + std::to_string(i) + " of block " + std::to_string(k) +
                          " is marked present but column " + std::to_string(j) + " is not finite");
        }
      }
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    const auto mask = input.present.row(i);
    if (std::find(mask.begin(), mask.end(), std::uint8_t{1}) == mask.end()) {
      throw Error(ErrorKind::kData,
                  name + ": row " + std::to_string(i) + " has no modality present");
    }
  }
}

std::vector<Standardise> standardise_blocks(const FusionInput& input) {
  std::vector<Standardise> result;
  for (std::size_t k = 0; k < input.blocks.size(); ++k) {
    const Matrix<float>& block = input.blocks[k];
    std::vector<double> mean(block.cols(), 0.0);
    std::vector<double> squares(block.cols(), 0.0);
    double n = 0.0;
    for (std::size_t i = 0; i < block.rows(); ++i) {
      if (input.present(i, k) == 0) continue;
      n += 1.0;
      for (std::size_t j = 0; j < block.cols(); ++j) mean[j] += block(i, j);
    }
    if (n == 0.0) {
      throw Error(
          ErrorKind::kData,
          "fusion: block " + std::to_string(k) + " is present in no training row; leave it out");
    }
    for (double& value : mean) value /= n;
    for (std::size_t i = 0; i < block.rows(); ++i) {
      if (input.present(i, k) == 0) continue;
      for (std::size_t j = 0; j < block.cols(); ++j) {
        squares[j] += (block(i, j) - mean[j]) * (block(i, j) - mean[j]);
      }
    }
    Standardise block_result;
    for (std::size_t j = 0; j < block.cols(); ++j) {
      const double sd = std::sqrt(squares[j] / n);
      block_result.mean.push_back(static_cast<float>(mean[j]));
      // Equal values may differ from their mean by its rounding.
      const bool constant = sd <= 1e-6 * std::abs(mean[j]) || sd < 1e-30;
      block_result.scale.push_back(constant ? 1.0F : static_cast<float>(sd));
    }
    result.push_back(std::move(block_result));
  }
  return result;
}

void fusion_row(const FusionInput& input,
                const std::vector<Standardise>& standardise,
                FusionMode mode,
                std::size_t row,
                std::span<const std::uint8_t> mask,
                float noise_sd,
                RandomStream* random,
                float* out) {
  float total = 0.0F;
  for (const std::uint8_t bit : mask) total += bit;
  const float share = mode == FusionMode::kMean ? 1.0F / (total + 1e-6F) : 1.0F;
  for (std::size_t k = 0; k < mask.size(); ++k) {
    const std::size_t width = input.blocks[k].cols();
    if (mask[k] == 0) {
      std::fill_n(out, width, 0.0F);
    } else {
      const auto x = input.blocks[k].row(row);
      const Standardise& s = standardise[k];
      for (std::size_t j = 0; j < width; ++j) out[j] = (x[j] - s.mean[j]) / s.scale[j];
      if (random != nullptr && noise_sd > 0.0F) {
        for (std::size_t j = 0; j < width; ++j) out[j] += noise_sd * random->normal();
      }
      if (mode == FusionMode::kMean) {
        for (std::size_t j = 0; j < width; ++j) out[j] *= share;
      }
    }
    out += width;
  }
  for (const std::uint8_t bit : mask) *out++ = bit != 0 ? share : 0.0F;
}

void drop_modalities(std::span<std::uint8_t> mask, double p, RandomStream& random) {
  std::vector<std::size_t> had;
  std::size_t left = 0;
  for (std::size_t k = 0; k < mask.size(); ++k) {
    if (mask[k] == 0) continue;
    had.push_back(k);
    if (random.uniform() < p) {
      mask[k] = 0;
    } else {
      ++left;
    }
  }
  if (left == 0 && !had.empty()) mask[had[random.below(had.size())]] = 1;
}

Parameters standardise_parameters(const std::vector<Standardise>& standardise) {
  Parameters result;
  for (std::size_t k = 0; k < standardise.size(); ++k) {
    const std::string name = "standardise" + std::to_string(k + 1);
    const Standardise& s = standardise[k];
    result.push_back({name + ".mean", {s.mean.size()}, s.mean});
    result.push_back({name + ".scale", {s.scale.size()}, s.scale});
  }
  return result;
}

std::vector<Standardise> read_standardise(const Parameters& parameters,
                                          const std::vector<std::size_t>& block_inputs) {
  std::vector<Standardise> standardise;
  for (std::size_t k = 0; k < block_inputs.size(); ++k) {
    const std::string name = "standardise" + std::to_string(k + 1);
    const Parameter& mean = find_parameter(parameters, name + ".mean");
    const Parameter& scale = find_parameter(parameters, name + ".scale");
    check_parameter(mean, {block_inputs[k]});
    check_parameter(scale, {block_inputs[k]});
    for (std::size_t j = 0; j < scale.values.size(); ++j) {
      if (scale.values[j] > 0.0F) continue;
      throw Error(ErrorKind::kData,
                  "parameter '" + scale.name + "', value " + std::to_string(j) + " is not above 0");
    }
    standardise.push_back({mean.values, scale.values});
  }
  return standardise;
}

}  // namespace med3d::nn
