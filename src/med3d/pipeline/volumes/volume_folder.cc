#include "med3d/pipeline/volumes/volume_folder.h"

#include <system_error>

#include "med3d/core/file.h"

namespace med3d::pipeline {

std::string_view modality_folder(std::string_view modality) {
  if (modality == "CT") return "ct";
  if (modality == "MR") return "mri";
  return "";
}

std::unique_ptr<FolderLock> VolumeFolder::claim() const {
  make_folder(root);
  auto lock = std::make_unique<FolderLock>(root);
  remove_stale_temporaries(root);
  for (const char* name : {"ct", "mri"}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(root / name, error)) {
      if (entry.is_directory(error)) remove_stale_temporaries(entry.path());
    }
  }
  return lock;
}

}  // namespace med3d::pipeline
