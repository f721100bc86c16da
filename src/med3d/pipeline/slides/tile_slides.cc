#include "med3d/pipeline/slides/tile_slides.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/json.h"
#include "med3d/core/parallel.h"
#include "med3d/core/stop.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/pipeline/slides/contact_sheets.h"
#include "med3d/wsi/geojson.h"
#include "med3d/wsi/mask_image.h"
#include "med3d/wsi/mpp.h"
#include "med3d/wsi/tile_file.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kPictureQuality = 85;

void write_picture(const fs::path& path, const RgbImage& image) {
  write_file_atomic(path, encode_jpeg(image.pixels, image.width, image.height, kPictureQuality));
}

std::string attempts_text(const Tissue& tissue) {
  std::vector<std::string> parts;
  for (const auto& attempt : tissue.attempts) {
    parts.push_back(fmt::format("a_t {:g}{}", attempt.a_t, attempt.use_otsu ? " with Otsu" : ""));
  }
  return join(parts, ", ");
}

// One slide, from its file to its tiles. `row` comes back with what CLAM's list says of it.
void tile_slide(const SlideItem& item,
                const SlideFolder& folder,
                const TileJob& job,
                const std::string& key,
                ProcessRow& row,
                SlideOutcome& outcome) {
  // Coordinates of other parameters must not outlive this: a later step would take them for ours.
  if (job.write_tiles) {
    fs::remove(folder.tiles(item.slide_id));
    fs::remove(folder.tile_record(item.slide_id));
  }
  outcome.step = "open";
  const auto slide = open_slide(item.path);
  const SlideInfo& info = slide->info();
  outcome.format = info.format;

  const MppVerdict verdict = judge_mpp(info, item.mpp ? item.mpp : job.tiles.slide_mpp);
  outcome.warnings = verdict.warnings;
  outcome.mpp = verdict.mpp.value_or(0.0);
  outcome.mpp_source = verdict.source;

  outcome.step = "segment";
  convert_legacy_area(row, info);
  const SegmentLevel chosen = choose_segment_level(info, row.parameters.segment);
  if (!chosen.problem.empty()) {
    row.status = kFailedSegmentation;
    throw Error(ErrorKind::kData, chosen.problem);
  }
  const LevelImage level = read_level_to_fit(*slide, chosen.level);
  const Tissue tissue = segment_tissue(level, row.parameters.segment);
  if (level.reduction > 1) {
    outcome.warnings.push_back(
        fmt::format("level {} is large and there is no smaller one: tissue was looked for in means "
                    "of {} x {} pixels",
                    level.level,
                    level.reduction,
                    level.reduction));
  }
  if (level.damaged_blocks > 0) {
    outcome.warnings.push_back(fmt::format(
        "{} squares of level {} could not be decoded", level.damaged_blocks, level.level));
  }
  if (tissue.attempts.size() > 1 && !tissue.empty()) {
    outcome.warnings.push_back(fmt::format("tissue was found at the last of {} looks: {}",
                                           tissue.attempts.size(),
                                           attempts_text(tissue)));
  }
  const bool same_level = row.parameters.vis_level == row.parameters.segment.seg_level;
  if (job.contours) write_tissue_geojson(folder.contours(item.slide_id), tissue);
  if (job.masks) {
    write_picture(
        folder.mask(item.slide_id),
        draw_tissue(same_level ? level : read_level_to_fit(*slide, row.parameters.vis_level),
                    tissue,
                    row.parameters.line_thickness));
  }
  if (tissue.empty()) {
    outcome.status = SlideStatus::kEmpty;
    outcome.reason = fmt::format("no tissue found ({})", attempts_text(tissue));
    row.status = kProcessed;
    return;
  }
  if (job.write_tiles) {
    outcome.step = "tile";
    TileOptions options = job.tiles;
    // Only a scale that was judged: one that the slide states and nobody believes is none.
    SlideInfo judged = info;
    judged.mpp_x = judged.mpp_y = options.slide_mpp = verdict.mpp;
    options.use_padding = row.parameters.use_padding;
    options.contour_fn = row.parameters.contour_fn;
    const Tiles tiles = make_tiles(judged, tissue, options);
    outcome.tiles = static_cast<std::int64_t>(tiles.coords.rows());
    if (tiles.dropped_single > 0) {
      outcome.warnings.push_back(fmt::format(
          "{} pieces of tissue of a single tile left out, as CLAM does", tiles.dropped_single));
    }
    if (outcome.tiles == 0) {
      outcome.status = SlideStatus::kEmpty;
      outcome.reason =
          fmt::format("{} pieces of tissue, and no tile that lies in one", tissue.regions.size());
      row.status = kProcessed;
      return;
    }
    if (job.stitches) {
      write_picture(
          folder.stitch(item.slide_id),
          draw_stitch(same_level ? level : read_level_to_fit(*slide, row.parameters.vis_level),
                      tiles));
    }
    write_json(folder.tile_record(item.slide_id),
               {{"key", key},
                {"slide_id", item.slide_id},
                {"tiles", outcome.tiles},
                {"format", outcome.format},
                {"mpp", outcome.mpp > 0 ? Json(outcome.mpp) : Json()},
                {"mpp_source", outcome.mpp_source},
                {"warnings", outcome.warnings}});
    // Last: where it is, the slide is done.
    write_tiles(folder.tiles(item.slide_id), tiles, item.slide_id, folder.patches().string());
    row.status = kProcessed;
  }
}

