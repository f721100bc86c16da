#include "med3d/pipeline/volumes/series_index.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "med3d/core/progress.h"
#include "med3d/core/text.h"
#include "med3d/io/database.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/pipeline/volumes/filter_series.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/radiology/nifti.h"
#include "med3d/radiology/test_dicom.inc"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

struct Scan {
  std::string patient = "C3L-00610";
  std::string series = "1.2.3";
  std::string description = "Arterial";
  std::string modality = "CT";
  std::string orientation = "1\\0\\0\\0\\1\\0";
  std::string more;  // elements behind those of the patient
};

std::string dicom(const Scan& scan, int number) {
  TestSlice slice;
  slice.modality = scan.modality;
  slice.series = scan.series;
  slice.orientation = scan.orientation;
  slice.position = fmt::format("0\\0\\{}", 5 * number);
  slice.extra_low = element(0x00080018, "UI", fmt::format("{}.{}", scan.series, number)) +
                    element(0x0008103E, "LO", scan.description) +
                    element(0x00100020, "LO", scan.patient) + element(0x0020000D, "UI", "1.2") +
                    scan.more;
  return slice.bytes();
}

class SeriesIndexTest : public ::testing::Test {
 protected:
  SeriesIndexTest() {
    fs::create_directories(root());
    options_.folder = root();
  }
  fs::path root() const { return temp_.path() / "scans"; }
  void write(const std::string& name, const std::string& bytes) const {
    fs::create_directories((root() / name).parent_path());
    fs::remove(root() / name);
    std::ofstream(root() / name, std::ios::binary) << bytes;
  }
  void write_series(const std::string& folder, const Scan& scan, int slices) const {
    for (int i = 0; i < slices; ++i) write(fmt::format("{}/{}.dcm", folder, i), dicom(scan, i));
  }
  VolumeIndexResult index() { return index_volumes(options_, silent_progress()); }
  std::vector<SeriesRecord> records() { return read_series_index(options_.index_path()); }

  TempFolder temp_;
  VolumeIndexOptions options_;
};

TEST_F(SeriesIndexTest, OneRowASeriesWhereverItsFilesLie) {
  Scan first;
  Scan second;
  second.series = "1.2.4";
  second.description = "Native";
  // Mixed in one folder, and one slice elsewhere under a name without an extension.
  for (int i = 0; i < 3; ++i) {
    write(fmt::format("mixed/a{}.dcm", i), dicom(first, i));
    write(fmt::format("mixed/b{}.dcm", i), dicom(second, i));
  }
  write("deep/er/IM0004", dicom(first, 3));
  write("notes.txt", "no scan");
  const auto result = index();
  EXPECT_EQ(result.series, 2);
  EXPECT_EQ(result.patients, 1);
  EXPECT_EQ(result.files, 8);
  EXPECT_EQ(result.other, 1);
  const auto all = records();
  ASSERT_EQ(all.size(), 2U);
  const auto& arterial = all[0].facts.description == "Arterial" ? all[0] : all[1];
  EXPECT_EQ(arterial.patient, "C3L-00610");
  EXPECT_EQ(arterial.collection, "CPTAC");
  EXPECT_EQ(arterial.modality, "CT");
  EXPECT_EQ(arterial.facts.slices, 4);
  EXPECT_EQ(arterial.step_mm, 5.0);
  EXPECT_EQ(arterial.facts.plane, Plane::kAxial);
  EXPECT_EQ(arterial.spacing_x_mm, 0.25);
  ASSERT_EQ(arterial.files.size(), 4U);
  for (const fs::path& file : arterial.files) {
    EXPECT_TRUE(file.is_absolute() && fs::is_regular_file(file)) << file;
  }
  EXPECT_EQ(arterial.series.size(), 16U);
  EXPECT_TRUE(arterial.problems.empty());
}

TEST_F(SeriesIndexTest, ReadsAgainOnlyWhatChanged) {
  write_series("s", Scan(), 4);
  EXPECT_EQ(index().read, 4);
  const auto before = records();
  EXPECT_EQ(index().read, 0);
  EXPECT_EQ(index().unchanged, 4);

  Scan changed;
  changed.description = "Venous phase";
  for (int i = 0; i < 3; ++i) write(fmt::format("s/{}.dcm", i), dicom(changed, i));
  fs::remove(root() / "s/3.dcm");
  const auto result = index();
  EXPECT_EQ(result.read, 3);
  EXPECT_EQ(result.vanished, 1);
  const auto after = records();
  ASSERT_EQ(after.size(), 1U);
  EXPECT_EQ(after[0].series, before[0].series) << "the key stays";
  EXPECT_EQ(after[0].facts.description, "Venous phase");
  EXPECT_EQ(after[0].facts.slices, 3);
  EXPECT_FALSE(fs::exists(root() / ".volumes.sqlite.part"));
}

