// The paper's clinical arm on a table of numbers: SMOTE on the training rows, then the 256-128-64
// network, 50 epochs of Adam in batches of 32. Every fifth row is held out and scored at the end.
//
//   clinical_arm [table=FILE] [fits=1]
//
// table   npy, npz, h5, ... (n, p + 1), the label in the last column; without it 500 generated rows
//         of 20 features, one in eight positive
// fits    how often to fit, each with its own seed
//
// The same in Python: python/clinical_arm.py.

#include "bench/measure.h"
#include "med3d/nn/mlp.h"
#include "med3d/stats/curves.h"
#include "med3d/tabular/resample.h"

namespace med3d::bench {
namespace {

int run(int argc, char** argv) {
  const Arguments arguments(argc, argv, {{"table", ""}, {"fits", "1"}});
  const int fits = arguments.count("fits");
  const Labelled table = arguments.text("table").empty() ? generate_labelled(500, 20, 8)
                                                         : read_labelled(arguments.text("table"));
  Matrix<double> x_train;
  Matrix<float> x_test;
  std::vector<std::uint8_t> y_train;
  std::vector<std::uint8_t> y_test;
  for (std::size_t i = 0; i < table.x.rows(); ++i) {
    if (i % 5 == 0) {
      const std::vector<float> row(table.x.row(i).begin(), table.x.row(i).end());
      x_test.append_row(row);
      y_test.push_back(table.y[i]);
    } else {
      x_train.append_row(table.x.row(i));
      y_train.push_back(table.y[i]);
    }
  }

  const Stopwatch watch;
  std::size_t steps = 0;
  double auroc = 0.0;
  for (int fit = 0; fit < fits; ++fit) {
    tabular::ResampleOptions resample;
    resample.seed = static_cast<std::uint32_t>(fit);
    const auto balanced = tabular::resample(x_train, y_train, tabular::Balance::kSmote, resample);
    nn::MlpOptions options;
    options.training.class_weights = false;  // SMOTE has balanced the classes
    options.training.seed = static_cast<std::uint64_t>(fit);
    const auto network = nn::Mlp::fit(matrix_cast<float>(balanced.x), balanced.y, options);
    auroc += stats::auroc(y_test, network.predict(x_test)).value / fits;
    steps += (balanced.y.size() + 31) / 32 * 50;
  }
  const double cpu = watch.cpu_s();
  const double wall = watch.wall_s();

  Json json = {{"program", "clinical_arm"},
               {"rows", table.x.rows()},
               {"columns", table.x.cols()},
               {"fits", fits},
               {"steps", steps},
               {"auroc", auroc}};
  add_times(json, cpu, wall);
  say(fmt::format("clinical arm, {} x {}: {:.2f} CPU s a fit ({:.3f} ms a step), AUROC {:.3f}, "
                  "peak {:.0f} MiB",
                  table.x.rows(),
                  table.x.cols(),
                  cpu / fits,
                  1e3 * cpu / static_cast<double>(steps),
                  auroc,
                  peak_mib()),
      json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
