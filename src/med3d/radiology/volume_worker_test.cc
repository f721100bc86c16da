// Scans read in workers against the same read here, and decoders that crash. This file has the
// main() of all tests of the module: the worker is this program.
#include "med3d/radiology/volume_worker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "med3d/radiology/nifti.h"
#include "med3d/radiology/test_dicom.inc"
#include "med3d/radiology/test_support.inc"
#include "med3d/radiology/test_volume.inc"

namespace med3d {
namespace {

namespace fs = std::filesystem;

// The service of scans; it aborts at a file called crash.
class CrashingSession : public WorkerSession {
 public:
  void serve(MessageReader& request,
             std::span<std::uint8_t> shared,
             MessageWriter& answer) override {
    MessageReader look = request;
    if (look.value<std::uint8_t>() == 2 && look.text().find("crash.nii") != std::string::npos) {
      ::abort();
    }
    session_->serve(request, shared, answer);
  }

 private:
  std::unique_ptr<WorkerSession> session_ = volume_worker_service.start();
};

const WorkerService kService = {
    "volume", [] { return std::unique_ptr<WorkerSession>(std::make_unique<CrashingSession>()); }};

class VolumeWorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    set_isolation(Isolation::kOn);
    set_worker_program("/proc/self/exe");
  }
  void TearDown() override {
    set_isolation(Isolation::kAuto);
    set_worker_program("");
  }
};

template <class Work>
auto here(const Work& work) {
  set_isolation(Isolation::kOff);
  auto out = work();
  set_isolation(Isolation::kOn);
  return out;
}

void expect_equal(const Volume& a, const Volume& b) {
  EXPECT_EQ(a.size, b.size);
  EXPECT_EQ(a.spacing_mm, b.spacing_mm);
  EXPECT_EQ(a.patient_from_voxel, b.patient_from_voxel);
  EXPECT_EQ(a.units, b.units);
  EXPECT_TRUE(a.voxels == b.voxels);
}

void expect_same_series(const std::vector<fs::path>& files, const SeriesOptions& options = {}) {
  const SeriesVolume a = here([&] { return load_series(files, options); });
  const SeriesVolume b = load_series(files, options);
  expect_equal(a.volume, b.volume);
  EXPECT_EQ(a.modality, b.modality);
  EXPECT_EQ(a.plane, b.plane);
  EXPECT_EQ(a.images, b.images);
  EXPECT_EQ(a.duplicates, b.duplicates);
  EXPECT_EQ(a.interpolated, b.interpolated);
  EXPECT_EQ(a.tilt_degrees, b.tilt_degrees);
  EXPECT_EQ(a.notes, b.notes);
  const SeriesInfo c = here([&] { return inspect_series(files, options); });
  const SeriesInfo d = inspect_series(files, options);
  EXPECT_EQ(c.modality, d.modality);
  EXPECT_EQ(c.size, d.size);
  EXPECT_EQ(c.spacing_mm, d.spacing_mm);
  EXPECT_EQ(c.orientation, d.orientation);
  EXPECT_EQ(c.plane, d.plane);
  EXPECT_EQ(c.units, d.units);
  EXPECT_EQ(c.bits_stored, d.bits_stored);
  EXPECT_EQ(c.is_signed, d.is_signed);
  EXPECT_EQ(c.transfer_syntaxes, d.transfer_syntaxes);
  EXPECT_EQ(c.images, d.images);
  EXPECT_EQ(c.places, d.places);
  EXPECT_EQ(c.tilt_degrees, d.tilt_degrees);
  EXPECT_EQ(c.notes, d.notes);
}

std::vector<fs::path> slices(const TestFolder& folder, int count) {
  std::vector<fs::path> files;
  for (int i = 0; i < count; ++i) {
    TestSlice slice;
    slice.position = "0\\0\\" + std::to_string(2 * i);
    slice.values[0] = static_cast<std::uint32_t>(100 + i);
    files.push_back(folder.write(std::to_string(i) + ".dcm", slice.bytes()));
  }
  return files;
}