TEST_F(SeriesIndexTest, GoesOnWhereAKilledRunWas) {
  write_series("s", Scan(), 4);
  index();
  // What a kill before the renaming leaves: the part, and no index.
  fs::rename(root() / "volumes.sqlite", root() / ".volumes.sqlite.part");
  write("s/4.dcm", dicom(Scan(), 4));
  const auto result = index();
  EXPECT_EQ(result.read, 1);
  EXPECT_EQ(records().at(0).files.size(), 5U);
  // A part that is damaged costs time and nothing else.
  write(".volumes.sqlite.part", "no database");
  EXPECT_EQ(index().read, 0);
}

TEST_F(SeriesIndexTest, OtherNamesMeanReadingAgain) {
  Scan scan;
  scan.patient = "Hospital 4711";
  write_series("s", scan, 2);
  index();
  const std::string hidden = records().at(0).patient;
  EXPECT_TRUE(hidden.starts_with("p-")) << hidden;
  EXPECT_EQ(hidden.size(), 14U);
  options_.secret = "a secret of some length";
  EXPECT_EQ(index().read, 2);
  const std::string secret = records().at(0).patient;
  EXPECT_NE(secret, hidden);
  options_.keep_ids = true;
  index();
  EXPECT_TRUE(records().at(0).patient.starts_with("Hospital_4711-")) << records().at(0).patient;
}

TEST_F(SeriesIndexTest, TheSameFolderGivesTheSameRowsAtAnyNumberOfThreads) {
  for (int i = 0; i < 6; ++i) {
    Scan scan;
    scan.series = fmt::format("1.2.{}", i);
    scan.more = element(0x00200011, "IS", std::to_string(6 - i));
    write_series(fmt::format("s{}", i), scan, 3);
  }
  index();
  const auto one = series_csv(filter_series(records(), shipped_filter_rules()));
  options_.threads = 4;
  options_.redo = true;
  EXPECT_EQ(index().read, 18);
  EXPECT_EQ(series_csv(filter_series(records(), shipped_filter_rules())), one);
  EXPECT_EQ(records().front().series_number, 1);
}

TEST_F(SeriesIndexTest, EachFaultIsARowAndTheOthersGoOn) {
  write_series("good", Scan(), 3);
  write("empty.dcm", "");
  write("text.dcm", "this is no DICOM file at all, whatever it is called");
  write("cut.dcm", dicom(Scan(), 9).substr(0, 210));
  write("bad.nii", "too short");
  write("nothing.bin", std::string(1000, '\0'));
  fs::create_directories(root() / "folder.dcm");
  write("folder.dcm/inside.dcm", dicom(Scan(), 3));
  ASSERT_EQ(::mkfifo((root() / "pipe.dcm").c_str(), 0600), 0);
  fs::create_symlink(root() / "good/0.dcm", root() / "link.dcm");
  fs::create_directory_symlink(root(), root() / "loop");
  const auto result = index();
  EXPECT_EQ(result.series, 1);
  EXPECT_EQ(records().at(0).facts.slices, 4);
  EXPECT_EQ(result.links, 2);
  std::map<std::string, std::string> found;
  for (const auto& file : result.problem_files) found[file.path.string()] = file.problem;
  EXPECT_EQ(found.size(), 5U);
  EXPECT_EQ(found["empty.dcm"], "an empty file");
  EXPECT_EQ(found["text.dcm"], "called as DICOM, but it is none");
  EXPECT_EQ(found["pipe.dcm"], "a pipe or device, expected a regular file");
  EXPECT_NE(found["cut.dcm"].find("beyond"), std::string::npos) << found["cut.dcm"];
  EXPECT_NE(found["bad.nii"], "");
  // Problems are told on the next run, too, without reading again.
  const auto again = index();
  EXPECT_EQ(again.read, 0);
  EXPECT_EQ(again.problem_files.size(), 5U);
}

