#include "med3d/pipeline/slides/slide_splits.h"

#include <fmt/format.h>

#include <string>
#include <system_error>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/pipeline/folder_lock.h"

namespace med3d::pipeline {

namespace fs = std::filesystem;

std::vector<mil::ClamSplit> write_slide_splits(const SlideDataset& dataset,
                                               const mil::SplitOptions& options,
                                               const fs::path& folder,
                                               bool overwrite) {
  auto splits = mil::make_clam_splits(dataset.table, options);
  std::vector<std::pair<fs::path, std::string>> files;
  for (std::size_t i = 0; i < splits.size(); ++i) {
    const std::string stem = fmt::format("splits_{}", i);
    files.emplace_back(folder / (stem + ".csv"), mil::clam_split_csv(dataset.table, splits[i]));
    files.emplace_back(folder / (stem + "_bool.csv"),
                       mil::clam_split_bool_csv(dataset.table, splits[i]));
    files.emplace_back(folder / (stem + "_descriptor.csv"),
                       mil::clam_split_descriptor_csv(dataset.table, splits[i]));
  }
  make_folder(folder);
  const FolderLock lock(folder);
  remove_stale_temporaries(folder);
  const int there = count_slide_splits(folder);
  bool other = there > static_cast<int>(splits.size());
  for (const auto& [path, text] : files) {
    other = other || (fs::exists(path) && read_file(path, limits().table_bytes) != text);
  }
  if (other && !overwrite) {
    throw Error(ErrorKind::kUsage, folder.string() + ": holds other splits");
  }
  for (const auto& [path, text] : files) write_file_atomic(path, text);
  for (int i = static_cast<int>(splits.size()); i < there; ++i) {
    for (const char* rest : {".csv", "_bool.csv", "_descriptor.csv"}) {
      fs::remove(folder / fmt::format("splits_{}{}", i, rest));
    }
  }
  return splits;
}

int count_slide_splits(const fs::path& folder) {
  int count = 0;
  std::error_code error;
  while (fs::exists(folder / fmt::format("splits_{}.csv", count), error)) ++count;
  return count;
}

}  // namespace med3d::pipeline
