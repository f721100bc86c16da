// Slides and scans as files: what a run, or a prediction for a new patient, does with them before
// there are vectors. Keys, defaults and ranges are those of the commands `slide features` and
// `volume features`; raw_inputs.h makes jobs of them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/pipeline/settings.h"

namespace med3d::pipeline {

// [slides]: whole-slide images to the vectors of [wsi]. Without `folder` and `list` there are none.
struct SlideSettings {
  // which
  PathList folder;
  StringList slide_ext;
  std::filesystem::path list;
  double mpp = 0.0;  // 0 = what the slides say
  StringList slide_kinds = {"DX", "unknown"};
  StringList sample_kinds = {"tumour", "unknown"};
  // tissue; the numbers below their least value leave the preset's
  std::string preset = "default";
  std::filesystem::path process_list;
  int seg_level = -2;  // -1 = best for 1/64
  int sthresh = -1;
  int mthresh = -1;
  int close = -1;
  bool use_otsu = false;
  double a_t = -1.0;
  double a_h = -1.0;
  int max_n_holes = -1;
  bool pictures = true;
  // tiles
  std::string mode = "mpp";
  int patch_size = 256;
  int step_size = 0;  // 0 = patch_size
  double target_mpp = 0.5;
  int patch_level = 0;
  bool retry = false;
  double mag = 20.0;
  int overlap = 0;
  double min_tissue_proportion = 0.0;
  std::string contour_fn;  // empty = the preset's
  bool padding = true;
  // encoder
  std::string encoder;
  std::filesystem::path weights;
  std::string precision = "f32";
  std::string engine = "auto";
  std::string device = "auto";
  int batch_size = 16;
  int readers = 0;                   // 0 = one for four threads
  int input_px = 0;                  // torchscript; 0 = 224
  std::vector<double> mean, stddev;  // torchscript; empty = ImageNet's
  std::string stain = "none";
  bool quality = false;
  double max_bad_tiles = 0.01;
  int seed = 0;
  // vectors
  std::string slide_pool = "mean";
  std::string patient_pool = "mean";
  std::filesystem::path model;
  std::filesystem::path slide_table;
  std::string vectors = "slides";

  bool used() const { return !folder.empty() || !list.empty(); }
  void describe(SettingsSchema& schema);
  // What ranges cannot say, where used(); opens no file. Throws Error(kUsage).
  void validate() const;
};

// [scans]: series of CT and MR to the vectors of [ct] and [mri]. Without `folder` there are none.
struct ScanSettings {
  // which
  std::filesystem::path folder;
  std::filesystem::path volumes;
  std::filesystem::path case_ids;
  bool keep_ids = false;
  std::filesystem::path secret_file;
  bool filter = true;
  std::filesystem::path rules;  // empty = the shipped ones
  std::filesystem::path masks;
  double margin_mm = 10.0;
  // volumes
  std::string tilt = "straighten";
  std::string gaps = "refuse";
  std::string recipe = "auto";
  std::vector<int> size = {56, 448, 448};  // slices, rows, columns
  std::vector<double> spacing;             // x, y, z; empty = the whole scan fills `size`
  std::string orientation = "LPS";         // "stored" keeps the axes
  bool noise = false;
  // encoder
  std::string encoder = "resnet18-3d-untrained";
  std::filesystem::path weights;
  std::string precision = "f32";
  std::string engine = "auto";
  std::string device = "auto";
  std::string shortcut = "published";
  int seed = 0;
  // vectors
  std::string pool = "mean";
  std::filesystem::path model;
  std::string vectors = "scans";

  bool used() const { return !folder.empty(); }
  void describe(SettingsSchema& schema);
  // As SlideSettings.
  void validate() const;
};

struct RawSettings {
  SlideSettings slides;
  ScanSettings scans;

  bool used() const { return slides.used() || scans.used(); }
  // Sections [slides] and [scans].
  void describe(SettingsSchema& schema);
  void validate() const;
  // A copy that names no file or folder: how the files are prepared, not which. Trained weights,
  // rules, masks and models are told by their hashes where it matters (features' records).
  RawSettings without_places() const;
};

}  // namespace med3d::pipeline