TEST_F(SeriesIndexTest, NamesWhatIsWrongWithASeries) {
  const auto problems = [&](const std::string& series) {
    for (const SeriesRecord& record : records()) {
      if (record.series_uid == series) return join(record.problems, "; ");
    }
    return std::string("not there");
  };
  Scan gap;
  gap.series = "1.1";
  for (const int i : {0, 1, 2, 5}) write(fmt::format("gap/{}.dcm", i), dicom(gap, i));
  Scan twice;
  twice.series = "1.2";
  write_series("twice", twice, 3);
  write("twice/copy.dcm", dicom(twice, 1));
  Scan planes;
  planes.series = "1.3";
  write_series("planes", planes, 2);
  planes.orientation = "1\\0\\0\\0\\0\\-1";
  write("planes/coronal.dcm", dicom(planes, 7));
  Scan nobody;
  nobody.series = "1.4";
  nobody.patient = "";
  write_series("TCGA-BP-4352/x", nobody, 2);
  index();
  EXPECT_EQ(problems("1.1"), "slices missing or unevenly spaced");
  EXPECT_EQ(problems("1.2"), "instances that are there more than once");
  EXPECT_EQ(problems("1.3"), "several orientations");
  EXPECT_EQ(problems("1.4"), "no PatientID");
  for (const SeriesRecord& record : records()) {
    if (record.series_uid == "1.2") {
      EXPECT_EQ(record.files.size(), 3U);
      EXPECT_EQ(record.duplicates, 1);
    }
    if (record.series_uid == "1.3") {
      EXPECT_FALSE(record.facts.plane.has_value());
    }
    if (record.series_uid == "1.4") {
      EXPECT_EQ(record.patient, "TCGA-BP-4352") << "from the path";
    }
  }
}

TEST_F(SeriesIndexTest, NiftiFilesAreSeriesBySidecarOrTable) {
  Volume volume;
  volume.size = {4, 3, 12};
  volume.spacing_mm = {1, 1, 5};
  volume.patient_from_voxel.m = {{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 5, 0}, {0, 0, 0, 1}}};
  volume.voxels.assign(4 * 3 * 12, 1.0F);
  write_nifti(root() / "TCGA-BP-4352_a.nii.gz", volume);
  write("TCGA-BP-4352_a.json", R"({"Modality": "CT", "SeriesDescription": "Venous"})");
  write_nifti(root() / "listed.nii", volume);
  options_.volumes = temp_.write(
      "list.csv", "path,case_id,modality,SeriesDescription\nlisted.nii,C3N-01078,MR,T1 post\n");
  index();
  const auto all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].patient, "C3N-01078");
  EXPECT_EQ(all[0].modality, "MR");
  EXPECT_EQ(all[0].facts.description, "T1 post");
  EXPECT_EQ(all[1].modality, "CT");
  EXPECT_EQ(all[1].facts.slices, 12);
  EXPECT_EQ(all[1].step_mm, 5.0);
  EXPECT_EQ(all[1].files.size(), 1U);
  EXPECT_EQ(index().read, 0);
  write("TCGA-BP-4352_a.json", R"({"Modality": "CT", "SeriesDescription": "Native"})");
  EXPECT_EQ(index().read, 2) << "the sidecar, and the scan with it";
  EXPECT_EQ(records()[1].facts.description, "Native");
}

TEST_F(SeriesIndexTest, AHeaderWithoutItsImageIsNotKept) {
  // Cut behind the orientation, between two elements.
  const std::string whole = dicom(Scan(), 0);
  write("cut.dcm", whole.substr(0, whole.find(element(0x00280002, "US", little(1, 2)))));
  index();
  const auto filtered = filter_series(records(), shipped_filter_rules());
  ASSERT_EQ(filtered.size(), 1U);
  EXPECT_FALSE(filtered[0].kept);
  EXPECT_EQ(filtered[0].reason, "no image in its files");
}

TEST_F(SeriesIndexTest, TheUsersOwnNamesGoFirst) {
  Scan scan;
  scan.patient = "4711";
  write_series("s", scan, 2);
  options_.case_ids = temp_.write("names.csv", "patient_id,case_id\n4711,case-1\n");
  index();
  EXPECT_EQ(records().at(0).patient, "case-1");
  options_.case_ids = temp_.write("names.csv", "patient_id,case_id\n4711,../up\n");
  EXPECT_THROW(index(), Error);
  options_.case_ids = temp_.write("names.csv", "patient_id,case_id\n4711,a\n4711,b\n");
  EXPECT_THROW(index(), Error);
}

