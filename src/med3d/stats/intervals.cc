#include "med3d/stats/intervals.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <numeric>
#include <tuple>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/parallel.h"
#include "med3d/core/random.h"

namespace med3d::stats {
namespace {

constexpr int kMaxRedraws = 10000;

// Members of each stratum, strata in order of their number; one stratum when none are given.
std::vector<std::vector<std::size_t>> members_by_stratum(std::size_t n,
                                                         const std::vector<std::int64_t>& strata) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (strata.empty()) return {order};
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return strata[a] < strata[b];
  });
  std::vector<std::vector<std::size_t>> out;
  for (std::size_t i = 0; i < n; ++i) {
    if (i == 0 || strata[order[i]] != strata[order[i - 1]]) out.emplace_back();
    out.back().push_back(order[i]);
  }
  return out;
}

// BCa levels at which to read the sorted replicates; nullopt-like NaN when they do not exist.
std::pair<double, double> bca_levels(std::span<const double> sorted,
                                     double value,
                                     std::span<const double> jackknife,
                                     double confidence) {
  const double nan = std::nan("");
  double below = 0.0;
  for (const double r : sorted) below += r < value ? 1.0 : (r == value ? 0.5 : 0.0);
  const double share = below / static_cast<double>(sorted.size());
  if (share <= 0.0 || share >= 1.0) return {nan, nan};
  double mean = 0.0;
  for (const double j : jackknife) mean += j;
  mean /= static_cast<double>(jackknife.size());
  double squares = 0.0;
  double cubes = 0.0;
  for (const double j : jackknife) {
    const double d = mean - j;
    squares += d * d;
    cubes += d * d * d;
  }
  if (std::isnan(squares)) return {nan, nan};
  const double acceleration = squares > 0.0 ? cubes / (6.0 * std::pow(squares, 1.5)) : 0.0;
  const boost::math::normal normal;
  const double bias = boost::math::quantile(normal, share);
  const auto level = [&](double z) {
    const double shifted = bias + z;
    return boost::math::cdf(normal, bias + shifted / (1.0 - acceleration * shifted));
  };
  const double z = normal_quantile_two_sided(confidence);
  return {level(-z), level(z)};
}

// Positions by rising p-value, ties in input order.
std::vector<std::size_t> order_of_p_values(std::span<const double> p_value) {
  for (std::size_t i = 0; i < p_value.size(); ++i) {
    if (!(p_value[i] >= 0.0 && p_value[i] <= 1.0)) {
      throw Error(ErrorKind::kData,
                  fmt::format("p-value {}: {}, expected a number in [0, 1]", i, p_value[i]));
    }
  }
  std::vector<std::size_t> order(p_value.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return p_value[a] < p_value[b];
  });
  return order;
}

}  // namespace

Estimate wilson(std::int64_t successes, std::int64_t trials, double confidence) {
  if (successes < 0 || trials < 0 || successes > trials) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "{} successes of {} trials, expected 0 <= successes <= trials", successes, trials));
  }
  const double z = normal_quantile_two_sided(confidence);
  if (trials == 0) return Estimate::none("no patients");
  const double n = static_cast<double>(trials);
  const double p = static_cast<double>(successes) / n;
  const double centre = p + z * z / (2.0 * n);
  const double half = z * std::sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n));
  const double scale = 1.0 + z * z / n;
  // At the ends the formula gives 0 and 1 up to rounding; say them exactly.
  const double low = successes == 0 ? 0.0 : (centre - half) / scale;
  const double high = successes == trials ? 1.0 : (centre + half) / scale;
  return Estimate::of(p, low, high);
}

void BootstrapOptions::validate(std::size_t n) const {
  if (repeats < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} bootstrap repeats, expected at least 1", repeats));
  }
  require_confidence(confidence);
  if (!strata.empty() && strata.size() != n) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} strata for {} patients, expected one each", strata.size(), n));
  }
}

