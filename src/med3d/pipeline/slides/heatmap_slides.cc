#include "med3d/pipeline/slides/heatmap_slides.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/core/parallel.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/png.h"
#include "med3d/pipeline/folder_lock.h"
#include "med3d/pipeline/slides/attention.h"
#include "med3d/wsi/contact_sheet.h"
#include "med3d/wsi/heatmap_geojson.h"
#include "med3d/wsi/mpp.h"
#include "med3d/wsi/pyramid_tiff.h"
#include "med3d/wsi/slide.h"
#include "med3d/wsi/tile_file.h"
#include "med3d/wsi/tile_sample.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

std::string slide_of(const fs::path& path) {
  std::string stem = path.stem().string();
  constexpr std::string_view kClam = "_blockmap";
  if (stem.ends_with(kClam) && stem.size() > kClam.size()) stem.resize(stem.size() - kClam.size());
  return stem;
}

// Attention files by slide.
std::map<std::string, fs::path> attention_files(const fs::path& place, int fold) {
  std::error_code error;
  if (!fs::exists(place, error)) {
    throw Error(ErrorKind::kNotFound, place.string() + ": no such file or folder");
  }
  if (!fs::is_directory(place, error)) return {{slide_of(place), place}};
  fs::path folder = place;
  if (fs::is_directory(folder / "attention", error)) folder /= "attention";
  if (fold >= 0) {
    folder /= fmt::format("fold_{}", fold);
    if (!fs::is_directory(folder, error)) {
      throw Error(ErrorKind::kNotFound, folder.string() + ": no such folder");
    }
  }
  std::map<std::string, fs::path> out;
  bool folds = false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    const std::string name = path.filename().string();
    if (name.starts_with(".")) continue;
    folds = folds || (entry.is_directory(error) && name.starts_with("fold_"));
    if (to_lower(path.extension().string()) != ".h5" || entry.is_directory(error)) continue;
    const auto [found, added] = out.emplace(slide_of(path), path);
    if (!added) {
      throw Error(
          ErrorKind::kData,
          fmt::format("{}: attention of slide '{}' is there twice", folder.string(), found->first));
    }
  }
  if (out.empty()) {
    throw Error(ErrorKind::kNotFound,
                folder.string() +
                    (folds ? ": attention of several folds, expected the number of one"
                           : ": no attention of a slide (.h5) in it; `slide evaluate` writes it"));
  }
  return out;
}

std::int64_t number_in(const AttentionFile& file, const char* name) {
  const auto found = file.attributes.find(name);
  if (found == file.attributes.end()) return 0;
  const auto value = parse_double(found->second);
  return value && *value >= 1 && *value <= 1e9 ? static_cast<std::int64_t>(*value) : 0;
}

// What the tiles of a slide measure, and that they are this slide's.
std::int64_t checked_footprint(const HeatmapSlidesJob& job,
                               const std::string& slide_id,
                               const AttentionFile& attention,
                               const SlideInfo& info) {
  std::int64_t footprint = number_in(attention, "patch_size_level0");
  std::int64_t width = number_in(attention, "level0_width");
  std::int64_t height = number_in(attention, "level0_height");
  if (!job.patches.empty()) {
    const TileFile tiles = read_tiles(job.patches / (slide_id + ".h5"));
    if (!is_part_of(attention.coords, tiles.tiles.coords)) {
      throw Error(ErrorKind::kData,
                  "the attention is of other tiles than patches/ holds for this slide: a map of it "
                  "would show another model (CLAM issue 154)");
    }
    if (footprint != 0 && tiles.tiles.footprint != footprint) {
      throw Error(ErrorKind::kData,
                  fmt::format("the attention is of tiles of {} level-0 pixels, those of patches/ "
                              "measure {} (CLAM issue 154)",
                              footprint,
                              tiles.tiles.footprint));
    }
    footprint = tiles.tiles.footprint;
    if (width == 0) width = tiles.tiles.level0_size[0];
    if (height == 0) height = tiles.tiles.level0_size[1];
  }
  if (footprint == 0) footprint = job.footprint;
  if (footprint == 0) {
    throw Error(ErrorKind::kData,
                "nothing says how large the tiles of this attention are: name the folder of "
                "patches/ or their side in level-0 pixels");
  }
  const auto& level = info.levels.front();
  if ((width != 0 && width != level.width) || (height != 0 && height != level.height)) {
    throw Error(ErrorKind::kData,
                fmt::format("the attention is of a slide of {} x {} pixels, this one has {} x {} "
                            "(CLAM issue 154)",
                            width,
                            height,
                            level.width,
                            level.height));
  }
  return footprint;
}