TEST_F(SeriesIndexTest, DatesAreDroppedOrMovedByThePatientsOwnDays) {
  Scan scan;
  scan.more = element(0x00080020, "DA", "20081109");
  write_series("s", scan, 2);
  index();
  EXPECT_EQ(records().at(0).study_date, "");
  options_.dates = IndexDates::kShift;
  EXPECT_THROW(index(), Error) << "without a secret";
  options_.secret = "a secret of some length";
  index();
  const std::string moved = records().at(0).study_date;
  EXPECT_EQ(moved.size(), 8U);
  EXPECT_NE(moved, "20081109");
  const PatientNames names(false, options_.secret);
  EXPECT_EQ(names.shifted("20081109", "C3L-00610"), moved);
  EXPECT_EQ(names.shifted("20081309", "C3L-00610"), "") << "no such month";
  EXPECT_EQ(names.shifted("2008", "C3L-00610"), "");
}

TEST_F(SeriesIndexTest, RefusesToReplaceWhatIsNoIndex) {
  write_series("s", Scan(), 2);
  write("volumes.sqlite", "somebody's notes");
  EXPECT_THROW(index(), Error);
  EXPECT_EQ(read_file(root() / "volumes.sqlite", 100), "somebody's notes");
  fs::remove(root() / "volumes.sqlite");
  {
    Database other(root() / "volumes.sqlite", DatabaseUse::kAlone);
    other.execute("CREATE TABLE work (hours INTEGER)");
  }
  EXPECT_THROW(index(), Error);
  EXPECT_NO_THROW(
      Database(root() / "volumes.sqlite", DatabaseUse::kRead).prepare("SELECT * FROM work"));
  options_.folder = root() / "nowhere";
  EXPECT_THROW(index(), Error);
}

TEST_F(SeriesIndexTest, AnIndexFromElsewhereCannotLeadOutOfItsFolder) {
  write_series("s", Scan(), 2);
  index();
  {
    Database database(options_.index_path(), DatabaseUse::kAlone);
    database.execute("UPDATE files SET path = '../../etc/passwd' WHERE path = 's/0.dcm'");
  }
  EXPECT_THROW(records(), Error);
  {
    Database database(options_.index_path(), DatabaseUse::kAlone);
    database.execute("UPDATE files SET path = 's/0.dcm' WHERE path LIKE '%passwd'");
    database.execute("UPDATE series SET patient = '../x'");
  }
  EXPECT_THROW(records(), Error);
}

