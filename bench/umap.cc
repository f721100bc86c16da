// A map of patients by UMAP, 15 neighbours, seed 0, on one thread.
//
//   umap [points=FILE] [runs=1]
//
// points  npy, npz, h5, ... (n, p); without it 1,800 generated points of 64 numbers in ten groups
//
// The same in Python: python/umap_map.py. Trustworthiness (5 neighbours) is not in the time.

#include "med3d/stats/umap.h"

#include "bench/measure.h"

namespace med3d::bench {
namespace {

// Ten groups: group g lies eight units off in every tenth column from g on.
Matrix<double> generate_points() {
  NumpyRandom random(1);
  Matrix<double> points(1800, 64);
  for (std::size_t i = 0; i < points.rows(); ++i) {
    for (std::size_t j = 0; j < points.cols(); ++j) {
      points(i, j) = random.normal() + (j % 10 == i % 10 ? 8.0 : 0.0);
    }
  }
  return points;
}

int run(int argc, char** argv) {
  const Arguments arguments(argc, argv, {{"points", ""}, {"runs", "1"}});
  const int runs = arguments.count("runs");
  const Matrix<double> points = arguments.text("points").empty()
                                    ? generate_points()
                                    : matrix_cast<double>(read_features(arguments.text("points")));

  const Stopwatch watch;
  stats::UmapResult result;
  for (int i = 0; i < runs; ++i) result = stats::umap(points);
  const double cpu = watch.cpu_s();
  const double wall = watch.wall_s();

  Json json = {{"program", "umap"},
               {"rows", points.rows()},
               {"columns", points.cols()},
               {"runs", runs},
               {"epochs", result.n_epochs}};
  add_times(json, cpu, wall);
  const double trust = stats::trustworthiness(points, result.embedding);
  json["trustworthiness"] = trust;
  say(fmt::format("UMAP, {} x {}: {:.2f} CPU s, trustworthiness {:.3f}, peak {:.0f} MiB",
                  points.rows(),
                  points.cols(),
                  cpu / runs,
                  trust,
                  peak_mib()),
      json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
