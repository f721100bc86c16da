// What lies in a folder of scans, told without reading the files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace med3d::pipeline {

struct VolumeFile {
  std::string path;  // relative to the folder, '/' between names
  std::int64_t size = 0;
  std::int64_t mtime_ns = 0;
};

struct VolumeFiles {
  std::vector<VolumeFile> files;  // in order of path
  std::int64_t links = 0;
  // What is called like a scan and is no regular file, and folders that cannot be read.
  std::vector<std::pair<std::string, std::string>> problems;  // path, problem
};

// Every regular file below the folder whose name, and whose folders' names, do not begin with a
// dot. Links are counted, never followed. Sidecars and tables are among the files.
//
// Throws Error(kNotFound) if it is no folder, kData for more than 4,000,000 files, kIo if the
// folder itself cannot be read.
VolumeFiles find_volume_files(const std::filesystem::path& folder);

// By extension, in any case: one of DICOM's, .nii or .nii.gz.
bool named_as_dicom(std::string_view path);
bool named_as_nifti(std::string_view path);

}  // namespace med3d::pipeline
