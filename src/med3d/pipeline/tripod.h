// The TRIPOD+AI checklist of a run: what the run itself knows is filled in, the rest is left to the
// author by name. Nothing is ever marked "pass".
//
// Source: Collins et al., BMJ 385:e078378, 2024 (27 items; item wording shortened, headings as in
// the published list; verify against the journal's form before submission).
#pragma once

#include <string>

#include "med3d/core/json.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

// Array of {"item", "section", "text", "status": "filled" | "author", "value"}. `report` is
// report.json as far as it is made: endpoint, protocol, cohort, models.
Json tripod_json(const Json& report, const Cohort& cohort, const RunSettings& settings);

// Item 13 in words: each arm's means against class imbalance, and whether anything is recalibrated.
std::string class_imbalance(const RunSettings& settings);

}  // namespace med3d::pipeline
