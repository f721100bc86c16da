#include "med3d/pipeline/synth_raw.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/parallel.h"
#include "med3d/pipeline/cohort_settings.h"
#include "med3d/pipeline/raw_settings.h"
#include "med3d/pipeline/synth_patients_internal.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

int rounded(double value, int low, int high) {
  return std::clamp(static_cast<int>(std::lround(value)), low, high);
}

std::string clinical_table(const std::vector<SynthPatient>& patients) {
  constexpr std::array<std::string_view, 6> kStages = {"T1a", "T1b", "T2a", "T2b", "T3a", "T3b"};
  std::string out = "case_id,age,sex,ecog,haemoglobin_g_dl,grade,pt,side,split\n";
  for (const SynthPatient& patient : patients) {
    NumpyRandom random = synth_generator(patient.seed, "clinical");
    const double severity = patient.severity[kClinical];
    const auto seen = [&] { return 0.85 * severity + 0.53 * random.normal(); };
    const auto missing = [&](double share, std::string text) {
      return random.uniform() < share ? std::string() : text;
    };
    const std::string age =
        missing(0.03, std::to_string(rounded(62 + 11 * random.normal(), 25, 90)));
    const std::string_view sex = random.uniform() < 0.65 ? "male" : "female";
    const std::string ecog = missing(0.10, std::to_string(rounded(0.5 + 0.7 * seen(), 0, 3)));
    const std::string haemoglobin = missing(0.12, fmt::format("{:.1f}", 13.4 - 1.1 * seen()));
    const std::string grade = missing(0.05, std::to_string(rounded(2.5 + 0.8 * seen(), 1, 4)));
    const auto stage = static_cast<std::size_t>(rounded(2.0 + 1.5 * seen(), 0, 5));
    const std::string pt = missing(0.08, std::string(kStages[stage]));
    const std::string_view side = random.uniform() < 0.5 ? "left" : "right";
    out += fmt::format("{},{},{},{},{},{},{},{},{}\n",
                       patient.case_id,
                       age,
                       sex,
                       ecog,
                       haemoglobin,
                       grade,
                       pt,
                       side,
                       patient.test ? "test" : "train");
  }
  return out;
}

std::string genomic_table(const std::vector<SynthPatient>& patients) {
  std::string out = "case_id,VHL,PBRM1,SETD2,BAP1\n";
  for (const SynthPatient& patient : patients) {
    NumpyRandom random = synth_generator(patient.seed, "genes");
    const auto mutated = [&](double share) { return random.uniform() < share ? "1" : "0"; };
    const std::string_view vhl = mutated(0.60), pbrm1 = mutated(0.40), setd2 = mutated(0.15);
    const double odds = std::exp(-2.0 + 1.2 * patient.severity[kClinical]);
    const std::string_view bap1 = mutated(odds / (1.0 + odds));
    out += patient.has_genes
               ? fmt::format("{},{},{},{},{}\n", patient.case_id, vhl, pbrm1, setd2, bap1)
               : patient.case_id + ",,,,\n";
  }
  return out;
}

std::string followup_table(const std::vector<SynthPatient>& patients) {
  std::string out = "case_id,rfs_months,rfs_event,os_months,os_event\n";
  for (const SynthPatient& patient : patients) {
    NumpyRandom random = synth_generator(patient.seed, "follow-up");
    const auto exponential = [&](double mean) { return -mean * std::log1p(-random.uniform()); };
    const double last_seen = kSynthHorizon + 2.0 + 60.0 * random.uniform();
    // Within the horizon the earlier the higher the risk; after it by a falling hazard.
    const double early =
        2.0 + (kSynthHorizon - 3.0) * std::pow(random.uniform(), 1.2 + 0.4 * patient.risk);
    const double late = kSynthHorizon + 1.0 + exponential(90.0 * std::exp(-0.5 * patient.risk));
    const double recurrence = patient.recurs ? early : late;
    const double death = recurrence + exponential(30.0 * std::exp(-0.3 * patient.risk));
    const double end = std::min(death, last_seen);
    out += fmt::format("{},{:.1f},{},{:.1f},{}\n",
                       patient.case_id,
                       std::min(recurrence, last_seen),
                       recurrence <= last_seen ? 1 : 0,
                       end,
                       death <= last_seen ? 1 : 0);
  }
  return out;
}

