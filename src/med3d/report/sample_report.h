// A made-up run for the tests: the shape and size of a real report.json, the numbers of nobody.
#pragma once

#include "med3d/core/json.h"

namespace med3d::report {

// 600 patients, `models` models with two sets each, every section filled. Deterministic.
Json sample_report(int models = 12);

// The least that is a report: schema, title, synthetic, endpoint.
Json minimal_report();

}  // namespace med3d::report
