// Clinical scores beside every model: what SSIGN, Leibovich, UISS, KEYNOTE-564 and AJCC stage say
// of the same patients, and stage + grade.
//
// A score whose items are missing is a range for each patient (tabular/clinical_scores.h). It is
// judged three times: everybody at the lowest value, at the highest, at the midpoint. None of the
// three is the score; where they lie apart, the table cannot say how good the score is.
//
// A higher score means a worse outcome. Harrell's C of the time to the event therefore needs no
// choice; an AUROC below one half means that the positive class is the better outcome. Patients to
// whom a score does not apply (M1 for Leibovich) are left out of its row, of the model's figure in
// that row too, and counted.
//
// Intervals: infinitesimal jackknife for C, DeLong for AUROC.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/stats/intervals.h"
#include "med3d/stats/survival/times.h"
#include "med3d/tabular/clinical_scores.h"

namespace med3d::pipeline {

class ScoreBaselines {
 public:
  // Reads the facts of every patient from the cohort's columns. The cohort must outlive it.
  explicit ScoreBaselines(const Cohort& cohort);

  // No column with T or stage: nothing to score.
  bool empty() const { return bounds_.empty(); }

  // The rows beside a model's figures, one a score: {id, label, mark, metric, n, events, exact,
  // may_not_apply, model, lowest, midpoint, highest, difference}; `difference` is model minus
  // midpoint on the same patients, with its p.
  //
  // rows    patients of the cohort that the model was judged on
  // times   (rows) their follow-up, or label (rows) 0 or 1
  // risk    (rows) of the model, higher = worse
  Json beside(const std::vector<std::size_t>& rows,
              const stats::survival::SurvivalTimes& times,
              std::span<const double> risk,
              double confidence) const;
  Json beside(const std::vector<std::size_t>& rows,
              std::span<const std::uint8_t> label,
              std::span<const double> risk,
              double confidence) const;

  // Which columns were read, what was not understood, and each score with its source, its mark and
  // how many patients it is exact for.
  Json summary() const;

  // clinical_scores.csv: case_id, score, applies, lowest, highest, group_lowest, group_highest,
  // open_items, mark. Empty where empty().
  std::string csv() const;

 private:
  const Cohort& cohort_;
  std::vector<std::vector<tabular::ScoreBounds>> bounds_;  // per score, per patient
  Json columns_ = Json::object();
  std::vector<std::size_t> unread_;  // per item
  std::size_t contradictions_ = 0;   // patients whose stage disagrees with T, N and M
};

// A row like those of beside() for the rule that calls everybody positive, by F1: its AUROC is one
// half whatever the patients. F1 of the rule is 2 s / (1 + s) with s the share of positives.
//
// positive, predicted   (n,) 0 or 1
// options               of the paired bootstrap over patients; 0 repeats: no intervals
//
// A sample without a positive and without a predicted positive has no F1 and is left out.
// Checked against: by hand.
Json beside_always_positive(std::span<const std::uint8_t> positive,
                            std::span<const std::uint8_t> predicted,
                            const stats::BootstrapOptions& options);

// A row like those of beside() for a fitted baseline (stage + grade), which knows one value.
Json beside_baseline(const std::string& id,
                     const std::string& label,
                     const stats::survival::SurvivalTimes& times,
                     std::span<const double> model_risk,
                     std::span<const double> baseline_risk,
                     double confidence);
Json beside_baseline(const std::string& id,
                     const std::string& label,
                     std::span<const std::uint8_t> positive,
                     std::span<const double> model_risk,
                     std::span<const double> baseline_risk,
                     double confidence);

}  // namespace med3d::pipeline
