// The statistics of time to event of one run, and the C-index of a large cohort.
//
//   survival_report [patients=400] [models=10] [repeats=2000] [large=100000]
//
// Generated risks and follow-up, about a third with the event; every metric, interval, risk group,
// comparison with the best model and calibration that report.json holds, on one thread. No model is
// fitted.

#include <cmath>

#include "bench/measure.h"
#include "med3d/pipeline/survival_evaluation.h"
#include "med3d/stats/survival/concordance.h"

namespace med3d::bench {
namespace {

using namespace med3d::pipeline;

struct FollowUp {
  std::vector<double> z, time;
  std::vector<std::uint8_t> event;
};
FollowUp generate(std::size_t n) {
  NumpyRandom random(1);
  FollowUp out;
  for (std::size_t i = 0; i < n; ++i) {
    const double z = random.normal();
    const double death = -120.0 * std::log(1.0 - random.uniform()) * std::exp(-z);
    const double lost = 120.0 * random.uniform();
    out.z.push_back(z);
    out.time.push_back(std::min(death, lost));
    out.event.push_back(death <= lost ? 1 : 0);
  }
  return out;
}

int run(int argc, char** argv) {
  const Arguments arguments(
      argc,
      argv,
      {{"patients", "400"}, {"models", "10"}, {"repeats", "2000"}, {"large", "100000"}});
  const auto n = static_cast<std::size_t>(arguments.count("patients"));
  const int models = arguments.count("models");
  const FollowUp data = generate(n);
  Cohort cohort;
  cohort.endpoint.name = "PFI";
  RunSettings settings;
  settings.cohort.endpoint.horizon_months = 24;
  settings.survival.bootstrap = arguments.count("repeats");
  Rows rows;
  for (std::size_t i = 0; i < n; ++i) {
    cohort.case_ids.push_back(fmt::format("P{:06}", i));
    cohort.time_months.push_back(data.time[i]);
    cohort.event.push_back(data.event[i]);
    cohort.label.push_back(data.event[i]);
    cohort.source.push_back(i % 4 == 0 ? "CPTAC" : "TCGA");
    rows.push_back(i);
  }
  NumpyRandom random(2);
  const auto times = risk_times(settings);
  std::vector<SurvivalSpec> specs;
  SurvivalFold fold;
  fold.held_out = rows;
  for (int m = 0; m < models; ++m) {
    SurvivalSpec spec;
    spec.id = fmt::format("model{}", m);
    spec.label = spec.id;
    spec.family = m == 0 ? "arm" : "fusion";
    specs.push_back(spec);
    auto& outcome = fold.models[spec.id];
    outcome.cuts = {0.1, 0.3};
    outcome.risk = Matrix<double>(n, times.size());
    for (std::size_t i = 0; i < n; ++i) {
      const double f = data.z[i] + random.normal();
      for (std::size_t h = 0; h < times.size(); ++h) {
        outcome.risk(i, h) = -std::expm1(-times[h] / 120.0 * std::exp(f / 2.0));
      }
    }
  }
  const std::vector<SurvivalPiece> pieces = {{"cross-validation", 0, 0, 1.0, Partition({}, rows)}};
  const SurvivalContext context{
      cohort, settings, specs, aggregate_survival(cohort, settings, pieces, {fold}), 1};
  const Stopwatch watch;
  const Json report = evaluate_survival(context);
  const double cpu = watch.cpu_s();

  const FollowUp large = generate(static_cast<std::size_t>(arguments.count("large")));
  const stats::survival::SurvivalTimes large_times(large.time, large.event);
  const Stopwatch large_watch;
  const auto c = stats::survival::harrell_c_index(large_times, large.z);
  const double large_cpu = large_watch.cpu_s();

  Json json = {{"program", "survival_report"},
               {"patients", n},
               {"models", models},
               {"resamples", settings.survival.bootstrap},
               {"c_index_patients", large.time.size()},
               {"c_index_cpu_s", large_cpu},
               {"c_index", c.c_index.value}};
  add_times(json, cpu, watch.wall_s());
  say(fmt::format("statistics of {} models, {} patients, {} resamples: {:.1f} CPU s; C-index of {} "
                  "patients: {:.3f} CPU s",
                  report.at("models").size(),
                  n,
                  settings.survival.bootstrap,
                  cpu,
                  large.time.size(),
                  large_cpu),
      json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
