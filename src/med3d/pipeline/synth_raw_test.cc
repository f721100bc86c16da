#include "med3d/pipeline/synth_raw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "med3d/core/hash.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/raw_settings.h"
#include "med3d/pipeline/synth_patients_internal.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/pipeline/volumes/filter_series.h"
#include "med3d/pipeline/volumes/series_index.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/wsi/slide.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TempFolder;

SynthRawOptions small() {
  SynthRawOptions options;
  options.patients = 6;
  options.seed = 3;
  options.slide_width = 512;
  options.slide_height = 512;
  return options;
}

std::map<std::string, std::string> hashes(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    out[entry.path().lexically_relative(folder).generic_string()] = sha256_file(entry.path());
  }
  return out;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ma += a[i] / n;
    mb += b[i] / n;
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

class SyntheticRaw : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = fs::temp_directory_path() / ("med3d-synth-raw-" + std::to_string(::getpid()));
    fs::remove_all(folder);
    info = write_synthetic_raw_cohort(folder, small(), silent_progress());
  }
  static void TearDownTestSuite() { fs::remove_all(folder); }
  static fs::path folder;
  static SynthRawInfo info;
};
fs::path SyntheticRaw::folder;
SynthRawInfo SyntheticRaw::info;

TEST_F(SyntheticRaw, HasTheCountsItPromises) {
  EXPECT_EQ(info.patients, 6);
  EXPECT_EQ(info.recurrences, 2);  // round(0.35 * 6)
  EXPECT_EQ(info.ct_studies, 5);   // 6 - round(0.2 * 6)
  EXPECT_EQ(info.mri_studies, 5);
  EXPECT_GE(info.slides, 5);
  const auto files = hashes(folder);
  EXPECT_EQ(static_cast<std::int64_t>(files.size()), info.files);
  std::uint64_t bytes = 0;
  int slides = 0;
  std::set<std::string> studies;
  for (const auto& [name, hash] : files) {
    const fs::path path(name);
    if (path.begin()->string() == "slides") ++slides;
    if (path.begin()->string() == "dicom") studies.insert(path.parent_path().parent_path());
    if (slides + studies.size() > 0 && path.has_parent_path())
      bytes += fs::file_size(folder / path);
  }
  EXPECT_EQ(slides, info.slides);
  EXPECT_EQ(static_cast<int>(studies.size()), info.ct_studies + info.mri_studies);
  EXPECT_EQ(bytes, info.bytes);
  for (const std::string name : {"clinical.csv", "genomic.csv", "followup.csv", "truth.csv"}) {
    EXPECT_EQ(read_table(folder / name).rows.size(), 6U) << name;
  }
  EXPECT_TRUE(files.contains("SYNTHETIC.txt"));
}

TEST_F(SyntheticRaw, IsTheSameBytesAtAnyNumberOfThreadsAndOverAnOlderOne) {
  const TempFolder other;
  SynthRawOptions options = small();
  options.seed = 4;
  options.threads = 2;
  write_synthetic_raw_cohort(other.path(), options, silent_progress());
  EXPECT_NE(hashes(other.path()), hashes(folder));
  options.seed = 3;
  write_synthetic_raw_cohort(other.path(), options, silent_progress());
  EXPECT_EQ(hashes(other.path()), hashes(folder));
}

TEST_F(SyntheticRaw, PlansWhatItWrites) {
  const SynthRawInfo plan = plan_synthetic_raw_cohort(small());
  EXPECT_EQ(plan.files, info.files);
  EXPECT_EQ(plan.slides, info.slides);
  EXPECT_EQ(plan.recurrences, info.recurrences);
  EXPECT_NEAR(static_cast<double>(plan.bytes),
              static_cast<double>(info.bytes),
              0.25 * static_cast<double>(info.bytes));
}

TEST_F(SyntheticRaw, HasSettingsThatNameTheRawFoldersAndTheEndpoint) {
  CohortSettings cohort;
  RawSettings raw;
  SettingsSchema schema;
  cohort.describe(schema);
  raw.describe(schema);
  read_settings(schema, folder / "cohort.toml");
  cohort.validate();
  raw.validate();
  EXPECT_TRUE(cohort.cohort.synthetic);
  EXPECT_EQ(raw.slides.folder, PathList{folder / "slides"});
  EXPECT_EQ(raw.scans.folder, folder / "dicom");
  const Cohort loaded = load_cohort(cohort, silent_progress(), 1);
  EXPECT_EQ(loaded.size(), 6U);
  EXPECT_EQ(std::count(loaded.label.begin(), loaded.label.end(), 1), info.recurrences);
  for (const auto& column : loaded.columns) {
    EXPECT_NE(column.name, "rfs_event");
    EXPECT_NE(column.name, "os_event");
  }
  const std::string toml = read_file(folder / "cohort.toml", 1 << 20);
  EXPECT_EQ(toml.find(folder.string()), std::string::npos) << toml;
}

