// What the page says first, in words: does fusion beat the best single arm, do deep models lose to
// the classical baselines. Words follow the evidence: "beats" needs a paired test on the same
// patients whose interval leaves zero out, and whose adjusted p is below 0.05 where there is one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "med3d/report/document.h"

namespace med3d::report {

enum class Verdict {
  kBeats,      // shown to be better
  kLoses,      // shown to be worse
  kNotShown,   // tested on the same patients, compatible with no difference
  kUntested,   // no paired test in the document: only the figures as they are
  kDifferent,  // not scored on the same number of patients and never tested: not comparable
};

struct Contest {
  std::string set;
  const Model* a = nullptr;
  const Model* b = nullptr;
  Verdict verdict = Verdict::kUntested;
  std::string sentence;  // plain text, ends in a full stop
};

// The model of the given families with the highest AUROC on the set; the first of equals, null if
// none has an AUROC there.
const Model* best_model(const Document& document,
                        const std::string& set,
                        const std::vector<std::string>& families);

// For each set that has both: best fusion against best single arm (arm or paper-baseline), then
// best deep model (arm, paper-baseline, fusion) against best classical baseline. "Best" is picked
// on cross-validation and kept for the test set, so that the test set picks nothing; without
// cross-validation it is picked on the set itself.
std::vector<Contest> contests(const Document& document);

// The figures of the rule that calls every patient the majority class, from the counts alone.
// With share of positives s: accuracy max(s, 1-s), balanced accuracy 1/2, AUROC 1/2, AUPRC s;
// if positives are the majority F1 = 2s/(1+s), precision s, sensitivity 1, specificity 0.
Metrics always_majority(std::int64_t positives, std::int64_t negatives);

}  // namespace med3d::report
