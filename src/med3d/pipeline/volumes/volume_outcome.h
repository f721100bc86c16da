// What became of each scan: the record a person, a program and a resumed run read.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/volumes/volume_list.h"

namespace med3d::pipeline {

enum class VolumeStatus {
  kDone,
  kKept,     // was finished before and is as it should be
  kDropped,  // a filter left it out: `reason` is the rule's
  kFailed,   // `reason` says why; other scans went on
};

std::string to_string(VolumeStatus status);  // "done", "kept", "dropped", "failed"

struct VolumeOutcome {
  std::string patient;
  std::string series;
  std::string modality;  // "CT", "MR", another word of DICOM, or ""
  VolumeStatus status = VolumeStatus::kDone;
  std::string step;  // the last that was tried: "filter", "read", "prepare", "encode", "aggregate"
  std::string reason;                  // of a failure or of what was dropped
  std::int64_t files = 0;              // of the scan
  std::array<std::int64_t, 3> size{};  // voxels along x, y, z, as read; 0 where it was not read
  std::array<double, 3> spacing_mm{};
  std::string recipe;
  std::vector<std::string> warnings;  // what was mended or guessed

  Json to_json() const;
  // Throws Error(kFormat) for what to_json() does not write.
  static VolumeOutcome from_json(const Json& json);
};

// As SlideHooks, of scans.
struct VolumeHooks {
  std::function<std::optional<VolumeOutcome>(const VolumeItem&)> known;
  std::function<void(const VolumeItem&, const VolumeOutcome&)> done;
};

// Counts by status, and what was dropped or failed with its reason in order: for the end of a
// command.
std::string outcomes_text(const std::vector<VolumeOutcome>& outcomes);

// volumes.csv: patient,series,modality,status,step,reason,files,columns,rows,slices,
// spacing_x_mm,spacing_y_mm,spacing_z_mm,recipe,warnings
std::string outcomes_csv(const std::vector<VolumeOutcome>& outcomes);

// 0 none failed, 1 all that were tried failed, 3 some failed: the command line's exit code. What a
// filter dropped was not tried.
int exit_code(const std::vector<VolumeOutcome>& outcomes);

}  // namespace med3d::pipeline
