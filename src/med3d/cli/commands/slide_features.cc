#include <fmt/format.h>

#include <map>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_input.h"
#include "med3d/cli/commands/slide_output.h"
#include "med3d/cli/commands/slide_vectors.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

bool has_features(const pipeline::SlideOutcome& outcome) {
  return outcome.status == pipeline::SlideStatus::kDone ||
         outcome.status == pipeline::SlideStatus::kKept;
}

// Tiles of another scale than the encoder was trained at give features that look all right.
void check_scale(const pipeline::TileJob& tiles, std::string_view encoder, Progress& progress) {
  if (tiles.tiles.mode != TileMode::kMpp) return;
  for (const EncoderSpec* spec : encoders()) {
    if (spec->name != encoder || !spec->trained || spec->mpp <= 0) continue;
    const double ratio = tiles.tiles.target_mpp / spec->mpp;
    if (ratio < 0.8 || ratio > 1.25) {
      progress.warn(fmt::format("tiles of {} um a pixel for {}, which was trained at {} um",
                                tiles.tiles.target_mpp,
                                spec->name,
                                spec->mpp));
    }
  }
}

int run(const Options& options) {
  const auto tile_job = read_tile_job(options, true);
  auto extract_job = read_extract_job(options);
  const auto aggregate_job = read_aggregate_job(options);
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto slides = read_slides(options, *progress, tile_job.process_list);
  auto encoder = load_encoder(options);
  check_scale(tile_job, encoder.name, *progress);
  if (options.flag("dry-run")) return tell_slides(options, "slide features", slides);

  const pipeline::SlideFolder folder{options.path("output")};
  const auto lock = folder.claim();
  // Until the end there is no table: one of an earlier call could be taken for this one's.
  fs::remove(folder.slide_vectors());
  fs::remove(folder.patient_vectors());

  SlideResult result;
  result.command = "slide features";
  result.encoder = &encoder;
  result.notice = untrained_notice(encoder);
  extract_job.times = [&](const pipeline::ExtractTimes& times) { result.times = times; };
  auto& outcomes = result.outcomes;
  outcomes = pipeline::tile_slides(slides, folder, tile_job, *progress);
  outcomes = pipeline::extract_slides(
      slides, std::move(outcomes), folder, encoder, extract_job, *progress);

  std::vector<fs::path> files;
  std::map<std::string, pipeline::SlideOutcome*> by_file;
  for (auto& outcome : outcomes) {
    if (!has_features(outcome)) continue;
    files.push_back(folder.features_h5(outcome.slide_id));
    by_file[files.back().filename().string()] = &outcome;
  }
  const auto vectors = pipeline::aggregate_slides(files, aggregate_job, *progress);
  for (const auto& left : vectors.left_out) {
    auto& outcome = *by_file.at(left.file);
    if (left.failed) {
      outcome.status = pipeline::SlideStatus::kFailed;
      outcome.step = "aggregate";
      outcome.reason = left.reason;
    } else {
      outcome.warnings.push_back("not in wsi_features.csv: " + left.reason);
    }
  }
  const bool written = write_slide_vectors(folder, vectors);
  if (written) result.files = {"wsi_slide_features.csv", "wsi_features.csv"};
  const int code = finish_slides(options, folder, result, *progress);
  return written ? code : kExitFailed;
}

}  // namespace

extern const Command slide_features_command;
const Command slide_features_command = {
    .name = "slide features",
    .summary = "The whole way from slides to one vector a patient: segment, tile, encode, pool",
    .reference =
        "Maqsood and Khan, MeD-3D, 2025, section 3.2; "
        "Lu et al., Nature Biomedical Engineering 5:555-570, 2021",
    .examples = {{"med3d slide features slides/ --output out --encoder resnet50 --weights "
                  "resnet50.safetensors",
                  "A folder of slides to out/wsi_features.csv"},
                 {"med3d slide features slides/ --output out --encoder resnet50-untrained",
                  "A trial without weights: the features mean nothing"},
                 {"med3d slide features slides/ --output out --encoder uni --weights uni.bin "
                  "--slide-kinds DX --quality --stain macenko",
                  "FFPE slides only, spoilt tiles left out, stains normalised"}},
    .declare =
        [](Schema& schema) {
          declare_slides(schema);
          declare_slide_output(schema);
          declare_segmentation(schema);
          declare_tiling(schema);
          declare_extraction(schema);
          declare_pooling(schema);
          add_common_seed(schema);
        },
    .run = run,
};

}  // namespace med3d
