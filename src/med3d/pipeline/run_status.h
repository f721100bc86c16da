// What has become of a run folder, for a person and for a program.
#pragma once

#include <filesystem>
#include <string>

#include "med3d/core/json.h"

namespace med3d::pipeline {

// Reads the registry of a run folder and changes nothing; a run may be at work in it.
//
//   {"folder", "state": "working" | "ended" | "stopped" | "pending", "holders": [{pid, host, shard,
//    alive}], "stages": [{stage, job, state, done, skipped, failed, reasons: [{reason, n}],
//    wall_seconds, shards: [{shard, state}]}], "report": path or null}
//
// Throws Error(kNotFound) if there is no run in the folder, kFormat for a damaged registry.
Json run_status(const std::filesystem::path& folder);

// The same as lines of text.
std::string run_status_text(const Json& status);

}  // namespace med3d::pipeline
