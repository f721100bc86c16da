#include "med3d/pipeline/raw_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/slides/attention.h"
#include "med3d/pipeline/slides/torchscript_encoder.h"
#include "med3d/pipeline/volumes/volume_folder.h"
#include "med3d/wsi/process_list.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

bool is_kind(const StringList& wanted, const std::string& kind) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), kind) != wanted.end();
}

ClamParameters parameters_of(const SlideSettings& s) {
  const auto known = clam_presets();
  const bool is_known = std::any_of(known.begin(), known.end(), [&](const ClamPreset& one) {
    return s.preset == one.name || s.preset == std::string(one.name) + ".csv";
  });
  ClamParameters out =
      is_known || !fs::exists(s.preset) ? clam_preset(s.preset) : read_clam_preset(s.preset);
  SegmentOptions& segment = out.segment;
  if (s.seg_level >= -1) segment.seg_level = s.seg_level;
  if (s.sthresh >= 0) segment.sthresh = s.sthresh;
  if (s.mthresh >= 0) segment.mthresh = s.mthresh;
  if (s.close >= 0) segment.close = s.close;
  if (s.use_otsu) segment.use_otsu = true;
  if (s.a_t >= 0) segment.a_t = s.a_t;
  if (s.a_h >= 0) segment.a_h = s.a_h;
  if (s.max_n_holes >= 0) segment.max_n_holes = s.max_n_holes;
  return out;
}

std::array<float, 3> channels(const std::vector<double>& given, std::array<float, 3> fallback) {
  for (std::size_t i = 0; i < given.size() && i < fallback.size(); ++i) {
    fallback[i] = static_cast<float>(given[i]);
  }
  return fallback;
}

// A pipe would be waited for, without end.
void refuse_pipe(const fs::path& weights) {
  if (fs::exists(weights) && !fs::is_regular_file(weights)) {
    throw Error(ErrorKind::kFormat, weights.string() + ": not a regular file");
  }
}

std::string notice(bool trained, const std::string& name) {
  if (trained) return "";
  return fmt::format("features are of untrained weights ({}): for trials only, they mean nothing",
                     name);
}

}  // namespace

std::vector<ChosenSlide> choose_slides(const SlideSettings& settings) {
  SlideSearch search;
  search.places = settings.folder;
  search.extensions = settings.slide_ext;
  search.list = settings.list;
  std::map<std::string, bool> to_do;
  if (!settings.process_list.empty()) {
    for (const auto& row : read_process_list(settings.process_list).rows) {
      to_do[row.slide_id] = row.process;
    }
  }
  std::vector<ChosenSlide> out;
  for (auto& item : find_slides(search)) {
    ChosenSlide chosen;
    const SlideFacts facts = slide_facts(item.slide_id);
    const auto listed = to_do.find(item.path.filename().string());
    if (!is_kind(settings.slide_kinds, to_string(facts.slide))) {
      chosen.left_out = "a slide of kind " + to_string(facts.slide);
    } else if (!is_kind(settings.sample_kinds, to_string(facts.sample))) {
      chosen.left_out = "a slide of " + to_string(facts.sample) + " tissue";
    } else if (listed != to_do.end() && !listed->second) {
      chosen.left_out = "the process list leaves it out";
    }
    if (!item.mpp && settings.mpp > 0) item.mpp = settings.mpp;
    chosen.item = std::move(item);
    out.push_back(std::move(chosen));
  }
  return out;
}

TileJob tile_job(const SlideSettings& settings, int threads) {
  TileJob job;
  job.parameters = parameters_of(settings);
  job.process_list = settings.process_list;
  job.masks = job.stitches = settings.pictures;
  job.threads = threads;
  TileOptions& o = job.tiles;
  o.mode = parse_tile_mode(settings.mode);
  o.patch_size = settings.patch_size;
  o.step_size = settings.step_size > 0 ? settings.step_size : settings.patch_size;
  o.target_mpp = settings.target_mpp;
  o.patch_level = settings.patch_level;
  o.target_magnification = settings.mag;
  o.overlap = settings.overlap;
  o.min_tissue_proportion = settings.min_tissue_proportion;
  if (!settings.contour_fn.empty()) {
    job.parameters.contour_fn = parse_contour_test(settings.contour_fn);
  }
  if (!settings.padding) job.parameters.use_padding = false;
  // CLAM's tiles want CLAM's tissue: no second look at a slide without any, unless asked for.
  job.parameters.segment.clam = o.mode == TileMode::kClam;
  job.parameters.segment.retry = settings.retry;
  job.tiles.validate();
  job.parameters.segment.validate();
  return job;
}

ExtractJob extract_job(const SlideSettings& settings, int threads) {
  ExtractJob job;
  job.batch = settings.batch_size;
  job.readers = settings.readers > 0 ? settings.readers : std::max(1, threads / 4);
  job.max_bad_tiles = settings.max_bad_tiles;
  job.stain.method = parse_stain_method(settings.stain);
  job.check_quality = settings.quality;
  job.seed = static_cast<std::uint64_t>(settings.seed);
  return job;
}

AggregateJob aggregate_job(const SlideSettings& settings) {
  AggregateJob job;
  job.slide_pool = parse_slide_pool(settings.slide_pool);
  job.patient_pool = parse_patient_pool(settings.patient_pool);
  job.slide_table = settings.slide_table;
  if (job.needs_model()) job.attend = attend_with(settings.model);
  return job;
}