TEST_F(SyntheticRaw, KeepsExactlyTheIntendedSeriesThroughTheFilter) {
  const TempFolder work;
  VolumeIndexOptions options;
  options.folder = folder / "dicom";
  options.index = work.path() / "index.sqlite";
  options.keep_ids = true;
  const VolumeIndexResult indexed = index_volumes(options, silent_progress());
  EXPECT_EQ(indexed.series, 6 * (info.ct_studies + info.mri_studies));
  EXPECT_TRUE(indexed.problem_files.empty());
  const auto judged = filter_series(read_series_index(options.index), shipped_filter_rules());
  int kept = 0;
  for (const FilteredSeries& one : judged) {
    // synth_series.h: of a CT the third and fourth series, of an MR the second and fourth.
    const auto number = one.series.series_number.value_or(0);
    const bool intended = number == 4 || number == (one.series.modality == "CT" ? 3 : 2);
    EXPECT_EQ(one.kept, intended) << one.series.facts.description << ": " << one.reason;
    kept += one.kept ? 1 : 0;
    EXPECT_TRUE(one.series.patient.starts_with("SYN-000")) << one.series.patient;
  }
  EXPECT_EQ(kept, 2 * (info.ct_studies + info.mri_studies));
}

TEST_F(SyntheticRaw, HasSlidesThatOpenAsAperios) {
  int opened = 0;
  for (const auto& entry : fs::directory_iterator(folder / "slides")) {
    const auto slide = open_slide(entry.path());
    EXPECT_NEAR(slide->info().mpp_x.value_or(0), 0.5, 1e-9);
    EXPECT_EQ(slide->info().mpp_source, "aperio.MPP");
    EXPECT_EQ(slide->info().levels[0].width, 512);
    ++opened;
  }
  EXPECT_EQ(opened, info.slides);
}

TEST(SyntheticRawCohort, KeepsTheIntendedSeriesInEveryLanguageAndWording) {
  const TempFolder work;
  std::set<std::string> descriptions, wanted;
  int studies = 0;
  // Wording follows from the seed: a study is written where it says something new.
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    SynthStudyOptions study;
    study.modality = seed % 2 == 0 ? SynthModality::kCt : SynthModality::kMr;
    study.seed = study.uid_seed = seed / 4;
    study.german = seed / 2 % 2 == 0;
    study.patient_id = "P" + std::to_string(seed);
    bool new_words = false;
    for (const auto& series : describe_synth_study(study).series) {
      new_words |= descriptions.insert(series.description).second;
      if (series.kept) wanted.insert(series.description);
    }
    if (!new_words) continue;
    write_synth_study(work.path() / "dicom" / std::to_string(seed), study);
    ++studies;
  }
  EXPECT_EQ(studies, 8);
  // 12 series in 2 languages and 2 wordings; "ADC" is one of both languages.
  EXPECT_EQ(descriptions.size(), 47U);
  EXPECT_EQ(wanted.size(), 16U);
  VolumeIndexOptions options;
  options.folder = work.path() / "dicom";
  options.index = work.path() / "index.sqlite";
  index_volumes(options, silent_progress());
  for (const auto& one : filter_series(read_series_index(options.index), shipped_filter_rules())) {
    EXPECT_EQ(one.kept, wanted.contains(one.series.facts.description))
        << one.series.facts.description << ": " << one.reason;
  }
}

TEST(SyntheticRawCohort, SharesASeverityAmongTheModalitiesThatCarryTheOutcome) {
  SynthRawOptions options;
  options.patients = 999;
  options.signal = {"clinical", "wsi"};
  const auto patients = draw_synth_patients(options);
  std::array<std::vector<double>, kSynthArms> severity;
  std::vector<double> risk, recurs;
  for (const SynthPatient& patient : patients) {
    for (std::size_t arm = 0; arm < kSynthArms; ++arm) {
      severity[arm].push_back(patient.severity[arm]);
    }
    risk.push_back(patient.risk);
    recurs.push_back(patient.recurs ? 1.0 : 0.0);
  }
  // risk = (a + b) / 2 / sd + 0.2 noise with sd^2 = (1 + 0.5) / 2: a correlates with the first part
  // by sd = 0.87, with the whole by 0.87 / sqrt(1 + 0.04) = 0.85.
  EXPECT_NEAR(correlation(severity[kClinical], risk), 0.85, 0.04);
  EXPECT_NEAR(correlation(severity[kWsi], risk), 0.85, 0.04);
  EXPECT_NEAR(correlation(severity[kClinical], severity[kWsi]), 0.5, 0.08);
  // Standard error of no correlation: 1 / sqrt(999) = 0.03.
  EXPECT_NEAR(correlation(severity[kCt], risk), 0.0, 0.1);
  EXPECT_NEAR(correlation(severity[kMri], recurs), 0.0, 0.1);
  EXPECT_NEAR(correlation(severity[kCt], severity[kMri]), 0.0, 0.1);
  EXPECT_EQ(std::count(recurs.begin(), recurs.end(), 1.0), 350);  // round(0.35 * 999)
}

