#include "med3d/pipeline/survival_optimism.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/pipeline/survival_fold.h"
#include "med3d/stats/survival/concordance.h"
#include "med3d/stats/survival/cox.h"
#include "med3d/stats/survival/ipcw_metrics.h"
#include "med3d/stats/survival/optimism.h"

namespace med3d::pipeline {
namespace {

namespace ss = stats::survival;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kScores = 3;

// The table and the follow-up of some patients, who may be named more than once: a Partition of the
// cohort itself refuses that, and rightly so.
Cohort resampled(const Cohort& cohort, const Rows& rows) {
  Cohort out;
  out.name = cohort.name;
  out.endpoint = cohort.endpoint;
  out.missing_values = cohort.missing_values;
  out.columns = cohort.columns;
  for (std::size_t c = 0; c < out.columns.size(); ++c) out.columns[c].cells.clear();
  for (const std::size_t row : rows) {
    for (std::size_t c = 0; c < out.columns.size(); ++c) {
      out.columns[c].cells.push_back(cohort.columns[c].cells[row]);
    }
    out.case_ids.push_back(cohort.case_ids[row]);
    out.has_clinical.push_back(cohort.has_clinical[row]);
    out.label.push_back(cohort.label[row]);
    out.time_months.push_back(cohort.time_months[row]);
    out.event.push_back(cohort.event[row]);
    if (!cohort.competing.empty()) out.competing.push_back(cohort.competing[row]);
    out.split.emplace_back("train");
    out.source.push_back(cohort.source[row]);
    out.site.push_back(cohort.site[row]);
  }
  return out;
}

double value_or_none(const stats::Estimate& estimate) {
  return estimate.ok() ? estimate.value : kNone;
}

}  // namespace

Json optimism_json(const Cohort& cohort,
                   const RunSettings& settings,
                   const std::vector<SurvivalSpec>& specs,
                   const Rows& training,
                   int threads) {
  Json out = Json::array();
  const double horizon = main_horizon(settings);
  const std::vector<double> horizons = {horizon};
  ss::OptimismOptions options;
  options.repeats = settings.survival.optimism;
  options.threads = threads;
  if (options.repeats == 0) return out;

  for (const auto& spec : specs) {
    if (!spec.fit || spec.head != "cox" || spec.arms != std::vector<std::string>{"clinical"}) {
      continue;
    }
    // Patients without a row in the table have no risk from it.
    Rows rows;
    std::copy_if(training.begin(), training.end(), std::back_inserter(rows), [&](std::size_t row) {
      return cohort.has_clinical[row];
    });
    if (rows.empty()) continue;
    const auto times = times_of(cohort, rows);
    options.seed =
        derive_seed(static_cast<std::uint64_t>(settings.run.seed), "survival optimism " + spec.id);
    const auto model_seed = derive_seed(options.seed, "fit");

    // The risk of each of `rows` by one fit; empty where the sample cannot support the model.
    const auto fit = [&](std::span<const std::size_t> drawn) -> std::vector<double> {
      Rows picked;
      for (const std::size_t at : drawn) picked.push_back(rows[at]);
      const Cohort sample = resampled(cohort, picked);
      Rows all(picked.size());
      std::iota(all.begin(), all.end(), std::size_t{0});
      const auto partition = Partition::all_for_training(std::move(all));
      try {
        const auto model = spec.fit({sample, settings, partition.training(), model_seed, nullptr});
        const auto risk = model->risk(cohort, rows, horizons);
        std::vector<double> of_rows;
        for (std::size_t i = 0; i < rows.size(); ++i) of_rows.push_back(risk(i, 0));
        return of_rows;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kData) throw;
        return {};
      }
    };
    const auto score = [&](const std::vector<double>& risk,
                           std::span<const std::size_t> drawn,
                           std::span<double> value) {
      std::fill(value.begin(), value.end(), kNone);
      if (risk.empty()) return;
      const std::vector<std::size_t> picked(drawn.begin(), drawn.end());
      const auto sample = times.take(picked);
      if (sample.n_events() == 0) return;
      std::vector<double> of_sample;
      Matrix<double> x(picked.size(), 1);
      Matrix<double> column(picked.size(), 1);
      for (std::size_t i = 0; i < picked.size(); ++i) {
        of_sample.push_back(risk[picked[i]]);
        x(i, 0) = log_cumulative_hazard(risk[picked[i]]);
        column(i, 0) = risk[picked[i]];
      }
      value[0] = value_or_none(ss::harrell_c_index(sample, of_sample).c_index);
      const auto slope = ss::cox_fit(sample, x);
      if (slope.not_estimable.empty() && !slope.term.empty()) {
        value[1] = value_or_none(slope.term[0].coefficient);
      }
      value[2] = value_or_none(ss::brier_scores(sample, column, horizons).at.front().value);
    };
    const auto results = ss::optimism_bootstrap(rows.size(), kScores, fit, score, options);
    const std::string names[kScores] = {
        "c_index", "calibration_slope", "brier_" + format_double(horizon)};
    for (std::size_t s = 0; s < kScores; ++s) {
      out.push_back({{"model", spec.id},
                     {"label", spec.label},
                     {"n", rows.size()},
                     {"events", times.n_events()},
                     {"repeats", options.repeats},
                     {"metric", names[s]},
                     {"apparent", to_json(results[s].apparent)},
                     {"optimism", to_json(results[s].optimism)},
                     {"corrected", to_json(results[s].corrected)},
                     {"undefined", results[s].undefined}});
    }
  }
  return out;
}

}  // namespace med3d::pipeline