TEST_F(VolumeWorkerTest, GivesTheSameSeries) {
  const TestFolder folder("worker_series");
  const auto files = slices(folder, 4);
  expect_same_series(files);
  SeriesOptions options;
  options.gaps = GapHandling::kInterpolate;
  options.threads = 2;
  expect_same_series({files[0], files[1], files[3], files[3]}, options);  // a gap, one twice
}

TEST_F(VolumeWorkerTest, GivesTheSameRealSeries) {
  const fs::path root = test_data("dicom");
  MED3D_NEEDS_DATA(root);
  // Raw CT, several pieces of memory long, and coronal MR.
  for (const char* name : {"ct_abdomen_postcontrast_cptac-pda_C3L-00189",
                           "mr_abdomen_coronal_tcga-lihc_TCGA-BC-4073"}) {
    SCOPED_TRACE(name);
    const FolderSeries found = find_series(root / name);
    ASSERT_FALSE(found.series.empty());
    SeriesOptions options;
    options.threads = 2;
    expect_same_series(found.series.front().files, options);
  }
}

TEST_F(VolumeWorkerTest, GivesTheSameNifti) {
  const TestFolder folder("worker_nifti");
  const Volume volume = reference_grid(5, 300, 401);  // more than two pieces of memory
  for (const char* name : {"a.nii", "a.nii.gz"}) {
    const fs::path path = folder.path() / name;
    write_nifti(path, volume);
    expect_equal(here([&] { return read_nifti(path); }), read_nifti(path));
    expect_equal(here([&] { return read_nifti_header(path); }), read_nifti_header(path));
    EXPECT_EQ(read_nifti(path).voxels, volume.voxels);
  }
}

TEST_F(VolumeWorkerTest, ThrowsTheSameErrors) {
  const TestFolder folder("worker_errors");
  const auto files = slices(folder, 3);
  const fs::path text = folder.write("text.nii", "no scan at all");
  const fs::path none = folder.path() / "none.nii";
  SeriesOptions wrong;
  wrong.threads = 0;
  const std::function<void()> deeds[] = {
      [&] { load_series({}); },
      [&] { load_series(files, wrong); },
      [&] {
        load_series(std::vector{files[0], text});
      },
      [&] {
        inspect_series(std::vector{files[0], none});
      },
      [&] {
        load_series(std::vector{files[0], files[2], files[2], files[1], files[1], text});
      },
      [&] { read_nifti(text); },
      [&] { read_nifti(none); },
      [&] { read_nifti_header(text); },
  };
  const auto caught = [](const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return to_string(error.kind()) + " " + error.what();
    }
    return std::string("nothing");
  };
  for (const auto& deed : deeds) {
    set_isolation(Isolation::kOff);
    const std::string expected = caught(deed);
    set_isolation(Isolation::kOn);
    EXPECT_EQ(caught(deed), expected);
    EXPECT_NE(expected, "nothing");
  }
}

TEST_F(VolumeWorkerTest, ACrashCostsOneScanAndNamesNoFile) {
  const TestFolder folder("worker_crash");
  const Volume volume = reference_grid(3, 4, 5);
  write_nifti(folder.path() / "crash.nii", volume);
  write_nifti(folder.path() / "good.nii", volume);
  try {
    read_nifti(folder.path() / "crash.nii");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
    EXPECT_STREQ(error.what(), "the decoder crashed (signal 6)");
  }
  expect_equal(read_nifti(folder.path() / "good.nii"),
               here([&] { return read_nifti(folder.path() / "good.nii"); }));
}

}  // namespace
}  // namespace med3d

int main(int argc, char** argv) {
  constexpr std::array services = {&med3d::kService};
  if (const auto code = med3d::serve_as_worker(argc, argv, services)) return *code;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
