#include "med3d/pipeline/slides/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "med3d/core/error.h"
#include "med3d/mil/clam_weights.h"

namespace med3d::pipeline {

std::size_t attention_row(const mil::ClamOptions& options, const mil::BagOutput& said) {
  return options.heads() > 1 ? static_cast<std::size_t>(said.predicted) : 0;
}

std::vector<double> attention_weights(std::span<const float> raw) {
  if (raw.empty()) return {};
  const double highest = *std::max_element(raw.begin(), raw.end());
  std::vector<double> out;
  out.reserve(raw.size());
  double sum = 0.0;
  for (const float score : raw) {
    out.push_back(std::exp(static_cast<double>(score) - highest));
    sum += out.back();
  }
  for (double& weight : out) weight /= sum;
  return out;
}

bool is_part_of(const Matrix<std::int64_t>& part, const Matrix<std::int64_t>& whole) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < part.rows(); ++i, ++at) {
    while (at < whole.rows() && (whole(at, 0) != part(i, 0) || whole(at, 1) != part(i, 1))) ++at;
    if (at == whole.rows()) return false;
  }
  return true;
}

AttendSlide attend_with(const std::filesystem::path& checkpoint, int threads) {
  mil::ClamOptions base;
  base.threads = threads;
  // AttendSlide can be copied, a net cannot: the copies share it.
  const auto net = std::make_shared<mil::Clam>(mil::read_clam(checkpoint, base));
  if (!net->options().has_attention()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: a {} net, which has no attention",
                            checkpoint.string(),
                            to_string(net->options().model_type)));
  }
  return [net](const Matrix<float>& features) {
    const auto said = net->forward({features.data(), features.rows(), features.cols()});
    const std::size_t row = attention_row(net->options(), said);
    const auto raw = said.attention_raw.row(row);
    SlideAttention out;
    for (const double weight : attention_weights(raw)) {
      out.weight.push_back(static_cast<float>(weight));
    }
    const auto embedding = said.embedding.row(row);
    out.embedding.assign(embedding.begin(), embedding.end());
    out.highest = *std::max_element(raw.begin(), raw.end());
    return out;
  };
}

}  // namespace med3d::pipeline