std::string truth_table(const std::vector<SynthPatient>& patients, const SynthRawOptions& options) {
  std::string out =
      "case_id,risk,recurs_24_months,split,severity_clinical,severity_ct,severity_mri,severity_wsi,"
      "has_ct,has_mri,has_slide,ct_tumour_radius_mm,mri_tumour_radius_mm,nuclei_per_mm2,leak\n";
  for (const SynthPatient& patient : patients) {
    out += fmt::format(
        "{},{:.4f},{},{},{:.4f},{:.4f},{:.4f},{:.4f},{},{},{},{:.1f},{:.1f},{:.0f},{}\n",
        patient.case_id,
        patient.risk,
        patient.recurs ? 1 : 0,
        patient.test ? "test" : "train",
        patient.severity[kClinical],
        patient.severity[kCt],
        patient.severity[kMri],
        patient.severity[kWsi],
        patient.has_ct ? 1 : 0,
        patient.has_mri ? 1 : 0,
        patient.has_slide ? 1 : 0,
        synth_study_of(patient, kCt).tumour_radius_mm,
        synth_study_of(patient, kMri).tumour_radius_mm,
        synth_slide_of(patient, options).nuclei_per_mm2,
        patient.leak);
  }
  return out;
}

std::string settings_of(const fs::path& folder, const SynthRawOptions& options) {
  CohortSettings cohort;
  RawSettings raw;
  SettingsSchema schema;
  cohort.describe(schema);
  raw.describe(schema);
  cohort.cohort.name = "synthetic raw cohort";
  cohort.cohort.synthetic = true;
  cohort.cohort.description =
      fmt::format("{} generated patients, seed {}: nobody real is in these files.",
                  options.patients,
                  options.seed);
  cohort.endpoint.name = "RFS-24";
  cohort.endpoint.description = "Recurrence within 24 months of surgery.";
  cohort.endpoint.positive_label = "recurrence";
  cohort.endpoint.negative_label = "no recurrence";
  cohort.endpoint.horizon_months = kSynthHorizon;
  cohort.endpoint.time_column = "rfs_months";
  cohort.endpoint.event_column = "rfs_event";
  cohort.endpoint.time_unit = "months";
  cohort.clinical.table = folder / "clinical.csv";
  cohort.clinical.ordinal = {{"pt", {"T1a", "T1b", "T2a", "T2b", "T3a", "T3b"}}};
  cohort.clinical.joins = {folder / "followup.csv"};
  cohort.split.column = "split";
  cohort.genomic.table = folder / "genomic.csv";
  raw.slides.folder = {folder / "slides"};
  // The slides are a few millimetres wide: the least piece of tissue of CLAM's default is larger.
  raw.slides.preset = "bwh_biopsy";
  raw.slides.encoder = "resnet50-untrained";
  raw.scans.folder = folder / "dicom";
  raw.scans.keep_ids = true;
  // About what the files hold; the paper's 56 x 448 x 448 would be interpolated.
  raw.scans.size = {16, 96, 96};
  return "# Written by `med3d synth`; docs/synthetic_cohort.md says what was planted.\n\n" +
         settings_toml(schema, folder);
}

SynthRawInfo count_of(const std::vector<SynthPatient>& patients) {
  SynthRawInfo info;
  info.patients = static_cast<int>(patients.size());
  info.files = 6;  // tables, settings, marker
  const auto images = [](const SynthStudyInfo& study) {
    std::int64_t sum = 0;
    for (const SynthSeriesInfo& series : study.series) sum += series.images;
    return sum;
  };
  for (const SynthPatient& patient : patients) {
    info.recurrences += patient.recurs ? 1 : 0;
    info.slides += patient.has_slide ? 1 : 0;
    info.ct_studies += patient.has_ct ? 1 : 0;
    info.mri_studies += patient.has_mri ? 1 : 0;
    if (patient.has_slide) ++info.files;
    if (patient.has_ct) info.files += images(describe_synth_study(synth_study_of(patient, kCt)));
    if (patient.has_mri) info.files += images(describe_synth_study(synth_study_of(patient, kMri)));
  }
  return info;
}

std::uint64_t write_files(const fs::path& folder,
                          const SynthPatient& patient,
                          const SynthRawOptions& options) {
  std::uint64_t bytes = 0;
  const fs::path scans = folder / "dicom" / patient.case_id;
  if (patient.has_ct) bytes += write_synth_study(scans / "ct", synth_study_of(patient, kCt)).bytes;
  if (patient.has_mri)
    bytes += write_synth_study(scans / "mr", synth_study_of(patient, kMri)).bytes;
  if (patient.has_slide) {
    bytes += write_synth_slide(folder / "slides" / (patient.case_id + ".svs"),
                               synth_slide_of(patient, options))
                 .bytes;
  }
  return bytes;
}

