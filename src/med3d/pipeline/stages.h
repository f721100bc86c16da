// The stages of a run, in one table: what each needs, which settings decide its result, and what it
// leaves in the run folder.
//
//   index -> filter -> segment -> tile -> extract -> aggregate      only with [slides] or [scans]
//   -> tabular -> train -> fuse -> evaluate -> report
//
// A result is done again only if its key changed: a hash of the program's version, the settings the
// table names, the content of the files they name, and the keys of what went in. Slides and scans
// have a key each, so a new slide costs that slide only; changing [fusion] costs the fusions.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

class RunWork;

struct Stage {
  std::string_view name;                   // as --from, --until and --only take it
  std::string_view job;                    // a few words for `med3d status` and the plan
  std::vector<std::string_view> needs;     // stages
  std::vector<std::string_view> settings;  // sections ("fusion") and keys ("run.seed")
  std::vector<std::string_view> gives;     // files and folders in the run folder
  bool of_files = false;                   // only where there are slides or scans to read
  bool by_item = false;                    // slide by slide, scan by scan: shards share the work
  void (*work)(RunWork&) = nullptr;
};

std::span<const Stage> stages();

// Throws Error(kUsage) naming those there are, and the nearest.
const Stage& find_stage(std::string_view name);

// Which stages a call works on.
struct StageChoice {
  std::string from, until, only;  // names; empty = from the first, to the last, all

  // Throws Error(kUsage) for an unknown name, `only` beside another, or an empty choice.
  void validate() const;
  bool takes(const Stage& stage) const;
  bool whole() const { return from.empty() && until.empty() && only.empty(); }
};

// What of the settings decides a stage: one line a value, files by the hash of their content,
// folders and missing files not at all.
//
// section  "slides" or "scans": these keys alone; empty = all that the stage names
std::string settings_of_stage(const RunSettings& settings,
                              const Stage& stage,
                              std::string_view section = "");

// Of each stage: hash of version, settings_of_stage and the keys of the stages it needs. Data are
// not in it.
std::map<std::string, std::string, std::less<>> stage_keys(const RunSettings& settings);

}  // namespace med3d::pipeline
