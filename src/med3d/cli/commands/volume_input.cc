#include "med3d/cli/commands/volume_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/cli/commands/engine_input.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/commands/item_output.h"
#include "med3d/cli/output.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUntrained = "resnet18-3d-untrained";

std::vector<std::string> encoder_names() {
  std::vector<std::string> names;
  for (const VolumeEncoderSpec* spec : volume_encoders()) names.emplace_back(spec->name);
  return names;
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names = {"auto"};
  for (const VolumeRecipe* recipe : volume_recipes()) names.emplace_back(recipe->name);
  return names;
}

}  // namespace

void declare_scans(Schema& schema) {
  schema
      .positional_path("SCANS",
                       "folders of DICOM series in any layout, and NIfTI files or folders of them")
      .repeated();
  schema.path("map",
              "table of scans: columns path and case_id, and if there series, modality, mask; "
              "paths are relative to it");
  schema.choice("modality", "of NIfTI files that nothing else tells", {"ct", "mr"});
  schema.flag("keep-names",
              "keep the names of NIfTI files; else those of no public archive become pseudonyms, "
              "as they may be names of people");
  declare_isolation(schema);
}

void declare_masks(Schema& schema) {
  schema
      .path("masks",
            "folder of NIfTI masks, <series>.nii.gz or called as the scan: scans are cut to them")
      .alias("roi");
  schema.real("margin-mm", "around a mask", 10.0, 0.0, 10'000.0, "mm");
}

void declare_geometry(Schema& schema) {
  schema.choice("tilt",
                "of the gantry: straighten by shifting slices, keep a sheared grid, or refuse",
                {"straighten", "keep", "refuse"},
                "straighten");
  schema.choice(
      "gaps", "slices that are missing or unevenly spaced", {"refuse", "interpolate"}, "refuse");
}

void declare_recipe(Schema& schema) {
  schema.choice(
      "recipe", "preprocessing; auto: the paper's for CT, mr for MR", recipe_names(), "auto");
  schema.list("size", "voxels the encoder sees: slices, rows, columns", "56,448,448");
  schema.list("spacing",
              "millimetres along x, y, z: every scan on this grid around its centre, cut or filled "
              "up to --size; default: the whole scan fills --size");
  schema.text("orientation",
              "of the axes before all else, as three of L/R, P/A, S/I; 'stored' keeps them",
              "LPS");
  schema.flag("noise", "recipe medicalnet: seeded noise where voxels are 0, as MedicalNet does");
}

void declare_volume_encoder(Schema& schema) {
  schema.choice("encoder",
                "network that makes the features; the default has random weights, for trials",
                encoder_names(),
                kUntrained);
  schema.path("weights", "its trained weights (.pth, .bin, .safetensors)");
  schema.choice(
      "precision",
      "of the arithmetic; auto takes bf16 where the processor or GPU has it, else f32; bf16 "
      "that the processor would only emulate becomes f32",
      {"auto", "f32", "bf16"},
      "f32");
  declare_engine(schema);
  schema.choice("shortcut",
                "of its residual blocks, for weights of your own",
                {"published", "A", "B"},
                "published");
}

void declare_filter(Schema& schema) {
  schema.path("rules", "rules of the filter (TOML); default: the shipped ones");
  schema.flag("no-filter", "take every series of CT and MR");
}

std::vector<pipeline::VolumeItem> read_indexed_scans(const Options& options,
                                                     const fs::path& index) {
  if (options.flag("no-filter") && options.given("rules")) {
    throw Error(ErrorKind::kUsage, "--no-filter: rules are named by --rules");
  }
  const auto series = pipeline::read_series_index(index);
  std::vector<pipeline::FilteredSeries> judged;
  if (options.flag("no-filter")) {
    for (const auto& one : series) judged.push_back({one, true, "", ""});
  } else {
    judged = pipeline::filter_series(series,
                                     options.given("rules")
                                         ? pipeline::read_filter_rules(options.path("rules"))
                                         : pipeline::shipped_filter_rules());
  }
  return pipeline::items_of(judged, masks_of(options));
}

fs::path masks_of(const Options& options) {
  if (!options.given("masks")) return {};
  const fs::path masks = options.path("masks");
  if (!fs::is_directory(masks)) {
    throw Error(ErrorKind::kNotFound, masks.string() + ": no such folder of masks");
  }
  return masks;
}

std::vector<pipeline::VolumeItem> read_scans(const Options& options,
                                             Progress& progress,
                                             const fs::path& masks) {
  pipeline::VolumeSearch search;
  for (const auto& place : options.all("SCANS")) search.places.emplace_back(place);
  if (options.given("map")) search.table = options.path("map");
  if (options.given("modality")) search.modality = options.choice("modality");
  search.masks = masks;
  search.keep_names = options.flag("keep-names");
  search.threads = options.threads();
  progress.start("looking for scans", 0);
  auto found = pipeline::find_volumes(search);
  progress.finish();
  if (found.other_files > 0) {
    progress.note(fmt::format("{} files are neither DICOM images nor NIfTI", found.other_files));
  }
  return std::move(found.items);
}

SeriesOptions read_geometry(const Options& options) {
  SeriesOptions out;
  const std::string tilt = options.choice("tilt");
  out.tilt = tilt == "keep"     ? TiltHandling::kKeep
             : tilt == "refuse" ? TiltHandling::kRefuse
                                : TiltHandling::kStraighten;
  out.gaps =
      options.choice("gaps") == "interpolate" ? GapHandling::kInterpolate : GapHandling::kRefuse;
  // Decoding runs beside what is done with the scan before.
  out.threads = std::max(1, options.threads() / 2);
  return out;
}

std::vector<double> read_numbers(const Options& options, std::string_view name) {
  std::vector<double> out;
  for (const auto& word : options.list(name)) {
    const double number = parse_double(word).value_or(std::nan(""));
    if (!std::isfinite(number)) return {};
    out.push_back(number);
  }
  return out;
}

std::array<double, 3> read_three(const Options& options, std::string_view name) {
  const auto numbers = read_numbers(options, name);
  if (numbers.size() != 3) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "--{}: found '{}', expected three numbers", name, join(options.list(name), ",")));
  }
  return {numbers[0], numbers[1], numbers[2]};
}

