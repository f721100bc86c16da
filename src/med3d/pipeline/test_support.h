// Small cohorts written to a temporary folder, for the tests of this module.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/io/formats/npy.h"
#include "med3d/pipeline/cohort.h"

namespace med3d::pipeline::testing {

// Asserts that the action throws this kind of Error with these words in it.
inline void expect_error(ErrorKind kind,
                         std::string_view part,
                         const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.kind()), to_string(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

class TempFolder {
 public:
  TempFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            ("med3d-pipeline-" + std::to_string(::getpid()) + "-" +
             (test != nullptr ? std::string(test->name()) : std::string("x")));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    write_file_atomic(path_ / name, text);
    return path_ / name;
  }
  // An npz as MMIST writes it: one array of one row.
  void vector(const std::string& name, const std::vector<float>& values) const {
    Matrix<float> row;
    row.append_row(values);
    const NamedArray array{"arr_0", from_matrix(row)};
    write_file_atomic(path_ / name, npz_bytes({&array, 1}));
  }

 private:
  std::filesystem::path path_;
};

// The message of the Error that loading throws, or "loaded".
inline std::string load_error(const CohortSettings& settings) {
  try {
    load_cohort(settings, silent_progress(), 1);
  } catch (const Error& error) {
    return to_string(error.kind()) + ": " + error.what();
  }
  return "loaded";
}

inline bool has_finding(const std::vector<Finding>& findings,
                        const std::string& code,
                        const std::string& part = "") {
  for (const auto& finding : findings) {
    if (finding.code == code && finding.text.find(part) != std::string::npos) return true;
  }
  return false;
}

// The real data, or an empty path. Callers skip loudly.
inline std::filesystem::path reference_data() {
  std::filesystem::path folder;
  if (const char* given = std::getenv("MED3D_TEST_DATA")) {
    folder = given;
  } else if (const char* source = std::getenv("MED3D_SOURCE_DIR")) {
    folder = std::filesystem::path(source) / ".." / "shared" / "data";
  }
  std::error_code error;
  if (folder.empty() || !std::filesystem::is_directory(folder / "mmist-ccrcc", error)) return {};
  return folder;
}

}  // namespace med3d::pipeline::testing

#define MED3D_NEEDS_REFERENCE_DATA()                                                       \
  if (med3d::pipeline::testing::reference_data().empty()) {                                \
    GTEST_SKIP() << "SKIPPED: no folder mmist-ccrcc in $MED3D_TEST_DATA; the real cohort " \
                    "is not tested";                                                       \
  }
