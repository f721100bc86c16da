#include "med3d/report/headline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/text.h"
#include "med3d/report/markup.h"

namespace med3d::report {
namespace {

const std::vector<std::string> kSets = {"cross-validation", "test"};

const Estimate* auroc_of(const Model& model, const std::string& set_name) {
  const ModelSet* set = model.find_set(set_name);
  if (set == nullptr) return nullptr;
  const auto found = set->metrics.find("auroc");
  return found == set->metrics.end() || !found->second.value ? nullptr : &found->second;
}

// The paired test of the two models' AUROC, turned so that it reads a minus b.
std::optional<Comparison> paired_test(const Document& document,
                                      const std::string& set,
                                      const Model& a,
                                      const Model& b) {
  for (const Comparison& comparison : document.comparisons) {
    if (comparison.set != set || comparison.metric != "auroc" || !comparison.difference.value) {
      continue;
    }
    // McNemar's test is about errors at one threshold, whatever the metric says.
    if (to_lower(comparison.test).find("mcnemar") != std::string::npos) continue;
    if (comparison.a == a.id && comparison.b == b.id) return comparison;
    if (comparison.a == b.id && comparison.b == a.id) {
      Comparison turned = comparison;
      const auto negated = [](const Number& x) { return x ? Number(-*x) : std::nullopt; };
      turned.difference.value = negated(comparison.difference.value);
      turned.difference.low = negated(comparison.difference.high);
      turned.difference.high = negated(comparison.difference.low);
      return turned;
    }
  }
  return std::nullopt;
}

std::string described(const Estimate& auroc) {
  const std::string range = interval(auroc.low, auroc.high, 2);
  return range.empty() ? fmt::format("AUROC {}", fixed(auroc.value, 2))
                       : fmt::format("AUROC {}, 95\u00A0% CI {}", fixed(auroc.value, 2), range);
}

Contest judge(const Document& document,
              const std::string& set,
              const Model& a,
              const Model& b,
              const std::string& a_role,
              const std::string& b_role) {
  Contest contest{set, &a, &b, Verdict::kUntested, ""};
  const Estimate& first = *auroc_of(a, set);
  const Estimate& second = *auroc_of(b, set);
  const auto test = paired_test(document, set, a, b);
  std::string verb;
  std::string tail;
  if (test) {
    const Estimate& difference = test->difference;
    const bool adjusted_away = test->p_adjusted && *test->p_adjusted >= 0.05;
    const bool above = difference.low && *difference.low > 0.0;
    const bool below = difference.high && *difference.high < 0.0;
    contest.verdict = adjusted_away || !(above || below) ? Verdict::kNotShown
                      : above                            ? Verdict::kBeats
                                                         : Verdict::kLoses;
    verb = contest.verdict == Verdict::kBeats   ? "beats"
           : contest.verdict == Verdict::kLoses ? "loses to"
                                                : "is not shown to beat";
    tail = fmt::format("difference {}", fixed(difference.value, 2));
    const std::string range = interval(difference.low, difference.high, 2);
    if (!range.empty()) tail += fmt::format(" ({})", range);
    if (test->p_adjusted) {
      tail += fmt::format(", adjusted p {}", p_value(test->p_adjusted));
    } else if (test->p) {
      tail += fmt::format(", p {}", p_value(test->p));
    }
    tail += fmt::format(", {}", test->test);
    if (adjusted_away && (above || below)) {
      tail += "; the interval leaves zero out, but not after correction for the number of tests";
    }
  } else if (a.find_set(set)->n != b.find_set(set)->n) {
    contest.verdict = Verdict::kDifferent;
    verb = "cannot be compared like for like with";
    tail = fmt::format("they were scored on different patients, n = {} and n = {}",
                       count(a.find_set(set)->n),
                       count(b.find_set(set)->n));
  } else {
    verb = *first.value > *second.value   ? "scores higher than"
           : *first.value < *second.value ? "scores lower than"
                                          : "scores the same as";
    tail = "no paired test of the two in this run, so this may be chance";
  }
  contest.sentence = fmt::format("The best {}, {} ({}), {} the best {}, {} ({}): {}.",
                                 a_role,
                                 a.label,
                                 described(first),
                                 verb,
                                 b_role,
                                 b.label,
                                 described(second),
                                 tail);
  return contest;
}

}  // namespace

const Model* best_model(const Document& document,
                        const std::string& set,
                        const std::vector<std::string>& families) {
  const Model* best = nullptr;
  double best_value = 0.0;
  for (const Model& model : document.models) {
    if (std::find(families.begin(), families.end(), model.family) == families.end()) continue;
    const Estimate* auroc = auroc_of(model, set);
    if (auroc == nullptr) continue;
    if (best == nullptr || *auroc->value > best_value) {
      best = &model;
      best_value = *auroc->value;
    }
  }
  return best;
}

std::vector<Contest> contests(const Document& document) {
  struct Pair {
    std::vector<std::string> a, b;
    std::string a_role, b_role;
  };
  const std::vector<Pair> pairs = {
      {{"fusion"}, {"arm", "paper-baseline"}, "fusion", "single arm"},
      {{"arm", "paper-baseline", "fusion"}, {"baseline"}, "deep model", "classical baseline"},
  };
  std::vector<Contest> out;
  for (const Pair& pair : pairs) {
    const Model* a = best_model(document, kSets[0], pair.a);
    const Model* b = best_model(document, kSets[0], pair.b);
    for (const std::string& set : kSets) {
      const Model* set_a = a != nullptr ? a : best_model(document, set, pair.a);
      const Model* set_b = b != nullptr ? b : best_model(document, set, pair.b);
      if (set_a == nullptr || set_b == nullptr) continue;
      if (auroc_of(*set_a, set) == nullptr || auroc_of(*set_b, set) == nullptr) continue;
      out.push_back(judge(document, set, *set_a, *set_b, pair.a_role, pair.b_role));
    }
  }
  return out;
}

Metrics always_majority(std::int64_t positives, std::int64_t negatives) {
  Metrics metrics;
  const auto set = [&](const std::string& key, double value) { metrics[key].value = value; };
  const auto cannot = [&](const std::string& key, const std::string& reason) {
    metrics[key].reason = reason;
  };
  const double n = static_cast<double>(positives + negatives);
  if (n == 0.0) return metrics;
  const double share = static_cast<double>(positives) / n;
  const bool says_positive = positives >= negatives;
  const bool both = positives > 0 && negatives > 0;
  const std::string one_class = "only one class in this set";
  set("prevalence", share);
  set("accuracy", std::max(share, 1.0 - share));
  for (const char* key : {"auroc", "balanced_accuracy"}) {
    both ? set(key, 0.5) : cannot(key, one_class);
  }
  both ? set("auprc", share) : cannot("auprc", one_class);
  if (says_positive) {
    set("f1", 2.0 * share / (1.0 + share));
    set("precision", share);
    cannot("npv", "nobody is called negative");
  } else {
    positives > 0 ? set("f1", 0.0) : cannot("f1", "no positives in this set");
    cannot("precision", "nobody is called positive");
    set("npv", 1.0 - share);
  }
  positives > 0 ? set("sensitivity", says_positive ? 1.0 : 0.0)
                : cannot("sensitivity", "no positives in this set");
  negatives > 0 ? set("specificity", says_positive ? 0.0 : 1.0)
                : cannot("specificity", "no negatives in this set");
  cannot("mcc", "one class is never called");
  return metrics;
}

}  // namespace med3d::report