// What an older synthetic cohort left would pass for the new patients'; a real one is not ours to
// replace.
void clear(const fs::path& folder) {
  if (fs::exists(folder / "SYNTHETIC.txt")) {
    fs::remove(folder / "cohort.toml");
    fs::remove_all(folder / "slides");
    fs::remove_all(folder / "dicom");
    return;
  }
  for (const std::string_view name :
       {"clinical.csv", "genomic.csv", "followup.csv", "slides", "dicom", "cohort.toml"}) {
    if (!fs::exists(folder / name)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: holds {} and no SYNTHETIC.txt: a cohort that is not synthetic; "
                            "choose another folder",
                            folder.string(),
                            name));
  }
}

}  // namespace

const std::vector<std::string>& planted_leak_words() {
  static const std::vector<std::string> words = {"none", "slide", "patient", "scan", "balanced"};
  return words;
}

const std::vector<std::string>& planted_signal_words() {
  static const std::vector<std::string> words = {"clinical", "ct", "mri", "wsi"};
  return words;
}

std::string_view to_string(PlantedLeak leak) {
  return planted_leak_words()[static_cast<std::size_t>(leak)];
}

PlantedLeak planted_leak_of(std::string_view word) {
  const auto& words = planted_leak_words();
  const auto found = std::find(words.begin(), words.end(), word);
  if (found == words.end()) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("planted leak '{}', expected one of: {}", word, fmt::join(words, ", ")));
  }
  return static_cast<PlantedLeak>(found - words.begin());
}

void SynthRawOptions::validate() const {
  const auto need = [](bool holds, std::string_view field, auto found, std::string_view range) {
    if (holds) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("raw synthetic cohort {}: {}, expected {}", field, found, range));
  };
  need(patients >= 6 && patients <= 999, "patients", patients, "6 to 999");
  need(slide_width >= 512 && slide_width <= 20000, "slide_width", slide_width, "512 to 20000");
  need(slide_height >= 512 && slide_height <= 20000, "slide_height", slide_height, "512 to 20000");
  need(threads >= 1, "threads", threads, "at least 1");
  const auto& words = planted_signal_words();
  for (const std::string& word : signal) {
    need(std::find(words.begin(), words.end(), word) != words.end(),
         "signal",
         "'" + word + "'",
         "clinical, ct, mri, wsi");
    need(std::count(signal.begin(), signal.end(), word) == 1, "signal", word + " twice", "once");
  }
}

SynthRawInfo plan_synthetic_raw_cohort(const SynthRawOptions& options) {
  options.validate();
  SynthRawInfo info = count_of(draw_synth_patients(options));
  // Measured means of a study; JPEG of this tissue at this quality takes about 0.11 bytes a pixel.
  const double slide =
      0.11 * static_cast<double>(options.slide_width) * static_cast<double>(options.slide_height);
  info.bytes = static_cast<std::uint64_t>(0.59e6 * info.ct_studies + 0.43e6 * info.mri_studies +
                                          slide * info.slides);
  return info;
}

SynthRawInfo write_synthetic_raw_cohort(const fs::path& folder,
                                        const SynthRawOptions& options,
                                        Progress& progress) {
  options.validate();
  clear(folder);
  const std::vector<SynthPatient> patients = draw_synth_patients(options);
  make_folder(folder);
  // First, so that a cohort that was cut short can be replaced; the settings come last.
  write_file_atomic(folder / "SYNTHETIC.txt",
                    fmt::format("{} generated patients, seed {}. Nobody real is in these files; "
                                "docs/synthetic_cohort.md says what was planted in them.\n",
                                options.patients,
                                options.seed));
  make_folder(folder / "slides");
  make_folder(folder / "dicom");
  std::vector<std::uint64_t> bytes(patients.size());
  progress.start("patients", patients.size());
  parallel_for(patients.size(), options.threads, [&](std::size_t p) {
    bytes[p] = write_files(folder, patients[p], options);
    progress.advance();
  });
  progress.finish();
  SynthRawInfo info = count_of(patients);
  for (const std::uint64_t size : bytes) info.bytes += size;
  write_file_atomic(folder / "clinical.csv", clinical_table(patients));
  write_file_atomic(folder / "genomic.csv", genomic_table(patients));
  write_file_atomic(folder / "followup.csv", followup_table(patients));
  write_file_atomic(folder / "truth.csv", truth_table(patients, options));
  write_file_atomic(folder / "cohort.toml", settings_of(folder, options));
  return info;
}

}  // namespace med3d::pipeline
