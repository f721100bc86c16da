// What a bundle knows of its models beside their numbers: how often the event came among held-out
// patients with such a prediction, what the training patients' inputs looked like, and which
// encoders made their vectors. evidence.json, written when a run has all its held-out predictions.
//
// It names the other documents of the bundle by their SHA-256: evidence of another model is no
// evidence.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/feature_makers.h"
#include "med3d/pipeline/fold.h"
#include "med3d/pipeline/input_ranges.h"
#include "med3d/pipeline/raw_settings.h"
#include "med3d/stats/recalibration.h"

namespace med3d::pipeline {

// How the run made its vectors from slides and scans: the settings without a file or folder.
struct RawEvidence {
  RawSettings settings;
  bool slides = false;                // the run had slides
  bool scans = false;                 // it had scans
  std::string filter_rules;           // TOML, where the run's were not the shipped ones
  std::string not_repeatable_slides;  // why a new patient's cannot be prepared the same way, or ""
  std::string not_repeatable_scans;
};

struct Evidence {
  std::map<std::string, stats::RecalibratedRate> rates;  // by id of the classifier
  InputRanges ranges;
  std::map<std::string, std::vector<FeatureMaker>> makers;  // by modality; absent = not known
  std::optional<RawEvidence> raw;                           // where the run made vectors itself
};

// cross_validation   all repeats: a patient's predictions in them count as one patient
// training           rows of the final fit
Evidence gather_evidence(const Cohort& cohort,
                         const RunSettings& settings,
                         const std::vector<FoldOutcome>& cross_validation,
                         const Rows& training);

// model_folder   with the bundle's other documents in it
void write_evidence(const std::filesystem::path& model_folder, const Evidence& evidence);

// Empty where there is none: a bundle of a run that was not finished, or of an older version.
// Throws Error(kFormat) where it breaks its format or belongs to another model.
Evidence read_evidence(const std::filesystem::path& model_folder);

// SHA-256 of all documents of a bundle: of the lines that `sha256sum evidence.json model.json
// survival.json` prints for those that there are. It names the model in every prediction.
std::string bundle_sha256(const std::filesystem::path& model_folder);

}  // namespace med3d::pipeline