// Everything that decides where the tiles are. The slide's own bytes are represented by their
// number.
std::string tile_key(const SlideItem& item, const TileJob& job, const ProcessRow& row) {
  ProcessList parameters;
  parameters.rows.push_back(row);
  parameters.rows.front().process = true;
  parameters.rows.front().status = kToBeProcessed;
  parameters.rows.front().extra.clear();
  const TileOptions& o = job.tiles;
  const auto optional = [](const std::optional<double>& value) {
    return value ? fmt::format("{}", *value) : std::string("none");
  };
  return sha256_hex(
      fmt::format("{}slide {} mpp {} area {} clam {}{}\n"
                  "{} {} {} {} {} {} {} {} {} {}\n",
                  process_list_csv(parameters),
                  bytes_of(item),
                  optional(item.mpp ? item.mpp : o.slide_mpp),
                  optional(row.legacy_area),
                  row.parameters.segment.clam,
                  row.parameters.segment.retry ? " retry" : "",  // keys made before it stay
                  to_string(o.mode),
                  o.patch_size,
                  o.step_size,
                  o.target_mpp,
                  o.level_tolerance,
                  o.patch_level,
                  o.target_magnification,
                  optional(o.slide_magnification),
                  o.overlap,
                  o.min_tissue_proportion));
}

bool is_tiled(const SlideItem& item,
              const SlideFolder& folder,
              const TileJob& job,
              const std::string& key,
              SlideOutcome& outcome) {
  if (job.redo || !job.write_tiles || !fs::exists(folder.tiles(item.slide_id))) return false;
  try {
    outcome.tiles =
        static_cast<std::int64_t>(read_tiles(folder.tiles(item.slide_id)).tiles.coords.rows());
    if (fs::exists(folder.tile_record(item.slide_id))) {
      const Json record = read_json(folder.tile_record(item.slide_id));
      if (record.at("key").get<std::string>() != key) return false;
      outcome.format = record.at("format").get<std::string>();
      if (!record.at("mpp").is_null()) outcome.mpp = record.at("mpp").get<double>();
      outcome.mpp_source = record.at("mpp_source").get<std::string>();
      outcome.warnings = record.at("warnings").get<std::vector<std::string>>();
    }
  } catch (const std::exception&) {
    outcome = SlideOutcome{};  // damaged: it is made again
    outcome.slide_id = item.slide_id;
    return false;
  }
  outcome.status = SlideStatus::kKept;
  outcome.step = "tile";
  return true;
}

}  // namespace

std::vector<SlideOutcome> tile_slides(const std::vector<SlideItem>& slides,
                                      const SlideFolder& folder,
                                      const TileJob& job,
                                      Progress& progress) {
  job.tiles.validate();
  job.parameters.segment.validate();
  make_folder(folder.root);

  ProcessList list;
  std::map<std::string, std::size_t> listed;
  if (!job.process_list.empty()) {
    ProcessList given = read_process_list(job.process_list, job.parameters);
    list.extra_columns = given.extra_columns;
    for (auto& row : given.rows) {
      listed[row.slide_id] = list.rows.size();
      list.rows.push_back(std::move(row));
    }
  }
  std::vector<std::size_t> row_of(slides.size());
  for (std::size_t i = 0; i < slides.size(); ++i) {
    const std::string name = slides[i].path.filename().string();
    const auto found = listed.find(name);
    if (found != listed.end()) {
      row_of[i] = found->second;
      continue;
    }
    row_of[i] = list.rows.size();
    ProcessRow row;
    row.slide_id = name;
    row.parameters = job.parameters;
    row.extra.resize(list.extra_columns.size());
    list.rows.push_back(std::move(row));
  }

  std::vector<SlideOutcome> outcomes(slides.size());
  std::mutex mutex;
  progress.start(job.write_tiles ? "segmenting and tiling" : "segmenting", slides.size());
  parallel_for(slides.size(), job.threads, [&](std::size_t i) {
    throw_if_stopped();
    const SlideItem& item = slides[i];
    SlideOutcome outcome;
    outcome.slide_id = item.slide_id;
    ProcessRow row;
    {
      const std::lock_guard lock(mutex);
      row = list.rows[row_of[i]];
    }
    bool known = false;
    try {
      if (!item.problem.empty()) throw Error(ErrorKind::kData, item.problem);
      // The line of an old list is converted by the slide itself: such a slide is opened anyway.
      if (job.hooks.known && !row.legacy_area) {
        if (auto found = job.hooks.known(item)) {
          outcome = std::move(*found);
          known = true;
          if (job.write_tiles) row.status = kProcessed;
        }
      }
      if (!known) {
        const std::string key = tile_key(item, job, row);
        if (is_tiled(item, folder, job, key, outcome)) {
          // Who keeps an account of slides gets the same list whenever a slide was done.
          row.status = job.hooks.done ? kProcessed : kAlreadyExists;
        } else {
          tile_slide(item, folder, job, key, row, outcome);
        }
      }
    } catch (const std::exception& error) {
      outcome.status = SlideStatus::kFailed;
      outcome.reason = describe(error);
      if (row.status == kToBeProcessed) row.status = "failed";
    }
    if (!known && job.hooks.done) job.hooks.done(item, outcome);
    // Segmented only, it is still to do: the list can be edited and given to tiling.
    row.process = row.status == kToBeProcessed;
    const std::lock_guard lock(mutex);
    list.rows[row_of[i]] = std::move(row);
    if (job.summaries) write_process_list(folder.process_list(), list);
    outcomes[i] = std::move(outcome);
    progress.advance();
  });
  if (job.masks && job.summaries) write_contact_sheets(folder, outcomes);
  return outcomes;
}

}  // namespace med3d::pipeline
