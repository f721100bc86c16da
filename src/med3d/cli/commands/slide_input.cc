#include "med3d/cli/commands/slide_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "med3d/cli/commands/engine_input.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/core/case_id.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/slides/attention.h"
#include "med3d/pipeline/slides/torchscript_encoder.h"
#include "med3d/wsi/mpp.h"
#include "med3d/wsi/process_list.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTorchScript = "torchscript";

std::vector<std::string> encoder_names() {
  std::vector<std::string> names;
  for (const EncoderSpec* spec : encoders()) {
    if (spec->modality == "wsi") names.emplace_back(spec->name);
  }
  names.emplace_back(kTorchScript);
  return names;
}

std::vector<std::int64_t> read_ids(const Options& options, std::string_view name) {
  std::vector<std::int64_t> ids;
  for (const auto& word : options.list(name)) {
    std::int64_t id = -1;
    const auto end = word.data() + word.size();
    const auto result = std::from_chars(word.data(), end, id);
    if (result.ec != std::errc() || result.ptr != end || id < 0) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("--{}: found '{}', expected whole numbers from 0", name, word));
    }
    ids.push_back(id);
  }
  return ids;
}

std::array<float, 3> read_channels(const Options& options,
                                   std::string_view name,
                                   std::array<float, 3> fallback) {
  if (!options.given(name)) return fallback;
  const auto words = options.list(name);
  std::array<float, 3> out{};
  bool fits = words.size() == out.size();
  for (std::size_t i = 0; fits && i < out.size(); ++i) {
    const auto number = parse_double(words[i]);
    fits = number.has_value();
    if (fits) out[i] = static_cast<float>(*number);
  }
  if (!fits) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--{}: found '{}', expected three numbers: of red, green and blue",
                            name,
                            join(words, ",")));
  }
  return out;
}

// An option that would be passed over in silence is a mistake.
void refuse_options(const Options& options,
                    std::initializer_list<std::string_view> names,
                    std::string_view why) {
  for (const auto name : names) {
    if (options.given(name)) {
      throw Error(ErrorKind::kUsage, fmt::format("--{}: {}", name, why));
    }
  }
}

bool is_kind(const std::vector<std::string>& wanted, const std::string& kind) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), kind) != wanted.end();
}

ClamParameters read_parameters(const Options& options) {
  const std::string preset = options.text("preset");
  const auto known = clam_presets();
  const bool is_known = std::any_of(known.begin(), known.end(), [&](const ClamPreset& one) {
    return preset == one.name || preset == std::string(one.name) + ".csv";
  });
  ClamParameters out =
      is_known || !fs::exists(preset) ? clam_preset(preset) : read_clam_preset(preset);
  SegmentOptions& segment = out.segment;
  const auto whole = [&](std::string_view name, int& field) {
    if (options.given(name)) field = static_cast<int>(options.integer(name));
  };
  whole("seg-level", segment.seg_level);
  whole("sthresh", segment.sthresh);
  whole("mthresh", segment.mthresh);
  whole("close", segment.close);
  whole("max-n-holes", segment.max_n_holes);
  whole("vis-level", out.vis_level);
  whole("line-thickness", out.line_thickness);
  if (options.given("a-t")) segment.a_t = options.real("a-t");
  if (options.given("a-h")) segment.a_h = options.real("a-h");
  if (options.flag("use-otsu")) segment.use_otsu = true;
  if (options.given("keep-ids")) segment.keep_ids = read_ids(options, "keep-ids");
  if (options.given("exclude-ids")) segment.exclude_ids = read_ids(options, "exclude-ids");
  return out;
}

}  // namespace

void declare_slide_kinds(Schema& schema) {
  schema.list("slide-kinds",
              "take slides of these kinds only, by their TCGA barcode: DX = FFPE, TS, BS, MS = "
              "frozen",
              "",
              {"DX", "TS", "BS", "MS", "unknown"});
  schema.list("sample-kinds",
              "take slides of these tissues only, by their TCGA barcode",
              "",
              {"tumour", "normal", "unknown"});
}

void declare_slides(Schema& schema) {
  schema
      .positional_path("SLIDES",
                       "slides, and folders of them: all slides in a folder and those below it")
      .repeated()
      .alias("source")
      .alias("wsi-dir")
      .alias("data-slide-dir");
  schema.list("slide-ext", "take files of these extensions only; default: of every format")
      .alias("wsi-ext");
  schema
      .path("list",
            "table of the slides to take: column wsi, slide_id, filename or slide, and mpp if the "
            "slides do not say theirs")
      .alias("custom-list-of-wsis")
      .alias("csv-path");
  schema.real("mpp",
              "scale of level 0, instead of what the slides say; mpp of --list goes before",
              std::nullopt,
              kSmallestMpp,
              kLargestMpp,
              "micrometres a pixel");
  declare_slide_kinds(schema);
  declare_isolation(schema);
}