pipeline::PrepareOptions read_recipe(const Options& options) {
  pipeline::PrepareOptions out;
  if (options.choice("recipe") != "auto") out.recipe = options.choice("recipe");
  const auto size = read_three(options, "size");
  for (std::size_t i = 0; i < 3; ++i) {
    if (!(size[i] >= 1) || !(size[i] <= 4096) || size[i] != std::floor(size[i])) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("--size: found {}, expected whole numbers from 1 to 4096", size[i]));
    }
    out.options.size[2 - i] = static_cast<std::int64_t>(size[i]);
  }
  if (options.has("spacing")) out.spacing_mm = read_three(options, "spacing");
  out.options.orientation =
      options.text("orientation") == "stored" ? "" : options.text("orientation");
  if (options.flag("noise")) {
    if (out.recipe != "medicalnet") {
      throw Error(ErrorKind::kUsage, "--noise: belongs to --recipe medicalnet");
    }
    out.options.zeros = ZeroVoxels::kNoise;
  }
  out.options.seed = static_cast<std::uint32_t>(options.seed());
  out.options.threads = std::max(1, options.threads() / 2);
  out.needs_mask = options.given("masks");
  out.margin_mm = options.real("margin-mm");
  out.validate();
  return out;
}

pipeline::LoadedVolumeEncoder load_volume_encoder(const Options& options) {
  pipeline::LoadedVolumeEncoder out;
  out.name = options.choice("encoder");
  const VolumeEncoderSpec& spec = find_volume_encoder(out.name);
  const auto weights = options.given("weights") ? options.path("weights") : fs::path();
  if (spec.trained && weights.empty()) {
    throw CommandError(
        ErrorKind::kUsage,
        fmt::format("--encoder {} needs --weights, the file of its trained weights", spec.name),
        fmt::format(
            "MedicalNet's are at huggingface.co/TencentMedicalNet; --encoder {} needs none, "
            "for trials",
            kUntrained));
  }
  if (!spec.trained && !weights.empty()) {
    throw CommandError(ErrorKind::kUsage,
                       fmt::format("--weights: --encoder {} takes none", spec.name),
                       "name the encoder whose weights these are");
  }
  // A pipe would be waited for, without end.
  if (fs::exists(weights) && !fs::is_regular_file(weights)) {
    throw Error(ErrorKind::kFormat, weights.string() + ": not a regular file");
  }
  VolumeEncoderOptions encoder;
  encoder.precision = parse_precision(options.choice("precision"));
  encoder.threads = options.threads();
  encoder.seed = options.seed();
  const std::string shortcut = options.choice("shortcut");
  encoder.shortcut = shortcut == "A"   ? Shortcut::kA
                     : shortcut == "B" ? Shortcut::kB
                                       : Shortcut::kPublished;
  out.trained = spec.trained;
  out.shortcut = encoder.shortcut;
  out.seed = options.seed();
  out.engine = read_engine(options);
  if (spec.trained) out.weights_sha256 = sha256_file(weights);
  out.encoder = pipeline::load_encoder_on(out.engine, spec, weights, encoder);
  return out;
}

