#include "med3d/pipeline/raw_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/radiology/preprocess.h"
#include "med3d/wsi/mpp.h"

namespace med3d::pipeline {
namespace {

[[noreturn]] void usage(const std::string& message) { throw Error(ErrorKind::kUsage, message); }

StringList slide_encoders() {
  StringList names = {""};
  for (const EncoderSpec* spec : encoders()) {
    if (spec->modality == "wsi") names.emplace_back(spec->name);
  }
  names.emplace_back("torchscript");
  return names;
}

StringList scan_encoders() {
  StringList names;
  for (const VolumeEncoderSpec* spec : volume_encoders()) names.emplace_back(spec->name);
  return names;
}

StringList recipes() {
  StringList names = {"auto"};
  for (const VolumeRecipe* recipe : volume_recipes()) names.emplace_back(recipe->name);
  return names;
}

// A setting that would be passed over in silence is a mistake.
void refuse(bool given, const char* section, const char* key, const std::string& why) {
  if (given) usage(fmt::format("[{}] {}: {}", section, key, why));
}

void check_weights(const char* section,
                   const std::string& encoder,
                   bool trained,
                   const std::filesystem::path& weights) {
  if (trained && weights.empty()) {
    usage(fmt::format(
        "[{}] encoder {} needs weights, the file of its trained weights", section, encoder));
  }
  refuse(!trained && !weights.empty(),
         section,
         "weights",
         fmt::format("encoder {} takes none", encoder));
}

}  // namespace

void SlideSettings::describe(SettingsSchema& schema) {
  schema.section("slides",
                 "Whole-slide images: what a run makes the vectors of [wsi] from. The keys are the "
                 "options of `slide features`.");
  schema.field("folder", folder, "Slides, and folders of them with all slides below.");
  schema.field("slide_ext", slide_ext, "Extensions to take; empty = those of every format.");
  schema.field("list", list, "Table of the slides to take: wsi, slide_id, filename or slide; mpp.");
  schema.field("mpp",
               mpp,
               "Micrometres a pixel of level 0, instead of what the slides say; 0 = theirs.",
               in_range(0.0, kLargestMpp));
  schema.field("slide_kinds",
               slide_kinds,
               "Slides taken, by their TCGA barcode: DX (FFPE), TS, BS, MS (frozen), unknown.",
               one_of({"DX", "TS", "BS", "MS", "unknown"}));
  schema.field("sample_kinds",
               sample_kinds,
               "Tissue taken, by the TCGA barcode.",
               one_of({"tumour", "normal", "unknown"}));
  schema.field("preset",
               preset,
               "CLAM's default, bwh_biopsy, bwh_resection or tcga, or a CSV file of its columns.");
  schema.field("process_list", process_list, "CLAM's list with parameters for single slides.");
  schema.field("seg_level",
               seg_level,
               "Level that is looked at; -1 = best for 1/64, -2 = the preset's.",
               in_range(-2, 63));
  schema.field("sthresh",
               sthresh,
               "Saturation above which a pixel is tissue; -1 = the preset's.",
               in_range(-1, 255));
  schema.field("mthresh",
               mthresh,
               "Side of the median's window, odd; -1 = the preset's.",
               in_range(-1, 255));
  schema.field("close",
               close,
               "Side of the closing's square, 0 = none; -1 = the preset's.",
               in_range(-1, 255));
  schema.field("use_otsu", use_otsu, "Otsu's threshold instead of sthresh.");
  schema.field("a_t",
               a_t,
               "Least area of tissue, in squares of 512 level-0 pixels; -1 = the preset's.",
               at_least(-1.0));
  schema.field(
      "a_h", a_h, "Least area of a hole, in the same squares; -1 = the preset's.", at_least(-1.0));
  schema.field("max_n_holes",
               max_n_holes,
               "Holes of one piece of tissue at most; -1 = the preset's.",
               in_range(-1, 1000000));
  schema.field("pictures", pictures, "Write pictures of tissue and tiles.");
  schema.field("mode",
               mode,
               "mpp: tiles of one size in micrometres; clam: in pixels of a level; trident: "
               "TRIDENT's grid at a magnification.",
               one_of({"mpp", "clam", "trident"}));
  schema.field(
      "patch_size", patch_size, "Side of a tile, pixels at its scale.", in_range(1, 65536));
  schema.field("step_size",
               step_size,
               "From tile to tile, the same pixels; 0 = patch_size. Not in trident mode.",
               in_range(0, 65536));
  schema.field("target_mpp",
               target_mpp,
               "mpp mode: micrometres a pixel of the tiles.",
               in_range(kSmallestMpp, kLargestMpp));
  schema.field("patch_level", patch_level, "clam mode: level the tiles are of.", in_range(0, 63));
  schema.field("retry",
               retry,
               "clam mode: look again, easier to please, at a slide without tissue, as the other "
               "modes always do.");
  schema.field("mag", mag, "trident mode: magnification of the tiles.", in_range(0.1, 200.0));
  schema.field("overlap",
               overlap,
               "trident mode: of neighbours, pixels at their scale.",
               in_range(0, 65535));
  schema.field("min_tissue_proportion",
               min_tissue_proportion,
               "Share of a tile that must be tissue.",
               in_range(0.0, 1.0));
  schema.field("contour_fn",
               contour_fn,
               "Which points of a tile must lie in tissue; empty = the preset's.",
               one_of({"", "four_pt", "four_pt_hard", "center", "basic"}));
  schema.field("padding", padding, "Tiles may reach over the slide's edge.");
  schema.field("encoder",
               encoder,
               "Network that makes the features; needed where there are slides.",
               one_of(slide_encoders()));
  schema.field("weights", weights, "Its trained weights (.pth, .bin, .safetensors).");
  schema.field("precision",
               precision,
               "Of the arithmetic; auto takes bf16 where the processor or GPU has it.",
               one_of({"auto", "f32", "bf16", "int8"}));
  schema.field("engine",
               engine,
               "What computes the encoder: native, torch, or auto = torch on a GPU.",
               one_of({"auto", "native", "torch"}));
  schema.field("device", device, "Where the encoder runs.", one_of({"auto", "cpu", "cuda"}));
  schema.field("batch_size",
               batch_size,
               "Tiles encoded at once; features do not depend on it.",
               in_range(1, 4096));
  schema.field(
      "readers", readers, "Slides read at once; 0 = one for four threads.", in_range(0, 256));
  schema.field("input_px",
               input_px,
               "torchscript: side of the tile the program takes; 0 = 224.",
               in_range(0, 4096));
  schema.field(
      "mean", mean, "torchscript: mean of red, green, blue in 0 to 1; empty = ImageNet's.");
  schema.field("std", stddev, "torchscript: their standard deviation; empty = ImageNet's.");
  schema.field("stain",
               stain,
               "Normalise the stains of each slide.",
               one_of({"none", "macenko", "reinhard"}));
  schema.field("quality", quality, "Leave out tiles that are blank, black, blurred or inked.");
  schema.field("max_bad_tiles",
               max_bad_tiles,
               "Share of a slide's tiles that may be unreadable; above it the slide fails.",
               in_range(0.0, 1.0));
  schema.field("seed",
               seed,
               "Of the stain sample, and of the weights of an untrained encoder.",
               in_range(0, 2147483647));
  schema.field("slide_pool",
               slide_pool,
               "From tiles to the slide's vector; attention and embedding need `model`.",
               one_of({"mean", "max", "attention", "embedding"}));
  schema.field("patient_pool",
               patient_pool,
               "From slides to the patient's vector; top-slide needs `model`.",
               one_of({"mean", "max", "top-slide"}));
  schema.field("model", model, "CLAM checkpoint (.pt), for the pools that need one.");
  schema.field("slide_table",
               slide_table,
               "Table of columns slide_id and case_id; empty = the case is read from the name.");
  schema.field("vectors",
               vectors,
               "What the models get: a vector of each slide, pooled by [wsi_arm], or the one that "
               "patient_pool makes of a patient's.",
               one_of({"slides", "patients"}));
}

void SlideSettings::validate() const {
  if (!used()) return;
  if (encoder.empty()) {
    usage("[slides] encoder is missing: name the network that makes the features");
  }
  refuse(mode != "mpp" && target_mpp != SlideSettings().target_mpp,
         "slides",
         "target_mpp",
         "belongs to mode mpp");
  refuse(mode != "clam" && patch_level != 0, "slides", "patch_level", "belongs to mode clam");
  refuse(mode != "clam" && retry, "slides", "retry", "belongs to mode clam");
  refuse(
      mode != "trident" && mag != SlideSettings().mag, "slides", "mag", "belongs to mode trident");
  refuse(mode != "trident" && overlap != 0, "slides", "overlap", "belongs to mode trident");
  if (mode == "trident") {
    refuse(step_size != 0, "slides", "step_size", "has no meaning in mode trident");
    refuse(!contour_fn.empty(), "slides", "contour_fn", "has no meaning in mode trident");
    refuse(!padding, "slides", "padding", "has no meaning in mode trident");
  }
  const bool script = encoder == "torchscript";
  if (script) {
    if (weights.empty()) usage("[slides] encoder torchscript needs weights, the program");
    refuse(engine != "auto" && engine != "native",
           "slides",
           "engine",
           "a TorchScript program runs on the processor");
    refuse(device == "cuda", "slides", "device", "a TorchScript program runs on the processor");
    refuse(precision != "auto" && precision != "f32",
           "slides",
           "precision",
           "a TorchScript program computes as it was written");
  } else {
    check_weights("slides", encoder, find_encoder(encoder).trained, weights);
    refuse(input_px != 0, "slides", "input_px", "belongs to encoder torchscript");
    refuse(!mean.empty(), "slides", "mean", "belongs to encoder torchscript");
    refuse(!stddev.empty(), "slides", "std", "belongs to encoder torchscript");
  }
  for (const auto& [key, values] : {std::pair{"mean", &mean}, std::pair{"std", &stddev}}) {
    if (!values->empty() && values->size() != 3) {
      usage(fmt::format(
          "[slides] {}: {} numbers, expected three: of red, green and blue", key, values->size()));
    }
  }
  const bool asks =
      slide_pool == "attention" || slide_pool == "embedding" || patient_pool == "top-slide";
  if (asks && model.empty()) {
    usage("[slides] model is missing: pooling by attention needs a model that was trained");
  }
  refuse(!asks && !model.empty(),
         "slides",
         "model",
         "belongs to slide_pool attention and embedding, and patient_pool top-slide");
}

void ScanSettings::describe(SettingsSchema& schema) {
  schema.section("scans",
                 "Series of CT and MR: what a run makes the vectors of [ct] and [mri] from. The "
                 "keys are the options of `volume features`.");
  schema.field("folder", folder, "Folder of DICOM series in any layout, and NIfTI files.");
  schema.field("volumes",
               volumes,
               "Table of NIfTI files: path (relative to folder) with case_id, modality, "
               "SeriesDescription.");
  schema.field("case_ids", case_ids, "Table patient_id,case_id: names of your own for patients.");
  schema.field(
      "keep_ids", keep_ids, "Patients under their PatientID as it stands; else pseudonyms.");
  schema.field("secret_file", secret_file, "File with a secret that is mixed into pseudonyms.");
  schema.field("filter", filter, "Choose series by the rules; false = every series of CT and MR.");
  schema.field("rules", rules, "Rules of the filter (TOML); empty = the shipped ones.");
  schema.field("masks",
               masks,
               "Folder of NIfTI masks, <series>.nii.gz or called as the scan: scans are cut to "
               "them.");
  schema.field("margin_mm", margin_mm, "Millimetres around a mask.", in_range(0.0, 10000.0));
  schema.field("tilt",
               tilt,
               "Of the gantry: straighten by shifting slices, keep a sheared grid, or refuse.",
               one_of({"straighten", "keep", "refuse"}));
  schema.field("gaps",
               gaps,
               "Slices that are missing or unevenly spaced.",
               one_of({"refuse", "interpolate"}));
  schema.field(
      "recipe", recipe, "Preprocessing; auto: the paper's for CT, mr for MR.", one_of(recipes()));
  schema.field("size", size, "Voxels the encoder sees: slices, rows, columns.", in_range(1, 4096));
  schema.field("spacing",
               spacing,
               "Millimetres along x, y, z: every scan on this grid around its centre, cut or "
               "filled up to size; empty = the whole scan fills size.");
  schema.field("orientation",
               orientation,
               "Of the axes before all else, as three of L/R, P/A, S/I; stored keeps them.");
  schema.field(
      "noise", noise, "recipe medicalnet: seeded noise where voxels are 0, as MedicalNet does.");
  schema.field("encoder",
               encoder,
               "Network that makes the features; the default has random weights, for trials.",
               one_of(scan_encoders()));
  schema.field("weights", weights, "Its trained weights (.pth, .bin, .safetensors).");
  schema.field("precision",
               precision,
               "Of the arithmetic; auto takes bf16 where the processor or GPU has it.",
               one_of({"auto", "f32", "bf16"}));
  schema.field("engine",
               engine,
               "What computes the encoder: native, torch, or auto = torch on a GPU.",
               one_of({"auto", "native", "torch"}));
  schema.field("device", device, "Where the encoder runs.", one_of({"auto", "cpu", "cuda"}));
  schema.field("shortcut",
               shortcut,
               "Of the encoder's residual blocks, for weights of your own.",
               one_of({"published", "A", "B"}));
  schema.field("seed",
               seed,
               "Of the recipe's noise, and of the weights of an untrained encoder.",
               in_range(0, 2147483647));
  schema.field("pool",
               pool,
               "From scans to the patient's vector; most-informative: by `model`, else the scan "
               "with the most voxels; attention needs `model`.",
               one_of({"mean", "max", "most-informative", "attention"}));
  schema.field(
      "model", model, "Model folder of a run with CT or MRI bags, for pools that ask one.");
  schema.field("vectors",
               vectors,
               "What the models get: a vector of each scan, pooled by [radiology_arm], or the one "
               "that pool makes of a patient's.",
               one_of({"scans", "patients"}));
}

void ScanSettings::validate() const {
  if (!used()) return;
  if (size.size() != 3) {
    usage(fmt::format("[scans] size: {} numbers, expected slices, rows, columns", size.size()));
  }
  if (!spacing.empty() && spacing.size() != 3) {
    usage(
        fmt::format("[scans] spacing: {} numbers, expected three, along x, y, z", spacing.size()));
  }
  refuse(!filter && !rules.empty(), "scans", "rules", "are not asked where filter = false");
  refuse(noise && recipe != "medicalnet", "scans", "noise", "belongs to recipe medicalnet");
  check_weights("scans", encoder, find_volume_encoder(encoder).trained, weights);
  if (pool == "attention" && model.empty()) {
    usage("[scans] model is missing: pooling by attention needs a model that was trained");
  }
  refuse(!model.empty() && pool != "attention" && pool != "most-informative",
         "scans",
         "model",
         "belongs to pool attention and most-informative");
}

void RawSettings::describe(SettingsSchema& schema) {
  slides.describe(schema);
  scans.describe(schema);
}

void RawSettings::validate() const {
  slides.validate();
  scans.validate();
}

RawSettings RawSettings::without_places() const {
  RawSettings out = *this;
  out.slides.folder.clear();
  for (auto* path : {&out.slides.list,
                     &out.slides.process_list,
                     &out.slides.weights,
                     &out.slides.model,
                     &out.slides.slide_table,
                     &out.scans.folder,
                     &out.scans.volumes,
                     &out.scans.case_ids,
                     &out.scans.secret_file,
                     &out.scans.rules,
                     &out.scans.masks,
                     &out.scans.weights,
                     &out.scans.model}) {
    path->clear();
  }
  return out;
}

}  // namespace med3d::pipeline
