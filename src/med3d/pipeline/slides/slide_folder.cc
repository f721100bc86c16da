#include "med3d/pipeline/slides/slide_folder.h"

#include "med3d/core/file.h"

namespace med3d::pipeline {

std::unique_ptr<FolderLock> SlideFolder::claim() const {
  make_folder(root);
  auto lock = std::make_unique<FolderLock>(root);
  remove_stale_temporaries(root);
  for (const char* name : {"masks",
                           "stitches",
                           "contours_geojson",
                           "patches",
                           "h5_files",
                           "pt_files",
                           "safetensors_files",
                           "contact_sheets",
                           "slides"}) {
    if (std::filesystem::is_directory(root / name)) remove_stale_temporaries(root / name);
  }
  return lock;
}

}  // namespace med3d::pipeline