LoadedEncoder load_slide_encoder(const SlideSettings& settings, int threads) {
  refuse_pipe(settings.weights);
  LoadedEncoder out;
  out.name = settings.encoder;
  if (settings.encoder == "torchscript") {
    TorchScriptOptions script;
    if (settings.input_px > 0) script.input_px = settings.input_px;
    script.mean = channels(settings.mean, script.mean);
    script.stddev = channels(settings.stddev, script.stddev);
    script.threads = threads;
    script.batch = settings.batch_size;
    script.validate();
    out.weights_sha256 = sha256_file(settings.weights);
    out.encoder = load_torchscript_encoder(settings.weights, script);
    out.input_px = script.input_px;
    out.options = script.text();
    return out;
  }
  const EncoderSpec& spec = find_encoder(settings.encoder);
  EncoderOptions encoder;
  encoder.precision = parse_precision(settings.precision);
  encoder.threads = threads;
  encoder.batch = settings.batch_size;
  encoder.seed = static_cast<std::uint64_t>(settings.seed);
  out.trained = spec.trained;
  out.input_px = spec.input_px;
  out.engine = choose_engine(parse_engine(settings.engine), nn::parse_device(settings.device));
  if (spec.trained) out.weights_sha256 = sha256_file(settings.weights);
  out.encoder = load_encoder_on(out.engine, spec, settings.weights, encoder);
  return out;
}

VolumeIndexOptions index_options(const ScanSettings& settings, const fs::path& index, int threads) {
  VolumeIndexOptions out;
  out.folder = settings.folder;
  out.index = index;
  out.keep_ids = settings.keep_ids;
  if (!settings.secret_file.empty()) {
    const std::string text = read_file(settings.secret_file, 4096);
    out.secret = std::string(trim(text.substr(0, text.find('\n'))));
    if (out.secret.size() < 16) {
      throw Error(ErrorKind::kUsage,
                  "[scans] secret_file: expected 16 characters or more in its first line");
    }
  }
  out.case_ids = settings.case_ids;
  out.volumes = settings.volumes;
  out.threads = threads;
  return out;
}

FilterRules filter_rules(const ScanSettings& settings) {
  return settings.rules.empty() ? shipped_filter_rules() : read_filter_rules(settings.rules);
}

std::vector<FilteredSeries> choose_series(const ScanSettings& settings, const fs::path& index) {
  const auto series = read_series_index(index);
  if (settings.filter) return filter_series(series, filter_rules(settings));
  std::vector<FilteredSeries> all;
  for (const auto& one : series) {
    const bool kept = !modality_folder(one.modality).empty();
    const std::string reason = one.modality.empty()
                                   ? std::string("its modality is not known")
                                   : fmt::format("modality {}, expected CT or MR", one.modality);
    all.push_back({one, kept, kept ? "" : reason, kept ? "" : "modality"});
  }
  return all;
}

ExtractVolumesJob extract_job(const ScanSettings& settings, int threads) {
  ExtractVolumesJob job;
  // Decoding runs beside what is done with the scan before.
  const int half = std::max(1, threads / 2);
  job.series.tilt = settings.tilt == "keep"     ? TiltHandling::kKeep
                    : settings.tilt == "refuse" ? TiltHandling::kRefuse
                                                : TiltHandling::kStraighten;
  job.series.gaps =
      settings.gaps == "interpolate" ? GapHandling::kInterpolate : GapHandling::kRefuse;
  job.series.threads = half;
  PrepareOptions& o = job.prepare;
  if (settings.recipe != "auto") o.recipe = settings.recipe;
  for (std::size_t i = 0; i < 3; ++i) o.options.size[2 - i] = settings.size.at(i);
  if (!settings.spacing.empty()) {
    o.spacing_mm = {settings.spacing.at(0), settings.spacing.at(1), settings.spacing.at(2)};
  }
  o.options.orientation = settings.orientation == "stored" ? "" : settings.orientation;
  if (settings.noise) o.options.zeros = ZeroVoxels::kNoise;
  o.options.seed = static_cast<std::uint32_t>(settings.seed);
  o.options.threads = half;
  o.needs_mask = !settings.masks.empty();
  o.margin_mm = settings.margin_mm;
  o.validate();
  return job;
}

AggregateVolumesJob aggregate_job(const ScanSettings& settings) {
  AggregateVolumesJob job;
  job.pool = parse_volume_pool(settings.pool);
  job.model = settings.model;
  return job;
}

LoadedVolumeEncoder load_scan_encoder(const ScanSettings& settings, int threads) {
  refuse_pipe(settings.weights);
  LoadedVolumeEncoder out;
  out.name = settings.encoder;
  const VolumeEncoderSpec& spec = find_volume_encoder(settings.encoder);
  VolumeEncoderOptions encoder;
  encoder.precision = parse_precision(settings.precision);
  encoder.threads = threads;
  encoder.seed = static_cast<std::uint64_t>(settings.seed);
  encoder.shortcut = settings.shortcut == "A"   ? Shortcut::kA
                     : settings.shortcut == "B" ? Shortcut::kB
                                                : Shortcut::kPublished;
  out.trained = spec.trained;
  out.shortcut = encoder.shortcut;
  out.seed = encoder.seed;
  out.engine = choose_engine(parse_engine(settings.engine), nn::parse_device(settings.device));
  if (spec.trained) out.weights_sha256 = sha256_file(settings.weights);
  out.encoder = load_encoder_on(out.engine, spec, settings.weights, encoder);
  return out;
}

std::string untrained_notice(const LoadedEncoder& encoder) {
  return notice(encoder.trained, encoder.name);
}

std::string untrained_notice(const LoadedVolumeEncoder& encoder) {
  return notice(encoder.trained, encoder.name);
}

}  // namespace med3d::pipeline
