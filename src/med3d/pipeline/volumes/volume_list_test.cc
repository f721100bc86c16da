#include "med3d/pipeline/volumes/volume_list.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "med3d/core/json.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/pipeline/volumes/test_volumes.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::ramp;
using testing::TempFolder;

constexpr const char* kCanary = "DOE_JOHN-19500101";

std::string error_of(const VolumeSearch& search) {
  try {
    find_volumes(search);
  } catch (const Error& error) {
    return error.what();
  }
  return "found";
}

TEST(FindVolumes, NamesOfPeopleBecomePseudonymsAndPublicIdsStay) {
  const TempFolder temp;
  write_nifti(temp.path() / "a" / (std::string(kCanary) + ".nii.gz"), ramp(0));
  write_nifti(temp.path() / "a/TCGA-BP-4352-01.nii.gz", ramp(0));
  VolumeSearch search;
  search.places = {temp.path() / "a"};
  search.modality = "ct";
  const auto found = find_volumes(search).items;
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].patient, "TCGA-BP-4352");
  for (const auto& item : found) {
    EXPECT_TRUE(safe_name(item.patient));
    EXPECT_TRUE(safe_name(item.series));
    EXPECT_EQ((item.patient + item.series).find("DOE"), std::string::npos);
    EXPECT_EQ(item.modality, "CT");
  }
  search.keep_names = true;
  EXPECT_EQ(find_volumes(search).items[0].patient, kCanary);
}

TEST(FindVolumes, ATableNamesPatientsModalitiesAndMasks) {
  const TempFolder temp;
  write_nifti(temp.path() / "scans/one.nii.gz", ramp(0));
  write_nifti(temp.path() / "scans/two.nii.gz", ramp(0));
  write_nifti(temp.path() / "scans/mask.nii.gz", ramp(0));
  temp.write("map.csv",
             "path,case_id,modality,mask\nscans/one.nii.gz,patient 1,mr,\n"
             "scans/two.nii.gz,P2,CT,scans/mask.nii.gz\nscans/three.nii.gz,P2,CT,\n");
  VolumeSearch search;
  search.table = temp.path() / "map.csv";
  const auto found = find_volumes(search).items;
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].patient, "P2");
  EXPECT_EQ(found[0].problem, "its file is not there");
  EXPECT_EQ(found[1].mask, temp.path() / "scans/mask.nii.gz");
  EXPECT_EQ(found[2].patient.substr(0, 2), "p-");  // a space is not safe in a name
  EXPECT_EQ(found[2].series, "one");
  EXPECT_EQ(found[2].modality, "MR");
}

TEST(FindVolumes, ASidecarTellsTheModality) {
  const TempFolder temp;
  write_nifti(temp.path() / "a/C3L-00189.nii.gz", ramp(0));
  temp.write("a/C3L-00189.json", "{\"Modality\": \"MR\"}");
  VolumeSearch search;
  search.places = {temp.path() / "a"};
  const auto found = find_volumes(search);
  EXPECT_EQ(found.items[0].modality, "MR");
  EXPECT_EQ(found.other_files, 1U);  // the sidecar
}

TEST(FindVolumes, SeriesOfAnIndexCarryTheFiltersVerdict) {
  const TempFolder temp;
  write_nifti(temp.path() / "masks/0123456789abcdef.nii.gz", ramp(0));
  std::vector<FilteredSeries> judged(2);
  judged[0].series.series = "0123456789abcdef";
  judged[0].series.patient = "TCGA-AA-0001";
  judged[0].series.modality = "CT";
  judged[0].series.files = {"a.dcm", "b.dcm"};
  judged[0].kept = true;
  judged[0].reason = "arterial";
  judged[1].series.series = "fedcba9876543210";
  judged[1].reason = "a localizer";
  const auto found = items_of(judged, temp.path() / "masks");
  EXPECT_TRUE(found[0].kept);
  EXPECT_EQ(found[0].problem, "");
  EXPECT_EQ(found[0].files.size(), 2U);
  EXPECT_EQ(found[0].mask, temp.path() / "masks/0123456789abcdef.nii.gz");
  EXPECT_FALSE(found[1].kept);
  EXPECT_EQ(found[1].problem, "a localizer");
}

TEST(FindVolumes, DoesNotFollowLinksNorOpenPipes) {
  const TempFolder temp;
  write_nifti(temp.path() / "a/C3L-00189.nii.gz", ramp(0));
  fs::create_symlink(temp.path() / "a/C3L-00189.nii.gz", temp.path() / "a/C3L-00190.nii.gz");
  ASSERT_EQ(::mkfifo((temp.path() / "a/C3L-00191.nii.gz").c_str(), 0600), 0);
  fs::create_directories(temp.path() / "a/C3L-00192.nii.gz");
  VolumeSearch search;
  search.places = {temp.path() / "a"};
  EXPECT_EQ(find_volumes(search).items.size(), 1U);
}

TEST(FindVolumes, SaysWhatIsMissing) {
  const TempFolder temp;
  temp.write("a/notes.txt", "nothing");
  temp.write("bad.csv", "file,modality\nx,CT\n");
  temp.write("blank.csv", "path,case_id\nx,\n");
  EXPECT_EQ(error_of({}), "no scan, folder or table of scans was named");
  EXPECT_EQ(error_of({{temp.path() / "a"}, {}, {}, {}, false, 1}),
            "no scan was found: 1 files are neither DICOM images nor NIfTI");
  EXPECT_NE(error_of({{temp.path() / "none"}, {}, {}, {}, false, 1}).find("no such file or folder"),
            std::string::npos);
  EXPECT_NE(error_of({{}, temp.path() / "bad.csv", {}, {}, false, 1})
                .find("no column case_id (or patient, patient_id); there are file, modality"),
            std::string::npos);
  EXPECT_NE(
      error_of({{}, temp.path() / "blank.csv", {}, {}, false, 1}).find("line 2: names no patient"),
      std::string::npos);
}

TEST(FindVolumes, SafeNamesCannotLeaveAFolder) {
  EXPECT_TRUE(safe_name("TCGA-BP-4352"));
  for (const char* bad : {"", ".", "..", ".hidden", "a/b", "../../tmp/x", "a b", "a\nb", "ä"}) {
    EXPECT_FALSE(safe_name(bad)) << bad;
  }
  EXPECT_FALSE(safe_name(std::string(65, 'a')));
  EXPECT_EQ(public_or_pseudonym("../../tmp/x").substr(0, 2), "p-");
  EXPECT_EQ(public_or_pseudonym("TCGA-BP-4352-01Z"), "TCGA-BP-4352");
}

}  // namespace
}  // namespace med3d::pipeline
