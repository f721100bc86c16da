// The tables of an index and the statements that fill and read them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "med3d/io/database.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/pipeline/volumes/series_index.h"
#include "med3d/radiology/series_header.h"

namespace med3d::pipeline {

constexpr int kSeriesIndexVersion = 0x4D335301;  // "M3S" and the version of the tables

// A file as the index keeps it.
struct IndexedFile {
  std::string path;
  std::int64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::string kind;      // "dicom", "nifti", "directory", "other", "problem"
  std::string problem;   // of kind "problem"
  std::string instance;  // digits of a hash of the instance's UID; "" where not said
  std::int64_t images = 0;
  std::int64_t places = 0;            // distinct ones along the normal
  std::optional<double> along_first;  // least and most place along the normal
  std::optional<double> along_last;
  // What is common to many files; not for kinds "directory", "other", "problem".
  std::string patient;
  std::string study;
  std::string
      series_uid;      // "" = not said: then the folder (dicom) or the file (nifti) is the series
  std::string header;  // JSON of series_header_to_json
};

class SeriesStore {
 public:
  // Opens or makes the tables. Throws Error(kFormat) for a file that is no index of this version.
  SeriesStore(const std::filesystem::path& path, DatabaseUse use);

  std::string setting(const std::string& name);  // "" if there is none
  void set(const std::string& name, const std::string& value);
  void transaction(const std::function<void()>& work) { database_.transaction(work); }

  struct Known {
    std::string path;
    std::int64_t size = 0;
    std::int64_t mtime_ns = 0;
    bool problem = false;
  };
  std::vector<Known> known();  // in order of path
  void put(const IndexedFile& file);
  void remove(const std::string& path);

  // Makes the table of series anew from the files.
  void assemble(const PatientNames& names);
  // Counts, problem files and problems of series into the result.
  void summarise(VolumeIndexResult& result);

  // Files are relative to the folder of the index's setting "root".
  std::vector<SeriesRecord> series();

 private:
  Database database_;
  std::optional<Statement> find_header_, add_header_, put_file_, remove_file_;
};

}  // namespace med3d::pipeline