RgbImage left_part(const RgbImage& image, std::int64_t width, std::int64_t height) {
  RgbImage out(width, height);
  for (std::int64_t y = 0; y < height; ++y) {
    std::copy(image.at(0, y), image.at(0, y) + 3 * width, out.at(0, y));
  }
  return out;
}

void write_png(const fs::path& path, const RgbImage& image) {
  write_file_atomic(path, png_bytes(image.pixels, image.width, image.height, 3));
}

std::vector<double> scaled(const std::vector<float>& scores, AttentionScale scale) {
  if (scale == AttentionScale::kSoftmax) return attention_weights(scores);
  return {scores.begin(), scores.end()};
}

struct Work {
  std::string slide_id;
  fs::path attention;
  const SlideItem* slide = nullptr;
};

void draw(const HeatmapSlidesJob& job,
          const Work& work,
          const std::map<std::string, fs::path>& references,
          SlideOutcome& outcome) {
  outcome.step = "attention";
  const AttentionFile attention = read_attention_file(work.attention);
  outcome.tiles = static_cast<std::int64_t>(attention.scores.size());
  std::vector<double> reference;
  if (!job.reference.empty()) {
    const auto found = references.size() == 1 ? references.begin() : references.find(work.slide_id);
    if (found == references.end()) {
      throw Error(ErrorKind::kNotFound, job.reference.string() + ": no reference for this slide");
    }
    const AttentionFile other = read_attention_file(found->second);
    reference.assign(other.scores.begin(), other.scores.end());
  }
  outcome.step = "open";
  if (work.slide == nullptr) {
    throw Error(ErrorKind::kNotFound, "no slide of this name in the folder of slides");
  }
  if (!work.slide->problem.empty()) throw Error(ErrorKind::kData, work.slide->problem);
  const auto slide = open_slide(work.slide->path);
  outcome.format = slide->info().format;
  const MppVerdict mpp = judge_mpp(slide->info(), work.slide->mpp);
  if (mpp.mpp) outcome.mpp = *mpp.mpp;
  outcome.mpp_source = mpp.source;
  outcome.step = "heatmap";
  const std::int64_t footprint = checked_footprint(job, work.slide_id, attention, slide->info());
  const auto scores = scaled(attention.scores, job.scale);

  HeatmapOptions options = job.options;
  options.scale =
      job.scale == AttentionScale::kPercentile ? ScoreScale::kPercentile : ScoreScale::kRaw;
  const auto said = attention.attributes.find("predicted");
  options.meaning =
      said == attention.attributes.end() ? "attention" : "attention, class " + said->second;
  const Heatmap map = draw_heatmap(attention.coords, footprint, scores, reference, *slide, options);
  if (map.damaged_blocks > 0) {
    outcome.warnings.push_back(
        fmt::format("{} blocks of the slide cannot be decoded: grey", map.damaged_blocks));
  }
  std::optional<RgbImage> sheet;
  if (job.top_k > 0) {
    TileSample sample;
    // Of few tiles fewer, so that none is among the highest and the lowest at once.
    const auto half = static_cast<std::int64_t>(scores.size() / 2);
    sample.k = std::clamp<std::int64_t>(half, 1, job.top_k);
    std::vector<TileSheetSection> sections = {{"highest attention", sample_tiles(scores, sample)}};
    sample.mode = SampleMode::kReverseTopK;
    sections.push_back({"lowest attention", sample_tiles(scores, sample)});
    TileSheetOptions sheet_options;
    sheet_options.title = work.slide_id;
    sheet = draw_tile_sheet(*slide, attention.coords, footprint, scores, sections, sheet_options);
  }

  outcome.step = "write";
  write_png(job.output / "heatmaps" / (work.slide_id + ".png"), map.image);
  if (job.tiff) {
    PyramidTiffOptions tiff;
    if (mpp.mpp) tiff.mpp = *mpp.mpp * (map.downsample_x + map.downsample_y) / 2;
    write_pyramid_tiff(job.output / "heatmaps" / (work.slide_id + ".tif"),
                       left_part(map.image, map.width, map.height),
                       tiff);
  }
  if (job.geojson) {
    HeatmapGeojsonOptions geojson;
    geojson.top_k = job.top_k;
    geojson.colours = options.colours;
    write_heatmap_geojson(job.output / "geojson" / (work.slide_id + ".geojson"),
                          attention.coords,
                          footprint,
                          scores,
                          geojson);
  }
  if (sheet) write_png(job.output / "sheets" / (work.slide_id + ".png"), *sheet);
}

}  // namespace