void declare_segmentation(Schema& schema) {
  schema.text("preset",
              "CLAM's default, bwh_biopsy, bwh_resection or tcga, or a CSV file of CLAM's columns; "
              "the options below go before it",
              "default");
  schema.path("process-list",
              "CLAM's list with parameters for single slides; those with process 0 are left out");
  schema.integer("seg-level", "level that is looked at; -1 = best for 1/64", std::nullopt, -1, 63);
  schema.integer("sthresh", "saturation above which a pixel is tissue", std::nullopt, 0, 255);
  schema.integer("mthresh", "side of the median's window, odd", std::nullopt, 1, 255);
  schema.integer("close", "side of the closing's square, 0 = none", std::nullopt, 0, 255);
  schema.flag("use-otsu", "Otsu's threshold instead of --sthresh");
  schema.real("a-t", "least area of tissue, in squares of 512 level-0 pixels", std::nullopt, 0.0);
  schema.real("a-h", "least area of a hole, in the same squares", std::nullopt, 0.0);
  schema.integer("max-n-holes", "holes of one piece of tissue at most", std::nullopt, 0, 1000000);
  schema.list("keep-ids", "numbers of the pieces of tissue to take, from 0");
  schema.list("exclude-ids", "numbers of the pieces of tissue to leave out");
  schema.integer("vis-level", "level of the pictures; -1 = best for 1/64", std::nullopt, -1, 63);
  schema.integer(
      "line-thickness", "of outlines in pictures, level-0 pixels", std::nullopt, 1, 100000);
  schema.flag("no-pictures", "write no pictures of tissue and tiles");
}

void declare_tiling(Schema& schema) {
  const TileOptions defaults;
  schema.choice("mode",
                "mpp: tiles of one size in micrometres; clam: CLAM's, in pixels of a level; "
                "trident: TRIDENT's grid at a magnification",
                {"mpp", "clam", "trident"},
                "mpp");
  schema.integer(
      "patch-size", "side of a tile, pixels at its scale", defaults.patch_size, 1, 65536);
  schema.integer("step-size",
                 "from tile to tile, the same pixels; default: --patch-size. Not in trident mode",
                 std::nullopt,
                 1,
                 65536);
  schema.real("target-mpp",
              "mpp mode: scale of the tiles",
              defaults.target_mpp,
              kSmallestMpp,
              kLargestMpp,
              "micrometres a pixel");
  schema.integer("patch-level", "clam mode: level the tiles are of", 0, 0, 63);
  schema.flag("retry",
              "clam mode: look again, easier to please, at a slide without tissue, as the other "
              "modes always do");
  schema.real(
      "mag", "trident mode: magnification of the tiles", defaults.target_magnification, 0.1, 200.0);
  schema.integer("overlap", "trident mode: of neighbours, pixels at their scale", 0, 0, 65535);
  schema.real("min-tissue-proportion", "share of a tile that must be tissue", 0.0, 0.0, 1.0);
  schema.choice("contour-fn",
                "which points of a tile must lie in tissue; default: that of the preset, four_pt",
                {"four_pt", "four_pt_hard", "center", "basic"});
  schema.flag("no-padding", "no tiles over the slide's edge");
}

void declare_extraction(Schema& schema) {
  schema.choice("encoder", "network that makes the features", encoder_names())
      .required()
      .alias("model-name")
      .alias("patch-encoder");
  schema
      .path("weights",
            "its trained weights (.pth, .bin, .safetensors). For torchscript a program exported "
            "from PyTorch, which runs with your rights: load only what you trust")
      .alias("patch-encoder-ckpt-path");
  schema.choice(
      "precision",
      "of the arithmetic; auto takes bf16 where the processor or GPU has it, else f32; bf16 "
      "that the processor would only emulate becomes f32, int8 an error",
      {"auto", "f32", "bf16", "int8"},
      "f32");
  declare_engine(schema);
  schema.integer("batch-size", "tiles encoded at once; features do not depend on it", 16, 1, 4096)
      .alias("feat-batch-size");
  schema.integer(
      "readers", "slides read at once, 0 = one for four threads; needs memory each", 0, 0, 256);
  schema.integer(
      "input-px", "torchscript: side of the tile the program takes, pixels", std::nullopt, 1, 4096);
  schema.list("mean", "torchscript: mean of red, green, blue in 0 to 1; default: ImageNet's");
  schema.list("std", "torchscript: their standard deviation; default: ImageNet's");
  schema.choice(
      "stain", "normalise the stains of each slide", {"none", "macenko", "reinhard"}, "none");
  schema.flag("quality", "leave out tiles that are blank, black, blurred or drawn on with a pen");
  schema.flag("safetensors", "write the features as safetensors too");
  schema.real("max-bad-tiles",
              "share of a slide's tiles that may be unreadable; above it the slide fails",
              0.01,
              0.0,
              1.0);
}