BootstrapResult bootstrap(std::size_t n,
                          std::size_t n_statistics,
                          const Statistic& statistic,
                          const BootstrapOptions& options) {
  options.validate(n);
  if (n == 0) throw Error(ErrorKind::kData, "bootstrap of 0 patients, expected at least 1");

  const auto groups = members_by_stratum(n, options.strata);
  const auto repeats = static_cast<std::size_t>(options.repeats);
  BootstrapResult out;
  out.replicate = Matrix<double>(repeats, n_statistics, std::nan(""));
  std::vector<std::int64_t> redrawn(repeats, 0);

  parallel_for(repeats, options.threads, [&](std::size_t repeat) {
    const std::uint64_t seed = derive_seed(options.seed, "bootstrap", {repeat});
    NumpyRandom random(static_cast<std::uint32_t>(seed ^ (seed >> 32)));
    std::vector<std::size_t> rows(n);
    for (;;) {
      std::size_t next = 0;
      for (const auto& members : groups) {
        for (std::size_t i = 0; i < members.size(); ++i) {
          rows[next++] = members[static_cast<std::size_t>(random.randint(members.size()))];
        }
      }
      if (!options.accept || options.accept(rows)) break;
      if (++redrawn[repeat] == kMaxRedraws) {
        throw Error(ErrorKind::kData,
                    fmt::format("bootstrap repeat {}: {} samples in a row were refused, expected "
                                "one that can be used",
                                repeat,
                                kMaxRedraws));
      }
    }
    statistic(rows, out.replicate.row(repeat));
  });
  out.redrawn = std::accumulate(redrawn.begin(), redrawn.end(), std::int64_t{0});

  std::vector<std::size_t> all(n);
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::vector<double> value(n_statistics, std::nan(""));
  statistic(all, value);

  Matrix<double> jackknife;
  if (options.interval == IntervalKind::kBca && n > 1) {
    jackknife = Matrix<double>(n, n_statistics, std::nan(""));
    parallel_for(n, options.threads, [&](std::size_t left_out) {
      std::vector<std::size_t> rows;
      rows.reserve(n - 1);
      for (std::size_t i = 0; i < n; ++i) {
        if (i != left_out) rows.push_back(i);
      }
      statistic(rows, jackknife.row(left_out));
    });
  }

  for (std::size_t s = 0; s < n_statistics; ++s) {
    std::vector<double> sorted;
    sorted.reserve(repeats);
    for (std::size_t r = 0; r < repeats; ++r) {
      if (!std::isnan(out.replicate(r, s))) sorted.push_back(out.replicate(r, s));
    }
    std::sort(sorted.begin(), sorted.end());
    const std::size_t undefined = repeats - sorted.size();
    out.undefined.push_back(static_cast<std::int64_t>(undefined));
    if (std::isnan(value[s])) {
      out.estimate.push_back(Estimate::none("the set does not support it"));
      continue;
    }
    Estimate estimate = Estimate::of(value[s]);
    const bool enough =
        static_cast<double>(undefined) <= kMaxUndefinedShare * static_cast<double>(repeats);
    if (enough && !sorted.empty()) {
      double low = (1.0 - options.confidence) / 2.0;
      double high = 1.0 - low;
      if (options.interval == IntervalKind::kBca) {
        std::vector<double> column;
        for (std::size_t i = 0; i < jackknife.rows(); ++i) column.push_back(jackknife(i, s));
        if (column.empty()) column.push_back(std::nan(""));
        std::tie(low, high) = bca_levels(sorted, value[s], column, options.confidence);
      }
      if (!std::isnan(low) && !std::isnan(high)) {
        estimate.low = sorted_quantile(sorted, low);
        estimate.high = sorted_quantile(sorted, high);
      }
    }
    out.estimate.push_back(estimate);
  }
  return out;
}