std::string untrained_notice(const pipeline::LoadedVolumeEncoder& encoder) {
  if (encoder.trained) return "";
  return fmt::format("features are of untrained weights ({}): for trials only, they mean nothing",
                     encoder.name);
}

int tell_scans(const Options& options,
               std::string_view command,
               const std::vector<pipeline::VolumeItem>& scans) {
  Json list = Json::array();
  std::string text;
  for (const auto& scan : scans) {
    list.push_back({{"patient", scan.patient},
                    {"series", scan.series},
                    {"modality", scan.modality},
                    {"files", scan.files.size()},
                    {"kept", scan.kept},
                    {"problem", scan.problem}});
    text += fmt::format("  {}/{}  {}  {} files{}\n",
                        scan.patient,
                        scan.series,
                        scan.modality.empty() ? "?" : scan.modality,
                        scan.files.size(),
                        scan.problem.empty() ? "" : ": " + scan.problem);
  }
  return tell_plan(options, command, "scans", std::move(list), text);
}

int finish_scans(const Options& options,
                 const pipeline::VolumeFolder& folder,
                 const VolumeResult& result,
                 Progress& progress) {
  Json document = {{"schema", 1}, {"command", result.command}};
  if (!result.notice.empty()) document["notice"] = result.notice;
  if (result.encoder != nullptr) document["encoder"] = result.encoder->to_json();
  for (const auto& [name, value] : result.more.items()) document[name] = value;
  document["scans"] = Json::array();
  for (const auto& outcome : result.outcomes) document["scans"].push_back(outcome.to_json());
  write_file_atomic(folder.outcomes_csv(), pipeline::outcomes_csv(result.outcomes));
  write_json(folder.outcomes_json(), document);
  progress.finish();

  if (options.json()) {
    print_json(document);
  } else {
    for (const auto& outcome : result.outcomes) {
      for (const auto& warning : outcome.warnings) {
        progress.warn(outcome.patient + "/" + outcome.series + ": " + warning);
      }
    }
    print(pipeline::outcomes_text(result.outcomes));
    tell_files(options, result.notice, folder.root, result.files);
  }
  return pipeline::exit_code(result.outcomes);
}

int work_on_scans(const Options& options,
                  const std::string& command,
                  const std::function<std::vector<pipeline::VolumeOutcome>(
                      const std::vector<pipeline::VolumeItem>& scans,
                      const std::filesystem::path& folder,
                      Progress& progress)>& work) {
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto scans = read_scans(options, *progress);
  if (options.flag("dry-run")) return tell_scans(options, command, scans);
  const pipeline::VolumeFolder folder{options.path("output")};
  const auto lock = folder.claim();
  VolumeResult result;
  result.command = command;
  result.outcomes = work(scans, folder.root, *progress);
  return finish_scans(options, folder, result, *progress);
}

}  // namespace med3d
