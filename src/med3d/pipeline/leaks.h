// What would let a model be judged on what it has learnt from: the same patient, slide or scan in
// training and in test.
//
// A run that finds one is refused with LeakError, exit code 4 of `med3d run`.
// RunOptions::allow_leak, a reason in words, lets it go on; the report then says so in red, with
// the reason.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/image_hash.h"

namespace med3d::pipeline {

// One image of the run as it was read, and whose it is said to be.
struct ImagePrint {
  std::string modality;  // "wsi", "ct", "mri"
  std::string item;      // name of the slide or series
  std::string case_id;
  ImageHash hash;
};

struct Leak {
  std::string code;
  std::string text;  // for the reader; holds no patient's id, but names of slides and scans
};

// All that can be told from the cohort and, for a run on raw files, from its images:
//   patient_across_splits  two ids in different splits that are one person up to spelling:
//                          TCGA-XX-XXXX and its slides' names, case, spaces and separators
//   vector_across_splits   the same vector under patients of different splits: equal, or apart by
//   no
//                          more than 0.2 % of its length (storage in 16 bits); vectors of fewer
//                          than 8 numbers are not compared, they may well be equal by chance
//   image_across_splits    the same pixels or voxels under patients of different splits
//   similar_image_across_splits   a slide stored otherwise (another compression, another pyramid);
//                          see ImageHash::similar
//   balanced_test          a test set of exactly as many positives as negatives, at least 10 each:
//                          what oversampling before the split leaves
// Patients without a split take no part: cross-validation draws its folds over patients. One leak
// of each code at most for each modality, with the number of pairs.
//
// Cost: O(patients log patients), pairs of vectors of nearly equal sums, and all pairs of slides
// across the split (576 grey levels each).
std::vector<Leak> check_leaks(const Cohort& cohort, std::span<const ImagePrint> images = {});

// The refusal of a run, of kind kData: "training and test are not apart: ..." with every leak.
class LeakError : public Error {
 public:
  explicit LeakError(std::span<const Leak> leaks);
  // Of one that no reason can allow, found while the cohort was read.
  explicit LeakError(const std::string& message) : Error(ErrorKind::kData, message) {}
  bool can_be_allowed() const { return can_be_allowed_; }

 private:
  bool can_be_allowed_ = false;
};

// The id in the form in which all spellings of one person are equal.
std::string person_of(const std::string& case_id);

}  // namespace med3d::pipeline