Estimate bootstrap(std::size_t n,
                   int repeats,
                   std::uint64_t seed,
                   const std::function<double(std::span<const std::size_t> rows)>& statistic) {
  BootstrapOptions options;
  options.repeats = repeats;
  options.seed = seed;
  return bootstrap(
             n,
             1,
             [&](std::span<const std::size_t> rows, std::span<double> value) {
               value[0] = statistic(rows);
             },
             options)
      .estimate.front();
}

PairedDifference paired_bootstrap(
    std::size_t n,
    const std::function<double(std::span<const std::size_t> rows)>& first,
    const std::function<double(std::span<const std::size_t> rows)>& second,
    const BootstrapOptions& options) {
  const BootstrapResult result = bootstrap(
      n,
      1,
      [&](std::span<const std::size_t> rows, std::span<double> value) {
        value[0] = first(rows) - second(rows);
      },
      options);
  PairedDifference out;
  out.difference = result.estimate.front();
  out.redrawn = result.redrawn;
  out.undefined = result.undefined.front();
  if (!out.difference.has_interval()) return out;
  double not_above = 1.0;
  double not_below = 1.0;
  double defined = 1.0;
  for (std::size_t r = 0; r < result.replicate.rows(); ++r) {
    const double d = result.replicate(r, 0);
    if (std::isnan(d)) continue;
    defined += 1.0;
    if (d <= 0.0) not_above += 1.0;
    if (d >= 0.0) not_below += 1.0;
  }
  out.p = std::min(1.0, 2.0 * std::min(not_above, not_below) / defined);
  return out;
}

McNemar mcnemar(std::int64_t only_first, std::int64_t only_second) {
  if (only_first < 0 || only_second < 0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("discordant pairs {} and {}, expected none below 0", only_first, only_second));
  }
  McNemar out;
  out.only_first = only_first;
  out.only_second = only_second;
  const std::int64_t discordant = only_first + only_second;
  out.exact = discordant < 25;
  if (discordant == 0) return out;
  const double n = static_cast<double>(discordant);
  if (out.exact) {
    const boost::math::binomial coin(n, 0.5);
    const double fewer = static_cast<double>(std::min(only_first, only_second));
    out.p = std::min(1.0, 2.0 * boost::math::cdf(coin, fewer));
    return out;
  }
  const double gap = std::max(0.0, std::abs(static_cast<double>(only_first - only_second)) - 1.0);
  out.statistic = gap * gap / n;
  out.p = boost::math::cdf(boost::math::complement(boost::math::chi_squared(1.0), out.statistic));
  return out;
}

McNemar mcnemar(std::span<const std::uint8_t> correct_first,
                std::span<const std::uint8_t> correct_second) {
  if (correct_first.size() != correct_second.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{} patients for the first model and {} for the second, expected the "
                            "same patients",
                            correct_first.size(),
                            correct_second.size()));
  }
  std::int64_t only_first = 0;
  std::int64_t only_second = 0;
  for (std::size_t i = 0; i < correct_first.size(); ++i) {
    const bool first = correct_first[i] != 0;
    const bool second = correct_second[i] != 0;
    if (first && !second) ++only_first;
    if (second && !first) ++only_second;
  }
  return mcnemar(only_first, only_second);
}

std::vector<double> holm(std::span<const double> p_value) {
  const std::vector<std::size_t> order = order_of_p_values(p_value);
  std::vector<double> adjusted(p_value.size());
  double running = 0.0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double factor = static_cast<double>(order.size() - i);
    running = std::max(running, std::min(1.0, factor * p_value[order[i]]));
    adjusted[order[i]] = running;
  }
  return adjusted;
}

std::vector<double> benjamini_hochberg(std::span<const double> p_value) {
  const std::vector<std::size_t> order = order_of_p_values(p_value);
  std::vector<double> adjusted(p_value.size());
  const double m = static_cast<double>(order.size());
  double running = 1.0;
  for (std::size_t i = order.size(); i-- > 0;) {
    running = std::min(running, m * p_value[order[i]] / static_cast<double>(i + 1));
    adjusted[order[i]] = running;
  }
  return adjusted;
}

}  // namespace med3d::stats