// Every tag that may name a person, in the file and in the folder's name; none may come out.
TEST_F(SeriesIndexTest, NoCanaryComesOut) {
  Scan scan;
  scan.patient = "CANARY-ID";
  scan.description = "Arterial CANARY-DESCRIPTION";
  // Ascending tags are not asked for by readers of headers.
  for (const std::uint32_t tag : {0x00080050U,
                                  0x00080080U,
                                  0x00080081U,
                                  0x00080090U,
                                  0x00081010U,
                                  0x00081048U,
                                  0x00081050U,
                                  0x00081070U,
                                  0x00100010U,
                                  0x00100030U,
                                  0x00101000U,
                                  0x00101001U,
                                  0x00101040U,
                                  0x00102154U,
                                  0x00104000U,
                                  0x00200010U,
                                  0x00321032U,
                                  0x00324000U,
                                  0x00380010U}) {
    scan.more += element(tag, "LO", "CANARY-" + std::to_string(tag));
  }
  write_series("s", scan, 12);
  write("CANARY-FILE.dcm", dicom(scan, 20).substr(0, 300));
  const auto result = index();
  const std::string bytes = read_file(root() / "volumes.sqlite", 10 << 20);
  const std::string no_description = [&] {
    std::string out = bytes;
    // What the filter reads, and the path of the damaged file, are kept on purpose.
    for (const std::string kept : {"CANARY-DESCRIPTION", "CANARY-FILE"}) {
      for (std::size_t at = out.find(kept); at != out.npos; at = out.find(kept)) {
        out.replace(at, kept.size(), "kept");
      }
    }
    return out;
  }();
  EXPECT_EQ(no_description.find("CANARY"), std::string::npos);
  for (const auto& file : result.problem_files) {
    EXPECT_EQ(file.problem.find("CANARY"), std::string::npos) << file.problem;
  }
  const fs::path output = temp_.path() / "filtered";
  VolumeFilterOptions filter;
  filter.index = options_.index_path();
  filter.output = output;
  filter_volumes(filter, silent_progress());
  for (const auto& entry : fs::recursive_directory_iterator(output)) {
    EXPECT_EQ(entry.path().string().find("CANARY"), std::string::npos);
    EXPECT_EQ(read_file(entry.path(), 10 << 20).find("CANARY"), std::string::npos) << entry.path();
    // Nor a UID, whole or in a name.
    EXPECT_EQ(read_file(entry.path(), 10 << 20).find("1.2.3"), std::string::npos);
  }
  struct stat info {};
  ASSERT_EQ(::stat((root() / "volumes.sqlite").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0077, 0U) << "its owner's alone";
}

TEST(PatientNames, ArePublicIdsPseudonymsOrSafeNames) {
  const PatientNames names(false, "");
  EXPECT_EQ(names.name_of("TCGA-BP-4352"), "TCGA-BP-4352");
  EXPECT_EQ(names.name_of(" c3l-00004 "), "C3L-00004");
  EXPECT_EQ(names.name_of("4711"), names.name_of("4711 "));
  EXPECT_NE(names.name_of("4711"), names.name_of("4712"));
  // sha256("med3d patient 0\n4711"), by sha256sum
  EXPECT_EQ(names.name_of("4711"), "p-e6f9dd20c712");
  const PatientNames kept(true, "");
  EXPECT_EQ(kept.name_of("4711"), "4711");
  for (const char* hostile :
       {"../../tmp/x", "..", "a/b", "-rf", ".hidden", "a\nb", "", "\xFF\xFE"}) {
    EXPECT_TRUE(safe_name(kept.name_of(hostile))) << kept.name_of(hostile);
    EXPECT_TRUE(safe_name(names.name_of(hostile)));
  }
  EXPECT_TRUE(safe_name(kept.name_of(std::string(300, 'x'))));
  EXPECT_NE(kept.name_of("a/b"), kept.name_of("a_b"));
  EXPECT_NE(PatientNames(false, "one").fingerprint(), PatientNames(false, "two").fingerprint());
}

// The real scans of many layouts and faults.
TEST_F(SeriesIndexTest, ReadsTheRealScans) {
  const char* data = std::getenv("MED3D_TEST_DATA");
  const char* source = std::getenv("MED3D_SOURCE_DIR");
  const fs::path scans =
      (data != nullptr ? fs::path(data)
                       : fs::path(source != nullptr ? source : ".") / "../shared/data") /
      "dicom";
  if (!fs::exists(scans))
    GTEST_SKIP() << "REAL SCANS NOT FOUND: " << scans << " (set MED3D_TEST_DATA)";
  options_.folder = scans;
  options_.index = temp_.path() / "index.sqlite";
  options_.threads = 2;
  index();
  const auto filtered = filter_series(records(), shipped_filter_rules());
  std::map<std::string, const FilteredSeries*> by_words;
  for (const FilteredSeries& one : filtered) {
    by_words[one.series.patient + "/" + one.series.facts.description] = &one;
  }
  const auto& ct = *by_words.at("C3L-00189/LUNG BASES 5MM");
  EXPECT_TRUE(ct.kept) << ct.reason;
  EXPECT_EQ(ct.series.facts.slices, 35);
  EXPECT_EQ(ct.series.files.size(), 35U);
  const auto& mr = *by_words.at("TCGA-BC-4073/NEW HASTE CORONAL");
  EXPECT_FALSE(mr.kept);
  EXPECT_EQ(mr.reason, "coronal by ImageOrientationPatient");
  std::map<std::string, int> head;
  for (const FilteredSeries& one : filtered) {
    const std::string path = one.series.files.at(0).string();
    if (path.find("ct_head_philips") != path.npos) ++head[one.rule];
    if (path.find("venous_stageII") != path.npos) {
      EXPECT_EQ(one.rule, "slices") << one.reason;
    }
    if (path.find("/geometry_edge_cases/") != path.npos) {
      EXPECT_FALSE(one.kept) << path << one.reason;
    }
  }
  EXPECT_EQ(head, (std::map<std::string, int>{{"localizer", 1}, {"secondary capture", 1}}));
}

}  // namespace
}  // namespace med3d::pipeline
