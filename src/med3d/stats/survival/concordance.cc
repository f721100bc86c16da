#include "med3d/stats/survival/concordance.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>

#include "med3d/core/error.h"

namespace med3d::stats::survival {
namespace {

// Running sums over ranks of risk (Fenwick tree). Sums of counts stay exact below 2^53.
class RankSums {
 public:
  explicit RankSums(std::size_t n) : node_(n + 1, 0.0) {}

  void add(std::size_t rank, double weight) {
    total_ += weight;
    for (std::size_t i = rank + 1; i < node_.size(); i += i & (~i + 1)) node_[i] += weight;
  }
  double below(std::size_t rank) const {  // sum over ranks < rank
    double sum = 0.0;
    for (std::size_t i = rank; i > 0; i -= i & (~i + 1)) sum += node_[i];
    return sum;
  }
  double total() const { return total_; }

 private:
  std::vector<double> node_;
  double total_ = 0.0;
};

std::vector<std::size_t> dense_ranks(std::span<const double> value, std::size_t& distinct) {
  std::vector<double> sorted(value.begin(), value.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  distinct = sorted.size();
  std::vector<std::size_t> out(value.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    out[i] = static_cast<std::size_t>(std::lower_bound(sorted.begin(), sorted.end(), value[i]) -
                                      sorted.begin());
  }
  return out;
}

// weight (n,) of the pairs in which i is the earlier; empty = 1. Read for events only.
struct PairCounter {
  const SurvivalTimes& times;
  std::span<const double> weight;
  std::vector<std::size_t> order;
  std::size_t distinct = 0;  // before rank, whose making sets it
  std::vector<std::size_t> rank;

  PairCounter(const SurvivalTimes& t, std::span<const double> risk, std::span<const double> w)
      : times(t), weight(w), order(t.order()), rank(dense_ranks(risk, distinct)) {}

  double weight_of(std::size_t i) const { return weight.empty() ? 1.0 : weight[i]; }

  // From the latest time to the earliest: who stands in the tree outlives the event looked at.
  void count(Concordance& out, std::vector<double>* agree, std::vector<double>* pairs) const {
    RankSums later(distinct);
    for (std::size_t end = order.size(); end > 0;) {
      const double time = times.time(order[end - 1]);
      std::size_t begin = end;  // censorings of this time come last in order
      while (begin > 0 && times.time(order[begin - 1]) == time &&
             !times.has_event(order[begin - 1])) {
        later.add(rank[order[--begin]], 1.0);
      }
      const std::size_t events_end = begin;
      while (begin > 0 && times.time(order[begin - 1]) == time) --begin;
      for (std::size_t k = begin; k < events_end; ++k) {
        const std::size_t i = order[k];
        const double w = weight_of(i);
        const double lower = later.below(rank[i]);
        const double lower_or_equal = later.below(rank[i] + 1);
        const double equal = lower_or_equal - lower;
        out.concordant += w * lower;
        out.tied_risk += w * equal;
        out.discordant += w * (later.total() - lower_or_equal);
        if (agree != nullptr) {
          (*agree)[i] += w * (lower + equal / 2.0);
          (*pairs)[i] += w * later.total();
        }
      }
      count_tied_events(begin, events_end, out);
      for (std::size_t k = begin; k < events_end; ++k) later.add(rank[order[k]], 1.0);
      end = begin;
    }
  }

  // From the earliest time on: who stands in the tree had the event before.
  void count_as_later(std::vector<double>& agree, std::vector<double>& pairs) const {
    RankSums earlier(distinct);
    const auto look_up = [&](std::size_t i) {
      const double lower = earlier.below(rank[i]);
      const double lower_or_equal = earlier.below(rank[i] + 1);
      agree[i] += earlier.total() - lower_or_equal + (lower_or_equal - lower) / 2.0;
      pairs[i] += earlier.total();
    };
    for (std::size_t begin = 0; begin < order.size();) {
      const double time = times.time(order[begin]);
      std::size_t k = begin;
      for (; k < order.size() && times.time(order[k]) == time && times.has_event(order[k]); ++k) {
        look_up(order[k]);
      }
      for (std::size_t e = begin; e < k; ++e) earlier.add(rank[order[e]], weight_of(order[e]));
      for (; k < order.size() && times.time(order[k]) == time; ++k) look_up(order[k]);
      begin = k;
    }
  }

 private:
  void count_tied_events(std::size_t begin, std::size_t end, Concordance& out) const {
    if (end - begin < 2) return;
    const double w = weight_of(order[begin]);
    std::vector<std::size_t> ranks;
    for (std::size_t k = begin; k < end; ++k) ranks.push_back(rank[order[k]]);
    std::sort(ranks.begin(), ranks.end());
    double same = 0.0;
    double run = 0.0;
    for (std::size_t k = 1; k < ranks.size(); ++k) {
      run = ranks[k] == ranks[k - 1] ? run + 1.0 : 0.0;
      same += run;
    }
    const double d = static_cast<double>(ranks.size());
    out.tied_both += w * same;
    out.tied_time += w * (d * (d - 1.0) / 2.0 - same);
  }
};

// Why there is no value; empty if there is one.
std::string reason_for_none(const SurvivalTimes& times, const Concordance& counted) {
  if (counted.comparable() > 0.0) return {};
  if (times.size() == 0) return "no patients";
  if (times.n_events() == 0) return "no events";
  return "no comparable pair of patients";
}

double ratio(const Concordance& counted) {
  return (counted.concordant + counted.tied_risk / 2.0) / counted.comparable();
}

Concordance concordance(const SurvivalTimes& times,
                        std::span<const double> risk_score,
                        std::span<const double> weight,
                        double confidence) {
  const double z = normal_quantile_two_sided(confidence);
  Concordance out;
  const PairCounter counter(times, risk_score, weight);
  std::vector<double> agree(times.size(), 0.0);
  std::vector<double> pairs(times.size(), 0.0);
  counter.count(out, &agree, &pairs);
  if (const std::string reason = reason_for_none(times, out); !reason.empty()) {
    out.c_index = Estimate::none(reason);
    return out;
  }
  counter.count_as_later(agree, pairs);
  const double c = ratio(out);
  out.influence.resize(times.size());
  double variance = 0.0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    out.influence[i] = (agree[i] - c * pairs[i]) / out.comparable();
    variance += out.influence[i] * out.influence[i];
  }
  out.std_error = std::sqrt(variance);
  out.c_index = Estimate::of(c);
  // Differences of rounding size are no spread.
  if (out.std_error > 1e-12) {
    const double half = z * out.std_error;
    out.c_index = Estimate::of(c, std::max(0.0, c - half), std::min(1.0, c + half));
  }
  return out;
}

double harrell_of_rows(const SurvivalTimes& times,
                       std::span<const double> risk_score,
                       std::span<const std::size_t> rows) {
  std::vector<double> risk;
  risk.reserve(rows.size());
  for (const std::size_t i : rows) risk.push_back(risk_score[i]);
  const SurvivalTimes sample = times.take(rows);
  Concordance counted;
  PairCounter(sample, risk, {}).count(counted, nullptr, nullptr);
  return counted.comparable() > 0.0 ? ratio(counted) : std::nan("");
}

}  // namespace

Concordance harrell_c_index(const SurvivalTimes& times,
                            std::span<const double> risk_score,
                            double confidence) {
  require_finite(times, risk_score, "risk score");
  return concordance(times, risk_score, {}, confidence);
}

Concordance harrell_c_index(std::span<const double> time_months,
                            std::span<const std::uint8_t> event,
                            std::span<const double> risk_score) {
  return harrell_c_index(
      SurvivalTimes({time_months.begin(), time_months.end()}, {event.begin(), event.end()}),
      risk_score);
}

void UnoOptions::validate() const {
  if (!(tau_months > 0.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("tau {} months, expected a time above 0", tau_months));
  }
  require_confidence(confidence);
}

Concordance uno_c_index(const SurvivalTimes& times,
                        std::span<const double> risk_score,
                        const UnoOptions& options) {
  options.validate();
  require_finite(times, risk_score, "risk score");
  const CensoringCurve own =
      options.censoring == nullptr ? CensoringCurve(times) : CensoringCurve();
  const CensoringCurve& censoring = options.censoring == nullptr ? own : *options.censoring;
  std::vector<double> weight(times.size(), 0.0);
  std::size_t beyond = 0;
  std::size_t used = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (!times.has_event(i) || !(times.time(i) < options.tau_months)) continue;
    if (!censoring.supports(times.time(i))) {
      ++beyond;
      continue;
    }
    const double g = censoring.before(times.time(i));
    weight[i] = 1.0 / (g * g);
    ++used;
  }
  Concordance out = concordance(times, risk_score, weight, options.confidence);
  if (!out.c_index.ok() && used == 0 && times.n_events() > 0) {
    out.c_index =
        Estimate::none(beyond > 0 ? "no event where censoring is known" : "no event before tau");
  }
  if (beyond > 0) {
    out.warnings.push_back(
        fmt::format("{} event(s) after the follow-up of the set in which censoring was estimated "
                    "({} months) were left out",
                    beyond,
                    censoring.longest()));
  }
  return out;
}