TEST(SyntheticRawCohort, LeavesEveryPatientAnImageAndLacksAFifthOfEach) {
  SynthRawOptions options;
  options.patients = 200;
  int ct = 0, mri = 0, slides = 0, genes = 0, test = 0, recurring = 0;
  for (const SynthPatient& patient : draw_synth_patients(options)) {
    EXPECT_TRUE(patient.has_ct || patient.has_mri || patient.has_slide);
    ct += patient.has_ct ? 1 : 0;
    mri += patient.has_mri ? 1 : 0;
    slides += patient.has_slide ? 1 : 0;
    genes += patient.has_genes ? 1 : 0;
    test += patient.test ? 1 : 0;
    recurring += patient.test && patient.recurs ? 1 : 0;
  }
  EXPECT_EQ(ct, 160);
  EXPECT_EQ(mri, 160);
  EXPECT_EQ(genes, 160);
  EXPECT_NEAR(slides, 162, 5);
  EXPECT_EQ(test, 51);  // round(0.25 * 70) + round(0.25 * 130) = 18 + 33
  EXPECT_EQ(recurring, 18);
}

// What the encoders are to find is in the pictures already at the lowest order.
TEST(SyntheticRawCohort, ShowsSeverityInSimpleMeans) {
  const TempFolder folder;
  SynthRawOptions options = small();
  options.patients = 14;
  options.seed = 9;
  std::map<SynthArm, std::vector<double>> severity, statistic;
  for (const SynthPatient& patient : draw_synth_patients(options)) {
    for (const SynthArm arm : {kCt, kMri}) {
      const fs::path place = folder.path() / patient.case_id / std::to_string(arm);
      const SynthStudyOptions study = synth_study_of(patient, arm);
      const SynthStudyInfo written = write_synth_study(place, study);
      std::vector<fs::path> files;
      for (const auto& entry : fs::directory_iterator(place / written.series[3].folder)) {
        files.push_back(entry.path());
      }
      // Mean within 35 mm of the tumour's middle.
      const Volume volume = load_series(files).volume;
      double sum = 0, count = 0;
      for (std::int64_t z = 0; z < volume.size[2]; ++z) {
        for (std::int64_t y = 0; y < volume.size[1]; ++y) {
          for (std::int64_t x = 0; x < volume.size[0]; ++x) {
            Vector3 p = volume.patient_from_voxel(
                {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)});
            for (std::size_t i = 0; i < 3; ++i) p[i] -= written.tumour_centre_mm[i];
            if (norm(p) > 35) continue;
            sum += volume.at(x, y, z);
            count += 1;
          }
        }
      }
      severity[arm].push_back(patient.severity[arm]);
      statistic[arm].push_back(sum / count);
    }
    SynthSlideOptions slide = synth_slide_of(patient, options);
    const fs::path path = folder.path() / (patient.case_id + ".svs");
    write_synth_slide(path, slide);
    const RgbImage image = open_slide(path)->read_region(0, 0, 0, 512, 512);
    double blue = 0, tissue = 0;
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
      if (image.pixels[i + 1] > 225) continue;  // glass
      blue += static_cast<double>(image.pixels[i + 2]) - image.pixels[i];
      tissue += 1;
    }
    severity[kWsi].push_back(patient.severity[kWsi]);
    statistic[kWsi].push_back(blue / tissue);
  }
  EXPECT_GT(correlation(severity[kCt], statistic[kCt]), 0.8);
  EXPECT_GT(correlation(severity[kMri], statistic[kMri]), 0.8);
  EXPECT_GT(correlation(severity[kWsi], statistic[kWsi]), 0.7);
}

SynthRawOptions leaking(PlantedLeak leak) {
  SynthRawOptions options = small();
  options.patients = 8;
  options.leak = leak;
  return options;
}

const SynthPatient* leaked(const std::vector<SynthPatient>& patients) {
  const auto found = std::find_if(
      patients.begin(), patients.end(), [](const SynthPatient& p) { return !p.leak.empty(); });
  return found == patients.end() ? nullptr : &*found;
}

