// The paper's protocol beside the honest one: oversampling before the split.
//
// The paper's test set of 109 and 109 patients out of 218 cannot come from a cohort with 75
// patients of the smaller class unless synthetic copies of training patients were dealt into it
// (docs/paper.md). This reproduces that on purpose, so that its effect can be seen: encode and
// oversample all patients, draw a random stratified 80/20 split of the result, train the
// clinical MLP on the one part and judge it on the other.
#pragma once

#include "med3d/core/json.h"
#include "med3d/pipeline/evaluation.h"

namespace med3d::pipeline {

// {"text", "rows": [{"label", "n", "positives", "negatives", "metrics"}]}: SMOTE and ADASYN leaked,
// then the honest clinical arm of this run. Throws Error(kData) where there is no clinical table.
Json paper_leak_json(const EvaluationContext& context);

}  // namespace med3d::pipeline
