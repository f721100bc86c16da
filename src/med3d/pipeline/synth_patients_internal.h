// Who the generated patients are, and what their severities make of scans and slides.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/random.h"
#include "med3d/pipeline/synth_raw.h"
#include "med3d/radiology/synth_series.h"
#include "med3d/wsi/synth_slide.h"

namespace med3d::pipeline {

constexpr double kSynthHorizon = 24.0;  // months

enum SynthArm : std::size_t { kClinical, kCt, kMri, kWsi, kSynthArms };

struct SynthPatient {
  std::string case_id;
  std::uint64_t seed = 0;                     // of all that is drawn for the patient
  std::uint64_t ct_seed = 0, slide_seed = 0;  // of these alone: a leak copies them
  std::array<double, kSynthArms> severity{};  // as the files show it
  double risk = 0.0;
  bool recurs = false;  // within the horizon
  bool test = false;
  bool has_ct = true, has_mri = true, has_slide = true, has_genes = true;
  std::string leak;  // what was done to this patient, for truth.csv
};

// Of one named part of what is drawn from the seed.
inline NumpyRandom synth_generator(std::uint64_t seed, std::string_view what) {
  return NumpyRandom(static_cast<std::uint32_t>(derive_seed(seed, what)));
}

std::vector<SynthPatient> draw_synth_patients(const SynthRawOptions& options);

// arm  kCt or kMri
SynthStudyOptions synth_study_of(const SynthPatient& patient, SynthArm arm);

SynthSlideOptions synth_slide_of(const SynthPatient& patient, const SynthRawOptions& options);

}  // namespace med3d::pipeline