AttentionScale parse_attention_scale(std::string_view name) {
  if (name == "percentile") return AttentionScale::kPercentile;
  if (name == "raw") return AttentionScale::kRaw;
  if (name == "softmax") return AttentionScale::kSoftmax;
  throw Error(ErrorKind::kUsage,
              fmt::format("scale is '{}', expected percentile, raw or softmax", name));
}

std::vector<SlideOutcome> heatmap_slides(const HeatmapSlidesJob& job, Progress& progress) {
  job.options.validate();
  if (job.top_k < 0 || job.top_k > 100) {
    throw Error(ErrorKind::kUsage, fmt::format("top_k is {}, expected 0 to 100", job.top_k));
  }
  if (job.options.binarize && job.scale == AttentionScale::kRaw && job.options.binary_thresh < 0) {
    throw Error(ErrorKind::kUsage,
                "binary_thresh -1 means even attention, which raw scores do not have: ask for "
                "softmax, or give a threshold");
  }
  if (!job.reference.empty() && job.scale != AttentionScale::kPercentile) {
    throw Error(ErrorKind::kUsage, "reference scores are for percentiles alone");
  }
  const auto files = attention_files(job.attention, job.fold);
  std::map<std::string, fs::path> references;
  if (!job.reference.empty()) references = attention_files(job.reference, -1);
  const auto slides = find_slides(job.slides);
  std::vector<Work> work;
  for (const auto& [slide_id, path] : files) {
    Work one{slide_id, path, nullptr};
    for (const auto& slide : slides) {
      if (slide.slide_id == slide_id && one.slide == nullptr) one.slide = &slide;
    }
    work.push_back(std::move(one));
  }

  make_folder(job.output);
  const FolderLock lock(job.output);
  if (!job.overwrite) {
    for (const auto& entry : fs::directory_iterator(job.output)) {
      if (!entry.path().filename().string().starts_with(".")) {
        throw Error(ErrorKind::kUsage, job.output.string() + ": the folder is not empty");
      }
    }
  }
  remove_stale_temporaries(job.output);
  for (const char* folder : {"heatmaps", "geojson", "sheets"}) {
    std::error_code error;
    if (fs::is_directory(job.output / folder, error)) {
      remove_stale_temporaries(job.output / folder);
    }
  }
  std::vector<SlideOutcome> outcomes(work.size());
  progress.start("drawing heatmaps", work.size());
  parallel_for(work.size(), job.threads, [&](std::size_t i) {
    outcomes[i].slide_id = work[i].slide_id;
    try {
      draw(job, work[i], references, outcomes[i]);
    } catch (const Error& error) {
      // A full disk is no fault of a slide's: the next one would meet it too.
      if (error.kind() == ErrorKind::kIo && outcomes[i].step == "write") throw;
      outcomes[i].status = SlideStatus::kFailed;
      outcomes[i].reason = error.what();
    }
    progress.advance();
  });
  write_file_atomic(job.output / "outcomes.csv", outcomes_csv(outcomes));
  Json list = Json::array();
  for (const auto& outcome : outcomes) list.push_back(outcome.to_json());
  write_json(job.output / "outcomes.json", list);
  progress.finish();
  return outcomes;
}

}  // namespace med3d::pipeline
