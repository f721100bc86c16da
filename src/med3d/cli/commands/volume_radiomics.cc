#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/volumes/radiomics_volumes.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

std::vector<pipeline::RadiomicsItem> read_items(const Options& options) {
  const fs::path input = options.path("INPUT");
  const std::string extension = to_lower(input.extension().string());
  if (extension == ".csv" || extension == ".tsv") {
    if (options.given("mask") || options.given("case-id")) {
      throw Error(ErrorKind::kUsage,
                  "--mask and --case-id are for one image; a table has them in its rows");
    }
    return pipeline::read_radiomics_list(input);
  }
  if (!options.given("mask")) {
    throw CommandError(ErrorKind::kUsage,
                       "an image needs the mask of its region",
                       "--mask MASK.nii.gz, or a table of images and masks (.csv)");
  }
  auto item = pipeline::radiomics_item(input, options.path("mask"));
  if (options.given("case-id")) item.case_id = options.text("case-id");
  return {std::move(item)};
}

int whole(const std::string& text, std::string_view option) {
  const auto value = parse_double(text);
  if (!value || *value < 1.0 || *value > 1000.0 || *value != static_cast<int>(*value)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--{} '{}': expected whole numbers from 1", option, text));
  }
  return static_cast<int>(*value);
}

pipeline::RadiomicsJob read_job(const Options& options) {
  pipeline::RadiomicsJob job;
  job.output = options.path("output");
  job.pool = pipeline::parse_scan_pool(options.choice("patient-pool"));
  job.overwrite = options.flag("overwrite");
  radiomics::Options& out = job.options;
  out.label = options.integer("label");
  out.bin_width = options.real("bin-width");
  if (options.given("bin-count")) {
    if (options.given("bin-width")) {
      throw Error(ErrorKind::kUsage, "--bin-width and --bin-count: only one can be obeyed");
    }
    out.bin_count = options.integer("bin-count");
  }
  if (options.given("spacing-mm")) {
    const auto sides = options.list("spacing-mm");
    Vector3 spacing{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const auto side = sides.size() == 3 ? parse_double(sides[axis]) : std::nullopt;
      if (!side) {
        throw Error(
            ErrorKind::kUsage,
            fmt::format("--spacing-mm {}: expected three numbers, x,y,z", join(sides, ",")));
      }
      spacing[axis] = *side;
    }
    out.spacing_mm = spacing;
  }
  out.interpolator = radiomics::parse_interpolator(options.choice("interpolator"));
  out.normalize = options.flag("normalize");
  out.normalize_scale = options.real("normalize-scale");
  if (options.given("remove-outliers")) out.remove_outliers = options.real("remove-outliers");
  out.distances.clear();
  for (const auto& text : options.list("distances")) {
    out.distances.push_back(whole(text, "distances"));
  }
  out.symmetrical_glcm = !options.flag("one-way-glcm");
  out.weighting = radiomics::parse_weighting(options.choice("weighting-norm"));
  out.gldm_alpha = static_cast<int>(options.integer("gldm-a"));
  out.force_2d = options.flag("force-2d");
  out.voxel_array_shift = options.real("voxel-array-shift");
  out.standard_deviation = options.flag("standard-deviation");
  out.minimum_dimensions = static_cast<int>(options.integer("minimum-roi-dimensions"));
  out.minimum_voxels = options.integer("minimum-roi-size");
  out.classes.clear();
  for (const auto& name : options.list("classes")) {
    out.classes.push_back(radiomics::parse_feature_class(name));
  }
  out.threads = options.threads();
  out.validate();
  return job;
}