void declare_pooling(Schema& schema) {
  schema.choice("slide-pool",
                "from tiles to the slide's vector; attention and embedding need a model",
                {"mean", "max", "attention", "embedding"},
                "mean");
  schema.choice("patient-pool",
                "from slides to the patient's vector; top-slide needs a model",
                {"mean", "max", "top-slide"},
                "mean");
  schema.path("model", "CLAM checkpoint (.pt), for the pools that need a model");
  schema.path("slide-table",
              "table of columns slide_id and case_id; default: the case is read from the slide's "
              "name");
}

std::vector<pipeline::SlideItem> read_slides(const Options& options,
                                             Progress& progress,
                                             const fs::path& process_list) {
  pipeline::SlideSearch search;
  for (const auto& place : options.all("SLIDES")) search.places.emplace_back(place);
  search.extensions = options.list("slide-ext");
  if (options.given("list")) search.list = options.path("list");
  auto found = pipeline::find_slides(search);

  std::map<std::string, bool> to_do;
  if (!process_list.empty()) {
    for (const auto& row : read_process_list(process_list).rows) to_do[row.slide_id] = row.process;
  }
  const auto slide_kinds = options.list("slide-kinds");
  const auto sample_kinds = options.list("sample-kinds");
  std::vector<pipeline::SlideItem> out;
  for (auto& item : found) {
    const SlideFacts facts = slide_facts(item.slide_id);
    const auto listed = to_do.find(item.path.filename().string());
    if (!is_kind(slide_kinds, to_string(facts.slide)) ||
        !is_kind(sample_kinds, to_string(facts.sample)) ||
        (listed != to_do.end() && !listed->second)) {
      continue;
    }
    if (!item.mpp && options.given("mpp")) item.mpp = options.real("mpp");
    out.push_back(std::move(item));
  }
  if (out.empty()) {
    throw Error(ErrorKind::kData, fmt::format("none of {} slides is asked for", found.size()));
  }
  if (out.size() < found.size()) {
    progress.note(
        fmt::format("{} of {} slides are not asked for", found.size() - out.size(), found.size()));
  }
  return out;
}

pipeline::TileJob read_tile_job(const Options& options, bool tiles) {
  pipeline::TileJob job;
  job.parameters = read_parameters(options);
  if (options.given("process-list")) job.process_list = options.path("process-list");
  job.masks = job.stitches = !options.flag("no-pictures");
  job.write_tiles = tiles;
  job.threads = options.threads();
  job.redo = options.flag("overwrite");
  if (tiles) {
    TileOptions& o = job.tiles;
    o.mode = parse_tile_mode(options.choice("mode"));
    if (o.mode != TileMode::kMpp) {
      refuse_options(options, {"target-mpp"}, "belongs to --mode mpp");
    }
    if (o.mode != TileMode::kClam) {
      refuse_options(options, {"patch-level", "retry"}, "belongs to --mode clam");
    }
    if (o.mode != TileMode::kTrident) {
      refuse_options(options, {"mag", "overlap"}, "belongs to --mode trident");
    } else {
      refuse_options(
          options, {"step-size", "contour-fn", "no-padding"}, "has no meaning in --mode trident");
    }
    o.patch_size = options.integer("patch-size");
    o.step_size = options.given("step-size") ? options.integer("step-size") : o.patch_size;
    o.target_mpp = options.real("target-mpp");
    o.patch_level = static_cast<int>(options.integer("patch-level"));
    o.target_magnification = options.real("mag");
    o.overlap = options.integer("overlap");
    o.min_tissue_proportion = options.real("min-tissue-proportion");
    if (options.has("contour-fn")) {
      job.parameters.contour_fn = parse_contour_test(options.choice("contour-fn"));
    }
    if (options.flag("no-padding")) job.parameters.use_padding = false;
    // CLAM's tiles want CLAM's tissue: no second look at a slide without any, unless asked for.
    job.parameters.segment.clam = o.mode == TileMode::kClam;
    job.parameters.segment.retry = options.flag("retry");
    job.tiles.validate();
  }
  job.parameters.segment.validate();
  return job;
}

