// Slides and scans of new patients to vectors, prepared exactly as those the model learnt from: the
// settings, the encoder and its weights are the bundle's (evidence.h), the files are the user's.
//
// The work folder holds slides/ (a slide job) and scans/ (a job on scans): a prediction that was
// stopped goes on with what is finished there.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/evidence.h"

namespace med3d::pipeline {

struct RawInputs {
  std::vector<std::filesystem::path> slides;   // slides, and folders of them
  std::optional<std::filesystem::path> dicom;  // folder of series in any layout, NIfTI files too
  // Trained weights; empty = the file below `weights_folder` that has the model's SHA-256.
  std::filesystem::path slide_weights, scan_weights;
  std::filesystem::path weights_folder;
  std::filesystem::path work;  // kept; empty = a temporary folder that is removed
  // All slides and scans are of this patient; empty = their names and headers tell.
  std::string patient;

  bool used() const { return !slides.empty() || dicom.has_value(); }
};

// What became of one slide or series.
struct RawOutcome {
  std::string kind;  // "slide" or "scan"
  std::string item;
  std::string status;  // "used", "skipped" or "failed"
  std::string reason;  // empty when used
  std::vector<std::string> warnings;

  Json to_json() const;
};

struct PreparedInputs {
  std::optional<std::filesystem::path> wsi, ct, mri;  // tables of vectors; absent = nothing usable
  std::vector<RawOutcome> outcomes;                   // slides, then scans, each by name
  std::vector<std::string> warnings;
};

// One bad slide or series is an outcome, and the others go on.
//
// Throws Error(kUsage) where the model's run made no vectors of slides or scans, kUnsupported where
// a new patient's cannot be made the same way, kNotFound for weights that are not there, kData for
// weights of another hash and for scans of several patients where `patient` names one; as
// find_slides, index_volumes and loading an encoder.
PreparedInputs prepare_raw(const RawInputs& inputs,
                           const Evidence& evidence,
                           const std::filesystem::path& work,
                           int threads,
                           Progress& progress);

// A folder for the work of one prediction: the one that is asked for, or a temporary one.
class WorkFolder {
 public:
  explicit WorkFolder(const std::filesystem::path& asked);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool temporary_ = false;
};

}  // namespace med3d::pipeline