TEST(PlantedLeaks, GiveATestPatientTheSlideOfATrainingPatient) {
  const TempFolder folder;
  const SynthRawOptions options = leaking(PlantedLeak::kSlide);
  write_synthetic_raw_cohort(folder.path(), options, silent_progress());
  const auto patients = draw_synth_patients(options);
  const SynthPatient* target = leaked(patients);
  ASSERT_NE(target, nullptr);
  EXPECT_TRUE(target->test);
  std::map<std::string, int> seen;
  std::string of_target;
  for (const auto& entry : fs::directory_iterator(folder.path() / "slides")) {
    const std::string hash = sha256_file(entry.path());
    ++seen[hash];
    if (entry.path().stem() == target->case_id) of_target = hash;
  }
  EXPECT_EQ(seen[of_target], 2);
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(), [](auto& s) { return s.second > 1; }), 1);
}

TEST(PlantedLeaks, GiveATestPatientThePixelsOfATrainingPatientsScan) {
  const auto patients = draw_synth_patients(leaking(PlantedLeak::kScan));
  const SynthPatient* target = leaked(patients);
  ASSERT_NE(target, nullptr);
  EXPECT_TRUE(target->test);
  const auto source = std::find_if(patients.begin(), patients.end(), [&](const SynthPatient& p) {
    return target->leak == "scan of " + p.case_id;
  });
  ASSERT_NE(source, patients.end());
  EXPECT_FALSE(source->test);
  EXPECT_TRUE(source->has_ct && target->has_ct);
  const SynthStudyOptions a = synth_study_of(*source, kCt), b = synth_study_of(*target, kCt);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_EQ(a.tumour_radius_mm, b.tumour_radius_mm);
  EXPECT_EQ(a.german, b.german);
  EXPECT_NE(a.uid_seed, b.uid_seed);
  EXPECT_NE(synth_study_of(*source, kMri).seed, synth_study_of(*target, kMri).seed);
}

TEST(PlantedLeaks, RegisterATrainingPatientAgainUnderAnotherSpelling) {
  const auto patients = draw_synth_patients(leaking(PlantedLeak::kPatient));
  const SynthPatient* target = leaked(patients);
  ASSERT_NE(target, nullptr);
  EXPECT_TRUE(target->test);
  EXPECT_TRUE(target->case_id.starts_with("syn_000")) << target->case_id;
  std::map<std::string, int> spelt;
  for (const SynthPatient& patient : patients) ++spelt[normalised_case_id(patient.case_id)];
  EXPECT_EQ(spelt[normalised_case_id(target->case_id)], 2);
}

TEST(PlantedLeaks, BalanceTheTestSplit) {
  SynthRawOptions options = leaking(PlantedLeak::kBalanced);
  options.patients = 40;
  int test = 0, recurring = 0;
  for (const SynthPatient& patient : draw_synth_patients(options)) {
    test += patient.test ? 1 : 0;
    recurring += patient.test && patient.recurs ? 1 : 0;
  }
  EXPECT_EQ(test, 10);
  EXPECT_EQ(recurring, 5);
  EXPECT_EQ(to_string(PlantedLeak::kBalanced), "balanced");
  EXPECT_EQ(planted_leak_of("scan"), PlantedLeak::kScan);
  expect_error(ErrorKind::kUsage,
               "planted leak 'all', expected one of: none, slide, patient, scan, balanced",
               [] { planted_leak_of("all"); });
}

TEST(SyntheticRawCohort, RefusesOptionsThatMakeNoSense) {
  const auto refused = [](const SynthRawOptions& options, const std::string& message) {
    expect_error(ErrorKind::kUsage, message, [&] { options.validate(); });
  };
  SynthRawOptions options = small();
  options.patients = 5;
  refused(options, "raw synthetic cohort patients: 5, expected 6 to 999");
  options = small();
  options.slide_width = 100;
  refused(options, "raw synthetic cohort slide_width: 100, expected 512 to 20000");
  options = small();
  options.signal = {"pet"};
  refused(options, "raw synthetic cohort signal: 'pet', expected clinical, ct, mri, wsi");
  options.signal = {"ct", "ct"};
  refused(options, "raw synthetic cohort signal: ct twice, expected once");
  options = small();
  options.threads = 0;
  refused(options, "raw synthetic cohort threads: 0, expected at least 1");
}

TEST(SyntheticRawCohort, RefusesAFolderOfRealPatients) {
  for (const std::string name : {"clinical.csv", "slides/a.svs", "dicom/1/IM0001"}) {
    const TempFolder folder;
    folder.write(name, "real\n");
    expect_error(ErrorKind::kUsage, "a cohort that is not synthetic", [&] {
      write_synthetic_raw_cohort(folder.path(), small(), silent_progress());
    });
    EXPECT_FALSE(fs::exists(folder.path() / "SYNTHETIC.txt"));
    EXPECT_TRUE(fs::exists(folder.path() / name));
  }
}

}  // namespace
}  // namespace med3d::pipeline
