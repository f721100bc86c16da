// Makes features of slides with a known truth, for tests: make_bags FOLDER SLIDES SHIFT [--slides]
// [--side N] [--seed N]
//
//   FOLDER/job/pt_files, h5_files   SLIDES bags of 12 tiles with 6 features, drawn from a normal;
//   in
//                                   slides of class "t" (every second one) four tiles are SHIFT
//                                   away
//   FOLDER/job/patches              where the tiles lie: a grid of 4 x 3, N level-0 pixels each
//   (64) FOLDER/dataset.csv              case_id,slide_id,label: a patient for each slide
//   FOLDER/outcome.csv              case_id,slide_id,months,event: class "t" has its event early
//   FOLDER/slides                   with --slides: slides of 512 x 384 pixels for the first three
//
// The same arguments make the same bytes.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include "med3d/core/file.h"
#include "med3d/core/matrix.h"
#include "med3d/core/random.h"
#include "med3d/io/array.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/wsi/synth_slide.h"
#include "med3d/wsi/tile_file.h"

namespace {

namespace fs = std::filesystem;
using med3d::Matrix;

constexpr std::size_t kTiles = 12;
constexpr std::size_t kFeatures = 6;

Matrix<std::int64_t> grid(std::int64_t side) {
  Matrix<std::int64_t> coords(kTiles, 2);
  for (std::size_t i = 0; i < kTiles; ++i) {
    coords(i, 0) = static_cast<std::int64_t>(i / 3) * side;
    coords(i, 1) = static_cast<std::int64_t>(i % 3) * side;
  }
  return coords;
}

void make(
    const fs::path& out, int slides, float shift, bool pictures, std::int64_t side, int seed) {
  const auto coords = grid(side);
  med3d::Tiles tiles;
  tiles.coords = coords;
  tiles.read_size = tiles.target_size = tiles.footprint = tiles.step = side;
  tiles.target_mpp = 0.5;
  tiles.level_size = tiles.level0_size = {512, 384};
  std::string dataset = "case_id,slide_id,label\n";
  std::string outcome = "case_id,slide_id,months,event\n";
  for (int i = 0; i < slides; ++i) {
    char id[16];
    std::snprintf(id, sizeof(id), "s%03d", i);
    const std::string name = id;
    const bool far = i % 2 == 1;
    med3d::NumpyRandom random(static_cast<std::uint32_t>(1000 * seed + i));
    Matrix<float> bag(kTiles, kFeatures);
    for (std::size_t j = 0; j < bag.size(); ++j)
      bag.data()[j] = static_cast<float>(random.normal());
    for (std::size_t row = 4; far && row < 8; ++row) bag(row, 1) += shift;
    med3d::write_file_atomic(out / "job/pt_files" / (name + ".pt"),
                             med3d::torch_tensor_bytes(med3d::from_matrix(bag)));
    med3d::write_clam_features(out / "job/h5_files" / (name + ".h5"), bag, coords);
    med3d::write_tiles(out / "job/patches" / (name + ".h5"), tiles, name, "job");
    dataset += "p" + name + "," + name + (far ? ",t\n" : ",n\n");
    outcome += "p" + name + "," + name + "," + std::to_string(far ? 3 + i % 17 : 30 + i % 19) +
               (i % 5 == 0 ? ",0\n" : ",1\n");
    if (pictures && i < 3) {
      med3d::SynthSlideOptions options;
      options.seed = static_cast<std::uint64_t>(i);
      options.width = 512;
      options.height = 384;
      med3d::write_synth_slide(out / "slides" / (name + ".svs"), options);
    }
  }
  med3d::write_file_atomic(out / "dataset.csv", dataset);
  med3d::write_file_atomic(out / "outcome.csv", outcome);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "make_bags FOLDER SLIDES SHIFT [--slides] [--side N] [--seed N]\n");
    return 2;
  }
  bool pictures = false;
  std::int64_t side = 64;
  int seed = 1;
  for (int i = 4; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--slides") pictures = true;
    if (option == "--seed" && i + 1 < argc) seed = std::atoi(argv[++i]);
    if (option == "--side" && i + 1 < argc) side = std::atoi(argv[++i]);
  }
  try {
    make(argv[1], std::atoi(argv[2]), std::strtof(argv[3], nullptr), pictures, side, seed);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_bags: %s\n", error.what());
    return 1;
  }
  return 0;
}
