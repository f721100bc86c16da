// What became of each slide: the record a person, a program and a resumed run read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/slides/slide_list.h"

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
  // Throws Error(kFormat) for what to_json() does not write.
  static SlideOutcome from_json(const Json& json);
};

// For a caller that keeps its own account of slides (a run store). Called from any thread of a job,
// for one slide by one thread; they do not throw.
struct SlideHooks {
  // What is known of a slide whose work was done before; then it is not looked at.
  std::function<std::optional<SlideOutcome>(const SlideItem&)> known;
  // Told of each slide as soon as its outcome is final; not of known ones.
  std::function<void(const SlideItem&, const SlideOutcome&)> done;
};

// Counts by status, and failures with their reasons in order: for the end of a command.
std::string outcomes_text(const std::vector<SlideOutcome>& outcomes);

// outcomes.csv: slide_id,status,step,reason,format,mpp,mpp_source,tiles,features,dropped,warnings
std::string outcomes_csv(const std::vector<SlideOutcome>& outcomes);

// 0 all done or empty, 1 all failed, 3 some failed: the command line's exit code.
int exit_code(const std::vector<SlideOutcome>& outcomes);

}  // namespace med3d::pipeline