int run(const Options& options) {
  const auto job = read_job(options);
  const auto items = read_items(options);
  if (options.flag("dry-run")) {
    Json list = Json::array();
    std::string text =
        fmt::format("volume radiomics: {} scans into {}\n", items.size(), job.output.string());
    for (const auto& item : items) {
      list.push_back({{"case_id", item.case_id},
                      {"scan_id", item.scan_id},
                      {"image", item.image.string()},
                      {"mask", item.mask.string()},
                      {"label", item.label.value_or(job.options.label)}});
      text += fmt::format("  {}, {}: {} in {}\n",
                          item.case_id,
                          item.scan_id,
                          item.image.string(),
                          item.mask.string());
    }
    if (options.json()) {
      print_json({{"command", "volume radiomics"},
                  {"output", job.output.string()},
                  {"settings", pipeline::radiomics_settings(job)},
                  {"scans", std::move(list)}});
    } else {
      print(text);
    }
    return kExitDone;
  }

  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto outcomes = pipeline::extract_radiomics(items, job, *progress);
  progress->finish();
  if (options.json()) {
    Json document = {{"command", "volume radiomics"},
                     {"settings", pipeline::radiomics_settings(job)}};
    document["scans"] = Json::array();
    for (const auto& outcome : outcomes) document["scans"].push_back(outcome.to_json());
    print_json(document);
  } else {
    print(pipeline::radiomics_text(outcomes));
    if (!options.quiet() && pipeline::exit_code(outcomes) != kExitFailed) {
      print((job.output / "radiomics_features.csv").string() + "\n");
    }
  }
  return pipeline::exit_code(outcomes);
}

}  // namespace

extern const Command volume_radiomics_command;
const Command volume_radiomics_command = {
    .name = "volume radiomics",
    .summary = "Shape, grey values and texture of a region, under pyradiomics' names",
    .reference = "van Griethuysen et al., Cancer Research 77(21):e104, 2017; IBSI reference manual",
    .examples = {{"med3d volume radiomics ct.nii.gz --mask kidney.nii.gz --label 2",
                  "107 features of the region that the mask labels 2"},
                 {"med3d volume radiomics scans.csv --spacing-mm 1,1,1 --output radiomics",
                  "A table of case_id, image and mask, all on a grid of 1 mm"}},
    .declare =
        [](Schema& schema) {
          schema
              .positional_path("INPUT",
                               "NIfTI file or folder of one DICOM series; or a table (.csv) with "
                               "columns case_id, image, mask and, if there are any, scan_id, label")
              .required();
          schema.path("mask", "NIfTI file on the image's grid, for one image");
          declare_isolation(schema);
          schema.text("case-id", "patient's pseudonym, for one image");
          schema.integer("label", "value of the region's voxels in the mask", 1, 1, 1 << 24);
          schema.list("classes",
                      "classes of features",
                      "shape,firstorder,glcm,gldm,glrlm,glszm,ngtdm",
                      {"shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"});
          schema.real("bin-width", "width of a grey level", 25.0, 1e-9, 1e9);
          schema.integer("bin-count",
                         "so many grey levels from the lowest to the highest value, whatever they "
                         "are",
                         std::nullopt,
                         1,
                         radiomics::kMaximumLevels);
          schema.list("spacing-mm", "resample to voxels of x,y,z mm first; 0 keeps an axis");
          schema.choice("interpolator", "for resampling", {"bspline", "linear"}, "bspline");
          schema.flag("normalize", "z-score of the whole image first");
          schema.real("normalize-scale", "times this, after --normalize", 1.0, 1e-9, 1e9);
          schema.real("remove-outliers",
                      "with --normalize: so many standard deviations at most",
                      std::nullopt,
                      1e-9,
                      1e9);
          schema.list("distances", "of neighbours in voxels, for GLCM, GLDM, NGTDM", "1");
          schema.flag("one-way-glcm", "count pairs in one direction only");
          schema.choice("weighting-norm",
                        "sum the matrices of all directions, weighted, instead of averaging "
                        "features",
                        {"none", "manhattan", "euclidean", "infinity", "no_weighting"},
                        "none");
          schema.integer("gldm-a", "levels by which a dependent neighbour may differ", 0, 0, 1024);
          schema.flag("force-2d", "neighbours in the plane of a slice only");
          schema.real("voxel-array-shift", "added to the values for energies", 0.0, -1e9, 1e9);
          schema.flag("standard-deviation", "also firstorder StandardDeviation");
          schema.integer("minimum-roi-dimensions",
                         "axes along which the region has two voxels at least",
                         2,
                         0,
                         3);
          schema.integer("minimum-roi-size", "voxels the region must exceed", 0, 0, 1 << 30);
          schema.choice("patient-pool",
                        "how scans become the patient's row: their mean, or the largest region's",
                        {"mean", "largest"},
                        "mean");
          schema.path(
              "output", "folder of the tables; a job that was stopped goes on", "med3d-radiomics");
          add_common_threads(schema);
          schema.flag("overwrite", "Make again what is there already");
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
