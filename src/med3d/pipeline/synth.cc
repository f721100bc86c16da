#include "med3d/pipeline/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/random.h"
#include "med3d/core/small_files.h"
#include "med3d/io/formats/npy.h"
#include "med3d/pipeline/cohort_settings.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr double kDeadShare = 0.12;
constexpr double kTestShare = 0.20;
constexpr double kCtShare = 0.45;
constexpr double kMriShare = 0.10;
constexpr std::size_t kSignalValues = 32;
constexpr double kSignal = 0.5;
constexpr double kPatientNoise = 0.35;
constexpr double kItemNoise = 0.25;

NumpyRandom generator(std::uint64_t seed,
                      std::string_view what,
                      std::initializer_list<std::uint64_t> numbers = {}) {
  return NumpyRandom(static_cast<std::uint32_t>(derive_seed(seed, what, numbers)));
}

struct Patient {
  std::string case_id;
  double clinical = 0, ct = 0, mri = 0, wsi = 0;  // latent severities
  double risk = 0;
  bool dead = false;
  bool test = false;
};

std::vector<Patient> draw_patients(int count, std::uint64_t seed) {
  std::vector<Patient> patients(static_cast<std::size_t>(count));
  NumpyRandom random = generator(seed, "severity");
  for (std::size_t p = 0; p < patients.size(); ++p) {
    Patient& patient = patients[p];
    patient.case_id = fmt::format("SYN-{:04}", p + 1);
    patient.clinical = random.normal();
    patient.ct = random.normal();
    patient.mri = random.normal();
    patient.wsi = random.normal();
    patient.risk = 0.55 * patient.clinical + 0.50 * patient.wsi + 0.45 * patient.ct +
                   0.45 * patient.mri + 0.20 * random.normal();
  }
  std::vector<std::size_t> order(patients.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return patients[a].risk > patients[b].risk;
  });
  const auto dead = static_cast<std::size_t>(std::lround(kDeadShare * count));
  for (std::size_t i = 0; i < dead; ++i) patients[order[i]].dead = true;

  // Stratified: the same share of the dead and of the living is set aside.
  NumpyRandom shuffle = generator(seed, "split");
  for (const bool wanted : {true, false}) {
    std::vector<std::size_t> group;
    for (std::size_t p = 0; p < patients.size(); ++p) {
      if (patients[p].dead == wanted) group.push_back(p);
    }
    shuffle.shuffle(group);
    const auto n_test =
        static_cast<std::size_t>(std::lround(kTestShare * static_cast<double>(group.size())));
    for (std::size_t i = 0; i < n_test; ++i) patients[group[i]].test = true;
  }
  return patients;
}

int clamped(double value, int low, int high) {
  return std::clamp(static_cast<int>(std::lround(value)), low, high);
}

std::string clinical_table(const std::vector<Patient>& patients, std::uint64_t seed) {
  std::string out =
      "case_id,gender,age_diag,grade,cancer_history,ajcc_path_tumor_pt,ajcc_path_nodes_pn,"
      "ajcc_clin_metastasis_cm,ajcc_path_metastasis_pm,ajcc_path_tumor_stage,vital_status_12,"
      "race_Asian,race_Black or African American,race_Hispanic or Latino,race_White,race_other,"
      "VHL_mutation,PBMR1_mutation,TTN_mutation,Split\n";
  for (std::size_t p = 0; p < patients.size(); ++p) {
    const Patient& patient = patients[p];
    NumpyRandom random = generator(seed, "clinical", {p});
    const auto chance = [&](double share) { return random.uniform() < share; };
    // Each covariate sees the severity through its own noise.
    const auto seen = [&] { return 0.8 * patient.clinical + 0.6 * random.normal(); };

    const int gender = chance(0.66) ? 1 : 0;
    const int age = clamped(4.6 + 1.2 * (0.25 * patient.clinical + random.normal()), 1, 8);
    const std::string age_text = chance(0.03) ? "" : std::to_string(age) + ".0";
    const int grade = clamped(2.5 + 0.8 * seen(), 1, 4);
    const std::string history = chance(0.12) ? "1.0" : "";
    int pt = clamped(4.5 + 2.5 * seen(), 1, 11);
    if (chance(0.09)) pt = -1;
    int pn = chance(0.4) ? 1 : (chance(0.03) ? 2 : 0);
    if (chance(0.10)) pn = -1;
    int cm = chance(0.15) ? 2 : (chance(0.5) ? 1 : 0);
    if (chance(0.78)) cm = -1;
    int pm = chance(0.13) ? 2 : (chance(0.8) ? 1 : 0);
    if (chance(0.11)) pm = -1;
    int stage = clamped(2.2 + 1.1 * seen(), 1, 4);
    if (chance(0.03)) stage = -1;
    std::array<int, 5> race{};
    const double draw = random.uniform();
    race[draw < 0.03 ? 0 : draw < 0.07 ? 1 : draw < 0.08 ? 2 : draw < 0.98 ? 3 : 4] = 1;
    std::array<int, 3> mutations{};
    const bool sequenced = !chance(0.27);
    constexpr std::array<double, 3> kMutated = {0.60, 0.42, 0.23};
    for (std::size_t m = 0; m < mutations.size(); ++m) {
      const bool mutated = chance(kMutated[m]);
      mutations[m] = sequenced ? (mutated ? 1 : 0) : -1;
    }
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
                       patient.case_id,
                       gender,
                       age_text,
                       grade,
                       history,
                       pt,
                       pn,
                       cm,
                       pm,
                       stage,
                       patient.dead ? 0 : 1,
                       race[0],
                       race[1],
                       race[2],
                       race[3],
                       race[4],
                       mutations[0],
                       mutations[1],
                       mutations[2],
                       patient.test ? "test" : "train");
  }
  return out;
}

