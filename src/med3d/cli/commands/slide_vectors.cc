#include "med3d/cli/commands/slide_vectors.h"

#include <filesystem>

#include "med3d/core/file.h"

namespace med3d {

bool write_slide_vectors(const pipeline::SlideFolder& folder,
                         const pipeline::SlideVectors& vectors) {
  if (vectors.slides.case_ids.empty()) {
    std::filesystem::remove(folder.slide_vectors());
    std::filesystem::remove(folder.patient_vectors());
    return false;
  }
  write_file_atomic(folder.slide_vectors(), feature_table_csv(vectors.slides));
  write_file_atomic(folder.patient_vectors(), feature_table_csv(vectors.patients));
  return true;
}

}  // namespace med3d