pipeline::ExtractJob read_extract_job(const Options& options) {
  pipeline::ExtractJob job;
  job.batch = options.integer("batch-size");
  const auto readers = static_cast<int>(options.integer("readers"));
  job.readers = readers > 0 ? readers : std::max(1, options.threads() / 4);
  job.max_bad_tiles = options.real("max-bad-tiles");
  job.stain.method = parse_stain_method(options.choice("stain"));
  job.check_quality = options.flag("quality");
  job.write_safetensors = options.flag("safetensors");
  job.seed = options.seed();
  job.redo = options.flag("overwrite");
  return job;
}

pipeline::AggregateJob read_aggregate_job(const Options& options) {
  pipeline::AggregateJob job;
  job.slide_pool = pipeline::parse_slide_pool(options.choice("slide-pool"));
  job.patient_pool = pipeline::parse_patient_pool(options.choice("patient-pool"));
  if (options.given("slide-table")) job.slide_table = options.path("slide-table");
  const bool by_attention = job.slide_pool == pipeline::SlidePool::kAttention ||
                            job.slide_pool == pipeline::SlidePool::kEmbedding;
  if (by_attention || job.patient_pool == pipeline::PatientPool::kTopSlide) {
    if (!options.given("model")) {
      throw CommandError(ErrorKind::kUsage,
                         fmt::format("--{}: pooling by attention needs a model that was trained",
                                     by_attention ? "slide-pool" : "patient-pool"),
                         "name its checkpoint with --model; `med3d slide train` makes them");
    }
    job.attend = pipeline::attend_with(options.path("model"));
  }
  return job;
}

pipeline::LoadedEncoder load_encoder(const Options& options) {
  pipeline::LoadedEncoder out;
  out.name = options.choice("encoder");
  const auto weights = options.given("weights") ? options.path("weights") : fs::path();
  // A pipe would be waited for, without end.
  if (fs::exists(weights) && !fs::is_regular_file(weights)) {
    throw Error(ErrorKind::kFormat, weights.string() + ": not a regular file");
  }
  const Precision precision = parse_precision(options.choice("precision"));
  if (out.name == kTorchScript) {
    refuse_options(options, {"engine", "device"}, "a TorchScript program runs on the processor");
    if (weights.empty()) {
      throw CommandError(ErrorKind::kUsage,
                         "--encoder torchscript needs --weights, the program",
                         "export one with torch.jit.script or torch.jit.trace");
    }
    if (precision != Precision::kAuto && precision != Precision::kF32) {
      refuse_options(options, {"precision"}, "a TorchScript program computes as it was written");
    }
    pipeline::TorchScriptOptions script;
    if (options.given("input-px")) script.input_px = options.integer("input-px");
    script.mean = read_channels(options, "mean", script.mean);
    script.stddev = read_channels(options, "std", script.stddev);
    script.threads = options.threads();
    script.batch = options.integer("batch-size");
    script.validate();
    out.weights_sha256 = sha256_file(weights);
    out.encoder = pipeline::load_torchscript_encoder(weights, script);
    out.input_px = script.input_px;
    out.options = script.text();
    return out;
  }
  refuse_options(options, {"input-px", "mean", "std"}, "belongs to --encoder torchscript");
  const EncoderSpec& spec = find_encoder(out.name);
  if (spec.trained && weights.empty()) {
    throw CommandError(
        ErrorKind::kUsage,
        fmt::format("--encoder {} needs --weights, the file of its trained weights", spec.name),
        fmt::format("'med3d weights fetch {}' gets them; --encoder resnet50-untrained needs none, "
                    "for trials",
                    spec.name));
  }
  if (!spec.trained) {
    refuse_options(options, {"weights"}, fmt::format("--encoder {} takes none", spec.name));
  }
  EncoderOptions encoder;
  encoder.precision = precision;
  encoder.threads = options.threads();
  encoder.batch = options.integer("batch-size");
  encoder.seed = options.seed();
  out.trained = spec.trained;
  out.input_px = spec.input_px;
  out.engine = read_engine(options);
  if (spec.trained) out.weights_sha256 = sha256_file(weights);
  out.encoder = pipeline::load_encoder_on(out.engine, spec, weights, encoder);
  return out;
}

std::string untrained_notice(const pipeline::LoadedEncoder& encoder) {
  if (encoder.trained) return "";
  return fmt::format("features are of untrained weights ({}): for trials only, they mean nothing",
                     encoder.name);
}

}  // namespace med3d
