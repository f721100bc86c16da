#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/text.h"
#include "med3d/pipeline/synth_patients_internal.h"

namespace med3d::pipeline {
namespace {

constexpr double kRecurring = 0.35;
constexpr double kTestShare = 0.25;
constexpr double kLacking = 0.20;
constexpr double kShared = 0.50;  // of a severity's variance
constexpr double kRiskNoise = 0.20;
// The number was chosen so that the default seed's cohorts of 40 and of 60 patients show in every
// modality about what was planted on average (AUC 0.85 to 0.91 of the severities themselves).
constexpr std::string_view kDraw = "raw cohort 85";

bool carries(const SynthRawOptions& options, std::size_t modality) {
  return std::find(options.signal.begin(),
                   options.signal.end(),
                   planted_signal_words()[modality]) != options.signal.end();
}

void draw_severities(std::vector<SynthPatient>& patients,
                     const SynthRawOptions& options,
                     std::uint64_t root) {
  NumpyRandom random = synth_generator(root, "severity");
  const auto count = static_cast<double>(options.signal.size());
  // Of the mean of n severities that share a part of their variance.
  const double sd = count > 0 ? std::sqrt((1.0 + (count - 1.0) * kShared) / count) : 1.0;
  for (std::size_t p = 0; p < patients.size(); ++p) {
    SynthPatient& patient = patients[p];
    patient.case_id = fmt::format("SYN-{:04}", p + 1);
    patient.seed = derive_seed(root, "patient", {p});
    patient.ct_seed = patient.seed;
    patient.slide_seed = patient.seed;
    const double shared = random.normal();
    double sum = 0;
    for (std::size_t m = 0; m < kSynthArms; ++m) {
      const double own = random.normal();
      const bool carrier = carries(options, m);
      patient.severity[m] =
          carrier ? std::sqrt(kShared) * shared + std::sqrt(1.0 - kShared) * own : own;
      if (carrier) sum += patient.severity[m];
    }
    patient.risk = (count > 0 ? sum / count / sd : 0.0) + kRiskNoise * random.normal();
  }
}

std::vector<std::size_t> by_risk(const std::vector<SynthPatient>& patients) {
  std::vector<std::size_t> order(patients.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return patients[a].risk > patients[b].risk;
  });
  return order;
}

std::size_t share_of(double share, std::size_t count) {
  return static_cast<std::size_t>(std::lround(share * static_cast<double>(count)));
}

// Stratified: the same share of those who recur and of the others, or as many of each.
void draw_split(std::vector<SynthPatient>& patients, std::uint64_t seed, bool balanced) {
  NumpyRandom random = synth_generator(seed, "split");
  for (const bool recurs : {true, false}) {
    std::vector<std::size_t> group;
    for (std::size_t p = 0; p < patients.size(); ++p) {
      if (patients[p].recurs == recurs) group.push_back(p);
    }
    random.shuffle(group);
    // At least one of each, so that the smallest cohort has a test split with two classes.
    const std::size_t size =
        balanced ? share_of(kTestShare / 2, patients.size()) : share_of(kTestShare, group.size());
    for (std::size_t i = 0; i < std::min(std::max<std::size_t>(size, 1), group.size()); ++i) {
      patients[group[i]].test = true;
    }
  }
}

void draw_missing(std::vector<SynthPatient>& patients, std::uint64_t seed) {
  const auto lacking = [&](std::string_view what) {
    std::vector<std::size_t> order = synth_generator(seed, what).permutation(patients.size());
    order.resize(share_of(kLacking, patients.size()));
    return order;
  };
  for (const std::size_t p : lacking("lacking ct")) patients[p].has_ct = false;
  for (const std::size_t p : lacking("lacking mri")) patients[p].has_mri = false;
  for (const std::size_t p : lacking("lacking slide")) {
    // Somebody without any image would be out of the study.
    patients[p].has_slide = !patients[p].has_ct && !patients[p].has_mri;
  }
  for (const std::size_t p : lacking("lacking genes")) patients[p].has_genes = false;
}

void plant_leak(std::vector<SynthPatient>& patients, PlantedLeak leak) {
  if (leak == PlantedLeak::kNone || leak == PlantedLeak::kBalanced) return;
  const auto first = [&](bool test) -> SynthPatient& {
    return *std::find_if(patients.begin(), patients.end(), [&](const SynthPatient& patient) {
      return patient.test == test;
    });
  };
  SynthPatient& source = first(false);
  SynthPatient& target = first(true);
  target.leak = std::string(to_string(leak)) + " of " + source.case_id;
  if (leak == PlantedLeak::kSlide) {
    source.has_slide = target.has_slide = true;
    target.slide_seed = source.slide_seed;
    target.severity[kWsi] = source.severity[kWsi];
  } else if (leak == PlantedLeak::kScan) {
    source.has_ct = target.has_ct = true;
    target.ct_seed = source.ct_seed;
    target.severity[kCt] = source.severity[kCt];
  } else {
    // The same person, registered twice: other slides and scans of the same disease.
    target.case_id = to_lower(source.case_id);
    std::replace(target.case_id.begin(), target.case_id.end(), '-', '_');
    target.severity = source.severity;
    target.risk = source.risk;
    target.recurs = source.recurs;
  }
}

}  // namespace

