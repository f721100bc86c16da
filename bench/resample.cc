// Oversampling of a wide table: SMOTE or ADASYN.
//
//   resample [method=smote] [table=FILE] [runs=1]
//
// method  smote or adasyn
// table   npy, npz, h5, ... (n, p + 1), the label in the last column; without it 4,000 generated
//         rows of 512 features, one in five positive
//
// The same in Python: python/resample.py. Its sum must be this one's: the rows are equal.

#include "med3d/tabular/resample.h"

#include "bench/measure.h"

namespace med3d::bench {
namespace {

int run(int argc, char** argv) {
  const Arguments arguments(argc, argv, {{"method", "smote"}, {"table", ""}, {"runs", "1"}});
  const auto balance = tabular::parse_balance(arguments.text("method"));
  const int runs = arguments.count("runs");
  const Labelled table = arguments.text("table").empty() ? generate_labelled(4000, 512, 5)
                                                         : read_labelled(arguments.text("table"));

  const Stopwatch watch;
  tabular::Resampled result;
  for (int i = 0; i < runs; ++i) result = tabular::resample(table.x, table.y, balance, {});
  const double cpu = watch.cpu_s();
  const double wall = watch.wall_s();

  double sum = 0.0;
  for (std::size_t i = 0; i < result.x.size(); ++i) sum += result.x.data()[i];
  Json json = {{"program", "resample"},
               {"method", arguments.text("method")},
               {"rows", table.x.rows()},
               {"columns", table.x.cols()},
               {"runs", runs},
               {"rows_after", result.x.rows()},
               {"sum", sum}};
  add_times(json, cpu, wall);
  say(fmt::format("{}, {} x {}: {:.3f} CPU s, {} rows after, peak {:.0f} MiB",
                  arguments.text("method"),
                  table.x.rows(),
                  table.x.cols(),
                  cpu / runs,
                  result.x.rows(),
                  peak_mib()),
      json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
