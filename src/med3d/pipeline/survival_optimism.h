// What Cox models of the table promise on the patients they were fitted on, less what fitting
// added: Harrell's bootstrap beside the cross-validation.
//
// Models with a Cox head that read the table alone (the clinical arm, stage + grade) are fitted
// anew on [survival] optimism samples of the training patients, drawn with replacement: encoding,
// imputation and the choice of the penalty included (stats/survival/optimism.h). Other models are
// judged by cross-validation only: a network fitted 200 times more would say the same at their
// price. Copies of a patient may stand in two of the folds that choose the penalty, which is
// therefore chosen a little too small in a sample; that makes the optimism larger, not smaller.
//
// training   rows of the cohort, each once
//
// Returns [{model, label, n, events, repeats, metric, apparent, optimism, corrected, undefined}]
// for the metrics c_index, calibration_slope and brier_H (H the main horizon); estimates as
// elsewhere, without intervals. Empty where [survival] optimism is 0. The same at any number of
// threads. Cost (repeats + 1) fits a model.
//
// Source: Harrell, Lee, Mark, Stat Med 15(4):361-387, 1996.
// Checked against: data without signal, where the corrected C-index is one half.
#pragma once

#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/survival_models.h"

namespace med3d::pipeline {

Json optimism_json(const Cohort& cohort,
                   const RunSettings& settings,
                   const std::vector<SurvivalSpec>& specs,
                   const Rows& training,
                   int threads);

}  // namespace med3d::pipeline