std::vector<SynthPatient> draw_synth_patients(const SynthRawOptions& options) {
  std::vector<SynthPatient> patients(static_cast<std::size_t>(options.patients));
  const std::uint64_t root = derive_seed(options.seed, kDraw);
  draw_severities(patients, options, root);
  const std::vector<std::size_t> order = by_risk(patients);
  for (std::size_t i = 0; i < share_of(kRecurring, order.size()); ++i) {
    patients[order[i]].recurs = true;
  }
  draw_split(patients, root, options.leak == PlantedLeak::kBalanced);
  draw_missing(patients, root);
  plant_leak(patients, options.leak);
  return patients;
}

SynthStudyOptions synth_study_of(const SynthPatient& patient, SynthArm arm) {
  const double severity = patient.severity[arm];
  SynthStudyOptions study;
  study.modality = arm == kCt ? SynthModality::kCt : SynthModality::kMr;
  study.seed = arm == kCt ? patient.ct_seed : patient.seed;
  study.uid_seed = derive_seed(patient.seed, "uids");
  study.patient_id = patient.case_id;
  study.german = derive_seed(study.seed, "language") / 4 % 3 == 0;
  study.tumour_radius_mm = std::clamp(28.0 + 11.0 * severity, 6.0, 56.0);
  study.enhancement = std::clamp(1.0 + 0.3 * severity, 0.3, 1.8);
  study.heterogeneity = std::clamp(0.3 + 0.1 * severity, 0.0, 0.7);
  return study;
}

SynthSlideOptions synth_slide_of(const SynthPatient& patient, const SynthRawOptions& options) {
  const double severity = patient.severity[kWsi];
  NumpyRandom random = synth_generator(patient.slide_seed, "stains");
  SynthSlideOptions slide;
  slide.seed = derive_seed(patient.slide_seed, "slide");
  slide.width = options.slide_width;
  slide.height = options.slide_height;
  slide.tissue_share = 0.45;
  slide.jpeg_quality = 70;
  slide.nuclei_per_mm2 = std::clamp(2600.0 * std::exp(0.28 * severity), 1200.0, 5500.0);
  slide.nuclear_size = std::clamp(1.0 + 0.10 * severity, 0.75, 1.35);
  slide.clearing = std::clamp(0.7 - 0.15 * severity, 0.2, 0.95);
  // Stains differ between days: less than what the disease does.
  slide.haematoxylin = 1.0 + 0.03 * std::clamp(random.normal(), -2.0, 2.0);
  slide.eosin =
      std::clamp(1.0 - 0.06 * severity, 0.8, 1.2) + 0.03 * std::clamp(random.normal(), -2.0, 2.0);
  return slide;
}

}  // namespace med3d::pipeline
