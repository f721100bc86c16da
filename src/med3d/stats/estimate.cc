#include "med3d/stats/estimate.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/normal.hpp>

#include "med3d/core/error.h"

namespace med3d::stats {

void require_labels_and_scores(std::span<const std::uint8_t> label, std::span<const double> score) {
  if (label.size() != score.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{} labels but {} scores, expected one of each per patient",
                            label.size(),
                            score.size()));
  }
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] > 1) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}: label {}, expected 0 or 1", i, static_cast<int>(label[i])));
    }
    if (!std::isfinite(score[i])) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}: score {}, expected a finite number", i, score[i]));
    }
  }
}

void require_labels_and_probabilities(std::span<const std::uint8_t> label,
                                      std::span<const double> probability) {
  require_labels_and_scores(label, probability);
  for (std::size_t i = 0; i < probability.size(); ++i) {
    if (probability[i] < 0.0 || probability[i] > 1.0) {
      throw Error(
          ErrorKind::kData,
          fmt::format("row {}: probability {}, expected a number in [0, 1]", i, probability[i]));
    }
  }
}

void require_confidence(double confidence) {
  if (!(confidence > 0.0 && confidence < 1.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("confidence {}, expected a number above 0 and below 1", confidence));
  }
}

double normal_quantile_two_sided(double confidence) {
  require_confidence(confidence);
  return boost::math::quantile(boost::math::normal(), 0.5 + confidence / 2.0);
}

double sorted_quantile(std::span<const double> sorted_values, double q) {
  const double position = q * static_cast<double>(sorted_values.size() - 1);
  const auto lower = static_cast<std::size_t>(
      std::clamp(std::floor(position), 0.0, static_cast<double>(sorted_values.size() - 1)));
  const std::size_t upper = std::min(lower + 1, sorted_values.size() - 1);
  const double t = position - static_cast<double>(lower);
  const double step = sorted_values[upper] - sorted_values[lower];
  // numpy takes the nearer end as the base, so that both ends are hit exactly.
  return t < 0.5 ? sorted_values[lower] + step * t : sorted_values[upper] - step * (1.0 - t);
}

}  // namespace med3d::stats
