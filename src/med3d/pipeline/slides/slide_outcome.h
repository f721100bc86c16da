// What became of each slide: the record a person, a program and a resumed run read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "med3d/core/json.h"

namespace med3d::pipeline {

enum class SlideStatus {
  kDone,
  kKept,    // was finished before and is as it should be
  kEmpty,   // no tissue was found, however it was looked for: there is nothing to encode
  kFailed,  // `reason` says why; other slides went on
};

std::string to_string(SlideStatus status);  // "done", "kept", "empty", "failed"

struct SlideOutcome {
  std::string slide_id;
  SlideStatus status = SlideStatus::kDone;
  std::string step;    // the last one that was tried: "open", "segment", "tile", "extract"
  std::string reason;  // of a failure or an empty slide
  std::string format;  // reader that opened it
  double mpp = 0.0;    // of level 0, as used; 0 where not known
  std::string mpp_source;
  std::int64_t tiles = 0;     // planned
  std::int64_t features = 0;  // rows written
  std::map<std::string, std::int64_t>
      dropped;  // tiles left out, by reason; "unreadable" among them
  std::vector<std::string> warnings;

  Json to_json() const;
};

// Counts by status, and failures with their reasons in order: for the end of a command.
std::string outcomes_text(const std::vector<SlideOutcome>& outcomes);

// outcomes.csv: slide_id,status,step,reason,format,mpp,mpp_source,tiles,features,dropped,warnings
std::string outcomes_csv(const std::vector<SlideOutcome>& outcomes);

// 0 all done or empty, 1 all failed, 3 some failed: the command line's exit code.
int exit_code(const std::vector<SlideOutcome>& outcomes);

}  // namespace med3d::pipeline
