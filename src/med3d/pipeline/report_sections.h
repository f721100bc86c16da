// The sections of report.json that a cohort and its settings fill before any model is fitted.
// docs/run_directory.md has the whole document.
#pragma once

#include <span>

#include "med3d/core/json.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/leaks.h"
#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

// What the reader must know before any figure: synthetic data, leaks that were allowed and for
// which reason, a deliberate one, what the endpoint is not.
Json banner_section(const Cohort& cohort,
                    const RunSettings& settings,
                    std::span<const Leak> leaks,
                    const std::string& allow_leak);

Json endpoint_section(const Endpoint& endpoint);
Json protocol_section(const Cohort& cohort, const RunSettings& settings);

// Flow, modalities, patterns of availability, splits, missingness and findings.
Json cohort_section(const Cohort& cohort);

}  // namespace med3d::pipeline