ConcordanceDifference c_index_difference(const SurvivalTimes& times,
                                         std::span<const double> first,
                                         std::span<const double> second,
                                         double confidence) {
  const Concordance a = harrell_c_index(times, first, confidence);
  const Concordance b = harrell_c_index(times, second, confidence);
  ConcordanceDifference out;
  out.first = a.c_index;
  out.second = b.c_index;
  if (!a.c_index.ok()) {
    out.difference = Estimate::none(a.c_index.not_estimable);
    return out;
  }
  double variance = 0.0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double d = a.influence[i] - b.influence[i];
    variance += d * d;
  }
  const double difference = a.c_index.value - b.c_index.value;
  out.std_error = std::sqrt(variance);
  out.difference = Estimate::of(difference);
  if (out.std_error > 1e-12) {
    const double half = normal_quantile_two_sided(confidence) * out.std_error;
    out.difference = Estimate::of(difference, difference - half, difference + half);
    out.z = difference / out.std_error;
    out.p = 2.0 * boost::math::cdf(boost::math::normal(), -std::abs(out.z));
  }
  return out;
}

PairedDifference c_index_difference_bootstrap(const SurvivalTimes& times,
                                              std::span<const double> first,
                                              std::span<const double> second,
                                              const BootstrapOptions& options) {
  require_finite(times, first, "first risk score");
  require_finite(times, second, "second risk score");
  if (times.size() == 0) {
    PairedDifference out;
    out.difference = Estimate::none("no patients");
    return out;
  }
  return paired_bootstrap(
      times.size(),
      [&](std::span<const std::size_t> rows) { return harrell_of_rows(times, first, rows); },
      [&](std::span<const std::size_t> rows) { return harrell_of_rows(times, second, rows); },
      options);
}

Estimate c_index_bootstrap(const SurvivalTimes& times,
                           std::span<const double> risk_score,
                           const BootstrapOptions& options) {
  require_finite(times, risk_score, "risk score");
  if (times.size() == 0) return Estimate::none("no patients");
  const BootstrapResult result = bootstrap(
      times.size(),
      1,
      [&](std::span<const std::size_t> rows, std::span<double> value) {
        value[0] = harrell_of_rows(times, risk_score, rows);
      },
      options);
  return result.estimate[0];
}

}  // namespace med3d::stats::survival
