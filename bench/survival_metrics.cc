// Single statistics on one table, to be set against R and Python on the same table by
// bench/compare_survival.
//
//   survival_metrics table=FILE.csv [small=400] [resamples=2000] [turns=5]
//
// The table: time, event, label, risk, x0, x1, ... Each step is run `turns` times and its median of
// processor seconds is said, with the value that the other programs must give too.

#include <algorithm>
#include <functional>
#include <map>

#include "bench/measure.h"
#include "med3d/io/formats/csv.h"
#include "med3d/stats/classification.h"
#include "med3d/stats/curves.h"
#include "med3d/stats/delong.h"
#include "med3d/stats/intervals.h"
#include "med3d/stats/survival/concordance.h"
#include "med3d/stats/survival/cox.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::bench {
namespace {

namespace ss = stats::survival;

int run(int argc, char** argv) {
  const Arguments arguments(
      argc, argv, {{"table", ""}, {"small", "400"}, {"resamples", "2000"}, {"turns", "5"}});
  const Table table = read_table(arguments.text("table"));
  const std::size_t n = table.rows.size();
  const std::size_t covariates = table.columns.size() - 4;
  std::vector<double> time, risk;
  std::vector<std::uint8_t> event, label;
  Matrix<double> x(n, covariates);
  for (std::size_t i = 0; i < n; ++i) {
    const auto& row = table.rows[i];
    time.push_back(parse_double(row[0]).value());
    event.push_back(row[1] == "1" ? 1 : 0);
    label.push_back(row[2] == "1" ? 1 : 0);
    risk.push_back(parse_double(row[3]).value());
    for (std::size_t j = 0; j < covariates; ++j) x(i, j) = parse_double(row[4 + j]).value();
  }
  const ss::SurvivalTimes times(time, event);
  const auto small = static_cast<std::size_t>(arguments.count("small"));
  const std::vector<std::uint8_t> few_labels(label.begin(),
                                             label.begin() + static_cast<long>(small));
  const std::vector<double> few_risks(risk.begin(), risk.begin() + static_cast<long>(small));

  Json steps = Json::object();
  const auto measure = [&](const std::string& name, const std::function<double()>& work) {
    std::vector<double> seconds;
    double value = 0.0;
    for (int turn = 0; turn < arguments.count("turns"); ++turn) {
      const double before = processor_seconds();
      value = work();
      seconds.push_back(processor_seconds() - before);
    }
    std::sort(seconds.begin(), seconds.end());
    steps[name] = {{"cpu_s", seconds[seconds.size() / 2]}, {"value", value}};
  };
  measure("c_index", [&] { return ss::harrell_c_index(times, risk).c_index.value; });
  measure("kaplan_meier", [&] { return ss::kaplan_meier(times).at(24.0).value; });
  measure("cox", [&] { return ss::cox_fit(times, x).beta[0]; });
  measure("auroc_delong", [&] { return stats::auroc_delong(label, risk).auroc.value; });
  measure("auroc", [&] { return stats::auroc(label, risk).value; });
  measure("auroc_bootstrap", [&] {
    stats::BootstrapOptions options;
    options.repeats = arguments.count("resamples");
    const auto result = stats::bootstrap(
        small,
        1,
        [&](std::span<const std::size_t> rows, std::span<double> value) {
          std::vector<std::uint8_t> of_label;
          std::vector<double> of_risk;
          for (const std::size_t row : rows) {
            of_label.push_back(few_labels[row]);
            of_risk.push_back(few_risks[row]);
          }
          value[0] = stats::auroc(of_label, of_risk).value;
        },
        options);
    return result.estimate[0].value;
  });
  say(fmt::format("{} steps on {} patients", steps.size(), n),
      {{"program", "survival_metrics"}, {"who", "med3d"}, {"patients", n}, {"steps", steps}});
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
