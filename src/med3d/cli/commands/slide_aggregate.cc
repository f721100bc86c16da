#include <fmt/format.h>

#include <set>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_input.h"
#include "med3d/cli/commands/slide_output.h"
#include "med3d/cli/commands/slide_vectors.h"
#include "med3d/core/json.h"
#include "med3d/pipeline/slides/aggregate_slides.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

// What the records beside feature files of ours say of their encoders; files of others have none.
std::string notice_of(const std::vector<fs::path>& files, Progress& progress) {
  std::set<std::string> encoders;
  std::string untrained;
  for (const auto& file : files) {
    const fs::path record =
        file.parent_path().parent_path() / "slides" / (file.stem().string() + ".json");
    if (!fs::exists(record)) continue;
    try {
      const Json encoder = read_json(record).at("encoder");
      encoders.insert(encoder.dump());
      if (!encoder.at("trained").get<bool>()) untrained = encoder.at("name").get<std::string>();
    } catch (const std::exception&) {
      progress.warn(record.string() + ": a damaged record, not regarded");
    }
  }
  if (encoders.size() > 1) {
    progress.warn(fmt::format("features of {} encoders, weights or precisions are pooled together",
                              encoders.size()));
  }
  if (untrained.empty()) return "";
  pipeline::LoadedEncoder encoder;
  encoder.name = untrained;
  encoder.trained = false;
  return untrained_notice(encoder);
}

int run(const Options& options) {
  auto job = read_aggregate_job(options);
  job.slide_kinds = options.list("slide-kinds");
  job.sample_kinds = options.list("sample-kinds");
  const auto progress = make_console_progress(options.quiet() || options.json());
  fs::path source = options.path("FEATURES");
  for (const char* name : {"h5_files", "pt_files"}) {
    if (fs::is_directory(source / name)) {
      source /= name;
      break;
    }
  }
  const auto files = pipeline::feature_files(source);
  if (options.flag("dry-run")) {
    std::vector<pipeline::SlideItem> items;
    for (const auto& file : files) items.push_back({file.stem().string(), file, {}, ""});
    return tell_slides(options, "slide aggregate", items);
  }

  const pipeline::SlideFolder folder{options.path("output")};
  const auto lock = folder.claim();
  SlideResult result;
  result.command = "slide aggregate";
  result.notice = notice_of(files, *progress);
  const auto vectors = pipeline::aggregate_slides(files, job, *progress);
  for (std::size_t i = 0; i < vectors.tiles.size(); ++i) {
    pipeline::SlideOutcome outcome;
    outcome.slide_id = vectors.slides.item_ids[i];
    outcome.step = "aggregate";
    outcome.tiles = outcome.features = vectors.tiles[i];
    result.outcomes.push_back(std::move(outcome));
  }
  for (const auto& left : vectors.left_out) {
    if (!left.failed) continue;
    pipeline::SlideOutcome outcome;
    outcome.slide_id = fs::path(left.file).stem().string();
    outcome.step = "aggregate";
    outcome.status = pipeline::SlideStatus::kFailed;
    outcome.reason = left.reason;
    result.outcomes.push_back(std::move(outcome));
  }
  const std::size_t other = files.size() - result.outcomes.size();
  if (other > 0) {
    progress->note(fmt::format("{} of {} slides are not asked for", other, files.size()));
  }
  const bool written = write_slide_vectors(folder, vectors);
  if (written) result.files = {"wsi_slide_features.csv", "wsi_features.csv"};
  const int code = finish_slides(options, folder, result, *progress);
  return written ? code : kExitFailed;
}

}  // namespace

extern const Command slide_aggregate_command;
const Command slide_aggregate_command = {
    .name = "slide aggregate",
    .summary = "Pool the features of tiles to one vector a slide and one a patient",
    .reference = "Maqsood and Khan, MeD-3D, 2025, section 3.2",
    .examples = {{"med3d slide aggregate out --output out",
                  "Two-stage mean: tiles of a slide, then slides of a patient"},
                 {"med3d slide aggregate feats/pt_files --output out --slide-table slides.csv",
                  "Features of CLAM, patients from a table"}},
    .declare =
        [](Schema& schema) {
          schema
              .positional_path("FEATURES",
                               "folder of feature files (h5, pt, safetensors, npy), or the folder "
                               "of a slide job")
              .required();
          declare_pooling(schema);
          declare_slide_kinds(schema);
          schema.path("output", "folder of the two tables", "med3d-slides");
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