// Days, so that the label follows: dead within a year, or seen alive after one (366 days and more).
std::string endpoint_table(const std::vector<Patient>& patients, std::uint64_t seed) {
  std::string out = "case_id,OS,OS_days,PFI,PFI_days\n";
  for (std::size_t p = 0; p < patients.size(); ++p) {
    const Patient& patient = patients[p];
    NumpyRandom random = generator(seed, "follow-up", {p});
    const auto exponential = [&](double mean) { return -mean * std::log1p(-random.uniform()); };
    long days = 0;
    bool died = true;
    if (patient.dead) {
      days = 20 + std::lround(344.0 * random.uniform());
    } else {
      const long death = 366 + std::lround(exponential(3000.0 * std::exp(-0.7 * patient.risk)));
      const long last_seen = 366 + std::lround(2600.0 * random.uniform());
      died = death <= last_seen;
      days = std::min(death, last_seen);
    }
    const long progression = 30 + std::lround(exponential(2500.0 * std::exp(-0.7 * patient.risk)));
    const bool progressed = progression < days;
    out += fmt::format("{},{},{},{},{}\n",
                       patient.case_id,
                       died ? 1 : 0,
                       days,
                       progressed || died ? 1 : 0,
                       progressed ? progression : days);
  }
  return out;
}

struct Kind {
  std::string_view name;  // "CT"
  std::size_t width;
  double scale;  // typical size of a value, as the real encoders give
  std::size_t most_items;
  std::size_t first_number;
};

std::vector<double> base_pattern(const Kind& kind, std::uint64_t seed) {
  NumpyRandom random = generator(seed, std::string(kind.name) + " pattern");
  std::vector<double> base(kind.width);
  for (auto& value : base) value = std::abs(random.normal());
  return base;
}

// Writes the items of one kind and its table of patients.
void write_items(const fs::path& folder,
                 const Kind& kind,
                 const std::vector<Patient>& patients,
                 double share,
                 double Patient::*severity,
                 std::uint64_t seed) {
  const std::string name(kind.name);
  const fs::path features = folder / "Features" / (name + " Features");
  make_folder(features);
  const std::vector<double> base = base_pattern(kind, seed);
  std::string table = "case_id,chosen_exam\n";
  for (std::size_t p = 0; p < patients.size(); ++p) {
    NumpyRandom random = generator(seed, name, {p});
    if (random.uniform() >= share) continue;
    const auto n_items = 1 + static_cast<std::size_t>(random.randint(kind.most_items));
    std::vector<double> own(kind.width);
    for (std::size_t c = 0; c < kind.width; ++c) {
      own[c] = base[c] + kPatientNoise * random.normal();
      if (c < kSignalValues) own[c] += kSignal * patients[p].*severity;
    }
    for (std::size_t item = 0; item < n_items; ++item) {
      Matrix<float> vector(1, kind.width);
      for (std::size_t c = 0; c < kind.width; ++c) {
        const double value = kind.scale * std::max(0.0, own[c] + kItemNoise * random.normal());
        // Rounded so that the last bits of a mathematics library do not show in the file.
        vector(0, c) = static_cast<float>(static_cast<double>(std::lround(value * 1e5)) / 1e5);
      }
      NamedArray array{"arr_0", from_matrix(vector)};
      if (kind.width == 512) array.array.shape = {1, 1, 512, 1};
      const std::string file =
          fmt::format("{}-{}.npz", patients[p].case_id, kind.first_number + item);
      write_small_file(features / file, npz_bytes({&array, 1}));
      if (item == 0) table += patients[p].case_id + "," + file + "\n";
    }
  }
  write_file_atomic(folder / (name + "_patientfiles.csv"), table);
}

}  // namespace

void write_synthetic_cohort(const fs::path& folder, int patients, std::uint64_t seed) {
  if (patients < 20 || patients > 9999) {
    throw Error(
        ErrorKind::kUsage,
        "a synthetic cohort of " + std::to_string(patients) + " patients, expected 20 to 9999");
  }
  // Items of an older synthetic cohort would pass for the new patients'; a real one is not ours to
  // replace.
  if (fs::exists(folder / "SYNTHETIC.txt")) {
    fs::remove_all(folder / "Features");
  } else if (fs::exists(folder / "clinical+genomic_split.csv") || fs::exists(folder / "Features")) {
    throw Error(ErrorKind::kUsage,
                folder.string() + ": holds a cohort that is not synthetic; choose another folder");
  }
  const std::vector<Patient> people = draw_patients(patients, seed);
  make_folder(folder);
  write_file_atomic(folder / "SYNTHETIC.txt",
                    fmt::format("{} generated patients, seed {}. Nobody real is in these files; "
                                "docs/synthetic_cohort.md says what was planted in them.\n",
                                patients,
                                seed));
  write_file_atomic(folder / "clinical+genomic_split.csv", clinical_table(people, seed));
  write_file_atomic(folder / "endpoints.csv", endpoint_table(people, seed));
  write_items(folder, {"CT", 512, 0.80, 3, 1}, people, kCtShare, &Patient::ct, seed);
  write_items(folder, {"MRI", 512, 0.80, 4, 1}, people, kMriShare, &Patient::mri, seed);
  write_items(folder, {"WSI", 1024, 0.04, 3, 21}, people, 1.0, &Patient::wsi, seed);
  write_file_atomic(folder / "cohort.toml", to_toml(describe_folder(folder), folder));
}

}  // namespace med3d::pipeline
